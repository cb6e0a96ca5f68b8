"""Claims on shared jobs: files on the server that record which flow runs use a job.

A claim is a file in the queue's directory `claims`.  It has the ids of a flow run, of
its parent flow runs, and of the jobs that the flow run uses.  A thread of the flow's
process rewrites the file every `PERIOD` seconds, and each rewrite is a heartbeat.  If a
claim has had no heartbeat for `EXPIRY` seconds, the flow's process is considered dead,
and the claim is ignored.  The claim of a suspended flow run has no process and no
heartbeat, so the claim is ignored only if Prefect's API reports that the flow run has
ended or is cancelled.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client

import tej
from tej_prefect.context import CANCELLED, family, is_exiting, logger, read_all

PERIOD = 30.0
"""Seconds between two heartbeats."""
EXPIRY = 180.0
"""Seconds without a heartbeat after which a claim is ignored."""
SUSPENDED = "suspended-"
"""Prefix of the file name of a suspended flow run's claim."""

# $1 is the working directory of a job.  The path of the queue is derived from $1,
# because the configured path of the queue may be a link.  A claim is written to a
# temporary file and then renamed, so that no incomplete claim can be read.
_WRITE = """
queue=${1%/jobs/*}
[ -d "$queue/jobs" ] || exit 0
umask 077
mkdir -p "$queue/claims" && cat >"$queue/claims/.new-$2" &&
    mv -f "$queue/claims/.new-$2" "$queue/claims/$2"
"""
_REMOVE = 'rm -f "${1%/jobs/*}/claims/$2"'
# Delete the files of old claims, and print the files of the other claims as an archive.
# tar is used because its output contains exact modification times.  The age of a claim
# is the difference between the modification times of `.now` and of the claim's file, so
# that both times come from the same clock.
_READ = """
cd "${1%/jobs/*}/claims" 2>/dev/null || exit 0
find . -type f ! -name 'suspended-*' -mtime +1 -exec rm -f {} +
find . -type f -mtime +90 -exec rm -f {} +
: >.now && printf . >.now
tar cf - . 2>/dev/null
exit 0
"""


@dataclass(frozen=True)
class Claim:
    """The jobs that a flow run has claimed, as read from a file on the server."""

    flow_runs: tuple[UUID, ...]
    """The flow run and its parents, innermost first."""
    jobs: frozenset[str]
    age: float
    """Seconds since the last heartbeat."""
    suspended: bool

    @property
    def is_live(self) -> bool:
        """Whether the claim has a recent heartbeat or is for a suspended flow run."""
        return self.suspended or self.age < EXPIRY

    def __str__(self) -> str:
        how = "suspended" if self.suspended else f"last seen {self.age:.0f} s ago"
        return f"flow run {self.flow_runs[0]} ({how})"


def read_claims(queue: tej.RemoteQueue, stage: str) -> list[Claim]:
    """Return all claims in the queue of the job whose working directory is `stage`."""
    data = queue.shell(_READ, stage, again=True)
    claims: dict[str, tuple[bytes, float]] = {}
    now = 0.0
    # The archive may be truncated if a claim file is renamed while tar reads it.  The
    # missing claims are read by the next call.
    with (
        contextlib.suppress(tarfile.ReadError),
        tarfile.open(fileobj=io.BytesIO(data)) as archive,
    ):
        for member in archive:
            name = member.name.rpartition("/")[2]
            content = archive.extractfile(member) if member.isfile() else None
            if name == ".now":
                now = float(member.mtime)
            elif content is not None and not name.startswith("."):
                claims[name] = content.read(), float(member.mtime)
    found = (_parse(name, *claims[name], now) for name in claims)
    return [one for one in found if one is not None]


def _parse(name: str, content: bytes, written: float, now: float) -> Claim | None:
    try:
        fields = json.loads(content)
        flow_runs = tuple(UUID(one) for one in fields["flow_runs"])
        jobs = frozenset(map(str, fields["jobs"]))
    except (ValueError, KeyError, TypeError):
        logger.debug("Claim %s cannot be read", name)
        return None
    if not flow_runs:
        return None
    return Claim(flow_runs, jobs, now - written, name.startswith(SUSPENDED))


def wanted_by_others(
    queue: tej.RemoteQueue, stage: str, cancelled: Collection[UUID]
) -> dict[str, Claim]:
    """Return a dictionary from job ids to the claims of flow runs outside `cancelled`.

    The claim of a flow run that has ended or is cancelled is ignored.  If Prefect's API
    does not know a flow run, the flow run probably uses another API, so its claim is
    valid.  Raises the errors of Prefect's client if the API does not reply.
    """
    others = [
        claim
        for claim in read_claims(queue, stage)
        if claim.is_live and not set(cancelled) & set(claim.flow_runs)
    ]
    if not others:
        return {}
    with get_client(sync_client=True) as client:
        found = read_all(client, (one for claim in others for one in claim.flow_runs))
    ended = {
        flow_run_id
        for flow_run_id, one in found.items()
        if one.state is not None
        and (one.state.is_final() or one.state_type in CANCELLED)
    }
    return {
        job_id: claim
        for claim in others
        if not ended & set(claim.flow_runs)
        for job_id in claim.jobs
    }


def claim_suspended(
    queue: tej.RemoteQueue, stage: str, flow_run_id: UUID, job_ids: Iterable[str]
) -> None:
    """Claim jobs for a flow run that will be suspended; the claim has no heartbeat."""
    with get_client(sync_client=True) as client:
        members = [one.id for one in family(client, flow_run_id)]
    _write(queue, stage, f"{SUSPENDED}{flow_run_id}", members, job_ids)


def suspended_jobs(
    queue: tej.RemoteQueue, stage: str, flow_run_id: UUID
) -> frozenset[str]:
    """Return the jobs that a suspended flow run has claimed."""
    for claim in read_claims(queue, stage):
        if claim.suspended and claim.flow_runs[0] == flow_run_id:
            return claim.jobs
    return frozenset()


def unclaim_suspended(queue: tej.RemoteQueue, stage: str, flow_run_id: UUID) -> None:
    """Remove the claim of a suspended flow run."""
    queue.shell(_REMOVE, stage, f"{SUSPENDED}{flow_run_id}", again=True)


def _write(
    queue: tej.RemoteQueue,
    stage: str,
    name: str,
    flow_runs: Sequence[UUID],
    job_ids: Iterable[str],
) -> None:
    words = {"flow_runs": [str(one) for one in flow_runs], "jobs": [*job_ids]}
    data = json.dumps(words).encode()
    queue.shell(_WRITE, stage, name, stdin=lambda: [data], again=True)


@dataclass(eq=False)
class _OwnClaim:
    """A claim that this process writes and renews."""

    queue: tej.RemoteQueue
    stage: str
    flow_run_id: UUID
    name: str = field(default_factory=lambda: uuid4().hex)
    jobs: dict[str, None] = field(default_factory=dict)
    written: frozenset[str] = frozenset()
    """The jobs in the file on the server."""
    members: list[UUID] = field(default_factory=list)
    """The flow run and its parents; empty until both have been read from Prefect's
    API."""
    is_read: threading.Event = field(default_factory=threading.Event)
    """Set after the first attempt to read `members`."""
    is_withdrawn: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Lock of the file, so that no write follows the removal of the file."""

    def write(self) -> None:
        """Write the claim, unless it is withdrawn; an error is only logged."""
        if self.is_withdrawn:
            return
        jobs = [*self.jobs]
        members = self.members or [self.flow_run_id]
        try:
            _write(self.queue, self.stage, self.name, members, jobs)
        except tej.Error as error:
            # The claim is written again at the next heartbeat.
            logger.info(
                "The claim on jobs in %r could not be written: %s", self.queue, error
            )
        else:
            self.written = frozenset(jobs)

    def has_ended(self) -> bool:
        """Return whether the flow run has ended; False if the API does not reply.

        Also sets `members` if they have not been read yet.
        """
        try:
            with get_client(sync_client=True) as client:
                if not self.members:
                    self.members = [one.id for one in family(client, self.flow_run_id)]
                run = read_all(client, [self.flow_run_id]).get(self.flow_run_id)
        except Exception as error:
            logger.info(
                "The state of a flow run could not be read from Prefect's API: %s",
                error,
            )
            return False
        finally:
            self.is_read.set()
        return run is None or run.state is None or run.state.is_final()


class Claims:
    """Writes the claims of this process, and renews each claim in a separate thread.

    A claim is renewed until its flow run has ended or `withdraw` is called.  If one
    thread renewed all claims, a server that does not reply would delay the heartbeats
    on the other servers, and the claims there would expire.  A second thread of each
    claim asks Prefect's API whether the flow run has ended.  This request would also
    delay the heartbeats, because it takes minutes if the API does not reply.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._own: dict[tuple[UUID, tej.RemoteQueue], _OwnClaim] = {}

    def add(
        self,
        flow_run_id: UUID,
        queue: tej.RemoteQueue,
        stage: str,
        job_ids: Collection[str],
    ) -> None:
        """Add jobs to the flow run's claim on this queue, and write the claim."""
        if self._pid != os.getpid():
            # After a fork the threads do not exist in this process, and the lock may
            # be locked by a thread of the parent process.
            self._reset()
        key = flow_run_id, queue
        with self._lock:
            own = self._own.get(key)
            if own is None:
                own = self._own[key] = _OwnClaim(queue, stage, flow_run_id)
                try:
                    self._start_threads(own)
                except RuntimeError:
                    # This process cannot start more threads.  Remove the claim, which
                    # would expire without threads, so that the next call to `add` tries
                    # again.
                    del self._own[key]
                    raise
            own.jobs |= dict.fromkeys(job_ids)
        own.is_read.wait(PERIOD)
        with own.lock:
            # If several threads call `add` at once, the first thread writes the jobs of
            # all calls, and the other threads have nothing left to write.
            if not own.written.issuperset(job_ids):
                own.write()

    def _start_threads(self, own: _OwnClaim) -> None:
        for step in (self._renew, self._await_end):
            # Each thread gets a copy of the context, which contains Prefect's settings.
            threading.Thread(
                target=copy_context().run,
                args=[step, own],
                name="tej claim",
                daemon=True,
            ).start()

    def withdraw(self, flow_run_id: UUID) -> None:
        """Remove all claims of a flow run."""
        with self._lock:
            gone = [key for key in self._own if key[0] == flow_run_id]
            removed = [self._own.pop(key) for key in gone]
        for own in removed:
            with own.lock:
                own.is_withdrawn = True
                try:
                    own.queue.shell(_REMOVE, own.stage, own.name, again=True)
                except tej.Error as error:
                    # The claim's file remains, but the claim expires, because it gets
                    # no more heartbeats.
                    logger.info(
                        "The claim on jobs in %r could not be removed: %s",
                        own.queue,
                        error,
                    )

    def _renew(self, own: _OwnClaim) -> None:
        while True:
            time.sleep(PERIOD)
            if not self._is_needed(own):
                return
            with own.lock:
                own.write()

    def _await_end(self, own: _OwnClaim) -> None:
        while self._is_needed(own):
            if own.has_ended():
                self.withdraw(own.flow_run_id)
                return
            time.sleep(PERIOD)

    def _is_needed(self, own: _OwnClaim) -> bool:
        is_current = self._own.get((own.flow_run_id, own.queue)) is own
        return is_current and not is_exiting()


claims = Claims()
"""The claims of this process."""
