"""The jobs that changed last: `jobs(last=N)` and `tej list --last N`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from facts import make_ended_job

import tej


def test_last_selects_jobs_that_changed_last(
    tmp_path: Path,
) -> None:
    queue = tej.RemoteQueue("local:", str(tmp_path / "queue"), "default")
    queue.setup()
    for number in range(5):
        folder = make_ended_job(queue.queue, f"job{number}")
        os.utime(folder, (number, number))
    Path(queue.queue, "jobs/no job").write_text("")
    os.utime(Path(queue.queue, "jobs/no job"), (0, 0))
    # A download records a fact in the same way.
    Path(queue.queue, "jobs/job1/downloaded").write_text("1700000010 a@b\n")
    assert [job.job_id for job in queue.jobs(last=2)] == ["job1", "job4"]
    assert len(queue.jobs(last=100)) == 5
    words = [sys.executable, "-m", "tej", "list", "local:", "--queue", queue.queue]
    done = subprocess.run([*words, "--last", "1"], capture_output=True, text=True)
    assert done.stdout == "job1 finished 0\n"
