"""Output of jobs: every byte once and in order, even if connections are lost."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import Gate, wait_until, wait_until_reached
from servers.proxy import Proxy

import tej
from tej.queue.logs import STREAMS, Piece
from tej.transport.local import LocalTransport
from tej.transport.program_start import COMMAND
from tej.wire.framing import MarkerSplitter
from tej.wire.requests import make_marker

if TYPE_CHECKING:
    from tests.batches.conftest import RoundTrips

Make = Callable[..., Path]
SOON = tej.Retries(limit=4, first=0.01, longest=0.05)
ALL_BYTES = bytes(range(256)) * 40 + b"\n\0\0\n\r\n\xff"


class Reading:
    """Follows files of a job in a separate thread."""

    def __init__(self, queue: tej.RemoteQueue, job_id: str, *streams: str) -> None:
        names = streams or ("stdout",)
        self.seen = {STREAMS.get(name, name): b"" for name in names}
        self._reader = queue.read_logs(job_id, names, follow=True)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._reader.read(self._take)
        except BaseException as error:
            self._error = error

    def _take(self, piece: Piece) -> None:
        self.seen[piece.name] += piece.data

    @property
    def stdout(self) -> bytes:
        return self.seen["_stdout"]

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def finish(self) -> tej.JobStatus:
        self._thread.join(90)
        if self._error is not None:
            raise self._error
        assert self._reader.status is not None
        return self._reader.status


# Existing output


def test_output_is_returned_byte_for_byte(
    queue: tej.RemoteQueue, job: Make, round_trips: RoundTrips
) -> None:
    queue.submit(
        "binary", job("cat data; cat data >&2; printf end >&2", {"data": ALL_BYTES})
    )
    queue.wait(["binary"])
    round_trips()
    assert b"".join(queue.logs("binary")) == ALL_BYTES
    assert b"".join(queue.logs("binary", "stderr")) == ALL_BYTES + b"end"
    assert round_trips() == 2


def test_both_outputs_take_one_round_trip(
    queue: tej.RemoteQueue, job: Make, round_trips: RoundTrips
) -> None:
    queue.submit("both", job("echo out; echo err >&2"))
    queue.wait(["both"])
    round_trips()
    pieces: list[Piece] = []
    reader = queue.read_logs("both", STREAMS)
    reader.read(pieces.append)
    assert pieces == [Piece("_stdout", b"out\n"), Piece("_stderr", b"err\n")]
    assert reader.status is not None
    assert reader.status.succeeded
    assert round_trips() == 1


def test_any_file_of_job_can_be_read(local_queue: tej.RemoteQueue, job: Make) -> None:
    names = ("results", "deep/er/file", "new\nline", "two words", "-n", "é")
    local_queue.submit("files", job("true", dict.fromkeys(names, ALL_BYTES)))
    for name in names:
        assert b"".join(local_queue.logs("files", name, follow=True)) == ALL_BYTES


def test_tail_returns_last_lines(local_queue: tej.RemoteQueue, job: Make) -> None:
    local_queue.submit("lines", job("true", {"lines": "1\n2\n3\nlast"}))
    for tail, expected in (
        (0, b""),
        (1, b"last"),
        (2, b"3\nlast"),
        (4, b"1\n2\n3\nlast"),
        (9, b"1\n2\n3\nlast"),
        (None, b"1\n2\n3\nlast"),
    ):
        assert b"".join(local_queue.logs("lines", "lines", tail=tail)) == expected


def test_file_beyond_4_gib_is_read_with_busybox(
    local_queue: tej.RemoteQueue,
    job: Make,
    require: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """busybox counts modulo 4 GiB and reads each file from its beginning."""
    require("busybox")
    local_queue.submit("large", job("true"))
    with Path(local_queue.status("large").directory, "sparse").open("wb") as file:
        file.seek(1 << 32)
        file.write(b"\nlast\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("dd", "head", "ls", "tail", "wc"):
        (tools / name).symlink_to(shutil.which("busybox") or name)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert b"".join(local_queue.logs("large", "sparse", tail=1)) == b"last\n"


def test_file_beyond_2_gib_is_an_error_with_mksh(
    local_queue: tej.RemoteQueue, job: Make, require: Callable[[str], None]
) -> None:
    require("mksh")
    job_id = local_queue.submit("large", job("true"))
    path = Path(local_queue.status(job_id).directory, "sparse")
    path.touch()
    os.truncate(path, 3 << 30)
    transport = LocalTransport(["/bin/sh", "-c", COMMAND.replace("/bin/sh", "mksh")])
    queue = tej.RemoteQueue("local:", local_queue.queue, transport=transport)
    with pytest.raises(tej.RemoteCommandFailure, match="32-bit arithmetic"):
        b"".join(queue.logs(job_id, "sparse", tail=1))


def test_output_of_running_job_is_readable(
    queue: tej.RemoteQueue, waiting: str
) -> None:
    wait_until(
        lambda: b"".join(queue.logs(waiting)) == b"begun\n", "the job has printed"
    )


def test_output_of_silent_job_is_empty(queue: tej.RemoteQueue, job: Make) -> None:
    queue.submit("silent", job("true"))
    queue.wait(["silent"])
    assert [*queue.logs("silent")] == []
    assert [*queue.logs("silent", follow=True)] == []


def test_missing_job_and_missing_file_are_errors(
    queue: tej.RemoteQueue, job: Make
) -> None:
    queue.submit("there", job("true", {"folder/file": "x"}))
    with pytest.raises(tej.JobNotFound, match="No job 'absent'"):
        b"".join(queue.logs("absent"))
    with pytest.raises(tej.DownloadFailed, match="There is no 'absent' in job 'there'"):
        b"".join(queue.logs("there", "absent"))
    with pytest.raises(
        tej.DownloadFailed, match="'folder' in job 'there' is a directory"
    ):
        b"".join(queue.logs("there", "folder"))
    with pytest.raises(tej.DownloadFailed, match="is outside"):
        queue.logs("there", "../spec")


def test_end_is_reported_without_job_directory(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    local_queue.submit("tidy", job('rm -rf "$TEJ_JOB_DIR"; exit 4'))
    logs = local_queue.logs("tidy", follow=True)
    assert b"".join(logs) == b""
    assert local_queue.job("tidy").wait().exit_code == 4
    for read in (
        lambda: b"".join(local_queue.logs("tidy", "native_id")),
        lambda: local_queue.download("tidy", "native_id"),
    ):
        with pytest.raises(tej.DownloadFailed, match=r"'tidy' has removed .* it$"):
            read()


# Following


def test_line_is_yielded_as_soon_as_written(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.submit("slow", job(f"printf 'progress: 50%%'; {gate.wait}; echo ', done'"))
    reading = Reading(queue, "slow")
    wait_until(lambda: reading.stdout == b"progress: 50%", "the line is written")
    gate.open()
    assert reading.finish().succeeded
    assert reading.stdout == b"progress: 50%, done\n"


def test_follow_ends_with_job_and_returns_status(
    queue: tej.RemoteQueue, waiting: str, gate: Gate
) -> None:
    reading = Reading(queue, waiting, "stdout", "stderr")
    wait_until(lambda: reading.stdout == b"begun\n", "the output is followed")
    gate.open()
    assert reading.finish().exit_code == 3


def test_short_job_is_followed_to_its_end(queue: tej.RemoteQueue, job: Make) -> None:
    directory = job("echo all; echo of it >&2")
    for number in range(3):
        job_id = queue.submit(f"quick{number}", directory)
        reading = Reading(queue, job_id, "stdout", "stderr")
        assert reading.finish().succeeded
        assert reading.seen == {"_stdout": b"all\n", "_stderr": b"of it\n"}


def test_late_file_is_followed_from_beginning(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.submit(
        "late", job(f"echo begun; {gate.wait}; mkdir new; echo late >new/file")
    )
    reading = Reading(queue, "late", "stdout", "new/file")
    wait_until(lambda: reading.stdout == b"begun\n", "the output is followed")
    gate.open()
    assert reading.finish().succeeded
    assert reading.seen["new/file"] == b"late\n"


@pytest.mark.parametrize(
    "rotate",
    ["mv log log.1", "rm log", "cp log log.1; : >log"],
    ids=["renamed", "removed", "truncated"],
)
def test_rotated_file_is_followed_without_loss(
    local_queue: tej.RemoteQueue, job: Make, tmp_path: Path, rotate: str
) -> None:
    """Lines written just before the rotation are read, unless the file is cut."""
    gates = [Gate(tmp_path / f"gate {number}") for number in range(3)]
    cut = rotate.startswith("cp")
    last = "" if cut else "echo last of 1 >>log; "
    third = "3" if cut else "third, which is longer than all before it"
    script = (
        f"echo first, a long line >log; {gates[0].wait}; {last}{rotate}; "
        f"echo second >>log; {gates[1].wait}; {rotate}; "
        f"echo {third} >>log; {gates[2].wait}"
    )
    local_queue.submit("rotates", job(script))
    reading = Reading(local_queue, "rotates", "log")
    expected = b"first, a long line\n"
    for gate, more in zip(gates, (b"second\n", third.encode(), b""), strict=True):
        wait_until(lambda: expected in reading.seen["log"], "the output is followed")
        gate.open()
        expected = more
    assert reading.finish().succeeded
    lines = reading.seen["log"].decode().splitlines()
    middle = ["last of 1"] if last else []
    assert lines == [
        "first, a long line",
        *middle,
        "second",
        third,
    ]


def test_file_that_never_appears_is_reported(
    local_queue: tej.RemoteQueue, waiting_locally: str, gate: Gate
) -> None:
    reading = Reading(local_queue, waiting_locally, "stdout", "never")
    wait_until(lambda: reading.stdout == b"begun\n", "the output is followed")
    gate.open()
    with pytest.raises(tej.DownloadFailed, match="There is no 'never'"):
        reading.finish()
    assert reading.stdout == b"begun\n"


@pytest.fixture
def waiting_locally(local_queue: tej.RemoteQueue, job: Make, gate: Gate) -> str:
    return local_queue.submit("waiting", job(f"echo begun; {gate.wait}"))


def test_output_of_killed_job_ends(
    local_queue: tej.RemoteQueue, waiting_locally: str
) -> None:
    reading = Reading(local_queue, waiting_locally)
    wait_until(lambda: reading.stdout == b"begun\n", "the output is followed")
    local_queue.kill(waiting_locally, grace=5)
    assert reading.finish().state is tej.JobState.KILLED


def test_deletion_of_followed_job_is_an_error(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    local_queue.submit("gone", job("true"))
    local_queue.wait(["gone"])
    pieces = local_queue.logs("gone", follow=True)
    local_queue.delete("gone")
    with pytest.raises(tej.JobNotFound):
        next(pieces)


def test_reader_that_stops_ends_the_request(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.submit("long", job(f"yes | head -n 2000000; {gate.wait}"))
    pieces = queue.logs("long", follow=True)
    assert next(pieces) == b"y\n"
    pieces.close()  # type: ignore[attr-defined]
    assert queue.status("long").state is tej.JobState.RUNNING


# Lost connections

COUNT = """
awk 'BEGIN { for (n = 1; n <= 60000; n++) {
    print "line", n; if (n % 100 == 0) { print "err", n | "cat >&2" }
    if (n % 2000 == 0) { fflush(); system("sleep 0.05") } } }'
"""
LINES = b"".join(b"line %d\n" % n for n in range(1, 60001))
ERRORS = b"".join(b"err %d\n" % n for n in range(100, 60001, 100))


@pytest.mark.parametrize("after", [3000, 40_000, 150_000])
def test_repeated_cuts_lose_or_repeat_no_byte(
    through: Callable[..., tej.RemoteQueue], proxy: Proxy, job: Make, after: int
) -> None:
    queue = through(SOON)
    queue.submit("count", job(COUNT))
    reading = Reading(queue, "count", "stdout", "stderr")
    for _ in range(4):
        already, connections = len(reading.stdout), proxy.connections
        wait_until(
            lambda: len(reading.stdout) > already or reading.ended, "more has come"
        )
        # The cut occurs in the middle of the transfer.
        proxy.cut_after(down=after)
        wait_until(
            lambda: proxy.connections > connections or reading.ended, "the cut occurs"
        )
    assert reading.finish().succeeded
    assert reading.stdout == LINES
    assert reading.seen["_stderr"] == ERRORS
    assert proxy.connections > 2


def test_follow_continues_after_silent_connection(
    through: Callable[..., tej.RemoteQueue], proxy: Proxy, job: Make, gate: Gate
) -> None:
    through().submit("far", job(f"echo before; {gate.wait}; echo after"))
    queue = through(SOON, io_timeout=1.5, keep_alive=0.3)
    wait_until_reached(queue)
    reading = Reading(queue, "far")
    wait_until(lambda: reading.stdout == b"before\n", "the output is followed")
    proxy.freeze()
    gate.open()
    assert reading.finish().succeeded
    assert reading.stdout == b"before\nafter\n"


def test_follow_continues_after_refused_connections(
    through: Callable[..., tej.RemoteQueue],
    proxy: Proxy,
    job: Make,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = through(SOON)
    queue.submit("far", job(f"echo before; {gate.wait}; echo after"))
    reading = Reading(queue, "far")
    wait_until(lambda: reading.stdout == b"before\n", "the output is followed")
    with caplog.at_level("INFO", "tej"):
        proxy.refuse()
        proxy.cut()
        wait_until(
            lambda: caplog.text.count("trying again") > 6, "many attempts were made"
        )
    gate.open()
    proxy.accept()
    assert reading.finish().succeeded
    assert reading.stdout == b"before\nafter\n"


def test_tail_skips_nothing_after_a_cut(
    through: Callable[..., tej.RemoteQueue],
    proxy: Proxy,
    job: Make,
    gate: Gate,
    tmp_path: Path,
) -> None:
    queue = through(SOON)
    queue.submit(
        "far", job(f"echo old; {gate.wait}; echo new; echo >'{tmp_path}/written'")
    )
    wait_until(lambda: b"".join(queue.logs("far")) == b"old\n", "the job has printed")
    seen: list[bytes] = []
    reader = queue.read_logs("far", ["stdout"], follow=True, tail=0)
    thread = threading.Thread(
        target=lambda: reader.read(lambda piece: seen.append(piece.data))
    )
    thread.start()
    wait_until(
        lambda: reader.positions["_stdout"].offset is not None, "the job has begun"
    )
    proxy.refuse()
    proxy.cut()
    gate.open()
    wait_until((tmp_path / "written").exists, "more output was printed")
    proxy.accept()
    thread.join(60)
    assert b"".join(seen) == b"new\n"


# Parsing


@given(
    st.lists(st.tuples(st.integers(0, 99), st.binary(max_size=60)), max_size=6),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
    st.binary(max_size=40),
    st.integers(0, 40),
)
def test_chunks_are_parsed_at_any_split(
    pieces: list[tuple[int, bytes]], sizes: list[int], noise: bytes, cut: int
) -> None:
    marker = make_marker()
    # Data that resembles a marker.
    decoy = marker.encode()[:cut]
    found: list[list[object]] = []

    def content(data: bytes) -> None:
        found[-1][1] += data  # type: ignore[operator]

    take = MarkerSplitter(
        "logs", marker, lambda header: found.append([header, b""]), content
    )
    stream = noise + b"".join(
        b"%b %d\n%b" % (marker.encode(), number, data + decoy)
        for number, data in pieces
    )
    # The stream ends in the middle of the next chunk.
    stream += b"%b %b" % (marker.encode(), b"12" if cut % 2 else b"") if pieces else b""
    at = 0
    for size in [*sizes, *[17] * (len(stream) // 17 + 1)]:
        if data := stream[at : at + size]:
            take(data)
        at += size
    take(b"")
    assert found == [[str(number), data + decoy] for number, data in pieces]
