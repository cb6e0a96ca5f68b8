"""Job output: lines and text made from chunks."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest

from tej import ConnectionFailed, Retries
from tej.cli.logs import decoded
from tej.queue import logs
from tej.queue.logs import Piece, split_lines
from tej.queue.retry_policy import with_retries

if TYPE_CHECKING:
    from tej.queue.connection import QueueConnection


def lines_of(*pieces: bytes) -> list[bytes]:
    return list(split_lines(Piece("_stdout", data) for data in pieces))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], []),
        ([b"a\nb\n"], [b"a\n", b"b\n"]),
        ([b"a\nb", b"c\n"], [b"a\n", b"bc\n"]),
        ([b"a", b"b", b"\n"], [b"ab\n"]),
        ([b"\n\n"], [b"\n", b"\n"]),
        ([b"end"], [b"end"]),
        ([b"10%\r20%\r", b"done\n"], [b"10%\r20%\rdone\n"]),
    ],
)
def test_lines_do_not_depend_on_pieces(
    pieces: list[bytes], expected: list[bytes]
) -> None:
    assert lines_of(*pieces) == expected


def test_endless_line_is_passed_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LONGEST_LINE", 10)
    got = lines_of(*[b"x" * 8] * 5)
    assert b"".join(got) == b"x" * 40
    assert max(map(len, got)) <= 18


@pytest.mark.parametrize(
    "data", [b"", "äöü✓".encode() * 50_000, b"\xff\xfe" * 40_000, b"\xe2\x9c"]
)
def test_json_text_in_pieces_is_the_whole_text(data: bytes) -> None:
    text = "".join(json.dumps(one)[1:-1] for one in decoded(io.BytesIO(data)))
    assert json.loads(f'"{text}"') == data.decode("utf-8", "replace")


class SilentServer:
    """A job that prints nothing: the server sends only keep-alives."""

    def __init__(self) -> None:
        self.reached = True
        self.beats = threading.Semaphore(0)
        self.is_over = threading.Event()

    def with_retries(self, attempt: Callable[[int], None], **_: object) -> None:
        attempt(0)

    def run_verb(
        self, _: str, marker: str, *words: str, take: Callable[[bytes], object]
    ) -> None:
        try:
            while self.beats.acquire(timeout=60):
                take(f"{marker} 0 0\n".encode())
        finally:
            self.is_over.set()


def test_abandoned_thread_ends_with_the_next_keep_alive() -> None:
    server = SilentServer()
    reader = logs.open_logs(
        cast("QueueConnection", server), "a", ["stdout"], follow=True, tail=None
    )
    thread = logs.LogThread(reader)
    server.beats.release()
    thread.close()
    server.beats.release()
    assert server.is_over.wait(60)


class LostServer:
    """A server that sends one byte in each of `good` attempts, then no more."""

    def __init__(self, good: int, *, reached: bool = True) -> None:
        self.reached = reached
        self.retries = Retries(limit=3, first=0, longest=0)
        self.good = good
        self.attempts = 0

    def with_retries(
        self, attempt: Callable[[int], None], patient: Callable[[], bool]
    ) -> None:
        with_retries(self.retries, attempt, patient, lambda: self.reached)

    def run_verb(
        self, _: str, marker: str, *words: str, take: Callable[[bytes], object]
    ) -> None:
        self.attempts += 1
        if self.attempts <= self.good:
            take(f"{marker} {self.attempts - 1} 1\n.".encode())
        if self.attempts == 20:
            raise KeyboardInterrupt
        raise ConnectionFailed


@pytest.mark.parametrize(
    ("good", "reached", "follow", "attempts"),
    [
        (0, True, False, 3),
        (1, True, False, 4),
        (9, True, False, 12),
        (9, True, True, 20),
        (0, True, True, 20),
        (0, False, True, 3),
    ],
)
def test_only_following_resumes_without_limit(
    *, good: int, reached: bool, follow: bool, attempts: int
) -> None:
    server = LostServer(good, reached=reached)
    reader = logs.open_logs(
        cast("QueueConnection", server), "a", ["stdout"], follow=follow, tail=None
    )
    pieces: list[Piece] = []
    with pytest.raises((ConnectionFailed, KeyboardInterrupt)):
        reader.read(pieces.append)
    assert (len(pieces), server.attempts) == (good, attempts)
