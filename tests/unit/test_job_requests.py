"""Requests about existing jobs, with simulated replies of the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any

import pytest

from tej import JobNotFound, JobState, JobStatus, JobStillRunning, RemoteCommandFailure
from tej.queue import status_requests
from tej.queue.connection import check_job_ids
from tej.queue.delete_request import delete_many, delete_unchanged
from tej.queue.kill_request import kill, kill_many, why_alive
from tej.queue.status_requests import get_status
from tej.wire.replies import ParsedReply, parse_reply


class Connection:
    """A connection whose server sends one reply to every request."""

    def __init__(self, *records: str, failures: int = 0) -> None:
        self.sent: list[tuple[str, ...]] = []
        self._reply = "\0".join(["queue=/q", *records]).replace(" ", "\0").encode()
        self._failures = failures

    def request(self, *words: str) -> ParsedReply:
        self.sent.append(words)
        return parse_reply(self._reply)

    request_once = request
    job_not_found = staticmethod(JobNotFound)

    def with_retries(self, attempt: Callable[[int], Any]) -> object:
        return attempt(self._failures)


def connection(*records: str, failures: int = 0) -> Any:
    return Connection(*records, failures=failures)


RUNS = JobStatus("a", JobState.RUNNING, PurePosixPath("/"), host="n1")


def test_absent_job_is_not_found() -> None:
    with pytest.raises(JobNotFound):
        get_status(connection("id=b state=running"), "a")
    with pytest.raises(JobNotFound):
        kill(connection("id=a"), "a", 1)
    # A reply without a head does not mean that the job is absent.
    headless = connection()
    headless._reply = b""
    with pytest.raises(RemoteCommandFailure):
        get_status(headless, "a")


def test_list_is_parsed_while_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = status_requests._StatusReceiver()
    # The scripts on the server were upgraded, and the request was sent again.
    for piece in (
        b"old 1.0",
        b"",
        b"queue=/q\0id=a\0sta",
        b"te=lost\0id=b\0state=lost\0",
    ):
        receiver.take(piece)
    receiver.take(b"")
    head, jobs = receiver.finish()
    assert (head, [job.job_id for job in jobs]) == ({"queue": "/q"}, ["a", "b"])
    monkeypatch.setattr(status_requests, "REPLY_LIMIT", 30)
    endless = status_requests._StatusReceiver()
    endless.take(b"id=a\0state=lost\0")
    with pytest.raises(RemoteCommandFailure, match="too long"):
        endless.take(b"id=b\0state=lost\0")


def test_kill_reports_states_and_strays() -> None:
    server = connection(
        "id=a was=running strays=0 state=killed",
        "id=b was=finished strays=2 state=finished how=exit number=0",
        "id=c",
        "id=other",
    )
    found = kill_many(server, ["a", "b", "c"], 5)
    assert [*found] == ["a", "b", "c"]
    assert found["c"] is None
    assert found["a"] is not None
    assert found["b"] is not None
    assert (found["a"].was, found["a"].strays) == (JobState.RUNNING, 0)
    assert (found["b"].was, found["b"].strays) == (JobState.FINISHED, 2)
    assert server.sent[0][:2] == ("kill", "5")
    assert kill_many(server, [], 5) == {}
    with pytest.raises(RemoteCommandFailure, match="'d' is missing"):
        kill_many(server, ["d"], 5)
    with pytest.raises(JobStillRunning, match="still runs after the kill"):
        kill(connection("id=a was=running strays=0 state=running"), "a", 1)


def test_job_alive_after_a_kill_is_an_error() -> None:
    error = why_alive(replace(RUNS, note="why"))
    assert "on n1 still runs after the kill: why; check" in str(error)
    queued = why_alive(replace(RUNS, state=JobState.QUEUED, host=None))
    assert "Job 'a' is still queued after the kill; check" in str(queued)
    ended = replace(RUNS, state=JobState.KILLED)
    assert why_alive(ended) is None
    assert "SIGKILL did not end" in str(why_alive(replace(ended, processes_left=1)))


def test_job_is_deleted_only_as_it_was_listed() -> None:
    when = datetime.fromtimestamp(1000, timezone.utc)
    server = connection(
        "id=a deleted=1", "id=b state=running", "id=c", "id=d deleted=1"
    )
    jobs = [replace(RUNS, job_id=one, submitted=when) for one in "abc"]
    undated = replace(RUNS, job_id="d")
    assert delete_unchanged(server, [*jobs, undated]) == [jobs[0], undated]
    words = ["a", "1000", "b", "1000", "c", "1000", "d", "-"]
    assert server.sent == [("delete", *words)]


@pytest.mark.parametrize("failures", [0, 1])
def test_absent_job_was_deleted_only_by_a_repeated_request(failures: int) -> None:
    server = connection("id=a", "id=b state=running", failures=failures)
    found = delete_many(server, ["a", "b"])
    assert (found["a"] is None) == bool(failures)
    assert isinstance(found["b"], JobStillRunning)


def test_string_is_one_job_id() -> None:
    assert check_job_ids("job") == ["job"]
    assert check_job_ids(["a", "b", "a"]) == ["a", "b"]
