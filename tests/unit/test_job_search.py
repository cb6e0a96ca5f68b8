"""Job search: ids, prefixes, names and positions."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath

import pytest

from tej.errors import AmbiguousJob
from tej.job.status import JobState, JobStatus
from tej.queue.job_search import find_job, newest_first
from tej.wire.records import parse_status

NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


def job(
    job_id: str,
    minute: int,
    sequence: int | None = None,
    name: str = "sim",
    state: JobState = JobState.FINISHED,
) -> JobStatus:
    return JobStatus(
        job_id,
        state,
        PurePosixPath("/stage"),
        submitted=NOON + timedelta(minutes=minute),
        sequence=sequence,
        name=name,
    )


JOBS = newest_first(
    [
        job("train-1", 1),
        job("train-10", 2, name="train"),
        job("sig-1f", 3, 99),
        job("sig-1a", 3, 100),
        JobStatus("damaged", JobState.LOST, PurePosixPath("/stage")),
    ]
)


def test_jobs_of_one_second_follow_their_sequence() -> None:
    ids = [one.job_id for one in JOBS]
    assert ids == ["sig-1a", "sig-1f", "train-10", "train-1", "damaged"]


def test_job_before_its_start_is_the_newest() -> None:
    waiting = job("waiting", 3, state=JobState.QUEUED)
    assert newest_first([*JOBS, waiting])[0] is waiting


@pytest.mark.parametrize(
    ("native", "sequence"),
    [
        ("pid host boot 1 31 9000", (9000 << 22) + 31),
        ("pid host boot 1 31 -", None),
        ("slurm 119_2", 119),
        ("pbs 12.server", 12),
        ("", None),
    ],
)
def test_sequence_is_start_time_or_scheduler_id(
    native: str, sequence: int | None
) -> None:
    record = {"id": "a", "state": "running", "native": native}
    assert parse_status(record, {"queue": "/q"}).sequence == sequence


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("@", "sig-1a"),
        ("@1", "sig-1a"),
        ("@3", "train-10"),
        ("@0", None),
        ("@6", None),
        ("train-1", "train-1"),
        ("train-10", "train-10"),
        ("dam", "damaged"),
        ("sig-1f", "sig-1f"),
        ("other", None),
        ("@host", None),
    ],
)
def test_word_means_one_job_or_none(word: str, expected: str | None) -> None:
    found = find_job(word, JOBS)
    assert (found and found.job_id) == expected


@pytest.mark.parametrize(("word", "count"), [("sig-", 2), ("sim", 3), ("train", 2)])
def test_ambiguous_word_lists_the_jobs(word: str, count: int) -> None:
    with pytest.raises(AmbiguousJob) as caught:
        find_job(word, JOBS)
    first, *jobs = str(caught.value).splitlines()
    assert f"'{word}' matches {count} jobs" in first
    assert len(jobs) == count


def test_long_list_of_jobs_is_cut() -> None:
    with pytest.raises(AmbiguousJob, match="and 3 more"):
        find_job("a", [job(f"a{number}", number) for number in range(13)])
