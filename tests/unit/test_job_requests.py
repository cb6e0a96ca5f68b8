"""Parser of a list of jobs that is still being received."""

from __future__ import annotations

import pytest

import tej
from tej.queue.job_requests import _StatusReceiver

HEAD = b"queue=/q\0runtime=default\0now=9\0"
REPLY = HEAD + b"id=a\0state=running\0spec=name=x end\0id=gone\0\0id=b\0state=lost\0"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_of_any_size_are_the_same_list(size: int) -> None:
    receiver = _StatusReceiver()
    # The scripts on the server are outdated, and the request is sent a second time.
    receiver.take(b"0123abcd 5\n")
    receiver.take(b"")
    for start in range(0, len(REPLY), size):
        receiver.take(REPLY[start : start + size])
    receiver.take(b"")
    head, jobs = receiver.finish()
    assert head["now"] == "9"
    assert [(job.job_id, job.state, job.name) for job in jobs] == [
        ("a", tej.JobState.RUNNING, "x"),
        ("b", tej.JobState.LOST, ""),
    ]


def test_incomplete_record_is_not_parsed() -> None:
    receiver = _StatusReceiver()
    receiver.take(HEAD + b"id=a\0state=running\0id=b\0state=fini")


def test_list_without_queue_is_refused() -> None:
    receiver = _StatusReceiver()
    receiver.take(b"")
    with pytest.raises(tej.RemoteCommandFailure, match="'queue' is missing"):
        receiver.finish()


def test_endless_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tej.queue.job_requests.REPLY_LIMIT", 100)
    receiver = _StatusReceiver()
    with pytest.raises(tej.RemoteCommandFailure, match="too long"):
        receiver.take(b"x=y\0" * 50)
