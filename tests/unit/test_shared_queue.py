"""Shared queues: which arguments are equal."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tej.queue import shared_queue
from tej.queue.shared_queue import close_shared_queues
from tej.queue.shared_queue import shared_queue as share


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shared_queue, "_queues", {})
    monkeypatch.setattr(shared_queue, "_inherited", {})
    monkeypatch.setattr(shared_queue, "_relay", None)
    yield
    close_shared_queues()


def test_equal_arguments_share_a_queue() -> None:
    one = share({"hostname": "lab", "port": 22}, need_runtime=["pbs", "slurm"])
    same = share({"port": 22, "hostname": "lab"}, need_runtime=("pbs", "slurm"))
    assert one is same
    for other in (
        share({"hostname": "lab", "port": 23}, need_runtime=["pbs", "slurm"]),
        share({"hostname": "lab", "port": 22}, need_runtime=["pbs"]),
        share({"hostname": "lab", "port": 22}, "~/q", need_runtime=["pbs", "slurm"]),
        share({"hostname": "lab", "port": 22}),
    ):
        assert other is not one
    assert share("lab", need_runtime={"a", "b"}) is share(
        "lab", need_runtime={"b", "a"}
    )
    close_shared_queues()
    assert shared_queue._queues == {}


def test_forked_process_knows_that_the_server_has_replied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise an outage in the child would be a permanent error."""
    one = share("lab")
    one.connection.reached, one.connection.last_seen = True, 5.0
    share("other")
    relayed: list[Any] = []
    relay = SimpleNamespace(
        has_parent=lambda: True,
        relay_queue=lambda queue, address: relayed.append(address) or queue,
    )
    lock = shared_queue._lock
    monkeypatch.setattr(shared_queue, "_relay", relay)
    with lock:
        shared_queue._after_fork_in_child()
        again = share("lab")
    assert again is not one
    assert (again.connection.reached, again.connection.last_seen) == (True, 5.0)
    assert not share("other").connection.reached
    assert relayed[0] == ("lab", shared_queue.DEFAULT_TEJ_DIR, {})
    relay.has_parent = lambda: False
    assert not share("third").connection.reached
    assert len(relayed) == 2
