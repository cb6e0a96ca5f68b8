"""Watcher: one request for all waiting threads, with a simulated server."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest

from tej import (
    AuthenticationFailed,
    ConnectionFailed,
    JobNotFound,
    JobState,
    JobStatus,
    QueueNotFound,
    RemoteCommandFailure,
    Retries,
)
from tej.queue import retry_policy
from tej.queue.wait_request import Watcher
from tej.queue.wait_timeout import ended_among


class Server:
    """A simulated `wait` of the server, which reports a job once the test ends it."""

    destination = "server"

    def __init__(self) -> None:
        self.retries = Retries(limit=2, first=0.0, longest=0.0)
        self.reached = self.removed = False
        self.removals = 0
        self.asked: queue.Queue[tuple[str, ...]] = queue.Queue()
        self.failures: list[Exception] = []
        self.early_ends = 0
        self.is_killed = False
        """Whether the server ends an outdated request by SIGKILL."""
        self._ended: set[str] = set()
        self._changed = threading.Condition()

    def note_seen(self, removals: int) -> None:
        assert removals == 0

    def end(self, *job_ids: str) -> None:
        with self._changed:
            self._ended |= set(job_ids)
            self._changed.notify_all()

    def run_verb(
        self,
        verb: str,
        *job_ids: str,
        take: Callable[[bytes], object],
        stdin: Iterable[bytes],
    ) -> None:
        self.asked.put(job_ids)
        if self.failures:
            raise self.failures.pop()
        if self.early_ends:
            self.early_ends -= 1
            take(b"queue=/q\0")
            take(b"")
            return
        stopped = threading.Event()

        def watch_stdin() -> None:
            list(stdin)
            stopped.set()
            with self._changed:
                self._changed.notify_all()

        threading.Thread(target=watch_stdin, daemon=True).start()
        take(b"queue=/q\0")
        left = set(job_ids)
        with self._changed:
            while left and not stopped.is_set():
                for job_id in sorted(left & self._ended):
                    take(
                        f"id={job_id}\0state=finished\0how=exit\0number=0\0\0".encode()
                    )
                    left.discard(job_id)
                if left:
                    self._changed.wait(10)
        if left and self.is_killed:
            raise ConnectionFailed("ended by SIGKILL")
        take(b"")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def watcher(server: Server) -> Watcher:
    connection: Any = server
    return Watcher(connection)


class Waiting(SimpleNamespace):
    """A thread that waits for jobs."""

    def __init__(self, ends: Iterator[tuple[str, Any]]) -> None:
        super().__init__(got=[], error=None)

        def run() -> None:
            try:
                for job_id, status in ends:
                    self.got.append((job_id, status.state))
            except Exception as error:
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def join(self) -> list[tuple[str, JobState]]:
        self.thread.join(30)
        assert not self.thread.is_alive()
        got: list[tuple[str, JobState]] = self.got
        return got


def test_second_wait_for_ended_job_sends_request(
    server: Server, watcher: Watcher
) -> None:
    other = Waiting(watcher.ends(["long", "short"]))
    assert server.asked.get(timeout=30) == ("long", "short")
    server.end("short")
    # The request continues to wait for "long", and will not report "short" again.
    again = Waiting(watcher.ends(["short"]))
    assert again.join() == [("short", JobState.FINISHED)]
    server.end("long")
    assert len(other.join()) == 2


def test_new_id_restarts_the_request_with_all_ids(
    server: Server, watcher: Watcher
) -> None:
    first = Waiting(watcher.ends(["a"]))
    assert server.asked.get(timeout=30) == ("a",)
    second = Waiting(watcher.ends(["b"]))
    assert server.asked.get(timeout=30) == ("a", "b")
    server.end("a", "b")
    assert (len(first.join()), len(second.join())) == (1, 1)


def test_outdated_request_may_be_killed(server: Server, watcher: Watcher) -> None:
    pauses: list[int] = []
    retries: Any = SimpleNamespace(limit=2, pause=pauses.append)
    server.retries, server.is_killed = retries, True
    waiting = []
    for number in range(4):
        waiting.append(Waiting(watcher.ends([f"{number}"])))
        assert len(server.asked.get(timeout=30)) == number + 1
    server.end(*"0123")
    assert [len(one.join()) for one in waiting] == [1] * 4
    assert pauses == []


def test_lost_connection_is_survived_once_reached(
    server: Server, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    server.failures = [ConnectionFailed("lost")] * 5
    server.reached = True
    server.end("a")
    assert Waiting(watcher.ends(["a"])).join() == [("a", JobState.FINISHED)]
    assert server.asked.qsize() == 6
    # The third attempt in succession is reported, and only this attempt.
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_early_end_of_request_is_a_lost_connection(
    server: Server, watcher: Watcher
) -> None:
    pauses: list[int] = []
    retries: Any = SimpleNamespace(limit=2, pause=pauses.append)
    server.retries = retries
    server.early_ends = 3
    server.reached = True
    server.end("a")
    assert Waiting(watcher.ends(["a"])).join() == [("a", JobState.FINISHED)]
    assert pauses == [1, 2, 3]


def test_outage_of_the_server_is_survived_for_a_while(
    server: Server, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = RemoteCommandFailure("Cannot fork", "wait", 2)

    def wait(*failures: Exception) -> list[Any]:
        server.failures = [*failures]
        waiting = Waiting(watcher.ends(["a"]))
        return [*waiting.join(), waiting.error]

    server.end("a")
    assert wait(outage) == [outage]
    refused = AuthenticationFailed("did not accept the login")
    refused.sent_secret = False
    assert wait(refused) == [refused]
    assert wait() == wait(*[outage] * 5) == [("a", JobState.FINISHED), None]
    assert wait(*[refused] * 3) == [("a", JobState.FINISHED), None]
    with monkeypatch.context() as patch:
        # The first login is repeated at the end of the time limit.
        patch.setattr(retry_policy, "OUTAGE_TIMEOUT", 0.15)
        patch.setattr(Retries, "jittered_delay", lambda *_: 1)
        assert wait(refused, refused) == [refused]
        # A login succeeds, and the request fails.
        patch.setattr(Retries, "pause", lambda *_: None)
        assert wait(refused, outage, refused) == [("a", JobState.FINISHED), None]
    refused.sent_secret = True
    assert wait(refused) == [refused]
    malformed = RemoteCommandFailure("No state", "wait")
    assert wait(malformed) == [malformed]
    unmounted = QueueNotFound("There is no queue at '/q'")
    assert wait(*[unmounted] * 5) == [("a", JobState.FINISHED), None]
    server.removed = True
    assert wait(unmounted) == [unmounted]
    server.removed = False
    assert unmounted.waited == 0
    monkeypatch.setattr("tej.queue.wait_request.OUTAGE_TIMEOUT", 0)
    assert wait(*[unmounted] * 5) == [unmounted]
    assert unmounted.waited > 0
    monkeypatch.setattr("tej.queue.wait_request.OUTAGE_TIMEOUT", -1)
    assert wait(outage) == [outage]
    assert wait(unmounted) == [unmounted]


def test_unreachable_server_ends_the_wait(server: Server, watcher: Watcher) -> None:
    server.failures = [ConnectionFailed("no such host")] * 5
    waiting = Waiting(watcher.ends(["a"]))
    assert waiting.join() == []
    assert isinstance(waiting.error, ConnectionFailed)
    assert server.asked.qsize() == server.retries.limit


def test_expired_deadline_leaves_other_jobs_unreported(
    server: Server, watcher: Watcher
) -> None:
    assert list(watcher.ends(["a"], deadline=0.0)) == []


def test_job_missing_after_the_deadline_is_an_error() -> None:
    connection: Any = SimpleNamespace(job_not_found=JobNotFound)
    done = JobStatus("done", JobState.FINISHED, PurePosixPath("/"))
    runs = JobStatus("runs", JobState.RUNNING, PurePosixPath("/"))
    found = ended_among(connection, {"runs": runs, "done": done, "absent": None})
    assert next(found) == ("done", done)
    with pytest.raises(JobNotFound, match="absent"):
        next(found)


def test_wait_works_after_lack_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    watcher = Watcher(server)  # type: ignore[arg-type]

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(ConnectionFailed, match="another thread"):
            watcher.wait(["a"])
    server.end("a")
    assert [*watcher.wait(["a"], 60)] == ["a"]
