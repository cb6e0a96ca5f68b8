"""Measurements in queues of many ended jobs.  The facts are written without running the
jobs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from testbed import Row, TestBed, best, run, seconds

import tej

TEJ = [sys.executable, "-m", "tej"]
FACTS = ("spec", "submitted", "native_id", "started", "finished")
MOST_LINKS = 30_000
"""Number of hard links to one file; many file systems allow no more than 65,000."""


def make_ended_jobs(testbed: TestBed, count: int) -> tej.RemoteQueue:
    """Run one job, and give the queue `count` further jobs with the same facts."""
    queue = testbed.queue("near")
    folder = testbed.folder / f"ended {count}"
    folder.mkdir()
    (folder / "start.sh").write_text("true\n")
    queue.wait([queue.submit("first", folder)])
    jobs = Path(queue.queue, "jobs")
    source = jobs / "first"
    for number in range(count):
        job = jobs / f"job{number}"
        (job / "stage").mkdir(parents=True)
        for fact in FACTS:
            if number % MOST_LINKS == 0:
                (job / fact).write_bytes((jobs / "first" / fact).read_bytes())
            else:
                os.link(source / fact, job / fact)
        if number % MOST_LINKS == 0:
            source = job
    return queue


def list_10k(testbed: TestBed) -> list[Row]:
    """Measure `tej list` of 10,000 ended jobs, against `ssh host true`."""
    queue = make_ended_jobs(testbed, 10_000)
    rows = [_list(testbed, queue, "10,000 ended jobs", (), 2)]
    queue.cleanup(kill=True)
    return rows


def large_queue(testbed: TestBed) -> list[Row]:
    """Measure `tej list`, `status` and `prune` in a queue with 100,000 ended jobs.

    The directory of the test bed is removed at the end, which is faster than `cleanup`.
    """
    queue = make_ended_jobs(testbed, 100_000)
    rows = [
        _list(testbed, queue, "the last 100 of 100,000", ("--last", "100"), 1),
        _list(testbed, queue, "100,000 ended jobs", (), 10),
    ]
    one = best(lambda: queue.status("first"), 10)
    rows.append(("status of one of 100,000 jobs, warm", f"{one * 1e3:.1f} ms", "", ""))
    took = seconds(lambda: queue.prune(keep_last=50_001))
    rows.append(
        ("prune 50,000 of 100,000 jobs", f"{took:.0f} s", "", "(aim: at most 60 s)")
    )
    return rows


def _list(
    testbed: TestBed,
    queue: tej.RemoteQueue,
    name: str,
    words: tuple[str, ...],
    aim: int,
) -> Row:
    command = [*TEJ, "list", "near", "--queue", str(queue.queue), *words]
    ours = best(lambda: run(command))
    ssh = best(lambda: run(testbed.ssh("near", "true")))
    return (
        f"list {name}",
        f"{ours:.2f} s",
        f"ssh host true {ssh:.2f} s",
        f"{ours - ssh:.2f} s more (aim: at most {aim})",
    )
