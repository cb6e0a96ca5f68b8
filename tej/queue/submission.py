"""Submission of jobs in batches: upload new jobs, and find existing ones."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tej.errors import Error, InvalidJobDirectory, InvalidJobId, JobAlreadyExists
from tej.job.file_names import printable
from tej.job.ignore import tree_size
from tej.job.spec import JobSpec
from tej.job.status import JobStatus
from tej.queue.connection import QueueConnection, log_warning, submitter
from tej.queue.dependency_references import resolve
from tej.queue.prepared_job import PreparedJob
from tej.queue.request_size import BATCH_BYTES, BATCH_JOBS
from tej.queue.script_upgrade import prefer_own_scripts
from tej.transport.program_block import in_block
from tej.wire import requests, tar_writer
from tej.wire.content_store import WORTH_ASKING
from tej.wire.records import parse_integer, parse_status
from tej.wire.replies import ParsedReply, error_of, parse_reply
from tej.wire.stream import Dialogue, LastReply

logger = logging.getLogger("tej")


@dataclass(frozen=True)
class Outcome:
    """The outcome of the submission of one job."""

    job_id: str
    status: JobStatus | None = None
    """Status of the job right after its submission; None if the submission failed."""
    is_new: bool = False
    """Whether this submission started the job; False if the job existed before."""
    error: Error | None = None


class Submission:
    """Submits jobs to one queue, in one mode: `submit`, `ensure` or `retry`."""

    def __init__(
        self,
        connection: QueueConnection,
        mode: str,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self._connection = connection
        self._mode = mode
        self._progress = progress
        self._has_sent_batch = False
        """Whether a batch has been submitted successfully."""
        self._error: Error | None = None
        """Error of a batch after the first batch; after this error, no further batch is
        sent."""
        self._ignores_case = False
        """Whether the file system of the queue ignores case."""
        self._outcomes: dict[tuple[str, ...], Outcome] = {}
        """Outcome of each job that has been sent, by `_key`."""

    def send_all(self, jobs: Iterable[PreparedJob | Outcome]) -> Iterator[Outcome]:
        """Send any number of jobs in batches; yield the outcomes in the same order.

        If the first batch fails, its error is raised.  If a later batch fails, its
        error becomes the outcome of its jobs and of all jobs after it.  The error of a
        later batch is not raised, because the caller needs the outcomes of the jobs
        that were started.
        """
        for batch in _batches(jobs, self._key):
            if isinstance(batch, Outcome):
                yield batch
            else:
                yield from self._send_batch(batch)

    def _send_batch(self, jobs: Sequence[PreparedJob]) -> list[Outcome]:
        if self._error is None:
            try:
                outcomes = self.send(jobs)
            except Error as error:
                if not self._has_sent_batch:
                    raise
                self._error = error
            else:
                self._has_sent_batch = True
                return outcomes
        return [Outcome(job.job_id, error=self._error) for job in jobs]

    def send(self, jobs: Sequence[PreparedJob]) -> list[Outcome]:
        """Send some jobs in one request, and return one outcome per job.

        A job cannot be sent if its files have changed since they were read, or if two
        paths differ only in case and the server's file system ignores case.  The
        `Outcome` of such a job has the error InvalidJobDirectory, and the other jobs
        are sent again.

        After a lost connection, the request is repeated.  The token of each job lets
        the server recognize a job that an earlier attempt has submitted.
        """
        # Equal jobs are sent only once. Otherwise, in the mode `retry`, the server
        # could restart the job twice, if the first restart fails immediately.
        new: dict[tuple[str, ...], PreparedJob] = {}
        for job in jobs:
            if self._key(job) not in self._outcomes:
                new.setdefault(self._key(job), job)
        self._outcomes.update(zip(new, self._send_new([*new.values()]), strict=True))
        return [
            self._outcomes[key]
            if new.get(key) is job
            else replace(self._outcomes[key], is_new=False)
            for key, job in ((self._key(job), job) for job in jobs)
        ]

    def _key(self, job: PreparedJob) -> tuple[str, ...]:
        """Return a key that is equal for two jobs if the submission of one finds the
        other."""
        if self._mode == "submit" or not job.signature:
            return (job.token,)
        return (job.job_id, job.signature)

    def _send_new(self, jobs: Sequence[PreparedJob]) -> list[Outcome]:
        refused: dict[str, Error] = {}
        answer = ParsedReply()
        while left := [job for job in jobs if job.token not in refused]:
            try:
                self._prepare(left)
                answer = parse_reply(
                    self._connection.with_retries(lambda _: self._send_request(left))
                )
                break
            except InvalidJobDirectory as error:
                refused |= self._find_refused(left, error)
        log_warning(self._connection, answer)
        return [
            Outcome(job.job_id, error=refused[job.token])
            if job.token in refused
            else self._outcome(job, answer.job(job.job_id), answer.head)
            for job in jobs
        ]

    def _find_refused(
        self, jobs: Sequence[PreparedJob], error: InvalidJobDirectory
    ) -> dict[str, Error]:
        """Return an error for each job that cannot be sent, by the token of the job.

        `error` is the error of the failed upload, which reports only the first job that
        cannot be sent.  This method checks all jobs, so that one more upload is
        sufficient.
        """
        found: dict[str, Error] = {}
        for job in jobs if len(jobs) > 1 else ():
            problem = job.find_change()
            if problem is None and self._ignores_case:
                problem = job.find_case_conflict()
            if problem is not None:
                found[job.token] = problem
        return found or {job.token: error for job in jobs}

    def _prepare(self, jobs: Sequence[PreparedJob]) -> None:
        """Read the files of a large upload to compute their names in the content store.

        The client later sends these names to the server, which replies with the names
        of the files that the content store does not contain.
        """
        if _need_objects(jobs):
            for job in jobs:
                job.prepare_plan(huge=self._mode != "submit" or len(jobs) > 1)

    def _send_request(self, jobs: Sequence[PreparedJob]) -> bytes:
        """Send one request, answer the server's questions, and return its reply."""
        last_seen = self._connection.last_seen
        removals = self._connection.removals

        def answer(question: str, words: list[bytes]) -> Iterable[bytes]:
            if question == "install":
                return self._installation(words, last_seen)
            if question == "nothing":
                return LastReply(())
            needed = _values(words, b"need")
            wanted = [job for job in jobs if job.job_id in needed]
            sparse = b"sparse=1" in words
            by_id = b"by_id=1" in words and not any(job.needs.ids for job in wanted)
            if question == "missing":
                missing = _values(words, b"miss")
                return LastReply(self._pack_missing(wanted, missing, sparse, by_id))
            _report_left_out(wanted)
            self._ignores_case = b"ignores_case=1" in words
            for job in wanted if self._ignores_case else ():
                if conflict := job.find_case_conflict():
                    raise conflict
            if not _need_objects(wanted):
                # Close the standard input of the program after the archive (LastReply),
                # because busybox's tar reads to the end of its input, and not only to
                # the end of the archive.
                pieces = self._pack(wanted, sparse, by_id)
                return LastReply(itertools.chain([b"tar\n"], pieces))
            names = dict.fromkeys(name for job in wanted for name in job.plan.objects)
            return ["".join(f"{name}\n" for name in ["store", *names, ""]).encode()]

        dialogue = Dialogue(answer)
        program = requests.submission(
            self._mode,
            self._connection.path,
            [(job.job_id, job.token) for job in jobs],
            digest=self._connection.digest,
            needed=self._connection.needed,
            ask_sparse=any(job.is_sparse for job in jobs),
            features=set().union(*(job.features for job in jobs)),
            trusted=self._connection.trust_queue,
        )
        self._connection.run(program, dialogue.answers(), dialogue.take)
        self._connection.note_seen(removals)
        return b"\0".join(dialogue.words)

    def _pack(
        self, jobs: Sequence[PreparedJob], sparse: bool, by_id: bool
    ) -> Iterator[bytes]:
        packed = (job.pack(by_id=by_id) for job in jobs)
        return self._count(tar_writer.pack(packed, (), sparse))

    def _pack_missing(
        self,
        jobs: Sequence[PreparedJob],
        missing: Collection[str],
        sparse: bool,
        by_id: bool,
    ) -> Iterator[bytes]:
        """Yield the archive: the objects that the server lacks, and then the jobs."""
        lacking = {
            name: stored
            for job in jobs
            for name, stored in job.plan.objects.items()
            if name in missing
        }
        packed = (job.pack(from_objects=True, by_id=by_id) for job in jobs)
        return self._count(tar_writer.pack(packed, lacking.values(), sparse))

    def _count(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            if self._progress is not None:
                self._progress(len(piece))

    def _installation(self, words: list[bytes], last_seen: float | None) -> list[bytes]:
        """Return the answer to "ask=install": the program that installs the scripts.

        If the installed scripts are newer, the answer keeps these scripts.
        Raises RemoteCommandFailure if a queue that this process has used is missing.
        """
        head = parse_reply(b"\0".join(words)).head
        digest, _, version = head.get("have", "none 0").partition(" ")
        if digest == "none" and "has_jobs" not in head:
            self._connection.check_missing_queue(last_seen)
        line = requests.KEEP_INSTALLED_SCRIPTS
        if prefer_own_scripts(self._connection, digest, version):
            line = requests.installation(
                self._connection.runtime,
                self._connection.scripts,
                self._connection.version,
            )
        return [in_block(line).encode() + b"\n"]

    def _outcome(
        self, job: PreparedJob, record: Mapping[str, str], head: Mapping[str, str]
    ) -> Outcome:
        if "error" in record:
            status = parse_integer(record["error"]) or 20
            error = error_of(status, record.get("words", ""), "submit")
            return Outcome(job.job_id, error=self._connection.explain(error))
        found = parse_status(record, head)
        is_new = "ours" in record
        if is_new or not job.signature or found.signature == job.signature:
            return Outcome(job.job_id, found, is_new)
        if found.signature:
            reason = "was made from different files or a different command"
        else:
            reason = "has no signature that can be read (an older tej stored none)"
        taken = JobAlreadyExists(
            f"Job '{job.job_id}' exists, but {reason}: choose another id, or delete "
            "that job"
        )
        return Outcome(job.job_id, found, error=taken)


def _batches(
    jobs: Iterable[PreparedJob | Outcome], key: Callable[[PreparedJob], object]
) -> Iterator[list[PreparedJob] | Outcome]:
    """Yield the jobs in batches, each as soon as it is complete.

    No batch contains two jobs with the same id and different keys.  An `Outcome` in the
    input ends the current batch, and is yielded after that batch.
    """
    batch: list[PreparedJob] = []
    keys: dict[str, object] = {}
    size = 0
    for job in jobs:
        if isinstance(job, Outcome):
            if batch:
                yield batch
            yield job
            batch, keys, size = [], {}, 0
            continue
        is_full = len(batch) >= BATCH_JOBS or size + job.size > BATCH_BYTES
        if batch and (is_full or keys.get(job.job_id, key(job)) != key(job)):
            yield batch
            batch, keys, size = [], {}, 0
        batch.append(job)
        keys[job.job_id] = key(job)
        size += job.size
    if batch:
        yield batch


def _need_objects(jobs: Sequence[PreparedJob]) -> bool:
    """Return whether to send files of the jobs as objects of the content store.

    This is the case if the upload is large, or if a large file is shared.
    """
    if any(job.has_shared for job in jobs):
        return True
    return sum(job.size for job in jobs) >= WORTH_ASKING


def _report_left_out(jobs: Iterable[PreparedJob]) -> None:
    """Log one warning with the names and total size of the files not uploaded."""
    left_out = [path for job in jobs for path in job.left_out]
    if left_out:
        names = sorted({path.name for path in left_out})
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        size = sum(map(tree_size, left_out)) / 1_000_000
        logger.warning(
            "Not sent: %s (tool files, %.1f MB); --everything (everything=True) or "
            "a line '!%s' in .tejignore sends them",
            printable(shown),
            size,
            printable(names[0]),
        )


def _values(words: Iterable[bytes], key: bytes) -> set[str]:
    return {
        word[len(key) + 1 :].decode("ascii", "replace")
        for word in words
        if word.startswith(key + b"=")
    }


def submit_one(
    connection: QueueConnection,
    mode: str,
    spec: JobSpec,
    progress: Callable[[int], object] | None = None,
) -> Outcome:
    """Submit one job, or find the existing job; raise its error, if any."""
    signed = mode != "submit"
    needs = resolve(connection, spec)
    job = PreparedJob(spec, connection.user, submitter(), signed=signed, needs=needs)
    (outcome,) = Submission(connection, mode, progress).send([job])
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

    def read(spec: JobSpec) -> PreparedJob | Outcome:
        try:
            # Compute the signature in every mode, to detect a file that changes before
            # it is sent.  A batch is sent only after several JobSpecs have been read,
            # and `specs` may be a generator that rewrites one directory for each
            # JobSpec.
            return PreparedJob(
                spec,
                connection.user,
                submitter(),
                signed=True,
                new_id=mode == "submit",
                needs=resolve(connection, spec),
            )
        except (InvalidJobDirectory, InvalidJobId) as error:
            return Outcome(spec.job_id or "", error=error)

    return list(Submission(connection, mode, progress).send_all(map(read, specs)))
