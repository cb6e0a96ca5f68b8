"""Malformed replies and archives always raise a `tej.Error`.

The tests need no server: a transport that returns arbitrary bytes replaces it.
"""

from __future__ import annotations

import contextlib
import re
import tarfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tej
from tej.queue.download_receiver import Download, Receiver
from tej.transport.base import Completed, Sink, Transport
from tej.transport.local import LocalTransport
from tej.transport.program_start import COMMAND
from tej.wire.framing import MarkerSplitter
from tej.wire.replies import Reply, parse_reply
from tej.wire.requests import Program
from tej.wire.startup_output import STARTUP_OUTPUT_KEPT

PROGRAM = Program("line", b"tej-0123456789abcdef", "status")
MARKER = b"\ntej-0123456789abcdef\n"


class Hostile(Transport):
    """A transport whose server sends the same reply to every request."""

    def __init__(self) -> None:
        self.reply = b""
        self.status = 0
        self.marker: bytes | None = None

    def run(
        self, program: str, stdin: Iterable[bytes] = (), stdout: Sink | None = None
    ) -> Completed:
        found = re.search("begin (tej-[0-9a-f]{32}) ", program)
        assert found
        marker = f"\n{found[1]}\n".encode()
        take = stdout or (lambda data: None)
        inside = program.partition("download")[2]
        start = inside.find("tej-")
        own = inside[start : start + 36].encode()
        take(marker + self.reply.replace(b"MARKER", own))
        take(b"")
        return Completed(self.status, b"", marker + b"words")

    def close(self) -> None:
        pass


def test_exit_status_0_alone_is_no_success(tmp_path: Path) -> None:
    """A forced command of an SSH server may always exit with 0."""
    transport = LocalTransport(["/bin/sh", "-c", f"({COMMAND}); exit 0"])
    with tej.RemoteQueue("local:", tmp_path / "queue", transport=transport) as queue:
        requests: list[Callable[[], object]] = [
            *(queue.jobs, queue.cleanup, lambda: queue.limit(1)),
            *(lambda: queue.statuses(["a"]), lambda: queue.attempts("a")),
            *(lambda: queue.files("a"), queue.sizes, lambda: queue.kill("a")),
            lambda: queue.wait(["a"]),
        ]
        for request in requests:
            with pytest.raises(tej.RemoteCommandFailure, match="is missing"):
                request()


class Cutting(LocalTransport):
    """A transport that drops the last word of a reply, `end=1`, if `cuts` is true."""

    cuts = False

    def run(
        self, program: str, stdin: Iterable[bytes] = (), stdout: Sink | None = None
    ) -> Completed:
        if not self.cuts or stdout is None:
            return super().run(program, stdin, stdout)
        parts: list[bytes] = []
        done = super().run(program, stdin, parts.append)
        reply = b"".join(parts)
        stdout(reply[: reply.rindex(b"end=1")])
        stdout(b"")
        return done


def test_cut_reply_is_refused(tmp_path: Path) -> None:
    """The values that are missing could mean that no process is left, for example."""
    transport = Cutting()
    with tej.RemoteQueue("local:", tmp_path / "q", transport=transport) as queue:
        (tmp_path / "start.sh").write_text("exit 0")
        queue.submit("a", tmp_path)
        queue.wait(["a"])
        transport.cuts = True
        requests = (queue.jobs, lambda: queue.files("a"), queue.sizes)
        for request in (
            *requests,
            *(lambda f=f: f("a") for f in (queue.kill, queue.delete)),
        ):
            with pytest.raises(tej.RemoteCommandFailure, match="not complete"):
                request()


@pytest.fixture
def hostile() -> Hostile:
    return Hostile()


@pytest.fixture
def queue(hostile: Hostile) -> tej.RemoteQueue:
    return tej.RemoteQueue("host.invalid", transport=hostile)


KEYS = ["id", "state", "job", "queue", "runtime", "now", "how", "number", "started"]
KEYS += ["ended", "spec", "native", "left", "attempts", "was", "strays", "size", "seen"]
KEYS += ["error", "words", "ours", "deleted", "warning", "submitted", "what"]
VALUES = [
    b"",
    b"a",
    b"-1",
    b"nan",
    b"9" * 5000,
    b"1e400",
    b"\xff\xfe",
    b"running",
    b"0",
]
VALUES += [
    b"finished",
    b"lost",
    b"exit",
    b"signal",
    b"256",
    b"a#9",
    b"..",
    b"%",
    b"%ff",
]
VALUES += [b"killed", b"12", b"pid", b"999999999999999", b"\x1b[2J", b"label:=x end"]

words = st.one_of(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)).map(
        lambda pair: pair[0].encode() + b"=" + pair[1]
    ),
    st.just(b"id=a"),
    st.just(b"queue=/q"),
    st.binary(max_size=12),
)
replies = st.lists(words, max_size=9).map(lambda parts: b"\0".join([*parts, b""]))

VERBS: dict[str, Callable[[tej.RemoteQueue], object]] = {
    "status": lambda queue: queue.status("a"),
    "statuses": lambda queue: queue.statuses(["a", "b"]),
    "jobs": lambda queue: queue.jobs(),
    "sizes": lambda queue: queue.sizes(),
    "kill": lambda queue: queue.kill("a"),
    "delete": lambda queue: queue.delete("a"),
    "prune": lambda queue: queue.prune(),
    "logs": lambda queue: b"".join(queue.logs("a")),
}

many = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("verb", VERBS)
@many
@given(reply=replies, status=st.sampled_from([0, 0, 0, 3, 99, 255]))
def test_malformed_reply_is_a_tej_error(
    queue: tej.RemoteQueue, hostile: Hostile, verb: str, reply: bytes, status: int
) -> None:
    hostile.reply, hostile.status = reply, status
    try:
        VERBS[verb](queue)
    except tej.Error as error:
        assert str(error)  # noqa: PT017


@settings(many, max_examples=10)
@given(reply=replies)
def test_malformed_reply_to_setup_is_a_tej_error(
    queue: tej.RemoteQueue, hostile: Hostile, reply: bytes
) -> None:
    hostile.reply = reply
    with contextlib.suppress(tej.Error):
        queue.setup()


@many
@given(data=st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with contextlib.suppress(tej.RemoteCommandFailure):
        assert all("id" in record for record in parse_reply(data).jobs)
    splitter = MarkerSplitter("logs", "tej-x", lambda _: None, lambda _: None)
    splitter(data)


# Archives

KINDS = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]
KINDS += [tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE]
KINDS += [tarfile.XGLTYPE, tarfile.FIFOTYPE, b"Z", b"\0", b"V", b"D"]


@st.composite
def archives(draw: Callable[..., object]) -> bytes:
    """Generate archives of some members, with damage at some positions."""
    data = bytearray()
    for _ in range(draw(st.integers(0, 3))):  # type: ignore[call-overload]
        member = tarfile.TarInfo(draw(st.sampled_from(["a", "b/c", "../x", "/y", ""])))
        member.type = draw(st.sampled_from(KINDS))
        member.linkname = draw(st.sampled_from(["a", "..", "/etc", "b/c"]))
        content = draw(st.binary(max_size=40))
        member.size = draw(st.sampled_from([len(content), 0, 7, 2**33, 2**60]))
        data += member.tobuf(tarfile.GNU_FORMAT)
        if member.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
            content = draw(
                st.sampled_from(
                    [
                        b"20 mtime=nan\n",
                        b"11 size=-5\n",
                        b"0 x=y\n",
                        b"99999999999 a=b\n",
                        b"30 GNU.sparse.map=a,b,c,d\n",
                        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n",
                        b"\xff\xff=\xff\n",
                    ]
                )
            )
        data += content + bytes(-len(content) % 512)
    for place, byte in draw(
        st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4)
    ):
        if place < len(data):
            data[place] = byte
            if draw(st.booleans()):
                _mend(data, place // 512 * 512)
    return bytes(data) + bytes(draw(st.sampled_from([0, 512, 1024, 10240])))


def _mend(data: bytearray, start: int) -> None:
    """Correct the checksum of a damaged header."""
    block = data[start : start + 512]
    if len(block) == 512:
        block[148:156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(block)


@settings(max_examples=750)
@given(archive=archives(), status=st.sampled_from(["0", "20", "22", "x", "", "-"]))
def test_malformed_archive_is_a_tej_error(
    tmp_path_factory: pytest.TempPathFactory, archive: bytes, status: str
) -> None:
    outer = _scratch(tmp_path_factory)
    root = outer / "root"
    download = Download(["a", "b"], None, root, recursive=True, flatten=False)
    receiver = Receiver({"j": download})
    marker = receiver.marker.encode()
    from tej.queue.download_receiver import DownloadAborted

    try:
        receiver.take(marker + b" - j\n" + archive)
        receiver.take(marker + f" {status} j\n".encode())
    except (tej.Error, DownloadAborted):
        pass
    finally:
        receiver.finish()
    for outcome in receiver.done.values():
        assert outcome.error is None or isinstance(outcome.error, tej.Error)
    assert [path for path in outer.iterdir() if path != root] == []


def _scratch(factory: pytest.TempPathFactory) -> Path:
    """Return one directory for all examples, because thousands of directories are slow."""
    base = factory.getbasetemp() / "malformed"
    base.mkdir(exist_ok=True)
    return base


@pytest.mark.parametrize(
    "header", ["- other", "0 j", "x j", "- j\x1b", "", "99999999999999999999 j"]
)
def test_unexpected_header_is_a_tej_error(tmp_path: Path, header: str) -> None:
    download = Download(["a"], None, tmp_path, recursive=True, flatten=False)
    receiver = Receiver({"j": download})
    with pytest.raises(tej.RemoteCommandFailure):
        receiver.take(f"{receiver.marker} {header}\n".encode())


# Sizes


def test_noise_before_reply_costs_little_memory() -> None:
    reply = Reply(PROGRAM)
    tracemalloc.start()
    begun = time.process_time()
    for _ in range(10_000):
        reply(b"x" * 1000)
    seconds = time.process_time() - begun
    # Other threads of this process may allocate memory at the same time. Therefore only
    # the memory that tej.wire holds counts.
    ours = tracemalloc.Filter(inclusive=True, filename_pattern="*/tej/wire/*")
    traces = tracemalloc.take_snapshot().filter_traces([ours]).traces
    tracemalloc.stop()
    # A search of all the noise for each piece would take minutes of CPU time.
    assert seconds < 30
    assert sum(trace.size for trace in traces) < 10 * STARTUP_OUTPUT_KEPT
    reply(MARKER + b"answer")
    assert reply.data == b"answer"


def feed(sink: Callable[[bytes], object], piece: bytes) -> None:
    """Yield chunks without end."""
    while True:
        sink(piece)


@pytest.mark.parametrize("begun", [False, True])
def test_endless_reply_is_refused(monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    monkeypatch.setattr("tej.wire.startup_output.STARTUP_OUTPUT_LIMIT", 10_000_000)
    monkeypatch.setattr("tej.wire.replies.REPLY_LIMIT", 10_000_000)
    reply = Reply(PROGRAM)
    if begun:
        reply(MARKER)
    with pytest.raises(tej.RemoteCommandFailure):
        feed(reply, b"x" * 100_000)


def test_endless_line_behind_a_marker_is_refused() -> None:
    splitter = MarkerSplitter("logs", "tej-x", lambda _: None, lambda _: None)
    splitter(b"tej-x ")
    with pytest.raises(tej.RemoteCommandFailure, match="'logs'"):
        feed(splitter, b"x" * 1000)


def test_long_error_output_is_cut() -> None:
    from tej.wire.malformed_reply import MESSAGE_LIMIT
    from tej.wire.replies import check

    reply = Reply(PROGRAM)
    reply(MARKER)
    done = Completed(20, b"", MARKER + b"x" * 10_000_000)
    with pytest.raises(tej.RemoteCommandFailure) as raised:
        check(PROGRAM, reply, done)
    assert len(str(raised.value)) <= MESSAGE_LIMIT
