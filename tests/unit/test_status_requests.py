"""Status requests, with simulated replies of the server."""

from __future__ import annotations

import pytest

from tej import JobNotFound, RemoteCommandFailure
from tej.queue import status_requests
from tej.queue.connection import check_job_ids
from tej.queue.status_requests import get_status
from tests.unit.simulated_connection import connection


def test_absent_job_is_not_found() -> None:
    with pytest.raises(JobNotFound):
        get_status(connection("id=b state=running"), "a")
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


def test_string_is_one_job_id() -> None:
    assert check_job_ids("job") == ["job"]
    assert check_job_ids(["a", "b", "a"]) == ["a", "b"]
