"""Claims on the job's server: written, read, and their ages."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import tej
from tej_prefect import claims
from tej_prefect.claims import EXPIRY, read_claims


def test_claims_are_read_with_their_ages(
    queue: tej.RemoteQueue, queue_path: Path, job: object
) -> None:
    run = queue.ensure(job("exit 0"))  # type: ignore[operator]
    stage = str(run.status().directory)
    assert read_claims(queue, stage) == []
    ids = [uuid4(), uuid4(), uuid4()]
    for name, flow_run_id in zip(("live", "stale", "suspended-1"), ids, strict=True):
        claims._write(queue, stage, name, [flow_run_id], [run.id])
    (queue_path / "claims/broken").write_text("{")
    for name in ("stale", "suspended-1"):
        path = queue_path / "claims" / name
        os.utime(path, times=(0, path.stat().st_mtime - EXPIRY - 1))
    found = {claim.flow_runs[0]: claim for claim in read_claims(queue, stage)}
    assert [found[one].is_live for one in ids] == [True, False, True]
    assert {claim.jobs for claim in found.values()} == {frozenset([run.id])}
    run.wait()
    assert queue.cleanup()
    assert not queue_path.exists()
