"""Running a program: the behaviour that all transports have in common."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from tej.errors import ConnectionFailed
from tej.transport import Transport

Left = Callable[[], list[str]]
MEGABYTE = 1 << 20


class Sink:
    """Keeps the received chunks, including the end."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def __call__(self, data: bytes) -> None:
        self.pieces.append(data)

    @property
    def ends(self) -> int:
        return self.pieces.count(b"")


def test_program_returns_status_stdout_and_stderr(
    transport: Transport,
) -> None:
    done = transport.run("printf out; echo words >&2; exit 7")
    assert (done.status, done.stdout, done.stderr) == (7, b"out", b"words\n")


def test_input_is_passed_to_program(transport: Transport) -> None:
    done = transport.run("read -r first; printf '%s|' \"$first\"; cat", [b"1\n2", b"3"])
    assert done.stdout == b"1|23"


def test_input_bytes_are_unchanged(transport: Transport) -> None:
    data = bytes(range(256)) * 5000
    assert transport.run("cat", [data[:1], b"", data[1:]]).stdout == data


def test_program_need_not_be_utf8(transport: Transport) -> None:
    name = b"caf\xe9 \xc3\xa9 '\\$".decode("utf-8", "surrogateescape")
    quoted = "'" + name.replace("'", "'\\''") + "'"
    done = transport.run(f"printf %s {quoted}")
    assert done.stdout == name.encode("utf-8", "surrogateescape")


def test_program_of_two_lines_is_refused(
    transport: Transport,
) -> None:
    with pytest.raises(ValueError, match="one line"):
        transport.run("true\nfalse")


def test_program_starts_in_home_directory(transport: Transport) -> None:
    done = transport.run("pwd; cd; pwd -P")
    assert done.stdout.splitlines()[0].startswith(b"/")
    assert done.status == 0


def test_sink_gets_all_output_and_one_end(transport: Transport) -> None:
    sink = Sink()
    done = transport.run("head -c 3000000 /dev/zero", stdout=sink)
    assert done.stdout == b""
    assert sum(map(len, sink.pieces)) == 3_000_000
    assert sink.pieces[-1] == b""
    assert sink.ends == 1


def test_unread_input_is_no_error(transport: Transport, no_thread_left: Left) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(MEGABYTE)

    done = transport.run("printf enough; exit 4", endless())
    assert (done.status, done.stdout) == (4, b"enough")
    assert no_thread_left() == []


def test_program_may_close_its_input(transport: Transport) -> None:
    done = transport.run("exec <&-; head -c 100000 /dev/zero", [bytes(MEGABYTE)] * 30)
    assert (done.status, len(done.stdout)) == (0, 100_000)


def test_unfinished_input_iterator_is_closed(transport: Transport) -> None:
    closed = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(MEGABYTE)
        finally:
            closed.set()

    transport.run("true", endless())
    assert closed.is_set()


def test_long_stderr_is_cut_and_blocks_no_output(transport: Transport) -> None:
    flood = "head -c 10000000 /dev/zero"
    done = transport.run(f"echo first >&2; {flood} >&2; {flood}; echo last >&2")
    assert len(done.stdout) == 10_000_000
    assert len(done.stderr) < 3_000_000
    assert done.stderr.startswith(b"first\n")
    assert done.stderr.endswith(b"last\n")


def test_input_may_wait_for_output(transport: Transport) -> None:
    """Each line is sent after the reply to the previous line has arrived."""
    answers: queue.Queue[bytes] = queue.Queue()

    def questions() -> Iterator[bytes]:
        for number in range(20):
            yield b"%d\n" % number
            heard = b""
            while not heard.endswith(b".\n"):
                heard += answers.get()
            assert heard == b"got %d.\n" % number

    program = 'while read -r line; do echo "got $line."; done; exit 3'
    assert transport.run(program, questions(), answers.put).status == 3


def test_waiting_input_iterator_ends_with_output(
    transport: Transport, no_thread_left: Left
) -> None:
    answers: queue.Queue[bytes] = queue.Queue()
    heard: list[bytes] = []

    def questions() -> Iterator[bytes]:
        yield b"hello\n"
        while piece := answers.get():
            heard.append(piece)
        # The program has already ended.
        yield b"too late\n"

    done = transport.run("read -r line; echo bye; exit 9", questions(), answers.put)
    assert done.status == 9
    assert b"".join(heard) == b"bye\n"
    assert no_thread_left() == []


def test_error_of_input_iterator_is_raised(
    transport: Transport, no_thread_left: Left
) -> None:
    sink = Sink()

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise OSError("the disk is on fire")

    with pytest.raises(OSError, match="on fire"):
        transport.run("cat", broken(), sink)
    assert sink.pieces == [b"some", b""]


def test_error_of_sink_is_raised_after_end(
    transport: Transport, no_thread_left: Left
) -> None:
    ends: list[bytes] = []

    def sink(data: bytes) -> None:
        if not data:
            ends.append(data)
            return
        raise OSError("no space left")

    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(MEGABYTE)

    with pytest.raises(OSError, match="no space left"):
        transport.run("cat", endless(), sink)
    assert ends == [b""]
    assert no_thread_left() == []
    assert transport.run("printf fine").stdout == b"fine"


def test_interrupt_is_raised_and_leaves_nothing(
    transport: Transport, no_thread_left: Left
) -> None:
    sink = Sink()

    def interrupted(data: bytes) -> None:
        sink(data)
        if data:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transport.run("echo one; sleep 20", stdout=interrupted)
    assert sink.ends == 1
    assert no_thread_left() == []
    assert transport.run("printf fine").stdout == b"fine"


def test_program_ended_by_signal_is_an_error(
    transport: Transport,
) -> None:
    sink = Sink()
    with pytest.raises(ConnectionFailed, match=r"signal|SIGKILL"):
        transport.run("kill -9 $$", stdout=sink)
    assert sink.pieces == [b""]
    assert transport.run("printf fine").stdout == b"fine"


def test_twenty_threads_share_a_transport(transport: Transport) -> None:
    results: dict[int, bytes] = {}

    def one(number: int) -> None:
        results[number] = transport.run("cat", [b"%d" % number] * 1000).stdout

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: b"%d" % number * 1000 for number in range(20)}


def test_runs_counts_programs(transport: Transport) -> None:
    before = transport.runs
    for _ in range(3):
        transport.run("true")
    assert transport.runs - before == 3


def test_closed_transport_opens_again(transport: Transport) -> None:
    assert transport.run("printf 1").stdout == b"1"
    transport.close()
    transport.close()
    assert transport.run("printf 2").stdout == b"2"
