"""Trees of jobs: the order of dependents, and the drawing."""

from __future__ import annotations

from pathlib import PurePosixPath

from tej.job.status import JobState, JobStatus
from tej.job.tree import arrange_tree, find_dependents


def make_jobs(**needs: str) -> list[JobStatus]:
    return [
        JobStatus(
            name, JobState.QUEUED, PurePosixPath("/q"), after=tuple(needed.split())
        )
        for name, needed in needs.items()
    ]


def draw(jobs: list[JobStatus]) -> list[str]:
    return [
        f"{one.prefix}{one.job.job_id} {' '.join(one.others)}".rstrip()
        for one in arrange_tree(jobs, ascii_only=True)
    ]


def test_dependents_come_before_the_jobs_they_need() -> None:
    jobs = make_jobs(a="", b="a", c="a b", d="c", other="")
    assert find_dependents(jobs, ["a"]) == ["d", "c", "b", "a"]
    assert find_dependents(jobs, ["c", "unknown"]) == ["d", "c", "unknown"]


def test_job_is_drawn_once_below_its_farthest_need() -> None:
    jobs = make_jobs(d="b c a", a="", b="a", c="b", e="a", f="gone")
    assert draw(jobs) == [
        "a",
        "|- b",
        "|  `- c",
        "|     `- d b a",
        "`- e",
        "f gone",
    ]


def test_long_chain_and_circle_are_drawn() -> None:
    chain = {f"j{n}": f"j{n - 1}" if n else "" for n in range(3000)}
    jobs = make_jobs(**chain, x="y", y="x")
    assert len(draw(jobs)) == 3002
    assert len(find_dependents(jobs, ["j0"])) == 3000
