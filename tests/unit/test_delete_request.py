"""Delete requests, with simulated replies of the server."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from tej import JobStillRunning
from tej.queue.delete_request import delete_many, delete_unchanged
from tests.unit.simulated_connection import RUNS, connection


def test_job_is_deleted_only_as_it_was_listed() -> None:
    when = datetime.fromtimestamp(1000, timezone.utc)
    server = connection(
        "id=a deleted=1", "id=b state=running", "id=c", "id=d deleted=1"
    )
    jobs = [replace(RUNS, job_id=one, submitted=when, token="x") for one in "abc"]
    undated = replace(RUNS, job_id="d")
    assert delete_unchanged(server, [*jobs, undated]) == [jobs[0], undated]
    damaged = replace(RUNS, job_id="a", submitted=when)
    delete_many(server, [damaged])
    words = ["a", "/x", "b", "/x", "c", "/x", "d", "-"]
    assert server.sent == [("delete", *words), ("delete", "a", "1000")]


@pytest.mark.parametrize("failures", [0, 1])
def test_absent_job_was_deleted_only_by_a_repeated_request(failures: int) -> None:
    server = connection("id=a", "id=b state=running", failures=failures)
    found = delete_many(server, ["a", "b"])
    assert (found["a"] is None) == bool(failures)
    assert isinstance(found["b"], JobStillRunning)
