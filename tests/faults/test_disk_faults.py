"""Servers with a full, read-only or noexec disk, or with missing or hung programs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.conftest import SOON, looked_after
from faults.faulty_servers import Doubles, mounted, remount
from jobs import LIMIT, Gate, wait_until, wait_until_ended
from servers.sshd import Sshd
from servers.users import Users

import tej
from tej import JobState, Retries
from tej.destination import Destination
from tej.server.scripts import Scripts, built_in
from tej.transport import Completed, open_transport
from tej.transport.base import Sink
from tej.transport.local import LocalTransport
from tej.transport.program_start import COMMAND

Make = Callable[..., Path]
Require = Callable[[str], None]
MEGABYTES = 6


def on(path: Path) -> tej.RemoteQueue:
    """Return the queue at a path of this machine."""
    return tej.RemoteQueue("local:", str(path), "default", retries=SOON)


def ends(queue: tej.RemoteQueue, job_id: str) -> tej.JobStatus:
    """Return the status of a job once the job has ended."""
    wait_until_ended(queue, job_id)
    return queue.status(job_id)


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(
    request: pytest.FixtureRequest, require: Require, tmp_path: Path
) -> Iterator[Path]:
    """Yield a file system of a few megabytes, in memory and on a block device."""
    require("root")
    require("mount")
    place = tmp_path / "disk"
    if request.param == "tmpfs":
        arguments = ["-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", place]
    else:
        require("mkfs.ext4")
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(MEGABYTES << 20)
        subprocess.run(
            ["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image], check=True
        )
        arguments = ["-o", "loop", image, place]
    with mounted(*arguments), looked_after(place / "queue"):
        yield place


def fill(disk: Path) -> None:
    """Fill the disk to the last byte and the last block that a directory could use."""
    for size in (1 << 16, 1 << 10, 1):
        with contextlib.suppress(OSError), (disk / f"fill{size}").open("wb", 0) as file:
            while True:
                file.write(bytes(size))


def test_submit_on_full_disk_fails_and_leaves_nothing(disk: Path, job: Make) -> None:
    queue = on(disk / "queue")
    queue.setup()
    before = shutil.disk_usage(disk).used
    big = job("true", {"big": os.urandom((MEGABYTES + 2) << 20)}, name="big")
    with pytest.raises(tej.RemoteCommandFailure, match=r"(?i)no space left"):
        queue.submit("big", big)
    assert queue.jobs() == []
    assert list((disk / "queue/incoming").iterdir()) == []
    assert shutil.disk_usage(disk).used <= before + (64 << 10)
    queue.submit("small", job("true", name="small"))
    assert ends(queue, "small").succeeded


def test_submission_without_free_inodes_leaves_nothing(
    require: Require, tmp_path: Path, job: Make
) -> None:
    """The inodes are used up before the check of the space, and during the check."""
    require("root")
    require("mount")
    place, directory = tmp_path / "disk", job("true")
    tmpfs = ("-t", "tmpfs", "-o", "nr_inodes=400", "tmpfs")
    with mounted(*tmpfs, place), looked_after(place / "queue"):
        queue = on(place / "queue")
        queue.setup()
        for spare in (8, 9):
            files = place / "files"
            files.mkdir()
            for number in range(os.statvfs(place).f_favail - spare):
                (files / str(number)).touch()
            with pytest.raises(tej.RemoteCommandFailure, match=str(place)):
                queue.submit("new", directory)
            shutil.rmtree(files)
            assert os.listdir(place / "queue/incoming") == []
            assert queue.jobs() == []


def test_job_that_fills_disk_records_its_end(
    disk: Path, job: Make, gate: Gate, tmp_path: Path
) -> None:
    queue = on(disk / "queue")
    queue.submit("waits", job(gate.wait, name="waits"))
    queue.submit("ended", job("echo out", name="ended"))
    assert ends(queue, "ended").succeeded
    shot = Gate(tmp_path / "shot")
    queue.submit("shot", job(f"{shot.wait}; kill -s USR1 $$", name="shot"))
    queue.submit("fills", job("cat /dev/zero >big; exit 9", name="fills"))
    assert ends(queue, "fills").exit_code == 9
    fill(disk)

    shot.open()
    assert ends(queue, "shot").signal == signal.SIGUSR1
    assert queue.status("waits").state is JobState.RUNNING
    assert {job.job_id for job in queue.jobs()} == {"waits", "ended", "shot", "fills"}
    (path,) = queue.download("ended", "_stdout", directory=tmp_path / "out")
    assert path.read_text() == "out\n"
    with pytest.raises(tej.RemoteCommandFailure, match="(?i)no space|cannot"):
        queue.submit("more", job("true", {"data": os.urandom(1 << 16)}, name="more"))
    assert queue.kill("waits", grace=2).state is JobState.KILLED
    assert queue.status("waits").state is JobState.KILLED
    queue.delete("waits")
    queue.delete("fills")
    for path in disk.glob("fill*"):
        path.unlink()
    queue.submit("again", job("true", name="again"))
    assert ends(queue, "again").succeeded
    assert list((disk / "queue/incoming").iterdir()) == []


def test_jobs_are_deleted_when_no_file_can_be_created(
    tmp_path: Path,
    job: Make,
    require: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require("mount")
    # The message of `mkdir`.
    monkeypatch.setenv("LC_ALL", "C")
    place = tmp_path / "few inodes"
    with mounted("-t", "tmpfs", "-o", "nr_inodes=400", "none", place):
        queue = on(place / "queue")
        directory = job("while printf '' >$((n = n + 1)); do :; done; exit 3")
        queue.submit("fills", directory)
        assert ends(queue, "fills").exit_code == 3
        with pytest.raises(tej.RemoteCommandFailure, match="No space left"):
            queue.submit("more", job("true"))
        queue.delete("fills")
        queue.submit("more", job("true"))
        assert ends(queue, "more").succeeded
        assert list((place / "queue/incoming").iterdir()) == []
        queue.cleanup()


@pytest.mark.parametrize("kilobytes", [12, 24, 40])
def test_submission_without_room_to_run_is_refused(
    disk: Path, job: Make, kilobytes: int
) -> None:
    queue = on(disk / "queue")
    queue.setup()
    reserve = disk / "reserve"
    reserve.write_bytes(bytes(kilobytes << 10))
    fill(disk)
    reserve.unlink()
    with pytest.raises(tej.RemoteCommandFailure, match="(?i)no space|cannot write"):
        queue.submit("small", job("true"))
    with contextlib.suppress(tej.RemoteCommandFailure):
        outcomes = queue.submit_many([tej.JobSpec(job("true"))] * 2)
        assert all(outcome.error for outcome in outcomes)
    assert queue.jobs() == []
    assert list((disk / "queue/incoming").iterdir()) == []


def test_queue_creation_fails_until_disk_has_space(disk: Path, job: Make) -> None:
    fill(disk)
    queue = on(disk / "queue")
    with pytest.raises(tej.RemoteCommandFailure, match="queue"):
        queue.submit("first", job("true"))
    for path in disk.glob("fill*"):
        path.unlink()
    queue.submit("first", job("true"))
    assert ends(queue, "first").succeeded


@pytest.fixture
def small_disk(require: Require, tmp_path: Path) -> Iterator[Path]:
    """Yield a file system in memory that the test remounts with other options."""
    require("root")
    require("mount")
    place = tmp_path / "disk"
    with mounted("-t", "tmpfs", "tmpfs", place), looked_after(place / "queue"):
        yield place
        remount(place, "rw,exec")


def test_read_only_queue_is_readable_and_refuses_changes(
    small_disk: Path, job: Make, tmp_path: Path
) -> None:
    queue = on(small_disk / "queue")
    queue.submit("ended", job("echo out"))
    ends(queue, "ended")
    remount(small_disk, "ro")
    assert queue.status("ended").succeeded
    assert [job.job_id for job in queue.jobs()] == ["ended"]
    (path,) = queue.download("ended", "_stdout", directory=tmp_path / "out")
    assert path.read_text() == "out\n"
    assert queue.kill("ended").succeeded
    for change in (
        lambda: queue.submit("new", job("true")),
        lambda: queue.delete("ended"),
        queue.cleanup,
    ):
        with pytest.raises(tej.RemoteCommandFailure, match=str(small_disk)):
            change()
    with pytest.raises(tej.RemoteCommandFailure, match=str(small_disk)):
        on(small_disk / "other").setup()
    remount(small_disk, "rw")
    assert queue.status("ended").succeeded
    queue.delete("ended")


def test_newer_client_uses_scripts_of_read_only_queue(
    small_disk: Path,
    job: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = on(small_disk / "queue")
    queue.submit("ended", job("echo out"))
    ends(queue, "ended")
    scripts = built_in()
    files = {**scripts.files, "lib/newer.sh": "# newer\n"}
    newer = Scripts(files, scripts.digest[::-1])
    monkeypatch.setattr("tej.server.scripts.built_in", lambda: newer)
    remount(small_disk, "ro")
    client = on(small_disk / "queue")
    assert client.status("ended").succeeded
    assert [job.job_id for job in client.jobs()] == ["ended"]
    (path,) = client.download("ended", "_stdout", directory=tmp_path / "out")
    assert path.read_text() == "out\n"
    (message,) = caplog.messages
    assert "the older scripts are used" in message
    remount(small_disk, "rw")
    on(small_disk / "queue").delete("ended")
    assert newer.digest in (small_disk / "queue/version").read_text()


def test_status_is_true_after_queue_was_read_only(
    small_disk: Path, job: Make, gate: Gate
) -> None:
    queue = on(small_disk / "queue")
    queue.submit("waits", job(f"exec >/dev/null 2>&1; {gate.wait}; exit 4"))
    # A file that is open for writing prevents the remount as read-only.
    wait_until(lambda: _remounts(small_disk), "the disk is read-only")
    gate.open()
    with pytest.raises(tej.RemoteCommandFailure, match="Cannot write"):
        queue.kill("waits", grace=0)
    remount(small_disk, "rw")
    assert ends(queue, "waits").exit_code == 4


def _remounts(place: Path) -> bool:
    try:
        remount(place, "ro")
    except subprocess.CalledProcessError:
        return False
    return True


SCRIPTS = {
    "a script": ("start.sh", "start.sh"),
    "a script with arguments": ("start.sh a 'b c'", "start.sh"),
    "a script in a directory": ("bin/run.sh", "bin/run.sh"),
    "a script in a directory with arguments": ("bin/run.sh a 'b c'", "bin/run.sh"),
}


def test_scripts_run_on_noexec_disk(
    require: Require, tmp_path: Path, job: Make
) -> None:
    require("root")
    require("mount")
    place = tmp_path / "disk"
    specs, outputs = [], {}
    for number, first in enumerate(("#!/bin/sh", "#!/usr/bin/env sh", "")):
        text = f"{first}\nprintf '<%s>' \"$@\"; exit 3\n"
        for kind, (script, name) in SCRIPTS.items():
            job_id = f"{kind} {number}".replace(" ", "_")
            directory = job("true", {name: text}, name=job_id)
            specs.append(tej.JobSpec(directory, script, job_id))
            outputs[job_id] = "<a><b c>" if " " in script else "<>"
    with mounted("-t", "tmpfs", "-o", "noexec", "tmpfs", place):
        with looked_after(place / "queue"):
            queue = on(place / "queue")
            assert [one.error for one in queue.submit_many(specs)] == [None] * 12
            ended = queue.wait([*outputs], 90)
            for job_id, output in outputs.items():
                assert ended[job_id].exit_code == 3, job_id
                found = Path(ended[job_id].directory, "_stdout").read_text()
                assert found == output, job_id


def test_program_on_noexec_disk_fails_with_message(
    require: Require, tmp_path: Path, job: Make
) -> None:
    require("root")
    require("mount")
    place = tmp_path / "disk"
    program = Path(shutil.which("true") or "/bin/true").read_bytes()
    with mounted("-t", "tmpfs", "-o", "noexec", "tmpfs", place):
        with looked_after(place / "queue"):
            queue = on(place / "queue")
            queue.submit("job", job("true", {"program": program}), "./program")
            assert ends(queue, "job").exit_code == 126
            words = Path(queue.status("job").directory, "_stderr").read_text()
            assert "noexec" in words


@pytest.fixture
def ordinary(
    users: Users, tmp_path: Path, require: Require
) -> Iterator[Callable[[str], tej.RemoteQueue]]:
    """Return a function that opens queues as an ordinary user of the server."""
    user = users.add()
    folder = users.folder / "sshd"
    with Sshd(folder) as sshd, contextlib.ExitStack() as stack:

        def open_(queue: str) -> tej.RemoteQueue:
            transport = stack.enter_context(
                open_transport(
                    Destination.parse(f"{user.name}@{sshd.address}:{sshd.port}"),
                    config_file=sshd.config(tmp_path),
                )
            )
            return tej.RemoteQueue(
                "server", queue, "default", transport=transport, retries=SOON
            )

        yield open_


def test_unwritable_queue_path_is_named(
    ordinary: Callable[[str], tej.RemoteQueue], tmp_path: Path, job: Make
) -> None:
    for place in ("/tej-test-queue", "/usr/tej/queue"):
        with pytest.raises(tej.RemoteCommandFailure, match=place[:5]):
            ordinary(place).submit("first", job("true"))
    with pytest.raises((tej.RemoteCommandFailure, tej.QueueExists), match="/root"):
        ordinary("/root").submit("first", job("true"))


def test_queue_of_another_user_is_unchanged(
    ordinary: Callable[[str], tej.RemoteQueue], users: Users, job: Make
) -> None:
    path = users.folder / "queue of root"
    with looked_after(path):
        queue = on(path)
        queue.submit("ended", job("true"))
        ends(queue, "ended")
        stranger = ordinary(str(path))
        for verb in (
            stranger.jobs,
            lambda: stranger.status("ended"),
            lambda: stranger.submit("new", job("true")),
            lambda: stranger.delete("ended"),
            lambda: stranger.kill("ended"),
            stranger.cleanup,
        ):
            with pytest.raises(tej.RemoteCommandFailure, match="queue of root"):
                verb()
        path.chmod(0o755)
        with pytest.raises(tej.RemoteCommandFailure, match="private to another user"):
            stranger.status("ended")
        with pytest.raises(tej.RemoteCommandFailure, match="queue of root"):
            stranger.submit("new", job("true"))
        with pytest.raises(tej.RemoteCommandFailure, match="queue of root"):
            stranger.delete("ended")
        assert queue.status("ended").succeeded


def test_read_only_files_are_deleted_with_job(
    ordinary: Callable[[str], tej.RemoteQueue], job: Make
) -> None:
    queue = ordinary("~/queue")
    script = "mkdir -p a/b; echo x >a/b/c; chmod 400 a/b/c; chmod 000 a/b; chmod 500 a"
    queue.submit("protected", job(script))
    assert ends(queue, "protected").succeeded
    queue.delete("protected")
    assert queue.jobs() == []
    queue.submit("protected", job("true"))
    ends(queue, "protected")
    queue.cleanup()


def test_deletion_warns_of_files_that_remain(
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    doubles: Doubles,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A job that uses a container may leave files that belong to root."""
    for name in ("a", "b"):
        queue.submit(name, job("true"))
        ends(queue, name)
    doubles.add("rm", 'case "$*" in *incoming/away*) exit 1 ;; esac; exec "$real" "$@"')
    queue.delete("a")
    (message,) = caplog.messages
    assert f"remain in '{queue_path}/incoming/away" in message
    doubles.remove("rm")
    queue.delete("b")
    assert len(caplog.messages) == 1
    assert queue.jobs() == []


def test_missing_tar_mv_awk_or_date_is_reported(
    tmp_path: Path,
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue.submit("ended", job("true"))
    ends(queue, "ended")
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            # /bin and /usr/bin are often the same directory.
            with contextlib.suppress(FileExistsError):
                (tools / program.name).symlink_to(program)
    (tools / "tar").unlink()
    monkeypatch.setenv("PATH", str(tools))
    sent: list[int] = []
    with pytest.raises(tej.RemoteCommandFailure, match="no 'tar'"):
        queue.submit("new", job("true"), progress=sent.append)
    assert sent == []
    assert queue.status("ended").succeeded
    with pytest.raises(tej.RemoteCommandFailure, match="tar"):
        queue.download("ended", "_stdout", directory=tmp_path)
    queue.delete("ended")
    (tools / "tar").symlink_to("/bin/tar")
    for program in "mv", "awk", "date":
        away = (tools / program).rename(tmp_path / program)
        with pytest.raises(tej.RemoteCommandFailure, match=f"no '{program}'"):
            queue.submit("new", job("true"), progress=sent.append)
        away.rename(tools / program)
    assert sent == []
    (tools / "tail").unlink()
    with pytest.raises(tej.RemoteCommandFailure, match="no 'tail'"):
        b"".join(queue.logs("ended"))


def test_limit_of_file_sizes_is_named(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    queue.setup()
    limited = LocalTransport(["/bin/sh", "-c", f"ulimit -f 40; {COMMAND}"])
    with tej.RemoteQueue("local:", queue_path, "default", transport=limited) as strict:
        for files in ({}, {"large": "x" * 50_000}):
            with pytest.raises(tej.RemoteCommandFailure, match="ulimit -f"):
                strict.submit("job", job("true", files))
    assert queue.jobs() == []


@pytest.mark.parametrize(
    ("program", "verb"),
    [
        ("tar", lambda queue, job: queue.submit("new", job("true"))),
        ("mv", lambda queue, job: queue.submit("new", job("true"))),
        ("mkdir", lambda queue, job: queue.submit("new", job("true"))),
        (
            "tar",
            lambda queue, job: queue.download(
                "ended", "_stdout", directory=job("true")
            ),
        ),
        ("date", lambda queue, job: queue.jobs()),
        ("date", lambda queue, job: queue.status("ended")),
    ],
    ids=["submit tar", "submit mv", "submit mkdir", "download tar", "list", "status"],
)
def test_hung_server_command_times_out(
    program: str,
    verb: Callable[[tej.RemoteQueue, Make], object],
    start_sshd: Callable[..., Sshd],
    queue: tej.RemoteQueue,
    queue_path: Path,
    tmp_path: Path,
    job: Make,
) -> None:
    """Simulate a file server that does not respond."""
    queue.submit("ended", job("echo out"))
    ends(queue, "ended")
    doubles = Doubles(tmp_path / "doubles")
    opened = tmp_path / "it answers again"
    doubles.add(
        program,
        f'until [ -e \'{opened}\' ]; do sleep 0.1; done; exec "$real" "$@"',
    )
    server = start_sshd(environment={"PATH": doubles.path})
    with open_transport(
        Destination.parse(server.destination),
        config_file=server.config(tmp_path),
        io_timeout=1,
    ) as transport:
        there = tej.RemoteQueue(
            server.destination,
            str(queue_path),
            "default",
            transport=transport,
            retries=Retries(limit=2, first=0.01),
        )
        try:
            # The start-up files of this machine may run `mkdir`.
            with pytest.raises(tej.ConnectionFailed, match="silent for 1 s|within 1 s"):
                verb(there, job)
            assert queue.status("ended").succeeded
        finally:
            # Otherwise the hung programs would outlive a failed test.
            opened.touch()

        def succeeds() -> bool:
            with contextlib.suppress(tej.JobAlreadyExists):
                try:
                    verb(there, job)
                except tej.ConnectionFailed:
                    return False
            return True

        # A busy server may need more than a second to respond.
        wait_until(succeeds, "the server responds again")


def test_queue_is_removed_with_none_of_its_scripts_open(
    queue: tej.RemoteQueue, queue_path: Path, doubles: Doubles, tmp_path: Path
) -> None:
    # On NFS, the directory of an open file cannot be removed.
    queue.setup()
    log = tmp_path / "open files"
    doubles.add("rm", f'ls -l /proc/$PPID/fd >>"{log}"\nexec "$real" "$@"')
    queue.cleanup()
    assert not queue_path.exists()
    assert "/dev/null" in log.read_text()
    assert str(queue_path / "scripts") not in log.read_text()


class ListeningTransport(LocalTransport):
    """A local transport that notes keep-alives: empty words that arrive alone."""

    def __init__(self) -> None:
        super().__init__()
        self.keepalive = threading.Event()

    def run(
        self,
        program: str,
        stdin: Iterable[bytes] = (),
        stdout: Sink | None = None,
    ) -> Completed:
        pieces: list[bytes] = []

        def note(piece: bytes) -> None:
            if not piece.strip(b"\0"):
                self.keepalive.set()
            pieces.append(piece)
            if stdout is not None:
                stdout(piece)

        done = super().run(program, stdin, note)
        return done if stdout else done._replace(stdout=b"".join(pieces))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("program", ["tar", "cp", "du"])
def test_slow_disk_is_no_dead_connection(
    doubles: Doubles, queue_path: Path, job: Make, program: str
) -> None:
    """The server sends keep-alives while it receives, copies or measures files.

    `tar` also waits for the data of a slow connection.
    """
    transport = ListeningTransport()
    queue = tej.RemoteQueue("local:", str(queue_path), "default", transport=transport)
    queue.setup()
    large = os.urandom(4_000_000)
    point = doubles.hold(program, before="*")
    with ThreadPoolExecutor() as pool:
        if program != "du":
            request = pool.submit(queue.submit, "a", job("cmp in in", {"in": large}))
        else:
            queue.submit("a", job("true"))
            request = pool.submit(lambda: str(queue.disk_usage().jobs["a"]))
        try:
            assert transport.keepalive.wait(LIMIT)
        finally:
            point.release()
        request.result()
    queue.job("a").wait()
    assert queue.job("a").status().succeeded
