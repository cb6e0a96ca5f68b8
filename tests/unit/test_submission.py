"""Batches of a submission: limits, repeated ids, and jobs that cannot be sent."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tej import (
    ConnectionFailed,
    JobAlreadyExists,
    JobNotFound,
    JobSpec,
    RemoteCommandFailure,
    RemoteQueue,
)
from tej.queue.connection import QueueConnection
from tej.queue.request_size import BATCH_BYTES, BATCH_JOBS
from tej.queue.submission import (
    Outcome,
    Submission,
    _batches,
)
from tej.server.scripts import Scripts


def batches(
    *jobs: tuple[str, int] | Outcome, key: Callable[[Any], object] | None = None
) -> list[Any]:
    """Return the ids of each batch, for jobs given by their ids and sizes."""
    given: list[Any] = [
        one if isinstance(one, Outcome) else SimpleNamespace(job_id=one[0], size=one[1])
        for one in jobs
    ]
    return [
        one if isinstance(one, Outcome) else [job.job_id for job in one]
        for one in _batches(given, id if key is None else key)
    ]


def test_batches_have_a_maximum_number_of_jobs() -> None:
    ids = [f"job{number}" for number in range(BATCH_JOBS + 1)]
    assert batches(*((one, 1) for one in ids)) == [ids[:-1], ids[-1:]]


def test_batches_have_a_maximum_size() -> None:
    half = BATCH_BYTES // 2
    assert batches(("a", half), ("b", half), ("c", 1)) == [["a", "b"], ["c"]]
    assert batches(("a", 2 * BATCH_BYTES), ("b", 1)) == [["a"], ["b"]]


def test_repeated_id_begins_another_batch() -> None:
    jobs = ("a", 1), ("b", 1), ("a", 1)
    assert batches(*jobs) == [["a", "b"], ["a"]]
    assert batches(*jobs, key=lambda job: job.job_id) == [["a", "b", "a"]]


def test_refused_job_keeps_its_place() -> None:
    refused = Outcome("b")
    assert batches(refused, ("a", 1), refused, ("c", 1)) == [
        *(refused, ["a"], refused, ["c"])
    ]


def submission(mode: str = "ensure") -> Any:
    connection: Any = SimpleNamespace(explain=lambda error: error)
    return Submission(connection, mode)


def test_only_a_queue_seen_before_the_request_has_vanished() -> None:
    """During the request, another thread may have created the queue."""
    connection = QueueConnection(
        transport=None,  # type: ignore[arg-type]
        path="~/q",
        destination="lab",
        user="u",
        runtime="default",
        scripts=Scripts({}, "d"),
    )
    connection.check_missing_queue(None)
    connection.check_missing_queue(1.0)
    connection.last_seen = 2.0
    connection.check_missing_queue(None)
    # The local shell of the user must not expand the `~`.
    words = r"existed at [0-9]+-[0-9]+-[0-9]+ .*`tej setup lab --queue '~/q'`"
    with pytest.raises(RemoteCommandFailure, match=words):
        connection.check_missing_queue(1.0)
    # Another thread removes the queue while a reply is on its way.
    request: Any = connection
    request.run = lambda *_: connection.note_removed()
    request._run_in_queue(None, (), None)
    assert (connection.last_seen, connection.removed) == (None, True)
    request.run = lambda *_: None
    request._run_in_queue(None, (), None)
    assert connection.last_seen is not None


def test_spec_in_place_of_a_directory_is_explained() -> None:
    spec: Any = JobSpec("d")
    with pytest.raises(TypeError, match=r"queue.submit_many\(\[spec\]\)"):
        RemoteQueue("local:").submit("a", spec)


def test_found_job_must_have_the_same_signature() -> None:
    def outcome(signature: str | None, **record: str) -> Outcome:
        job = SimpleNamespace(job_id="a", signature=signature)
        known = {"id": "a", "state": "running"}
        found: Outcome = submission()._outcome(job, known | record, {"queue": "/q"})
        return found

    same = outcome("s", spec="token=t signature=s end\n")
    assert (same.error, same.is_new) == (None, False)
    assert outcome("s", ours="1").is_new
    assert outcome(None, spec="token=t signature=x end\n").error is None
    other = outcome("s", spec="token=t signature=x end\n").error
    older = outcome("s").error
    assert isinstance(other, JobAlreadyExists)
    assert "different files" in str(other)
    assert "older tej" in str(older)
    refused = outcome("s", error="3", words="gone")
    assert isinstance(refused.error, JobNotFound)
    assert refused.status is None


def test_error_of_a_later_batch_belongs_to_its_jobs() -> None:
    sent = submission()
    failure = ConnectionFailed("lost")

    def send(jobs: list[Any]) -> list[Outcome]:
        if jobs[0].job_id != "a":
            raise failure
        return [Outcome("a", is_new=True)]

    sent.send = send
    one, two, three = (SimpleNamespace(job_id=name) for name in "abc")
    with pytest.raises(ConnectionFailed):
        sent._send_batch([two])
    assert sent._send_batch([one]) == [Outcome("a", is_new=True)]
    assert sent._send_batch([two, three]) == [
        *(Outcome("b", error=failure), Outcome("c", error=failure))
    ]
    # After the error, no further batch is sent.
    assert sent._send_batch([one]) == [Outcome("a", error=failure)]


def test_same_work_is_sent_once() -> None:
    requests: list[str] = []

    def send_new(jobs: list[Any]) -> list[Outcome]:
        requests.extend(job.token for job in jobs)
        return [Outcome(job.job_id, is_new=True) for job in jobs]

    jobs = [
        SimpleNamespace(job_id="a", signature="s", token=token) for token in ("1", "2")
    ]
    for mode, tokens, news in (
        ("ensure", ["1"], [True, False]),
        ("submit", ["1", "2"], [True, True]),
    ):
        sent = submission(mode)
        sent._send_new = send_new
        requests.clear()
        assert [one.is_new for one in sent.send(jobs)] == news
        assert requests == tokens
        assert [one.is_new for one in sent.send(jobs[1:])] == [False]
        assert requests == tokens
