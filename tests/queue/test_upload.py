"""Uploads: the job directory arrives completely, with files of all kinds and names."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from installer import change_scripts
from jobs import Gate, wait_until_ended
from servers.users import Users

import tej
from tej.queue.prepared_job import PreparedJob
from tej.queue.submission import Submission

Make = Callable[..., Path]

ODD_NAMES = [
    b"two  blanks",
    b" blank at the ends ",
    b"new\nline",
    b"-rf",
    b"--checkpoint-action=exec=touch pwned",
    b"caf\xe9 latin1 \xff",
    "café ✓".encode(),
    b"quote ' and \" and `id` $(id)",
    b"back\\slash \\n \\0",
    b"*?[x]",
    b"~",
    b"#hash",
    b".hidden",
    b"...",
    b"command",
    b"spec",
    b"x" * 255,
]


def describe(root: Path) -> dict[str, tuple[str, object]]:
    """Return the kinds, executable bits, contents and targets of a directory's files."""
    found: dict[str, tuple[str, object]] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[name] = ("link", os.readlink(path))
        elif stat.S_ISDIR(mode):
            found[name] = ("directory", None)
        else:
            found[name] = ("program" if mode & 0o100 else "file", path.read_bytes())
    return found


def sent(queue: tej.RemoteQueue, directory: Path) -> dict[str, tuple[str, object]]:
    """Return the files that have arrived, without the files that the job created."""
    job_id = queue.submit(None, directory, "true")
    wait_until_ended(queue, job_id)
    there = describe(Path(queue.status(job_id).directory))
    assert there.pop("_stdout") == ("file", b"")
    assert there.pop("_stderr") == ("file", b"")
    return there


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


def test_empty_directory_can_be_submitted(queue: tej.RemoteQueue, folder: Path) -> None:
    assert sent(queue, folder) == {}


def test_empty_directories_arrive(queue: tej.RemoteQueue, folder: Path) -> None:
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "out").mkdir()
    assert sent(queue, folder) == describe(folder)


def test_symbolic_links_arrive_as_links(queue: tej.RemoteQueue, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "file").write_text("content")
    for name, aim in {
        "to file": "data/file",
        "to directory": "data",
        "dangling": "not there",
        "absolute": "/etc/hostname",
        "above": "../../..",
        "itself": "itself",
        "odd": "new\nline 'x' \udce9",
        "long": "d/" * 200 + "x",
    }.items():
        (folder / name).symlink_to(aim)
    (folder / "data" / "back").symlink_to("..")
    assert sent(queue, folder) == describe(folder)


def test_executable_bits_arrive(queue: tej.RemoteQueue, folder: Path) -> None:
    for mode in (0o644, 0o755, 0o700, 0o600, 0o711, 0o654):
        path = folder / f"{mode:o}"
        path.write_text("x")
        path.chmod(mode)
    there = sent(queue, folder)
    assert {name: kind for name, (kind, _) in there.items()} == {
        "644": "file",
        "755": "program",
        "700": "program",
        "600": "file",
        "711": "program",
        "654": "file",  # The owner cannot execute the original file either.
    }


def test_private_files_stay_private(queue: tej.RemoteQueue, folder: Path) -> None:
    (folder / "secret").write_text("sesame")
    (folder / "secret").chmod(0o600)
    (folder / "start.sh").write_text("ls -l secret start.sh | cut -c 1-10")
    (folder / "start.sh").chmod(0o700)
    job = queue.ensure(folder)
    job.wait()
    assert b"".join(job.logs()).split() == [b"-rw-------", b"-rwx------"]


def test_names_arrive_unchanged(queue: tej.RemoteQueue, folder: Path) -> None:
    for name in ODD_NAMES:
        here = os.fsdecode(name)
        (folder / here).mkdir()
        (folder / here / here).write_bytes(name)
    (folder / "plain").write_bytes(b"")
    assert sent(queue, folder) == describe(folder)


def test_long_paths_arrive(queue: tej.RemoteQueue, folder: Path) -> None:
    deep = folder.joinpath(*["d" * 60] * 20)
    deep.mkdir(parents=True)
    (deep / ("f" * 200)).write_text("deep")
    (folder / ("é" * 110)).write_text("wide")
    assert sent(queue, folder) == describe(folder)


def test_contents_arrive_unchanged(queue: tej.RemoteQueue, folder: Path) -> None:
    for size in (0, 1, 511, 512, 513, 10240, 262143, 262144, 262145):
        (folder / f"first {size}").write_bytes(os.urandom(size))
        (folder / f"second {size}").write_bytes(os.urandom(size))
    assert sent(queue, folder) == describe(folder)


def test_many_files_arrive(queue: tej.RemoteQueue, folder: Path) -> None:
    for number in range(1500):
        (folder / f"{number % 7}").mkdir(exist_ok=True)
        (folder / f"{number % 7}" / f"{number}").write_bytes(b"x" * number)
    assert sent(queue, folder) == describe(folder)


def test_hard_links_arrive_as_files(queue: tej.RemoteQueue, folder: Path) -> None:
    (folder / "one").write_text("shared")
    (folder / "two").hardlink_to(folder / "one")
    assert sent(queue, folder) == describe(folder)


def test_sparse_file_arrives(queue: tej.RemoteQueue, folder: Path) -> None:
    with (folder / "sparse").open("wb") as file:
        file.truncate(3_000_000)
    assert sent(queue, folder) == describe(folder)


def test_read_only_files_arrive_and_are_deleted(
    queue: tej.RemoteQueue, folder: Path, queue_path: Path
) -> None:
    (folder / "ro").mkdir()
    (folder / "ro" / "file").write_text("x")
    (folder / "ro" / "file").chmod(0o400)
    (folder / "ro").chmod(0o500)
    try:
        job_id = queue.submit(None, folder, "cat ro/file && touch ro/new")
        wait_until_ended(queue, job_id)
        assert queue.status(job_id).succeeded
        queue.delete(job_id)
        assert list(queue_path.glob("jobs/*")) == []
        assert list(queue_path.glob("incoming/*")) == []
    finally:
        (folder / "ro").chmod(0o700)


def test_uploaded_files_belong_to_server_user(
    queue: tej.RemoteQueue, folder: Path
) -> None:
    (folder / "file").write_text("x")
    if os.getuid() == 0:
        os.chown(folder / "file", 12345, 54321)
    job_id = queue.submit(None, folder, "true")
    path = Path(queue.status(job_id).directory, "file")
    assert path.stat().st_uid == os.getuid()


def test_times_of_files_are_kept(queue: tej.RemoteQueue, folder: Path) -> None:
    (folder / "file").write_text("x")
    os.utime(folder / "file", (1_000_000_000, 1_234_567_890))
    job_id = queue.submit(None, folder, "true")
    assert Path(queue.status(job_id).directory, "file").stat().st_mtime == 1_234_567_890


def test_files_named_stdout_and_stderr_are_kept(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    directory = job("echo output", {"_stderr": "old"})
    (directory / "_stdout").symlink_to(elsewhere)
    job_id = queue.submit(None, directory)
    wait_until_ended(queue, job_id)
    stage = Path(queue.status(job_id).directory)
    assert (stage / "_stdout").read_text() == "output\n"
    assert (stage / "_stderr").read_text() == ""
    assert elsewhere.read_text() == "untouched"


# Files that cannot be sent


@pytest.fixture
def short_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """Return a directory with a short path, for sockets."""
    bound = []

    def bind(name: str) -> None:
        monkeypatch.chdir(folder)
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(name)
        bound.append(sock)

    yield bind
    for sock in bound:
        sock.close()


def test_socket_is_named_before_upload(
    folder: Path, short_folder: Callable[[str], None]
) -> None:
    (folder / "sub").mkdir()
    short_folder("sub/my socket")
    queue = tej.RemoteQueue("host.invalid")
    with pytest.raises(tej.InvalidJobDirectory, match=r"sub/my socket' is a socket"):
        queue.submit("a", folder, "true")


def test_named_pipe_is_named_before_upload(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    queue = tej.RemoteQueue("host.invalid")
    with pytest.raises(tej.InvalidJobDirectory, match=r"pipe' is a named pipe"):
        queue.submit("a", folder, "true")


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices")
def test_device_is_named_before_upload(folder: Path) -> None:
    try:
        os.mknod(folder / "zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except OSError:
        pytest.skip("no device can be made here")
    queue = tej.RemoteQueue("host.invalid")
    with pytest.raises(tej.InvalidJobDirectory, match=r"zero' is a device"):
        queue.submit("a", folder, "true")


def test_ignored_socket_is_no_error(queue: tej.RemoteQueue, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / ".tejignore").write_text("pipe\n")
    assert set(sent(queue, folder)) == {".tejignore"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "does not exist"),
        ("echo hi", "does not exist: to run a command, write it after `--`"),
        ("file", "is not a directory"),
    ],
)
def test_file_instead_of_directory_is_refused(
    tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "file").write_text("x")
    queue = tej.RemoteQueue("host.invalid")
    with pytest.raises(tej.InvalidJobDirectory, match=words):
        queue.submit("a", tmp_path / name, "true")


READ_AS_ANOTHER = """
import os, sys
sys.path[:0] = {path!r}
import tej, tej.transport.local, pathspec
# Public names are imported on first use, which the other user may not be able to do.
tej.RemoteQueue, tej.InvalidJobDirectory
import tej.queue.submission, tej.wire.tar_writer
os.setgid(65534)
os.setuid(65534)
try:
    tej.RemoteQueue("local:", {queue!r}, "default").submit("a", {folder!r}, "true")
except tej.InvalidJobDirectory as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["secret", "locked"])
@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_unreadable_file_is_named_without_job(users: Users, what: str) -> None:
    folder, queue = users.folder / "folder", users.folder / "queue"
    (folder / "locked").mkdir(parents=True)
    (folder / "secret").write_text("x")
    (folder / "secret").chmod(0o600 if what == "secret" else 0o644)
    (folder / "locked").chmod(0o700 if what == "locked" else 0o755)
    queue.mkdir()
    os.chown(queue, 65534, 65534)
    # Other users may have no access to the checkout.
    package = shutil.copytree(Path(tej.__file__).parent, users.folder / "python/tej")
    path = [str(package.parent), *sys.path]
    code = READ_AS_ANOTHER.format(path=path, queue=str(queue), folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "HOME": str(users.folder)},
    )
    assert f"{what}' cannot be read" in done.stdout, done.stderr
    assert list(queue.glob("jobs/*")) == []
    assert list(queue.glob("incoming/*")) == []


def test_file_that_shrinks_during_upload_makes_no_job(
    queue: tej.RemoteQueue, folder: Path, queue_path: Path
) -> None:
    (folder / "a").write_bytes(b"x" * 600_000)
    (folder / "log").write_bytes(b"x" * 3_000_000)

    def truncate(_: int) -> None:
        (folder / "log").write_bytes(b"short")

    with pytest.raises(tej.InvalidJobDirectory, match="log' was changed"):
        queue.submit("shrinks", folder, "true", progress=truncate)
    assert queue.jobs() == []
    assert list(queue_path.glob("incoming/*")) == []


def test_names_that_differ_only_in_case_are_refused(
    queue_path: Path, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few test machines have a file system that ignores case.
    change = ('[ ! -e "$room/.OWNER" ]', '[ ! -e "$room/.owner" ]')
    change_scripts(monkeypatch, "commands/submit", change)
    queue = tej.RemoteQueue("local:", str(queue_path), "default")
    names = ["Data.txt", "data.txt"]
    good, bad = job("true", name="good"), job("true", dict.fromkeys(names, ""), "bad")
    with pytest.raises(tej.InvalidJobDirectory, match=r"'Data.txt' and 'data.txt'"):
        queue.ensure(bad)
    specs = [tej.JobSpec(path, job_id=path.name) for path in (bad, good)]
    refused, started = queue.submit_many(specs)
    assert isinstance(refused.error, tej.InvalidJobDirectory)
    assert started.error is None
    assert [one.job_id for one in queue.jobs()] == ["good"]


def test_file_that_grows_before_upload_arrives_complete(
    queue: tej.RemoteQueue, folder: Path
) -> None:
    (folder / "a").write_bytes(b"x" * 600_000)
    (folder / "log").write_bytes(b"y" * 1_000_000)

    def append(_: int) -> None:
        with (folder / "log").open("ab") as log:
            log.write(b"more")

    job_id = queue.submit("grows", folder, "true", progress=append)
    path = Path(queue.status(job_id).directory, "log")
    # `submit` signs the content that it sends, so that either version is right.
    more = path.read_bytes().removeprefix(b"y" * 1_000_000)
    assert more == b"more" * (len(more) // 4)


def test_file_that_vanishes_is_named_without_job(
    queue: tej.RemoteQueue, folder: Path, queue_path: Path
) -> None:
    (folder / "a").write_bytes(b"x" * 600_000)
    (folder / "gone").write_bytes(b"y")

    def remove(_: int) -> None:
        (folder / "gone").unlink(missing_ok=True)

    with pytest.raises(tej.InvalidJobDirectory, match="gone' cannot be read"):
        queue.submit("vanishes", folder, "true", progress=remove)
    assert queue.jobs() == []
    assert list(queue_path.glob("incoming/*")) == []


# .tejignore


def tree(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text(name)


def test_tejignore_matches_like_gitignore(queue: tej.RemoteQueue, folder: Path) -> None:
    tree(
        folder,
        "keep.txt",
        "debug.log",
        "keep.log",
        "sub/other.log",
        "build/artifact.o",
        "sub/build/too.o",
        "sub/data/raw.csv",
        "top.tmp",
        "sub/top.tmp",
        "sp ace ",
        "é.bak",
        "empty/",
    )
    (folder / ".tejignore").write_text(
        "# a comment\n*.log\n!keep.log\nbuild/\n/top.tmp\nsub/data/**\n\nsp\\ ace\\ \n*.bak\n"
    )
    there = {
        name for name, (kind, _) in sent(queue, folder).items() if kind != "directory"
    }
    assert there == {".tejignore", "keep.txt", "keep.log", "sub/top.tmp"}


def test_tejignore_may_exclude_itself(queue: tej.RemoteQueue, folder: Path) -> None:
    tree(folder, "a")
    (folder / ".tejignore").write_text(".tejignore\n")
    assert set(sent(queue, folder)) == {"a"}


def test_ignored_script_is_refused_before_upload(
    folder: Path,
) -> None:
    tree(folder, "start.sh")
    (folder / ".tejignore").write_text("*.sh\n")
    with pytest.raises(tej.InvalidJobDirectory, match="'start.sh'.*left out by"):
        tej.RemoteQueue("host.invalid").submit("a", folder)


def test_unreadable_tejignore_is_an_error(folder: Path) -> None:
    (folder / ".tejignore").write_bytes(b"caf\xe9\n")
    with pytest.raises(tej.InvalidJobDirectory, match="tejignore' cannot be read"):
        tej.RemoteQueue("host.invalid").submit("a", folder, "true")


def test_tejignore_may_have_windows_line_endings(
    queue: tej.RemoteQueue, folder: Path
) -> None:
    tree(folder, "a.log", "b.txt")
    (folder / ".tejignore").write_bytes(b"*.log\r\n")
    assert set(sent(queue, folder)) == {".tejignore", "b.txt"}


def test_job_starts_with_complete_directory(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    files = {f"data/{number}": str(number) for number in range(200)}
    job_id = queue.submit(None, job("ls data | wc -l", files))
    wait_until_ended(queue, job_id)
    output = Path(queue.status(job_id).directory, "_stdout").read_text()
    assert output.strip() == "200"


# Changes between signing and sending

STORE = 3_500_000
"""Bytes of a file that makes an upload go through the content store."""


@pytest.mark.parametrize("size", [200_000, STORE])
@pytest.mark.parametrize("name", ["data", "link", "small"])
def test_change_between_signing_and_sending_starts_nothing(
    local_queue: tej.RemoteQueue, folder: Path, size: int, name: str
) -> None:
    (folder / "data").write_bytes(os.urandom(size))
    # The file is larger than the content that is kept in memory.
    for number in range(9):
        (folder / f"fill{number}").write_bytes(os.urandom(60_000))
    (folder / "small").write_bytes(b"one")
    (folder / "link").symlink_to("data")
    (folder / "zz").write_bytes(os.urandom(60_000))
    job = PreparedJob(tej.JobSpec(folder, "true"), "u", "s", signed=True)
    assert job.entries[-1].data is None
    path = folder / ("zz" if name == "small" else name)
    if name == "link":
        path.unlink()
        path.symlink_to("small")
    else:
        path.write_bytes(b"y" * path.stat().st_size)
    submission = Submission(local_queue.connection, "ensure")
    (outcome,) = submission.send([job])
    if name == "link":
        # The target of a link is small, so it is sent as it was first read.
        assert outcome.is_new
        target = os.readlink(Path(outcome.status.directory, "link"))  # type: ignore[union-attr]
        assert target == "data"
        return
    assert isinstance(outcome.error, tej.InvalidJobDirectory)
    assert f"{path.name}' was changed" in str(outcome.error)
    assert local_queue.jobs() == []


def test_jobs_of_rewritten_directory_get_signed_content(
    local_queue: tej.RemoteQueue, folder: Path
) -> None:
    (folder / "start.sh").write_text("cat value\n")

    def specs() -> Iterator[tej.JobSpec]:
        for value in ("1", "2", "3000"):
            (folder / "value").write_text(value)
            yield tej.JobSpec(folder)

    for method in (local_queue.ensure_many, local_queue.submit_many):
        ids = [outcome.job_id for outcome in method(specs())]
        local_queue.wait(ids)
        output = [b"".join(local_queue.logs(job_id)) for job_id in ids]
        assert output == [b"1", b"2", b"3000"]


def test_changed_job_does_not_affect_its_batch(
    local_queue: tej.RemoteQueue, folder: Path, job: Make
) -> None:
    (folder / "big").write_bytes(os.urandom(400_000))
    bad = tej.JobSpec(folder, "true")
    good = [tej.JobSpec(job(f"echo {name}", name=name)) for name in ("one", "two")]

    def specs() -> Iterator[tej.JobSpec]:
        yield good[0]
        yield bad
        (folder / "big").write_bytes(b"changed")
        yield good[1]

    first, second, third = local_queue.ensure_many(specs())
    assert first.is_new
    assert third.is_new
    assert isinstance(second.error, tej.InvalidJobDirectory)
    assert "big' was changed" in str(second.error)
    assert len(local_queue.jobs()) == 2


@pytest.mark.parametrize("size", [1000, STORE])
def test_submit_stores_signature_of_sent_content(
    local_queue: tej.RemoteQueue, folder: Path, size: int
) -> None:
    (folder / "start.sh").write_text("true\n")
    (folder / "data").write_bytes(os.urandom(size))
    local_queue.submit("mine", folder)
    assert local_queue.status("mine").signature == tej.signature(folder)
    assert not local_queue.ensure(folder, job_id="mine").is_new
    (folder / "start.sh").write_text("false\n")
    with pytest.raises(tej.JobAlreadyExists, match="different files"):
        local_queue.ensure(folder, job_id="mine")


@pytest.mark.parametrize("size", [1000, STORE])
def test_times_modes_and_holes_arrive(
    local_queue: tej.RemoteQueue, folder: Path, size: int
) -> None:
    (folder / "data").write_bytes(os.urandom(size))
    (folder / "sub").mkdir()
    for name, mode in (
        ("secret", 0o600),
        ("tool", 0o750),
        ("sub/it's read only", 0o444),
    ):
        (folder / name).write_bytes(os.urandom(70_000))
        (folder / name).chmod(mode)
        os.utime(folder / name, (0, 1_577_836_800))
    with (folder / "holes").open("wb") as file:
        file.truncate(50_000_000)
    os.utime(folder / "sub", (0, 1_577_836_800))
    job_id = local_queue.submit(None, folder, "true")
    there = Path(local_queue.status(job_id).directory)
    for path in folder.rglob("*"):
        arrived = (there / path.relative_to(folder)).stat()
        assert arrived.st_mode == path.stat().st_mode, path
        assert int(arrived.st_mtime) == int(path.stat().st_mtime), path
    assert (there / "holes").stat().st_size == 50_000_000
    assert (there / "holes").stat().st_blocks * 512 < 1_000_000


def test_skipped_tool_files_are_reported_once(
    local_queue: tej.RemoteQueue, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / ".git").mkdir()
    (folder / ".git/index").write_bytes(b"x" * 2_000_000)
    (folder / "__pycache__").mkdir()
    assert sent(local_queue, folder) == {}
    assert caplog.text.count("Not sent: .git, __pycache__ (tool files, 2.0 MB)") == 1
    job_id = local_queue.submit(None, folder, "true", everything=True)
    assert Path(local_queue.status(job_id).directory, ".git/index").exists()


def test_unreadable_directory_is_the_outcome_of_its_job(
    local_queue: tej.RemoteQueue,
    folder: Path,
    job: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    for _ in range(24):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    specs = [tej.JobSpec(folder, "true"), tej.JobSpec("a\0b"), tej.JobSpec(job("true"))]
    first, second, third = local_queue.ensure_many(specs)
    assert isinstance(first.error, tej.InvalidJobDirectory)
    assert isinstance(second.error, tej.InvalidJobDirectory)
    assert third.is_new
