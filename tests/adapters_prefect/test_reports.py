"""Reports about jobs, without a server."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

import pytest

import tej
from tej_prefect import reports
from tej_prefect.job_result import JobRecord
from tej_prefect.reports import JobArtifacts


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


def status(job_id: str, state: tej.JobState) -> tej.JobStatus:
    return tej.JobStatus(job_id, state, PurePosixPath("/"))


def test_states_of_pending_jobs_are_read_until_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reports, "stored_name", lambda _: "")
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
