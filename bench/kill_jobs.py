"""Measurement of a kill of many running jobs: the CPU time of all processes.

The wrappers of the jobs end after the request, and are not children of the client.
Therefore the measurement runs in a pid namespace, in which process 1 reaps all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from testbed import Row, TestBed, seconds

import tej

NAMESPACE = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"]
TIME_LIMIT = 600


def kill_1000(testbed: TestBed) -> list[Row]:
    """Measure a kill of 1,000 running jobs; without namespaces, return no row."""
    if subprocess.run(
        [*NAMESPACE, "true"], check=False, capture_output=True
    ).returncode:
        return []
    program = [sys.executable, __file__, str(testbed.folder / "killed"), "1000"]
    done = subprocess.run(
        [*NAMESPACE, *program], check=True, stdout=subprocess.PIPE, text=True
    )
    took, cpu = done.stdout.split()
    return [("kill 1,000 running jobs, CPU time", f"{cpu} s", "", f"({took} s)")]


def measure(folder: Path, count: int) -> None:
    """Kill jobs, and print the duration of the request and the CPU time."""
    job = folder / "job"
    job.mkdir(parents=True)
    (job / "start.sh").write_text("sleep 10000\n")
    queue = tej.RemoteQueue("local:", str(folder / "queue"), "default")
    ids = [one.job_id for one in queue.submit_many([tej.JobSpec(job)] * count)]
    while any(job.state == "created" for job in queue.jobs()):
        time.sleep(0.1)
    before = cpu_of_namespace()
    took = seconds(lambda: queue.kill_many(ids))
    deadline = time.monotonic() + TIME_LIMIT
    # At the end, the namespace contains only process 1 and this process.
    while len(pids()) > 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    print(f"{took:.0f} {cpu_of_namespace() - before:.1f}")


def pids() -> list[Path]:
    """Return the directories of all processes of the pid namespace in /proc."""
    return [*Path("/proc").glob("[0-9]*")]


def cpu_of_namespace() -> float:
    """Return the CPU seconds of all processes, and of their children that have ended."""
    total = 0
    for process in pids():
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def main(folder: str, count: str) -> None:
    """Run the measurement in a child, and reap all orphans as process 1."""
    child = os.fork()
    if child == 0:
        measure(Path(folder), int(count))
        return
    while os.wait()[0] != child:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
