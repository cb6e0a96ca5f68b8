"""Overhead of a Prefect flow with many jobs: `run_jobs` against the tej library.

    python bench/prefect_overhead.py [COUNT]        needs tej[prefect]

Prints the lines of a table, and the numbers of connections and threads.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from pathlib import Path

from testbed import TestBed

import tej

AT_ONCE = 20
"""Job limit of the queue; needed because the measuring machine is also the server."""


def specs(directory: Path, count: int) -> list[tej.JobSpec]:
    return [
        tej.JobSpec(directory, environment={"NUMBER": str(number)})
        for number in range(count)
    ]


def by_core(queue: tej.RemoteQueue, directory: Path, count: int, out: Path) -> float:
    """Return the seconds for starting, awaiting and fetching jobs with the tej library."""
    begun = time.monotonic()
    ids = [one.job_id for one in queue.ensure_many(specs(directory, count))]
    ended = dict(queue.as_completed(ids))
    files = ["result", "_stdout", "_stderr"]
    queue.download_many(dict.fromkeys(ended, files), directory=out)
    return time.monotonic() - begun


class Watch:
    """Records the maximum numbers of threads and of connections to the server."""

    def __init__(self, testbed: TestBed) -> None:
        self.threads = self.connections = 0
        self._testbed = testbed
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(0.25):
            self.threads = max(self.threads, threading.active_count() - 1)
            found = self._testbed.sshd.connections()
            self.connections = max(self.connections, found)


def print_results(
    count: int,
    ours: tuple[float, float],
    theirs: tuple[float, float],
    empty: float,
    watch: Watch,
) -> None:
    """Print the table, and the maximum numbers of connections and threads."""
    print(f"| what | the tej library | run_jobs in a flow | more |\n|{' --- |' * 4}")
    for what, alone, in_flow in zip(
        (f"{count} jobs started, awaited, fetched", f"{count} jobs found, fetched"),
        *(ours, theirs),
        strict=True,
    ):
        more = in_flow - alone
        print(f"| {what} | {alone:.1f} s | {in_flow:.1f} s | {more:.1f} s |")
    print(f"\nA flow that does nothing takes {empty:.1f} s.")
    print(
        f"Connections: {watch.connections}; threads at most: {watch.threads}; "
        f"memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB"
    )


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else 1000
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    testbed = TestBed(0)
    os.environ["PREFECT_HOME"] = str(testbed.folder / "prefect")
    from prefect import flow
    from prefect.testing.utilities import prefect_test_harness

    from tej_prefect import JobResult, TejDestination, TejJob, run_jobs

    directory = testbed.folder / "job"
    directory.mkdir()
    (directory / "start.sh").write_text("#!/bin/sh\necho $NUMBER >result\n")

    def jobs(path: str) -> list[TejJob]:
        destination = TejDestination(destination="near", queue=path, runtime="default")
        return [
            TejJob(
                destination=destination,
                directory=directory,
                environment={"NUMBER": str(number)},
                results=["result"],
                results_directory=testbed.folder / "results",
            )
            for number in range(count)
        ]

    @flow
    def sweep(path: str) -> list[JobResult]:
        return run_jobs(jobs(path))

    @flow
    def nothing() -> None: ...

    try:
        queue = testbed.queue("near")
        queue.setup(max_running=AT_ONCE)
        core = by_core(queue, directory, count, testbed.folder / "core")
        again = by_core(queue, directory, count, testbed.folder / "core again")
        queue.close()
        with prefect_test_harness(server_startup_timeout=120):
            nothing()
            second = testbed.queue("near")
            second.setup(max_running=AT_ONCE)
            second.close()
            with Watch(testbed) as watch:
                begun = time.monotonic()
                results = sweep(str(second.queue))
                flow_seconds = time.monotonic() - begun
            assert [one.path("result").read_text() for one in results] == [
                f"{number}\n" for number in range(count)
            ]
            begun = time.monotonic()
            assert all(one.found for one in sweep(str(second.queue)))
            flow_again = time.monotonic() - begun
            begun = time.monotonic()
            nothing()
            empty = time.monotonic() - begun
    finally:
        testbed.close()
    print_results(count, (core, again), (flow_seconds, flow_again), empty, watch)


if __name__ == "__main__":
    main()
