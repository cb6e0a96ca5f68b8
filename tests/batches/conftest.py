"""Fixtures for wait, logs, run and ensure, including a counter of round trips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import tej
from tests.cli.conftest import Command
from tests.faults.clients import Client, Where
from tests.faults.conftest import proxy, queue_path  # noqa: F401
from tests.faults.conftest import through as any_through  # noqa: F401
from tests.queue.conftest import (  # noqa: F401
    Server,
    local_server,
    server,
    ssh_transport,
    waiting,
)
from tests.queue.conftest import local_queue as any_local_queue  # noqa: F401
from tests.queue.conftest import queue as any_queue  # noqa: F401

RUNTIME = "default"
"""Commands use this runtime, even if this machine has a scheduler."""


@pytest.fixture
def queue(any_queue: tej.RemoteQueue) -> tej.RemoteQueue:  # noqa: F811
    any_queue.setup_runtime = RUNTIME
    return any_queue


@pytest.fixture
def local_queue(any_local_queue: tej.RemoteQueue) -> tej.RemoteQueue:  # noqa: F811
    any_local_queue.setup_runtime = RUNTIME
    return any_local_queue


@pytest.fixture
def through(
    any_through: Callable[..., tej.RemoteQueue],  # noqa: F811
) -> Callable[..., tej.RemoteQueue]:
    def open_(*arguments: object, **options: object) -> tej.RemoteQueue:
        queue = any_through(*arguments, **options)
        queue.setup_runtime = RUNTIME
        return queue

    return open_


@pytest.fixture
def own(queue_path: Path) -> dict[str, str]:  # noqa: F811
    """Create a queue, and set the environment variables with which commands find it."""
    tej.RemoteQueue("local:", str(queue_path), RUNTIME).setup()
    return {"TEJ_DESTINATION": "local:", "TEJ_QUEUE": str(queue_path)}


class RoundTrips:
    """Counts the programs that a queue has run since the last call."""

    def __init__(self, queue: tej.RemoteQueue) -> None:
        self._transport = queue.transport
        self.last = self._count()

    def _count(self) -> int:
        return int(self._transport.runs)  # type: ignore[attr-defined]

    def __call__(self) -> int:
        before, self.last = self.last, self._count()
        return self.last - before


@pytest.fixture
def round_trips(queue: tej.RemoteQueue) -> RoundTrips:
    return RoundTrips(queue)


@pytest.fixture
def command(tmp_path: Path, client_home: Path) -> Command:
    """Return the `tej` command of a user whose ssh_config has the host "server"."""
    place = tmp_path / "place"
    place.mkdir()
    return Command(client_home, place)


@pytest.fixture
def client(queue_path: Path) -> Iterator[Callable[[str], Client]]:  # noqa: F811
    """Return a function that starts a client process on this machine:

    `client(lines)`.
    """
    with ExitStack() as stack:
        yield lambda lines: stack.enter_context(
            Client(
                Where("local:", queue_path),
                f"queue.setup_runtime = {RUNTIME!r}\n{lines}",
            )
        )


@pytest.fixture
def failed(local_queue: tej.RemoteQueue, job: Callable[..., Path]) -> tej.Job:
    """Return a job made by `ensure` that has failed with exit code 7 and left a file."""
    script = "echo out; echo why >&2; echo partial >results; exit 7"
    handle = local_queue.ensure(job(script, name="failing"), job_id="failed")
    handle.wait()
    return handle
