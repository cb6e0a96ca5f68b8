"""The public API of tej 0.6: programs that use it work unchanged.

The uses are those in tej 0.6's own tests, in its README and in the package of
VisTrails.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from jobs import Gate, job_directory, no_processes_left, wait_until
from servers.sshd import Sshd

import tej
import tej.errors
import tej.submission
from tej import (
    DEFAULT_TEJ_DIR,
    JobAlreadyExists,
    JobNotFound,
    JobStillRunning,
    QueueDoesntExist,
    RemoteQueue,
    ServerLogger,
    destination_as_string,
    parse_ssh_destination,
)

ERRORS = [
    "Error",
    "InvalidDestination",
    "JobAlreadyExists",
    "JobNotFound",
    "JobStillRunning",
    "QueueDoesntExist",
    "QueueExists",
    "QueueLinkBroken",
    "RemoteCommandFailure",
]
# tej 0.6 took these from `tej`, `tej.submission` or `tej.errors`.
NAMES = {
    "tej": [
        "DEFAULT_TEJ_DIR",
        *ERRORS,
        "RemoteQueue",
        "ServerLogger",
        "__version__",
        "destination_as_string",
        "parse_ssh_destination",
    ],
    "tej.submission": [
        "DEFAULT_TEJ_DIR",
        "RemoteQueue",
        "ServerLogger",
        "destination_as_string",
        "make_unique_name",
        "parse_ssh_destination",
    ],
    "tej.utils": [
        "PY3",
        "irange",
        "iteritems",
        "itervalues",
        "izip",
        "listvalues",
        "shell_escape",
        "string_types",
        "unicode_",
    ],
    "tej.errors": ERRORS,
}


def test_shell_words_are_escaped_as_before() -> None:
    from tej.utils import shell_escape

    assert shell_escape("a-b/c.d") == "a-b/c.d"
    assert shell_escape(b"hello world") == '"hello world"'
    assert shell_escape('a"b$c`d\\e') == '"a\\"b\\$c\\`d\\\\e"'
    assert shell_escape(PurePosixPath("/a b")) == '"/a b"'
    assert shell_escape("") == '""'


@pytest.mark.parametrize("module", NAMES)
def test_all_names_of_06_exist(module: str) -> None:
    found = __import__(module, fromlist=["_"])
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


def test_constants_are_unchanged() -> None:
    assert DEFAULT_TEJ_DIR == "~/.tej"
    assert (RemoteQueue.JOB_DONE, RemoteQueue.JOB_RUNNING) == ("finished", "running")
    assert RemoteQueue.JOB_INCOMPLETE == "incomplete"
    assert RemoteQueue.JOB_CREATED == "created"


def test_unique_names_are_ten_characters() -> None:
    names = {tej.submission.make_unique_name() for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch("[a-z0-9]{10}", name) for name in names)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1", {"hostname": "127.0.0.1"}),
        ("ssh://127.0.0.1", {"hostname": "127.0.0.1"}),
        ("127.0.0.1:12", {"hostname": "127.0.0.1", "port": 12}),
        ("me@host:12", {"hostname": "host", "username": "me", "port": 12}),
        (
            "me:p4$$w0rd@host:12",
            {"hostname": "host", "username": "me", "password": "p4$$w0rd", "port": 12},
        ),
        ("ssh://me@host:22", {"hostname": "host", "username": "me", "port": 22}),
    ],
)
def test_destination_is_parsed_as_before(text: str, parts: dict[str, object]) -> None:
    expected = {"username": getpass.getuser(), **parts}
    assert parse_ssh_destination(text) == expected


@pytest.mark.parametrize("text", ["http://host", "ssh://test@test@host", ""])
def test_invalid_destination_is_still_refused(text: str) -> None:
    with pytest.raises(tej.errors.InvalidDestination):
        parse_ssh_destination(text)


def test_destination_string_has_no_password() -> None:
    parts = {"username": "me", "hostname": "host", "port": 12}
    assert destination_as_string(parts) == "ssh://me@host:12"
    assert destination_as_string({**parts, "port": 22}) == "ssh://me@host"
    assert "s3cr3t" not in destination_as_string({**parts, "password": "s3cr3t"})


def test_dictionary_without_host_is_refused() -> None:
    with pytest.raises(tej.errors.InvalidDestination, match="missing hostname"):
        RemoteQueue({"username": "me"}, DEFAULT_TEJ_DIR)


def test_unknown_runtime_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="unknown"):
        RemoteQueue("host", DEFAULT_TEJ_DIR, setup_runtime="nonsense")


def test_errors_have_default_messages_and_one_base() -> None:
    for name in NAMES["tej.errors"]:
        kind = getattr(tej.errors, name)
        assert issubclass(kind, tej.errors.Error)
        if kind is not tej.errors.Error:
            assert str(kind())
    failure = tej.errors.RemoteCommandFailure(command="commands/status", ret=9)
    assert (failure.command, failure.ret) == ("commands/status", 9)


# Tests with a server

Make = Callable[..., Path]


@pytest.fixture(params=["local", "ssh"])
def destination(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    if request.param == "local":
        monkeypatch.setenv("HOME", str(tmp_path))
        return "local:"
    request.getfixturevalue("client_home")
    return "ssh://server"


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "tej 2" / "queue"
    yield path
    with contextlib.suppress(tej.Error):
        RemoteQueue("local:", str(path)).cleanup(kill=True)
    no_processes_left(path)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "job1done")


@pytest.fixture
def jobdir(tmp_path: Path, gate: Gate) -> Path:
    """Return the job directory of tej 0.6's own tests."""
    script = (
        "[ -f dir1/data1 ] || exit 1\n"
        '[ "$(cat dir2/dir3/data2)" = data2 ] || exit 2\n'
        f'echo "stdout here"\n{gate.wait}\necho "job output" > job1results\n'
    )
    files = {"dir1/data1": "data1\n", "dir2/dir3/data2": "data2\n"}
    return job_directory(tmp_path, script, files, name="jobdir")


def test_functional_tests_of_06_pass(
    destination: str, path: Path, jobdir: Path, gate: Gate, tmp_path: Path
) -> None:
    link = tmp_path / "tej 2" / "link"
    queue = RemoteQueue(destination, str(path), "default")
    queue.setup([str(link)])
    assert link.read_text() == f"tejdir: {path}\n"
    queue.setup(links=[str(tmp_path / "tej 2" / "link2")], only_links=True)
    queue = RemoteQueue(destination, str(link))
    with pytest.raises(JobNotFound):
        queue.status("nonexistent")

    job_id = queue.submit(None, str(jobdir))
    assert job_id.startswith("jobdir_")
    status, target, arg = queue.status(job_id)
    assert status == RemoteQueue.JOB_RUNNING
    assert target == PurePosixPath(path / "jobs" / job_id / "stage")
    assert arg is None
    with pytest.raises(JobStillRunning):
        queue.delete(job_id)
    with pytest.raises(JobAlreadyExists):
        queue.submit(job_id, str(jobdir))
    with pytest.raises(JobStillRunning):
        queue.cleanup()

    gate.open()
    wait_until(
        lambda: queue.status(job_id)[0] == RemoteQueue.JOB_DONE, "the job has ended"
    )
    status, target, arg = queue.status(job_id)
    assert (status, arg) == (RemoteQueue.JOB_DONE, "0")

    destdir = tmp_path / "dest"
    destdir.mkdir()
    queue.download(job_id, ["job1results", "_stdout"], directory=str(destdir))
    assert (destdir / "job1results").read_text() == "job output\n"
    assert (destdir / "_stdout").read_text() == "stdout here\n"
    queue.download(job_id, "dir2/dir3/data2", destination=str(destdir / "renamed"))
    assert (destdir / "renamed").read_text() == "data2\n"
    queue.download(job_id, "dir2", directory=str(destdir), recursive=True)
    assert (destdir / "dir2" / "dir3" / "data2").read_text() == "data2\n"
    with pytest.raises(TypeError):
        queue.download(job_id, ["a"], directory=".", destination="b")
    with pytest.raises(ValueError, match="multiple files"):
        queue.download(job_id, ["a", "b"], destination="c")
    with pytest.raises(TypeError):
        queue.download(job_id, ["a"], nonsense=True)  # type: ignore[call-arg]

    assert [(found, info["status"]) for found, info in queue.list()] == [
        (job_id, "finished")
    ]
    queue.kill(job_id)
    assert queue.status(job_id)[0] == RemoteQueue.JOB_DONE
    queue.delete(job_id)
    with pytest.raises(JobNotFound):
        queue.status(job_id)
    with pytest.raises(JobNotFound):
        queue.kill(job_id)
    with pytest.raises(JobNotFound):
        queue.delete(job_id)
    assert queue.cleanup() is True
    assert not path.exists()
    assert not link.exists()


def test_command_is_accepted_as_script(
    destination: str, path: Path, tmp_path: Path
) -> None:
    queue = RemoteQueue(destination, str(path), "default")
    empty = tmp_path / "empty"
    empty.mkdir()
    job_id = queue.submit("command", empty, 'echo "hi"')
    wait_until(lambda: queue.status(job_id)[0] == "finished", "the job has ended")
    queue.download(job_id, "_stdout", destination=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "hi\n"


def test_kill_and_cleanup_work_as_before(
    destination: str, path: Path, jobdir: Path
) -> None:
    queue = RemoteQueue(destination, str(path), "default")
    queue.submit("first", str(jobdir), "start.sh")
    queue.submit("second", str(jobdir), script="start.sh")
    queue.kill("first")
    status, _, arg = queue.status("first")
    assert status != RemoteQueue.JOB_RUNNING
    queue.delete("first")
    assert queue.cleanup(kill=True) is True
    assert not path.exists()


def test_missing_queue_has_its_own_error(destination: str, path: Path) -> None:
    queue = RemoteQueue(destination, str(path), "default")
    for ask in (lambda: list(queue.list()), lambda: queue.status("a")):
        with pytest.raises(QueueDoesntExist):
            ask()


def test_server_logger_can_be_overridden(
    destination: str, path: Path, jobdir: Path
) -> None:
    heard: list[str] = []

    class Logger(ServerLogger):
        def message(self, data: str) -> None:
            heard.append(data)

    class Queue(RemoteQueue):
        def server_logger(self) -> ServerLogger:
            return Logger()

    queue = Queue(destination, str(path), "default")
    queue.setup()
    with pytest.raises(tej.QueueExists):
        queue.setup()
    assert any("Queue already exists" in words for words in heard)


def test_server_stderr_is_logged_by_default(
    destination: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue = RemoteQueue(destination, str(path), "default")
    queue.setup()
    with (
        caplog.at_level(logging.INFO, logger="tej.server"),
        contextlib.suppress(tej.QueueExists),
    ):
        queue.setup()
    assert "Queue already exists" in caplog.text


def test_queue_attributes_are_unchanged(path: Path) -> None:
    queue = RemoteQueue("me@host:2200", str(path))
    assert queue.queue == PurePosixPath(path)
    assert queue.destination == {"hostname": "host", "username": "me", "port": 2200}
    assert queue.destination_string == "ssh://me@host:2200"


def test_dictionary_is_a_destination(
    path: Path, sshd: Sshd, client_home: Path, jobdir: Path
) -> None:
    queue = RemoteQueue(
        {"hostname": "server", "username": sshd.user}, str(path), "default"
    )
    assert queue.setup() == PurePosixPath(path)
