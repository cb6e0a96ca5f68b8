"""Cancellation poller: polls Prefect's API for the cancellation of flow runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound

from tej_prefect.context import CANCELLED, family, is_exiting, logger, read_all

POLL_PERIOD = 2.0
"""Seconds between two polls of Prefect's API."""


class CancellationPoller:
    """Polls the states of the flow runs that wait for jobs in this process.

    Prefect reports a cancellation only to the main thread of a deployment's process.
    Therefore tasks in other threads and flows without a deployment have to poll the
    API.  The polling thread runs while at least one flow run is watched.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._watched: dict[UUID, int] = {}
        self._families: dict[UUID, list[UUID]] = {}
        self._cancelled: set[UUID] = set()
        self._thread: threading.Thread | None = None

    def watch(self, flow_run_id: UUID) -> None:
        """Poll this flow run until `unwatch` was called as often as `watch`."""
        if self._pid != os.getpid():
            # After a fork the thread does not exist in this process, and the lock may
            # be locked by a thread of the parent process.
            self._reset()
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, name="tej cancellation poller", daemon=True
                )
                # `_thread` is set only after `start`, because `start` raises an error
                # if this process cannot start more threads.
                thread.start()
                self._thread = thread
            self._watched[flow_run_id] = self._watched.get(flow_run_id, 0) + 1

    def unwatch(self, flow_run_id: UUID) -> None:
        """Undo one call to `watch` with this flow run.

        When all of these calls are undone, the flow run is no longer polled.
        """
        with self._changed:
            self._watched[flow_run_id] -= 1
            if not self._watched[flow_run_id]:
                del self._watched[flow_run_id]
                self._families.pop(flow_run_id, None)
                self._cancelled.discard(flow_run_id)
                self._changed.notify_all()

    def is_cancelled(self, flow_run_id: UUID) -> bool:
        """Return whether the flow run or a parent was cancelled at the last poll."""
        return flow_run_id in self._cancelled

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(POLL_PERIOD)
                if not self._watched or is_exiting():
                    self._thread = None
                    return
                watched = [*self._watched]
            try:
                self._poll(watched)
            except Exception as error:
                logger.info(
                    "The states of flow runs could not be read from Prefect's API: %s",
                    error,
                )

    def _poll(self, watched: Iterable[UUID]) -> None:
        with get_client(sync_client=True) as client:
            families = {one: self._family(client, one) for one in watched}
            found = read_all(client, (one for ids in families.values() for one in ids))
        cancelled = {one.id for one in found.values() if one.state_type in CANCELLED}
        with self._changed:
            # The set is replaced, because a cancelled flow run may be retried.  Flow
            # runs are left out if `unwatch` was called during the request to the API.
            self._cancelled = {
                flow_run_id
                for flow_run_id, ids in families.items()
                if flow_run_id in self._watched and cancelled.intersection(ids)
            }

    def _family(self, client: SyncPrefectClient, flow_run_id: UUID) -> list[UUID]:
        if flow_run_id not in self._families:
            try:
                members = [one.id for one in family(client, flow_run_id)]
            except ObjectNotFound:
                # A deleted flow run must not end the poll of the other flow runs.
                members = [flow_run_id]
            self._families[flow_run_id] = members
        return self._families[flow_run_id]


poller = CancellationPoller()
"""The only cancellation poller of this process."""
