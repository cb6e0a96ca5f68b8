"""Events and automations, as recorded by Prefect's server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

from prefect.automations import Automation
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import EventTrigger, Posture

from tests.adapters_prefect.flow_processes import client, wait_until


def _read(wanted: dict[str, object]) -> list[dict[str, Any]]:
    reply = client()._client.post("/events/filter", json={"filter": wanted})
    found: list[dict[str, Any]] = reply.json()["events"]
    return found


def wait_for_events(job_id: str, kinds: list[str]) -> dict[str, dict[str, Any]]:
    """Wait until exactly these events of a job are recorded; return their payloads."""
    wanted = {"resource": {"id": [f"tej.job.{job_id}"]}}

    def names() -> list[str]:
        return sorted(one["event"].rpartition(".")[2] for one in _read(wanted))

    wait_until(lambda: names() == sorted(kinds), f"the events {kinds}")
    return {one["event"].rpartition(".")[2]: one["payload"] for one in _read(wanted)}


@contextlib.contextmanager
def automation(event: str) -> Iterator[Callable[[], bool]]:
    """Create an automation for an event; yield a function that returns whether it ran."""
    made = Automation(
        name=f"test-{uuid4().hex}",
        trigger=EventTrigger(
            expect={event}, posture=Posture.Reactive, threshold=1, within=0
        ),
        actions=[DoNothing()],
    ).create()
    assert isinstance(made, Automation)
    wanted = {
        "event": {"name": ["prefect.automation.action.triggered"]},
        "resource": {"id": [f"prefect.automation.{made.id}"]},
    }
    try:
        yield lambda: bool(_read(wanted))
    finally:
        made.delete()
