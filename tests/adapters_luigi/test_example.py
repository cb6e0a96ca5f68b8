"""The example pipeline computes the documented result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tej
from tej_luigi.config import QueueAddress
from tests.adapters_luigi.fixtures import ROOT

EXAMPLE = ROOT / "examples/luigi"


def squared_distance(seed: int, steps: int) -> int:
    """Return the squared distance that walk.awk computes."""
    state = (seed + 1) * pow(16807, 100, 2147483647) % 2147483647
    address = 0j
    for _ in range(steps):
        state = state * 16807 % 2147483647
        address += (1, -1, 1j, -1j)[state >> 29]
    return int(address.real) ** 2 + int(address.imag) ** 2


def test_example_computes_the_right_summary(
    address: QueueAddress, queue: tej.RemoteQueue
) -> None:
    words = [sys.executable, "-W", "ignore", "-m", "luigi", "--module", "pipeline"]
    words += [
        "Summary",
        "--walks",
        "3",
        "--Walk-steps",
        "1000",
        "--local-scheduler",
        "--no-lock",
    ]
    subprocess.run(
        words,
        env={
            **os.environ,
            "PYTHONPATH": f"{EXAMPLE}:{ROOT}:{ROOT}/integrations/luigi",
            "TEJ_DESTINATION": address.destination,
            "TEJ_QUEUE": address.queue,
            "TEJ_RUNTIME": "default",
        },
        capture_output=True,
        check=True,
        timeout=100,
    )
    found = Path("summary-3.csv").read_text()
    head, row = found.splitlines()
    assert head == "walks,mean_squared_distance"
    assert row == f"3,{sum(squared_distance(seed, 1000) for seed in range(3)) / 3}"
    assert len(queue.jobs(states=["finished"])) == 3
