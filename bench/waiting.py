"""Cost of waiting: delay until the end of a job is noticed, and CPU time on the server."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed import (
    Row,
    TestBed,
    write_job,
)

import tej


def notice(testbed: TestBed) -> list[Row]:
    """Measure the time from the end of a job to the return of `wait`."""
    queue = testbed.queue("near")
    job = write_job(testbed.folder / "notice", 'sleep "$PAUSE"; date +%s.%N')
    specs = [
        tej.JobSpec(
            job, job_id=f"n{number}", environment={"PAUSE": str(1 + number / 7)}
        )
        for number in range(30)
    ]
    ids = [one.job_id for one in queue.submit_many(specs)]
    delays: list[float] = []

    def wait_for(job_id: str) -> None:
        queue.wait([job_id])
        now = time.time()
        delays.append(now - float(b"".join(queue.logs(job_id))))

    threads = [threading.Thread(target=wait_for, args=(job_id,)) for job_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with blocked_jobs(queue, testbed, 100) as ids:
        share = cost_of_waiting(queue, ids)
    queue.cleanup(kill=True)
    return [
        (
            "delay until the client reports a job's end, median of 30",
            f"{statistics.median(delays):.2f} s",
            "",
            "(aim: below 0.5 s)",
        ),
        (
            "CPU on the server, 100 jobs waited for",
            f"{share:.2%} of a core",
            "",
            "(aim: below 1%)",
        ),
    ]


@contextmanager
def blocked_jobs(
    queue: tej.RemoteQueue, testbed: TestBed, count: int
) -> Iterator[list[str]]:
    """Run jobs that end when the context ends; yields the ids of the jobs.

    Each job waits at a FIFO, because killing 1,000 jobs takes minutes.
    """
    fifo = testbed.folder / f"fifo of {count}"
    os.mkfifo(fifo)
    job = write_job(testbed.folder / f"blocked {count}", f"read -r _ <'{fifo}'")
    ids = [one.job_id for one in queue.submit_many([tej.JobSpec(job)] * count)]
    try:
        yield ids
    finally:
        # A reader opens the FIFO as soon as a writer has opened it, and then reads the
        # end of the file.
        os.close(os.open(fifo, os.O_RDWR))
        queue.wait(ids)


def cost_of_waiting(queue: tej.RemoteQueue, ids: list[str]) -> float:
    """Return the share of a core that the wrappers and the wait use."""
    threading.Thread(target=_wait_quietly, args=(queue, ids), daemon=True).start()
    time.sleep(5)
    before, begun = cpu_of(str(queue.queue)), time.monotonic()
    time.sleep(60)
    return (cpu_of(str(queue.queue)) - before) / (time.monotonic() - begun)


def waiting_1000(testbed: TestBed) -> list[Row]:
    """Measure what 1,000 running jobs, and a wait for them, cost on the server."""
    queue = testbed.queue("near")
    with blocked_jobs(queue, testbed, 1000) as ids:
        share = cost_of_waiting(queue, ids)
        processes, memory = processes_of(str(queue.queue))
    return [
        (
            "CPU on the server, 1,000 jobs waited for",
            f"{share:.2%} of a core",
            "",
            "(aim: below 1%)",
        ),
        (
            "processes of tej per running job, of 1,000",
            f"{processes / 1000:.2f}",
            "",
            "(aim: at most 2)",
        ),
        (
            "memory of these processes, per running job",
            f"{memory / 1000 / 1024:.2f} MB",
            "",
            "(aim: at most 2 MB)",
        ),
    ]


def _wait_quietly(queue: tej.RemoteQueue, ids: list[str]) -> None:
    try:
        queue.wait(ids)
    except tej.Error:
        return


def cpu_of(mark: str) -> float:
    """Return the CPU seconds of the processes of a queue, and of their children.

    The command lines of these processes contain `mark`. All shells that serve a
    connection are also counted, because their command lines contain no queue.
    """
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            if mark.encode() not in words and b'eval "$tej"' not in words:
                continue
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def processes_of(mark: str) -> tuple[int, int]:
    """Return the number of the processes of a queue, and their memory in KB.

    Memory that several processes share is divided among them (PSS).
    """
    count = memory = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() not in (entry / "cmdline").read_bytes():
                continue
            sizes = (entry / "smaps_rollup").read_text()
        except OSError:
            continue
        count += 1
        memory += int(sizes.partition("\nPss:")[2].split()[0])
    return count, memory
