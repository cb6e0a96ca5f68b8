"""Benchmarks: measure tej and its peers, and write the table to docs/benchmarks.md.

    python bench/run.py [NAME...]         run all measurements, or those in NAME...

Times depend on the machine, so compare only the ratios.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date

from kill_jobs import kill_1000
from large_queues import large_queue, list_10k
from request_times import cold_status, start_up, status
from short_jobs import thousand_jobs, trivial_jobs
from testbed import LATENCY, ROOT, Row, TestBed
from transfers import large_file, signature, small_files
from waiting import notice, waiting_1000

MEASUREMENTS: dict[str, Callable[[TestBed], list[Row]]] = {
    "start_up": start_up,
    "small_files": small_files,
    "large_file": large_file,
    "status": status,
    "cold_status": cold_status,
    "list_10k": list_10k,
    "large_queue": large_queue,
    "notice": notice,
    "waiting_1000": waiting_1000,
    "kill_1000": kill_1000,
    "thousand_jobs": thousand_jobs,
    "trivial_jobs": trivial_jobs,
    "signature": signature,
}

HEAD = """\
# Benchmarks

The first table shows the results of one complete run of `python bench/run.py` on {date},
on a machine with {cpus} cores, {system} and Python {python}. Queues and temporary files
were on {file_system}. Except for slow operations, each time is the shortest of several
runs. "50 ms" is the round-trip time of a connection that was slowed down. "Warm" means
that the connection is already open, and "cold" means that it is not. The column "peer"
shows another program that does the same work. Times differ between machines, so compare
the ratios.

| what | tej | peer | ratio |
| --- | --- | --- | --- |
"""


def read_file_system() -> str:
    """Return the type of the file system of temporary files, such as `ext4`."""
    command = ["stat", "-f", "-c", "%T", tempfile.gettempdir()]
    return subprocess.check_output(command, text=True).strip()


def main(names: list[str]) -> None:
    """Run the measurements, print the results, and write the table of a complete run."""
    testbed = TestBed(LATENCY)
    lines: list[str] = []
    try:
        for name in names or MEASUREMENTS:
            for row in MEASUREMENTS[name](testbed):
                lines.append(f"| {' | '.join(row)} |\n")
                print(lines[-1], end="", flush=True)
    finally:
        testbed.close()
    if not names:
        head = HEAD.format(
            cpus=os.cpu_count(),
            system=platform.system(),
            python=platform.python_version(),
            date=date.today().isoformat(),
            file_system=read_file_system(),
        )
        page = ROOT / "docs/benchmarks.md"
        # Other programs measure the overhead of the workflow engines.
        _, mark, rest = page.read_text().partition("\n## ")
        page.write_text(head + "".join(lines) + mark + rest)


if __name__ == "__main__":
    main(sys.argv[1:])
