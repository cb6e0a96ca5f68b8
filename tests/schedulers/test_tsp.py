"""The documented example of a third-party runtime, with a real task-spooler."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from schedulers.conftest import empty

import tej
from tej import JobState
from tej.runtime_check import RuntimeCheck

FOLDER = Path(__file__).parents[2] / "examples/runtimes/tsp"


@pytest.fixture
def queue(
    require: Callable[[str], None],
    queue_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tej.RemoteQueue]:
    require("tsp")
    monkeypatch.setenv("TS_SOCKET", str(tmp_path / "socket"))
    queue = tej.RemoteQueue("local:", str(queue_path), str(FOLDER))
    try:
        yield queue
    finally:
        # The server of tsp has the command line of its first job, and runs until `tsp -K`.
        with contextlib.suppress(tej.Error):
            queue.cleanup(kill=True, grace=0)
        subprocess.run(["tsp", "-K"], capture_output=True, timeout=60)
        empty(queue_path)


def test_tsp_runtime_passes_runtime_check(queue: tej.RemoteQueue) -> None:
    findings = list(RuntimeCheck(queue).run())
    assert [finding for finding in findings if finding.complaint] == []
    assert len(findings) == 9


def test_clients_without_the_runtime_can_use_queue(
    queue: tej.RemoteQueue, queue_path: Path, job: Callable[..., Path]
) -> None:
    queue.submit("first", job("exit 3"))
    other = tej.RemoteQueue("local:", str(queue_path))
    assert other.job("first").wait(90).exit_code == 3
    other.submit("second", job("exit 4"))
    status = other.job("second").wait(90)
    assert (status.runtime, status.exit_code) == ("tsp", 4)


def test_unsupported_resources_are_refused(
    queue: tej.RemoteQueue, job: Callable[..., Path]
) -> None:
    with pytest.raises(tej.RemoteCommandFailure, match="cpus"):
        queue.submit("asks", job(), resources=tej.Resources(cpus=2))
    assert queue.jobs(states=[JobState.RUNNING.value]) == []
