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
        get_status(connection("id=a"), "a")


@pytest.mark.parametrize(
    "reply",
    [b"", b"queue=/q\0", b"queue=/q\0id=b\0", b"queue=/q\0has_end=1\0id=a\0"],
)
def test_incomplete_reply_does_not_mean_absent(reply: bytes) -> None:
    incomplete = connection()
    incomplete._reply = reply
    with pytest.raises(RemoteCommandFailure):
        get_status(incomplete, "a")


@pytest.mark.parametrize("records", [b"", b"id=a\0state=lost\0", b"id=a\0\0"])
def test_list_without_its_end_is_refused(records: bytes) -> None:
    for end in (b"", b"end=1\0"):
        receiver = status_requests._StatusReceiver()
        receiver.take(b"queue=/q\0has_end=1\0" + records + end)
        receiver.take(b"")
        if end:
            receiver.finish()
            continue
        with pytest.raises(RemoteCommandFailure, match="not complete"):
            receiver.finish()


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
