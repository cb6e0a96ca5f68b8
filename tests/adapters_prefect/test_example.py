"""The example runs as it stands, and finds its jobs when it runs again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.adapters_prefect.processes import FLOWS

SWEEP = FLOWS.parents[2] / "examples/prefect/sweep.py"


def test_example_finds_its_jobs_again(
    prefect_server: str, home: Path, tmp_path: Path
) -> None:
    import os

    environment = {**os.environ, "PREFECT_API_URL": prefect_server}
    words = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(SWEEP)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert 3.1 < float(done.stdout) < 3.2
        words.append(done.stderr)
    assert "(0 jobs were found)" in words[0]
    assert "(10 jobs were found)" in words[1]
    assert len([*(home / ".tej/jobs").iterdir()]) == 10
