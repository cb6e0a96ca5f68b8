"""Functions that run tasks in the tests of tej_luigi."""

from __future__ import annotations

from collections.abc import Callable

import luigi
import pytest

import tej

OVER_SSH = pytest.mark.parametrize("address", ["server"], indirect=True)
"""Runs a test with a queue behind the shared sshd."""
Configure = Callable[..., None]
"""Function that sets options as luigi.cfg does."""


def build(*tasks: luigi.Task, workers: int = 1, **options: object) -> bool:
    """Run tasks in this process, with a local scheduler; return whether all succeeded."""
    options = {"local_scheduler": True, "no_lock": True, **options}
    return bool(luigi.build(list(tasks), workers=workers, **options))


def jobs_in(queue: tej.RemoteQueue, state: str) -> int:
    """Return how many jobs of a queue have a state; the queue may not exist."""
    try:
        return len(queue.jobs(states=[state]))
    except tej.QueueNotFound:
        return 0
