"""How jobs get to the server: asked for first, sent if wanted, many at once."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tej.errors import Error, InvalidJobDirectory, InvalidJobId, JobAlreadyExists
from tej.job.spec import JobSpec
from tej.job.status import JobStatus
from tej.queue.connection import QueueConnection, log_warning, submitter
from tej.queue.work import Work
from tej.wire import archive, protocol
from tej.wire.content_store import WORTH_ASKING
from tej.wire.protocol import parse_answer, parse_status
from tej.wire.stream import Dialogue, LastAnswer

BATCH_JOBS = 100
BATCH_BYTES = 256 * 1024 * 1024
"""Limits of what goes in one upload; a larger job goes alone."""

logger = logging.getLogger("tej")


@dataclass(frozen=True)
class Outcome:
    """What became of one job that was to be submitted."""

    job_id: str
    status: JobStatus | None = None
    """As of the submission, or as it was found."""
    is_new: bool = False
    """This submission has started it."""
    error: Error | None = None


class Submission:
    """Sends work to one queue, in one MODE of the server's `submit`."""

    def __init__(
        self,
        connection: QueueConnection,
        mode: str,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self._connection = connection
        self._mode = mode
        self._progress = progress
        self._begun = False
        """Whether a batch was sent."""
        self._error: Error | None = None
        """The error that ended a later batch."""

    def send_all(self, works: Iterable[Work | Outcome]) -> Iterator[Outcome]:
        """Send any number of jobs in batches; yields the outcomes in the same order.

        Raises the error of the first batch.  That of a later batch becomes the outcome
        of its jobs and of all that follow, since earlier jobs have been started.
        """
        batch: list[Work] = []
        for work in works:
            if isinstance(work, Outcome):
                yield from self._send_batch(batch)
                batch = []
                yield work
                continue
            if batch and (
                len(batch) >= BATCH_JOBS
                or sum(one.size for one in batch) + work.size > BATCH_BYTES
                or any(one.job_id == work.job_id for one in batch)
            ):
                yield from self._send_batch(batch)
                batch = []
            batch.append(work)
        yield from self._send_batch(batch)

    def _send_batch(self, works: Sequence[Work]) -> list[Outcome]:
        if not works:
            return []
        if self._error is None:
            try:
                outcomes = self.send(works)
            except Error as error:
                if not self._begun:
                    raise
                self._error = error
            else:
                self._begun = True
                return outcomes
        return [Outcome(work.job_id, error=self._error) for work in works]

    def send(self, works: Sequence[Work]) -> list[Outcome]:
        """Send some, in one dialogue.  A lost connection is settled: each job's token
        tells what an earlier try has done."""
        for work in works:
            work.prepare_plan(huge=self._mode != "submit" or len(works) > 1)
        words = self._connection.with_retries(lambda _: self._converse(works))
        answer = parse_answer(words)
        log_warning(answer)
        records = {record["id"]: record for record in answer.jobs}
        return [
            self._outcome(work, records[work.job_id], answer.head) for work in works
        ]

    def _converse(self, works: Sequence[Work]) -> bytes:
        def answer(question: str, words: list[bytes]) -> Iterable[bytes]:
            if question == "install":
                return self._installation(words)
            needed = _values(words, b"need")
            wanted = [work for work in works if work.job_id in needed]
            if question == "missing":
                missing = _values(words, b"miss")
                return LastAnswer(self._pack_missing(wanted, missing))
            if sum(work.size for work in wanted) < WORTH_ASKING:
                # busybox's tar does not stop at the archive's end, but at its input's.
                return LastAnswer(itertools.chain([b"tar\n"], self._pack(wanted)))
            names = dict.fromkeys(name for work in wanted for name in work.plan.objects)
            return ["".join(f"{name}\n" for name in ["store", *names, ""]).encode()]

        dialogue = Dialogue(answer)
        program = protocol.submission(
            self._mode,
            self._connection.path,
            [(work.job_id, work.token) for work in works],
            digest=self._connection.digest,
            needed=self._connection.needed,
            trusted=self._connection.trust_queue,
        )
        self._connection.run(program, dialogue.answers(), dialogue.take)
        return b"\0".join(dialogue.words)

    def _pack(self, works: Sequence[Work]) -> Iterator[bytes]:
        return self._count(archive.pack(work.parcel() for work in works))

    def _pack_missing(
        self, works: Sequence[Work], missing: Collection[str]
    ) -> Iterator[bytes]:
        """The jobs, made of objects, behind the objects that the server lacks."""
        lacking = {
            name: stored
            for work in works
            for name, stored in work.plan.objects.items()
            if name in missing
        }
        parcels = (work.parcel(from_objects=True) for work in works)
        return self._count(archive.pack(parcels, lacking.values()))

    def _count(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            if self._progress is not None:
                self._progress(len(piece))

    def _installation(self, words: list[bytes]) -> list[bytes]:
        have = parse_answer(b"\0".join(words)).head.get("have", "none 0")
        digest, _, version = have.partition(" ")
        line = protocol.USE_WHAT_IS_THERE
        if self._connection.prefer_ours(digest, version):
            line = protocol.installation(
                self._connection.runtime,
                self._connection.scripts,
                self._connection.version,
            )
        return [line.encode() + b"\n"]

    def _outcome(
        self, work: Work, record: Mapping[str, str], head: Mapping[str, str]
    ) -> Outcome:
        if "error" in record:
            error = protocol.error_of(
                int(record["error"]), record.get("words", ""), "submit"
            )
            return Outcome(work.job_id, error=self._connection.explain(error))
        status = parse_status(record, head)
        is_new = "ours" in record
        there = status.signature
        if not is_new and work.signature and there != work.signature:
            if there:
                error = JobAlreadyExists(
                    f"Job '{work.job_id}' is there, but was made from other files or "
                    "another command: choose another id"
                )
                return Outcome(work.job_id, status, error=error)
            logger.warning(
                "Job '%s' was submitted without a signature: it may be other work",
                work.job_id,
            )
        return Outcome(work.job_id, status, is_new)


def _values(words: Iterable[bytes], key: bytes) -> set[str]:
    return {
        word[len(key) + 1 :].decode() for word in words if word.startswith(key + b"=")
    }


def submit_one(
    connection: QueueConnection,
    mode: str,
    spec: JobSpec,
    progress: Callable[[int], object] | None = None,
) -> Outcome:
    """Submit one job, or find it; raises the error in its outcome."""
    work = _read(connection, spec, mode)
    (outcome,) = Submission(connection, mode, progress).send([work])
    if outcome.error is not None:
        raise outcome.error
    return outcome


def submit_all(
    connection: QueueConnection,
    mode: str,
    specs: Iterable[JobSpec],
    progress: Callable[[int], object] | None = None,
) -> list[Outcome]:
    """Submit any number of jobs; see `RemoteQueue.submit_many` and `ensure_many`."""

    def read(spec: JobSpec) -> Work | Outcome:
        try:
            return _read(connection, spec, mode)
        except (InvalidJobDirectory, InvalidJobId) as error:
            return Outcome(spec.job_id or "", error=error)

    return list(Submission(connection, mode, progress).send_all(map(read, specs)))


def _read(connection: QueueConnection, spec: JobSpec, mode: str) -> Work:
    return Work(spec, connection.user, submitter(), signed=mode != "submit")
