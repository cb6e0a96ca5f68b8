"""Cost of waiting: delay until the end of a job is noticed, and CPU time on the server."""

from __future__ import annotations

import os
import statistics
import threading
import time
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
    share = cost_of_waiting(queue, testbed)
    queue.cleanup(kill=True, grace=0)
    return [
        (
            "notice of a job's end, median of 30",
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


def cost_of_waiting(queue: tej.RemoteQueue, testbed: TestBed, jobs: int = 100) -> float:
    """Return the share of a core that the wrappers and the wait use."""
    sleeper = write_job(testbed.folder / "sleeper", "exec sleep 600")
    ids = [one.job_id for one in queue.submit_many([tej.JobSpec(sleeper)] * jobs)]
    threading.Thread(target=_wait_quietly, args=(queue, ids), daemon=True).start()
    time.sleep(5)
    before, begun = cpu_of(str(queue.queue)), time.monotonic()
    time.sleep(60)
    return (cpu_of(str(queue.queue)) - before) / (time.monotonic() - begun)


def waiting_1000(testbed: TestBed) -> list[Row]:
    """Measure the server's CPU time during a wait for 1,000 running jobs."""
    queue = testbed.queue("near")
    share = cost_of_waiting(queue, testbed, 1000)
    queue.cleanup(kill=True, grace=0)
    return [
        (
            "CPU on the server, 1,000 jobs waited for",
            f"{share:.2%} of a core",
            "",
            "(aim: below 1%)",
        ),
    ]


def _wait_quietly(queue: tej.RemoteQueue, ids: list[str]) -> None:
    try:
        queue.wait(ids)
    except tej.Error:
        return


def cpu_of(mark: str) -> float:
    """Return the CPU seconds of the processes that name a queue, and of their children.

    The shells that serve a connection do not name a queue, and are all counted.
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
