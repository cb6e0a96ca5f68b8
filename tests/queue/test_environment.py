"""Environment of jobs: login start-up files, signals, umask, Python's buffering."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import no_processes_left, wait_until_ended

import tej

Make = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    return path


@pytest.fixture
def queue(home: Path, tmp_path: Path) -> Iterator[tej.RemoteQueue]:
    path = tmp_path / "queue"
    yield tej.RemoteQueue("local:", str(path), "default")
    tej.RemoteQueue("local:", str(path)).cleanup(kill=True, grace=0)
    no_processes_left(path)


def output_of(queue: tej.RemoteQueue, directory: Path, **options: object) -> str:
    job_id = queue.submit(None, directory, **options)  # type: ignore[arg-type]
    wait_until_ended(queue, job_id)
    status = queue.status(job_id)
    stage = Path(status.directory)
    assert status.succeeded, (status, (stage / "_stderr").read_text())
    return (stage / "_stdout").read_text()


@pytest.mark.parametrize(
    ("shell", "files", "expected"),
    [
        ("bash", (".bash_profile", ".bash_login", ".profile"), ".bash_profile"),
        ("bash", (".bash_login", ".profile"), ".bash_login"),
        ("bash", (".profile",), ".profile"),
        ("zsh", (".zprofile", ".profile"), ".zprofile"),
        ("fish", (".config/fish/config.fish", ".profile"), ".config/fish/config.fish"),
        ("tcsh", (".login", ".profile"), ".login"),
        ("dash", (".bash_profile", ".profile"), ".profile"),
    ],
)
def test_login_reads_files_of_the_login_shell(
    queue: tej.RemoteQueue,
    home: Path,
    job: Make,
    monkeypatch: pytest.MonkeyPatch,
    require: Callable[[str], None],
    shell: str,
    files: tuple[str, ...],
    expected: str,
) -> None:
    require(shell)
    monkeypatch.setenv("SHELL", str(shutil.which(shell)))
    for name in files:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        value = f"two\n'words' of {name}"
        if name == ".login":
            value = f"'words' of {name}"
            text = f'setenv FROM_LOGIN "{value}"\ncd /\n'
        elif "fish" in name:
            text = f'set -gx FROM_LOGIN "{value}"\ncd /\n'
        else:
            text = f'FROM_LOGIN="{value}"\nexport FROM_LOGIN\ncd /\n'
        path.write_text(text)
    script = 'echo "${FROM_LOGIN-nothing}"; test "$PWD" = "$TEJ_JOB_DIR"; ls -a ..'
    # The variables of tej's own shell do not reach the job.
    script += "; ! env | grep ^tej_"
    printed = output_of(queue, job(script), login=True)
    assert f"'words' of {expected}\n" in printed
    assert ".login\n" not in printed.partition(expected)[2]


def test_login_files_are_not_read_by_default(
    queue: tej.RemoteQueue, home: Path, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", str(shutil.which("bash")))
    for name in (".bash_profile", ".bashrc", ".profile"):
        (home / name).write_text("export FROM_LOGIN=something\n")
    assert output_of(queue, job("echo ${FROM_LOGIN-nothing}")) == "nothing\n"


def test_login_file_that_exits_is_survived(
    queue: tej.RemoteQueue, home: Path, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", str(shutil.which("bash")))
    (home / ".bash_profile").write_text("exit 3\n")
    assert output_of(queue, job("echo ran"), login=True) == "ran\n"


@pytest.mark.parametrize("program", ["env", "perl", "neither"])
def test_sigint_and_sigquit_have_their_defaults(
    queue: tej.RemoteQueue,
    job: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
) -> None:
    doubles = tmp_path / "doubles"
    doubles.mkdir()
    for name in {"env": (), "perl": ("env",), "neither": ("env", "perl")}[program]:
        (doubles / name).write_text("#!/bin/sh\nexit 127\n")
        (doubles / name).chmod(0o755)
    if program == "neither":
        # Use a PATH without perl.
        (doubles / "perl").unlink()
        for folder in ("/usr/bin", "/bin"):
            for tool in Path(folder).iterdir():
                link = doubles / tool.name
                if tool.name != "perl" and not os.path.lexists(link):
                    link.symlink_to(tool)
        monkeypatch.setenv("PATH", str(doubles))
    else:
        monkeypatch.setenv("PATH", f"{doubles}:{os.environ['PATH']}")
    line = output_of(queue, job("grep '^SigIgn:' /proc/self/status"))
    ignored = int(line.split()[1], 16) & 0b110
    assert ignored == (0b110 if program == "neither" else 0)


def test_job_has_umask_of_its_user(queue: tej.RemoteQueue, job: Make) -> None:
    before = os.umask(0o027)
    try:
        assert output_of(queue, job("umask; # 27")).strip() == "0027"
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("own", "printed"), [(None, "1"), ("", ""), ("0", "0")], ids=repr
)
def test_python_output_is_unbuffered_unless_job_says(
    queue: tej.RemoteQueue, job: Make, own: str | None, printed: str
) -> None:
    options = {} if own is None else {"environment": {"PYTHONUNBUFFERED": own}}
    directory = job('echo "$PYTHONUNBUFFERED"')
    assert output_of(queue, directory, **options) == f"{printed}\n"


def test_job_files_replace_no_tool_of_ours(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}:")
    tools = ("awk", "cat", "date", "head", "mkdir", "mv", "rm", "tail", "tar", "wc")
    directory = job("ours; rm", dict.fromkeys(tools, "#!/bin/sh\necho not $0"))
    (directory / "ours").write_text("#!/bin/sh\necho ours")
    for path in directory.iterdir():
        path.chmod(0o755)
    job_id = queue.submit(None, directory)
    assert queue.wait([job_id])[job_id].succeeded
    assert b"".join(queue.logs(job_id)) == b"ours\nnot ./rm\n"
    queue.download(job_id, "_stdout", directory=tmp_path / "results")
    assert (tmp_path / "results/_stdout").read_bytes() == b"ours\nnot ./rm\n"


def test_modules_are_loaded_before_the_command(
    queue: tej.RemoteQueue, tmp_path: Path, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = tmp_path / "modules/init/sh"
    init.parent.mkdir(parents=True)
    init.write_text(
        'module() { [ "$2" != absent ] && LOADED=${LOADED-}$2. && export LOADED; }\n'
    )
    monkeypatch.setenv("MODULESHOME", str(tmp_path / "modules"))
    script = job('echo "$LOADED"')
    resources = tej.Resources(modules=["gcc/13", "mpi"])
    assert output_of(queue, script, resources=resources) == "gcc/13.mpi.\n"
    queue.submit("absent", script, resources=tej.Resources(modules=["absent"]))
    wait_until_ended(queue, "absent")
    status = queue.status("absent")
    stage = Path(status.directory)
    assert (status.exit_code, (stage / "_stdout").read_text()) == (125, "")
    message = "tej: the module 'absent' cannot be loaded\n"
    assert (stage / "_stderr").read_text() == message
