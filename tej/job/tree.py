"""Dependency trees of jobs, and the dependents of a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tej.job.status import JobStatus


def find_dependents(jobs: Iterable[JobStatus], ids: Iterable[str]) -> list[str]:
    """Return the ids of all jobs that need one of `ids`, directly or indirectly.

    A job comes before the jobs that it needs.
    """
    dependents: dict[str, list[str]] = {}
    for job in jobs:
        for needed in job.after:
            dependents.setdefault(needed, []).append(job.job_id)
    order: list[str] = []
    seen: set[str] = set()
    # Depth-first search with a stack, because a long chain would exceed the recursion
    # limit.  A job is added to `order` when all of its dependents have been added.
    stack = [(job_id, False) for job_id in [*ids][::-1]]
    while stack:
        job_id, is_done = stack.pop()
        if is_done:
            order.append(job_id)
        elif job_id not in seen:
            seen.add(job_id)
            stack.append((job_id, True))
            stack += [(one, False) for one in dependents.get(job_id, ())]
    return order


@dataclass(frozen=True)
class Branch:
    """A line of a tree of jobs."""

    prefix: str
    """Characters that draw the lines from the job to the job above it."""
    job: JobStatus
    others: tuple[str, ...]
    """Ids of the jobs that the job needs, except the job under which it is drawn."""


def arrange_tree(jobs: Sequence[JobStatus], *, ascii_only: bool) -> Iterator[Branch]:
    """Yield the jobs in the order of a tree, each job below a job that it needs.

    A job that needs several jobs is drawn once, below the needed job that is farthest
    from the root of the tree.
    """
    fork, last, bar = ("|- ", "`- ", "|  ") if ascii_only else ("├─ ", "└─ ", "│  ")
    known = {job.job_id: job for job in jobs}
    depth = _depths(known)
    children: dict[str | None, list[JobStatus]] = {}
    parents: dict[str, str | None] = {}
    for job in jobs:
        needed = [one for one in job.after if one in depth]
        parent = max(needed, key=lambda one: depth[one], default=None)
        parents[job.job_id] = parent
        children.setdefault(parent, []).append(job)
    stack = [(job, "", "") for job in children.get(None, ())][::-1]
    while stack:
        job, prefix, indent = stack.pop()
        others = tuple(one for one in job.after if one != parents[job.job_id])
        yield Branch(prefix, job, others)
        below = children.get(job.job_id, [])
        lines = [
            (one, indent + fork, indent + bar)
            if number + 1 < len(below)
            else (one, indent + last, indent + "   ")
            for number, one in enumerate(below)
        ]
        stack += lines[::-1]


def _depths(known: dict[str, JobStatus]) -> dict[str, int]:
    """Return the depth of each job: the length of its longest chain of dependencies.

    A job in a dependency cycle, which only a damaged queue can have, gets no depth.
    """
    depth: dict[str, int] = {}
    below: dict[str, list[str]] = {}
    missing: dict[str, int] = {}
    for job in known.values():
        needed = {one for one in job.after if one in known}
        missing[job.job_id] = len(needed)
        for one in needed:
            below.setdefault(one, []).append(job.job_id)
    level = [job_id for job_id, count in missing.items() if count == 0]
    number = 0
    while level:
        ready = []
        for job_id in level:
            depth[job_id] = number
            for one in below.get(job_id, ()):
                missing[one] -= 1
                if missing[one] == 0:
                    ready.append(one)
        level = ready
        number += 1
    return depth
