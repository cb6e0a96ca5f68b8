"""Kill requests, with simulated replies of the server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tej import JobNotFound, JobState, JobStillRunning, RemoteCommandFailure
from tej.queue import kill_request
from tej.queue.kill_request import kill, kill_many, why_alive
from tests.unit.simulated_connection import RUNS, connection


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
    # The server spares an attempt that was started after the job was listed.
    kill_many(server, ["a", replace(RUNS, job_id="b", token="x"), "c"], 5)
    assert server.sent[1][3:] == ("a", "b", "/x", "c")
    assert kill_many(server, [], 5) == {}
    with pytest.raises(RemoteCommandFailure, match="'d' is missing"):
        kill_many(server, ["d"], 5)
    with pytest.raises(JobStillRunning, match="still runs after the kill"):
        kill(connection("id=a was=running strays=0 state=running"), "a", 1)
    with pytest.raises(JobNotFound, match="^a$"):
        kill(connection("id=a"), "a", 1)
    with pytest.raises(JobNotFound, match="'a' was deleted, or submitted again"):
        kill(connection("id=a"), replace(RUNS, token="x"), 1)


@pytest.mark.parametrize(
    ("token", "words"), [("new", ("b", "/y", "a", "/new")), ("old", ("a", "/old"))]
)
def test_dependents_of_a_new_attempt_are_spared(
    monkeypatch: pytest.MonkeyPatch, token: str, words: tuple[str, ...]
) -> None:
    listed = [
        replace(RUNS, token="new"),
        replace(RUNS, job_id="b", token="y", after=("a",)),
    ]
    monkeypatch.setattr(kill_request, "get_jobs", lambda _: listed)
    server = connection("id=a", "id=b")
    kill_many(server, [replace(RUNS, token=token)], 5, with_dependents=True)
    assert server.sent[0][3:] == words


def test_job_alive_after_a_kill_is_an_error() -> None:
    error = why_alive(replace(RUNS, note="why"))
    assert "on n1 still runs after the kill: why; check" in str(error)
    queued = why_alive(replace(RUNS, state=JobState.QUEUED, host=None))
    assert "Job 'a' is still queued after the kill; check" in str(queued)
    ended = replace(RUNS, state=JobState.KILLED)
    assert why_alive(ended) is None
    assert "SIGKILL did not end" in str(why_alive(replace(ended, processes_left=1)))
