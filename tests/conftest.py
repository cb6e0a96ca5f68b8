"""Fixtures that all tests share: a real sshd, skipped tests for missing programs."""

from __future__ import annotations

import functools
import gc
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest
from installer import copy_scripts, sends_all
from jobs import Gate, job_directory
from over_ssh import repeats_local
from servers.sshd import Sshd, sshd_path
from servers.users import Users
from system_shell import replace_system_shell
from temporary import process_directory

Require = Callable[[str], None]

_ENGINES = re.compile("prefect|luigi")
"""Part of the paths of all tests that use a workflow engine."""
_UNCLOSED = "ignore:unclosed:ResourceWarning"

# nohup and background commands of a shell start with SIGINT ignored, and children would
# inherit that: tests that press Ctrl-C would wait forever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine, an example takes longer than the default deadline of 200 ms.
hypothesis.settings.register_profile("tej", deadline=None)
hypothesis.settings.load_profile("tej")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-failed",
        action="store_true",
        help="run only the tests that failed in the last run; --last-failed would miss "
        "tests of an xdist group",
    )


def pytest_configure() -> None:
    shell = os.environ.get("TEJ_TEST_SHELL")
    if shell:
        replace_system_shell(shell)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out tests over sshd that only repeat a test on `local:`."""
    kept = [item for item in items if not repeats_local(item)]
    if config.getoption("only_failed"):
        assert config.cache is not None
        failed = {*map(without_group, config.cache.get("cache/lastfailed", {}))}
        kept = [item for item in kept if without_group(item.nodeid) in failed]
        found = {without_group(item.nodeid) for item in kept}
        if failed != found:
            raise pytest.UsageError(f"no such tests: {failed - found}")
    config.hook.pytest_deselected(items=[*{*items} - {*kept}])
    items[:] = kept


def without_group(test_id: str) -> str:
    """Return the id of a test without the group that pytest-xdist appends."""
    return re.sub(r"@[^\]]*\Z", "", test_id)


def works(*words: str) -> bool:
    """Return whether a command can be run on this machine and succeeds."""
    try:
        done = subprocess.run(words, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def can_mount() -> bool:
    with tempfile.TemporaryDirectory() as place:
        if not works("mount", "-t", "tmpfs", "none", place):
            return False
        return works("umount", place)


def can_use_loop_devices() -> bool:
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(1 << 20)
        # Attach and detach a loop device, because a device that exists may be unusable.
        script = 'device=$(losetup --find --show "$1") && losetup --detach "$device"'
        return works("sh", "-c", script, "sh", image.name)


# Programs that are installed but may not work in a container or a chroot, and features
# that are not programs.
PARTS: dict[str, Callable[[], bool]] = {
    "root": lambda: hasattr(os, "getuid") and os.getuid() == 0,
    "fork": lambda: hasattr(os, "fork"),
    "sshd": lambda: sshd_path() is not None,
    "unshare": lambda: works(
        *("unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "true")
    ),
    "mount": can_mount,
    "mkfs.ext4": lambda: bool(shutil.which("mkfs.ext4")) and can_use_loop_devices(),
}

REASONS = {
    "unshare": "namespaces cannot be made here",
    "mount": "nothing can be mounted here",
    "mkfs.ext4": "ext4 on a loop device cannot be used here",
}


@functools.cache
def is_there(part: str) -> bool:
    return PARTS.get(part, lambda: shutil.which(part) is not None)()


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it on CI, where every program must be installed."""
    if os.environ.get("CI"):
        pytest.fail(f"On CI this is a failure: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require() -> Require:
    """Return a function that skips the test if a program is missing:

    `require("zsh")`.  On CI, the test fails instead.
    """

    def check(part: str) -> None:
        if not is_there(part):
            unavailable(REASONS.get(part, f"{part} is missing"))

    return check


@pytest.fixture(autouse=True)
def unchanged_log() -> Iterator[None]:
    """Restore the log of tej, which the command line changes if it runs in a test."""
    logger = logging.getLogger("tej")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def no_slurm() -> Iterator[None]:
    """Hide the Slurm that the tests of schedulers may run at the same time."""
    with pytest.MonkeyPatch.context() as patch:
        # With an empty configuration, Slurm's commands fail at once and do not search
        # for a controller.
        patch.setenv("SLURM_CONF", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_hidden_variables() -> Iterator[None]:
    """Unset the variables that tej hides from its scripts (`user_environment.sh`).

    With such a variable, a job does not start directly (`direct_start.sh`).
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.islower() and not name.endswith("_proxy"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def process_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Set TMPDIR to a directory that this process removes; see `temporary.py`."""
    # pytest keeps its own directories, which must not become a part of TMPDIR.
    tmp_path_factory.getbasetemp()
    with process_directory() as folder:
        yield folder


@pytest.fixture(scope="session", autouse=True)
def ssh_masters(process_folder: Path) -> Iterator[Path]:
    """Set the directory of tej's ControlMasters, which end after the tests.

    Tests use paramiko unless they select another transport, which keeps the tests fast.
    """
    folder = process_folder / "ssh"
    folder.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv("TEJ_TRANSPORT", "paramiko")
        # Many tests open a ControlMaster. With the default of 60 seconds, hundreds of
        # processes would slow down the search for the processes of a job.
        patch.setenv("TEJ_PERSIST", "10")
        yield folder
        for path in folder.glob("tej-*/*"):
            if path.is_socket():
                # The module cannot be imported on Windows.
                from tej.transport.openssh_master import stop_master

                stop_master(path)


@pytest.fixture(scope="session")
def scripts_folder(process_folder: Path) -> Path:
    """Return a directory for copies of the server's scripts, readable by all users."""
    folder = process_folder / "scripts"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture(autouse=True)
def cheap_installation(
    request: pytest.FixtureRequest,
    scripts_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Install the server's scripts as copies of files; see `installer.py`."""
    if not sends_all(request.path, request.function.__name__):
        copy_scripts(scripts_folder, monkeypatch)
        monkeypatch.setenv("TEST_SCRIPTS", str(scripts_folder))


@pytest.fixture(scope="module", autouse=True)
def no_sockets_of_engines(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect the sockets that the clients of Prefect and Luigi leave open.

    If the garbage collector found an open socket in a later test, the test would fail,
    because warnings are errors.  Some sockets become garbage even later, because
    threads of Prefect's clients live as long as this process.
    """
    yield
    if _ENGINES.search(str(request.path)):
        request.config.addinivalue_line("filterwarnings", _UNCLOSED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture(scope="session")
def sshd(require: Require, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Yield an sshd that all tests share, so no test may disturb it.

    Programs on this server have $HOME set to `sshd.home`.
    """
    require("sshd")
    folder = tmp_path_factory.mktemp("sshd")
    home = tmp_path_factory.mktemp("home")
    with Sshd(folder, home=home) as server:
        yield server


@pytest.fixture
def start_sshd(require: Require, tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Return a function that starts an sshd, which the test may cut, stop or change.

    The function takes the options of `Sshd`, and can be called several times.
    """
    require("sshd")
    started: list[Sshd] = []

    def start(**options: object) -> Sshd:
        options.setdefault("folder", tmp_path / f"sshd{len(started)}")
        server = Sshd(**options)  # type: ignore[arg-type]
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def users(require: Require) -> Iterator[Users]:
    """Yield a function that adds users to this machine; remove the users afterwards.

    Needs root.
    """
    require("root")
    require("useradd")
    with Users() as added:
        yield added


@pytest.fixture
def ssh_config(sshd: Sshd, tmp_path: Path) -> Path:
    """Return an ssh_config file with which `sshd.destination` can be reached."""
    return sshd.config(tmp_path)


@pytest.fixture
def client_home(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home directory for the client, whose ~/.ssh/config knows `sshd`."""
    home = tmp_path / "client home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh/config").write_text(
        f"Host server\n    HostName {sshd.address}\n    Port {sshd.port}\n"
        f"    User {sshd.user}\n{sshd.client_options}"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Return a gate: a file that a job waits for and the test creates."""
    return Gate(tmp_path / "gate open")


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a job directory: `job(script, files, name)`."""

    def make(*arguments: object, **options: object) -> Path:
        return job_directory(tmp_path, *arguments, **options)  # type: ignore[arg-type]

    return make
