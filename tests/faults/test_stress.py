"""Several clients submit, kill, delete and list in one queue at the same time.

TEJ_STRESS is the number of jobs.  The default is 24; use 200 for a thorough test.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.clients import Client, continue_together
from jobs import Gate, job_directory, processes_of, wait_until

import tej
from tej import JobState

JOBS = int(os.environ.get("TEJ_STRESS", "24"))
CLIENTS = 4

# Each client submits a share of the jobs, and kills and deletes jobs of all clients.
LINES = """
import json, random
me, count, clients, folder = {me}, {count}, {clients}, Path({folder!r})
rng = random.Random(me)
deleted, unexpected = [], []
pause()
for number in range(count):
    kind = rng.choice(["quick", "waits", "fails", "forks"])
    queue.submit(f"c{{me}}.{{number}}.{{kind}}", folder / kind)
    found = [job.job_id for job in queue.jobs()]
    if found:
        chosen = rng.choice(found)
        verb = rng.choice(["kill", "delete", "delete", "status", "download", "nothing"])
        try:
            if verb == "kill":
                queue.kill(chosen, grace=rng.choice([0, 1]))
            elif verb == "delete":
                queue.delete(chosen)
                deleted.append(chosen)
            elif verb == "status":
                queue.status(chosen)
            elif verb == "download":
                queue.download(chosen, "start.sh", directory=folder / f"out{{me}}")
        except (tej.JobNotFound, tej.JobStillRunning, tej.DownloadFailed):
            pass
        except tej.RemoteCommandFailure as error:
            # A job may be deleted while it is read.
            unexpected.append(f"{{verb}} {{chosen}}: {{error}}")
print(json.dumps([deleted, unexpected]))
"""


@pytest.mark.timeout(900)
def test_every_job_under_stress_has_its_outcome(
    client: Callable[..., Client],
    queue: tej.RemoteQueue,
    queue_path: Path,
    tmp_path: Path,
    gate: Gate,
) -> None:
    starts = tmp_path / "starts"
    starts.mkdir()
    once = f"echo once >>'{starts}/'$TEJ_JOB_ID"
    for kind, script in {
        "quick": once,
        "fails": f"{once}; exit 3",
        "waits": f"{once}; {gate.wait}",
        "forks": f"{once}; (setsid sleep 1000 &) & sleep 1000 & {gate.wait}",
    }.items():
        job_directory(tmp_path, script, name=kind)
    share = JOBS // CLIENTS
    clients = [
        client(LINES.format(me=me, count=share, clients=CLIENTS, folder=str(tmp_path)))
        for me in range(CLIENTS)
    ]
    continue_together(clients)
    deleted: list[str] = []
    unexpected: list[str] = []
    for one in clients:
        out, words = one.process.communicate(timeout=800)
        assert one.process.returncode == 0, words
        gone, strange = json.loads(out)
        deleted += gone
        unexpected += strange
    assert unexpected == []

    there = {job.job_id: job for job in queue.jobs()}
    submitted = {f"c{me}.{number}" for me in range(CLIENTS) for number in range(share)}
    assert len(deleted) == len(set(deleted)), "nothing was deleted twice"
    assert not set(deleted) & set(there)
    known = [job_id.rsplit(".", 1)[0] for job_id in (*deleted, *there)]
    assert sorted(known) == sorted(submitted), "every job is accounted for"
    assert not [job for job in there.values() if job.state is JobState.LOST]

    waiting = [job_id for job_id, job in there.items() if not job.state.final]
    outcomes = queue.kill_many([*there], grace=1)
    assert all(outcomes[job_id].status.state.final for job_id in there)  # type: ignore[union-attr]
    for job_id in waiting:
        assert queue.status(job_id).state in (JobState.KILLED, JobState.FINISHED)
    for file in starts.iterdir():
        assert file.read_text() == "once\n", f"{file.name} ran once"
    for job_id, job in there.items():
        if job.state is JobState.FINISHED:
            assert job.exit_code == (3 if job_id.endswith("fails") else 0), job
    wait_until(lambda: not processes_of(queue_path), "nothing is left running")
    assert set(queue.delete_many(there).values()) <= {None}
    assert list((queue_path / "incoming").iterdir()) == []
