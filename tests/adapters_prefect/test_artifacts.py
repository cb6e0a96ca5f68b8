"""Artifacts and events of jobs, without a server."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from clocks import SimulatedTime

import tej
from tej_prefect.artifacts import JobArtifacts
from tej_prefect.events import emit_end
from tej_prefect.job_result import JobRecord


class Destination:
    """A destination whose jobs are running."""

    place = "here"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def get_client(self) -> Destination:
        return self

    def statuses(self, ids: dict[str, Any]) -> dict[str, tej.JobStatus]:
        self.asked.append([*ids])
        return {one: status(one, tej.JobState.RUNNING) for one in ids}


def status(job_id: str, state: tej.JobState, **facts: Any) -> tej.JobStatus:
    return tej.JobStatus(job_id, state, PurePosixPath("/"), **facts)


def test_states_of_pending_jobs_are_read_until_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tej_prefect.artifacts.stored_name", lambda _: "")
    sent: list[list[str]] = []
    run: Any = type("Run", (), {"flow_run_id": None})()
    destination: Any = Destination()
    artifacts: Any = JobArtifacts(run)
    artifacts._table = uuid4()
    artifacts._change = lambda _, update: sent.append(
        [row["state"] for row in json.loads(update.data)]
    )
    waits, ended, gone = (JobRecord(destination, one) for one in ("a", "b", "c"))
    done = status("b", tej.JobState.FINISHED)
    artifacts.add({waits: None, ended: done, gone: None})
    artifacts.set_end(gone, None)
    artifacts.update()
    assert destination.asked == [["a"]]
    assert sent == [["running", "finished", "deleted"]]
    # The next update is not due yet, and the last update needs no request.
    artifacts.update()
    artifacts.set_end(waits, status("a", tej.JobState.KILLED))
    artifacts.update(last=True)
    assert destination.asked == [["a"]]
    assert sent[1:] == [["killed", "finished", "deleted"]]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Record the events, each with the job and the id of the event."""
    made: list[tuple[str, Any]] = []

    def emit(name: str, *, resource: dict[str, str], **facts: Any) -> None:
        made.append((name, {**facts, "place": resource["tej.destination"]}))

    monkeypatch.setattr("tej_prefect.events.emit_event", emit)
    monkeypatch.setattr("tej_prefect.artifacts.stored_name", lambda _: "block")
    return made


def artifacts_of(flow_run_id: Any, *, creates: bool = True) -> tuple[Any, list[Any]]:
    """Return artifacts that record what is created and changed."""
    run: Any = SimpleNamespace(flow_run_id=flow_run_id, task_run_id=None)
    made: Any = JobArtifacts(run)
    sent: list[Any] = []

    def create(kind: str, key: str, data: Any, title: str) -> Any:
        sent.append((kind, key, title))
        return kind if creates else None

    made._create = create
    made._change = lambda kind, change: sent.append((kind, change))
    return made, sent


def test_new_jobs_and_ends_emit_events(
    events: list[tuple[str, Any]],
) -> None:
    destination: Any = Destination()
    new, found, old = (
        JobRecord(destination, one, found=one != "new")
        for one in ("new", "found", "old")
    )
    done = status("old", tej.JobState.FINISHED)
    jobs = {new: None, found: status("found", tej.JobState.RUNNING), old: done}
    made, sent = artifacts_of(None)
    made.add(jobs, submitted=True)
    made.add_progress()
    made.set_end(new, status("new", tej.JobState.KILLED))
    assert (events, sent) == ([], [])
    made, sent = artifacts_of(uuid4())
    made.add({})
    made.add(jobs)
    assert events == []
    made.add(jobs, submitted=True)
    assert [name for name, _ in events] == ["tej.job.started"]
    assert events.pop()[1]["payload"] == {"job_id": "new"}
    made.set_end(old, done)
    made.set_end(found, None)
    assert events == []
    made.set_end(new, status("new", tej.JobState.KILLED))
    made.set_end(found, status("found", tej.JobState.FINISHED, exit_code=2))
    assert [name for name, _ in events] == ["tej.job.killed", "tej.job.failed"]
    assert events[1][1]["payload"]["exit_code"] == 2


def test_equal_ends_are_one_event(events: list[tuple[str, Any]]) -> None:
    destination: Any = Destination()
    one, flow_run_id = JobRecord(destination, "a"), uuid4()
    first = status("a", tej.JobState.FINISHED, exit_code=0)
    second = status("a", tej.JobState.FINISHED, exit_code=0, attempt=2)
    ends = [(first, flow_run_id), (first, flow_run_id), (second, flow_run_id)]
    ends.append((first, uuid4()))
    for end, run_id in ends:
        emit_end(one, end, run_id)
    ids = [facts["id"] for _, facts in events]
    assert ids[0] == ids[1]
    assert len({*ids}) == 3
    assert {name for name, _ in events} == {"tej.job.finished"}


def test_progress_is_the_share_of_ended_jobs(
    events: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    time = SimulatedTime(100.0)
    monkeypatch.setattr("tej_prefect.artifacts.time", time)
    destination: Any = Destination()
    jobs = [JobRecord(destination, one) for one in "abcd"]
    made, sent = artifacts_of(uuid4())
    made.add({jobs[0]: None})
    made.add_progress()
    assert sent == [("table", "tej-jobs", "tej job")]
    del sent[:]
    made.add(dict.fromkeys(jobs[1:]))
    assert [one[0] for one in sent] == ["table"]
    assert sent[0][1].description == "4 tej jobs"
    made.add_progress()
    assert sent[1:] == [("progress", "tej-progress", "4 jobs at here")]
    del sent[:]
    made.set_end(jobs[0], status("a", tej.JobState.KILLED))
    made.set_end(jobs[1], None)
    time.now = 129.9
    made.update()
    assert (sent, destination.asked) == ([], [])
    time.now = 130.0
    made.update()
    assert [(kind, change.data) for kind, change in sent[:1]] == [("progress", 50.0)]
    rows = json.loads(sent[1][1].data)
    assert [row["state"] for row in rows] == ["killed", "deleted", *["running"] * 2]
    assert destination.asked == [["c", "d"]]
    assert rows[0]["block"] == "block"
    del sent[:]
    time.now = 160.0
    made.update()
    # The table has not changed, and running jobs are not requested again.
    assert [kind for kind, _ in sent] == ["progress"]
    assert len(destination.asked) == 1
