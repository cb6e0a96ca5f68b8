"""`RemoteQueue`: a queue of jobs on a server, and all that can be asked of it."""

from __future__ import annotations

import getpass
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tej import protocol, runtime
from tej.destination import Destination, destination_as_string
from tej.errors import (
    Error,
    JobFailed,
    JobNotFound,
    JobStillRunning,
    QueueDoesntExist,
    WaitTimeout,
)
from tej.job import JobState, JobStatus, check_job_id, check_job_reference
from tej.protocol import Answer, Program, parse_answer, parse_status
from tej.queue.download import Download, check_name
from tej.queue.exchange import Exchange, Retries
from tej.queue.job import Job
from tej.queue.logs import STREAMS, Logs, Position, iterate
from tej.queue.spec import JobSpec, Work
from tej.queue.submission import Outcome, Submission
from tej.queue.watcher import Watcher
from tej.server_log import ServerLogger
from tej.transport import Transport, open_transport
from tej.version import __version__

DEFAULT_TEJ_DIR = "~/.tej"
DEFAULT_GRACE = 10
"""Seconds that a job is given to end by itself after SIGTERM, before SIGKILL."""
FAILURE_LINES = 20
"""Lines of stderr that go with the error of a failed job."""

logger = logging.getLogger("tej")


@dataclass(frozen=True)
class Killed:
    """What became of one job that was to be killed."""

    was: JobState
    """Its state before: if that is final, there was nothing to kill."""
    status: JobStatus


class RemoteQueue:
    """A queue of jobs, in a directory on a server.

    Making one stores what is given; the first use connects.  It may be shared between
    threads, and used in a process forked off: each process has its own connection.

    All verbs raise ConnectionFailed if the server cannot be reached after some tries,
    RemoteCommandFailure if it cannot do its part, and QueueExists if what is at the
    queue's path is not a queue that this tej can use.
    """

    JOB_DONE = JobState.FINISHED.value
    JOB_RUNNING = JobState.RUNNING.value
    JOB_INCOMPLETE = "incomplete"
    JOB_CREATED = JobState.CREATED.value

    def __init__(
        self,
        destination: str | Mapping[str, Any] | Destination,
        queue: str | PurePosixPath = DEFAULT_TEJ_DIR,
        setup_runtime: str | None = None,
        need_runtime: Iterable[str] | None = None,
        *,
        ask: Callable[[str], str] | None = None,
        accept_new_host_key: bool = False,
        timeout: float = 30,
        silence: float = 120,
        retries: Retries | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Name a queue.

        `destination` is `[user[:password]@]host[:port]`, `local:` for this machine, or
        a dictionary as in tej 0.6.  `queue` is its path there; a relative one starts
        in the home directory, `~` and `~user` are understood.  `setup_runtime` is what
        the queue is made with, if there is none yet (by default what fits the
        server); `need_runtime` are those that are accepted if there is one.

        `ask(prompt)` is called for passwords and passphrases; without it nobody is
        asked.  `timeout` and `silence` are in seconds: for connecting, and for a server
        that says nothing while it should.
        """
        if isinstance(destination, str):
            self._destination = Destination.parse(destination)
        elif isinstance(destination, Destination):
            self._destination = destination
        else:
            self._destination = Destination.from_mapping(destination)
        if setup_runtime not in (None, "auto", *runtime.BUILT_IN):
            known = ", ".join(runtime.BUILT_IN)
            raise ValueError(
                f"Selected runtime {setup_runtime!r} is unknown; there are: {known}"
            )
        self.queue = PurePosixPath(queue)
        self.setup_runtime = setup_runtime
        if isinstance(need_runtime, str):
            need_runtime = [need_runtime]
        self.need_runtime = None if need_runtime is None else set(need_runtime)
        self.transport = transport or open_transport(
            self._destination,
            ask=ask,
            accept_new_host_key=accept_new_host_key,
            timeout=timeout,
            silence=silence,
        )
        self._exchange = exchange = Exchange(
            self.transport,
            str(queue),
            __version__,
            self.server_logger,
            retries or Retries(),
        )
        self._watcher = Watcher(
            exchange, lambda digest, ids: self._program("wait", digest, *ids)
        )

    def __repr__(self) -> str:
        return f"<RemoteQueue {self.queue} on {self.destination_string}>"

    def __enter__(self) -> RemoteQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection.  The queue can be used again: it reconnects."""
        self.transport.close()

    @property
    def destination(self) -> dict[str, Any]:
        """The destination's parts, under the names of tej 0.6, without a password."""
        parts: dict[str, Any] = {
            "hostname": self._destination.host,
            "username": self._destination.user or getpass.getuser(),
        }
        if self._destination.port is not None:
            parts["port"] = self._destination.port
        return parts

    @property
    def destination_string(self) -> str:
        """The destination as one string, without its password."""
        return destination_as_string(self._destination)

    def server_logger(self) -> ServerLogger:
        """Takes what the server says beside its answers; made anew for every program.

        Override it to show that elsewhere than in the log `tej.server`.
        """
        return ServerLogger()

    def job(self, job_id: str) -> Job:
        """A handle on the job of that id, which need not exist."""
        return Job(self, check_job_id(job_id))

    def setup(
        self,
        links: Sequence[str | PurePosixPath] | None = None,
        force: bool | int = False,
        only_links: bool = False,
    ) -> PurePosixPath:
        """Make the queue, and links to it; returns its absolute path.

        What is there already is kept, and QueueExists is raised.  With `force` a link
        or a queue without jobs is replaced; with `force=2` also a queue with jobs, if
        all have ended.  `only_links` makes the links alone.
        """
        program = protocol.setup(
            str(self.queue),
            self.setup_runtime or "auto",
            [str(link) for link in links or ()],
            force=int(force),
            only_links=only_links,
            version=__version__,
        )
        answer = parse_answer(self._exchange.run(program).data)
        logger.info("Queue at %s", answer.head["queue"])
        return PurePosixPath(answer.head["queue"])

    def submit(
        self,
        job_id: str | None,
        directory: str | os.PathLike[str],
        script: str | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> str:
        """Send a directory, and start it as a job; returns its id.

        Without `job_id` it is `<directory>_<user>_<unique>`.  `script` is a file of the
        directory (by default `start.sh`), with or without arguments, or a command for
        the server's shell.  The queue is made if it is not there.  `progress` is told
        the bytes of each piece sent.

        The job is there as a whole or not at all; if the reply is lost, it is asked for
        again without a second start.  Raises InvalidJobDirectory before anything is
        sent, JobAlreadyExists if the id is taken.
        """
        spec = JobSpec(
            directory, script, job_id, name, dict(labels or {}), dict(environment or {})
        )
        (outcome,) = self._submission("submit", progress).send([self._work(spec)])
        if outcome.error is not None:
            raise outcome.error
        logger.info("Submitted job %s", outcome.job_id)
        return outcome.job_id

    def submit_many(self, specs: Iterable[JobSpec]) -> Iterator[Outcome]:
        """The same for any number of jobs, many in one round trip.

        Gives an outcome for each, in order; one that failed has its `error`, and does
        not keep the others from being submitted.
        """
        return self._submit_many("submit", specs, signed=False)

    def ensure(
        self,
        directory: str | os.PathLike[str],
        *,
        script: str | None = None,
        job_id: str | None = None,
        retry: bool = False,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Job:
        """The job for this work: started if it does not exist, else found as it is.

        Without `job_id` the signature of the directory, the script and the environment
        is the id, so that the same work is the same job, whoever asks and from
        wherever.  It is one question to the server; only a job that is not there is
        sent.  With `retry` a job that has failed, was killed or is lost is put aside as
        an attempt (`ID#1`, ...), with its files, and started again.

        Raises JobAlreadyExists if `job_id` names a job made from other work.
        """
        spec = JobSpec(
            directory, script, job_id, name, dict(labels or {}), dict(environment or {})
        )
        mode = "retry" if retry else "ensure"
        work = self._work(spec, signed=True)
        (outcome,) = self._submission(mode, progress).send([work])
        if outcome.error is not None:
            raise outcome.error
        return Job(self, outcome.job_id, is_new=outcome.is_new)

    def ensure_many(
        self, specs: Iterable[JobSpec], *, retry: bool = False
    ) -> Iterator[Outcome]:
        """The same for any number of jobs, many in one round trip; see `submit_many`."""
        return self._submit_many("retry" if retry else "ensure", specs, signed=True)

    def _work(self, spec: JobSpec, *, signed: bool = False) -> Work:
        return Work(spec, self.destination["username"], submitter(), signed=signed)

    def _submit_many(
        self, mode: str, specs: Iterable[JobSpec], *, signed: bool
    ) -> Iterator[Outcome]:
        works = (self._work(spec, signed=signed) for spec in specs)
        return self._submission(mode).send_all(works)

    def _submission(
        self, mode: str, progress: Callable[[int], object] | None = None
    ) -> Submission:
        runtime_wanted = self.setup_runtime or "auto"
        return Submission(
            self._exchange, mode, self._needed(), runtime_wanted, progress
        )

    def _needed(self) -> list[str]:
        return sorted(self.need_runtime or ())

    def status(self, job_id: str) -> JobStatus:
        """What the server knows of a job; raises JobNotFound if that is nothing.

        It unpacks as in tej 0.6: `status, directory, result = queue.status(job_id)`.
        """
        status = self.statuses([job_id])[job_id]
        if status is None:
            raise no_job(job_id)
        return status

    def statuses(self, job_ids: Iterable[str]) -> dict[str, JobStatus | None]:
        """The same for many jobs, in one round trip; None for those not found."""
        ids = check_job_ids(job_ids)
        if not ids:
            return {}
        answer = self._ask("status", *ids)
        return {
            record["id"]: parse_status(record, answer.head) if "state" in record else None
            for record in answer.jobs
        }

    def jobs(self) -> list[JobStatus]:
        """All jobs in the queue, by their ids."""
        answer = self._ask("status")
        return [parse_status(record, answer.head) for record in answer.jobs]

    def wait(
        self, job_ids: Iterable[str], timeout: float | None = None
    ) -> dict[str, JobStatus]:
        """Wait until all these jobs have ended, well or not; their final statuses.

        Goes on through lost connections, for as long as it takes.  However many threads
        wait on a queue, one channel serves them all.  Raises JobNotFound if one of them
        is not there, and WaitTimeout after `timeout` seconds; the jobs go on.
        """
        ids = check_job_ids(job_ids)
        ended: dict[str, JobStatus] = {}
        for job_id, status in self.as_completed(ids, timeout):
            ended[job_id] = status
        return {job_id: ended[job_id] for job_id in ids}

    def as_completed(
        self, job_ids: Iterable[str], timeout: float | None = None
    ) -> Iterator[tuple[str, JobStatus]]:
        """Ids and final statuses, in the order in which the jobs end; see `wait`."""
        ids = check_job_ids(job_ids)
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = dict.fromkeys(ids)
        for job_id, status in self._watcher.ends(ids, deadline):
            if status is None:
                raise no_job(job_id)
            del pending[job_id]
            yield job_id, status
        if pending:
            shown = ", ".join([*pending][:3]) + (", ..." if len(pending) > 3 else "")
            raise WaitTimeout(
                f"After {timeout:g} seconds {len(pending)} of {len(ids)} jobs have not "
                f"ended ({shown}); they go on"
            )

    def logs(
        self,
        job_id: str,
        stream: str | Sequence[str] = "stdout",
        *,
        follow: bool = False,
        tail: int | None = None,
    ) -> Iterator[bytes]:
        """The output of a job, running or not, as bytes, in pieces as they come.

        `stream` is "stdout", "stderr", or a file in the job's directory; `tail` is how
        many of its last lines.  With `follow` it goes on until the job has ended,
        resuming by itself where a lost connection broke it off.  Raises JobNotFound.
        """
        reader = self.read_logs(job_id, [stream], follow=follow, tail=tail)
        return (piece.data for piece in iterate(reader))

    def read_logs(
        self,
        job_id: str,
        streams: Iterable[str],
        *,
        follow: bool = False,
        tail: int | None = None,
    ) -> Logs:
        """For several files at once; `Logs.read` gives the pieces of each."""
        check_job_reference(job_id)
        names = [STREAMS.get(stream) or check_name(stream) for stream in streams]

        def make(digest: str, marker: str, arguments: Sequence[str]) -> Program:
            words = (marker, str(int(follow)), job_id, *arguments)
            return self._program("logs", digest, *words)

        positions = [Position(name, tail=tail) for name in names]
        return Logs(self._exchange, make, positions)

    def failure(self, status: JobStatus) -> JobFailed:
        """The error for a job that did not end well, with the end of its stderr."""
        try:
            pieces = self.logs(status.job_id, "stderr", tail=FAILURE_LINES)
            stderr = b"".join(pieces).decode("utf-8", "replace").rstrip()
        except Error as error:
            stderr = f"(its stderr cannot be had: {error})"
        where = f" on {status.host}" if status.host else ""
        words = f"Job '{status.job_id}'{where}: {status.describe()}"
        return JobFailed(
            f"{words}\n{stderr}" if stderr else words,
            job_id=status.job_id,
            state=status.state.value,
            exit_code=status.exit_code,
            signal=status.signal,
            host=status.host,
            stderr=stderr,
        )

    def list(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All jobs as in tej 0.6: pairs of an id and a dictionary, in which "status"
        is the state; the other keys are those of `JobStatus.as_dict`."""
        for status in self.jobs():
            yield status.job_id, {"status": status.state.value, **status.as_dict()}

    def download(
        self,
        job_id: str,
        files: str | Sequence[str],
        *,
        destination: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        recursive: bool = True,
        flatten: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> list[Path]:
        """Fetch files and directories from a job, running or not; returns the files.

        A name is a path in the job's directory, with or without the shell's wildcards.
        Each is kept below `directory` (by default the current one) under its path, or
        under its last name with `flatten`; or `destination` is the new name of the only
        one.  A file that is there is replaced, once the new one is whole.

        Raises JobNotFound, and DownloadFailed for a file that is not there, and for
        what leads out of the job's directory or out of the one it is to go to.
        """
        check_job_reference(job_id)
        names = [files] if isinstance(files, str) else list(files)
        fetch = Download(
            names, destination, directory, recursive=recursive, flatten=flatten
        )
        if not fetch.patterns:
            return []

        def attempt(_: int) -> list[Path]:
            return fetch.run(
                lambda take: self._exchange.run_verb(
                    lambda digest: self._program(
                        "download", digest, job_id, *fetch.patterns
                    ),
                    take,
                ),
                progress,
            )

        return self._exchange.settle(attempt)

    def kill(self, job_id: str, *, grace: int = DEFAULT_GRACE) -> JobStatus:
        """End a job and all of its processes; one that has already ended is left alone.

        They get SIGTERM, `grace` seconds, then SIGKILL.  Returns the status afterwards.
        Raises JobNotFound; JobStillRunning if it has not ended even so.
        """
        outcome = self.kill_many([job_id], grace=grace)[job_id]
        if outcome is None:
            raise no_job(job_id)
        check_killed(outcome.status)
        return outcome.status

    def kill_many(
        self, job_ids: Iterable[str], *, grace: int = DEFAULT_GRACE
    ) -> dict[str, Killed | None]:
        """The same for many jobs, in one round trip; None for those not found."""
        ids = check_job_ids(job_ids)
        if not ids:
            return {}
        answer = self._ask("kill", str(int(grace)), submitter(), *ids)
        return {
            record["id"]: Killed(
                JobState(record["was"]), parse_status(record, answer.head)
            )
            if "state" in record
            else None
            for record in answer.jobs
        }

    def delete(self, job_id: str) -> None:
        """Remove a job that has ended, with its files.

        Raises JobNotFound, or JobStillRunning: kill it first.
        """
        error = self.delete_many([job_id])[job_id]
        if error is not None:
            raise error

    def delete_many(
        self, job_ids: Iterable[str]
    ) -> dict[str, JobNotFound | JobStillRunning | None]:
        """The same for many jobs, in one round trip: None for each that is gone, else
        the error that `delete` would raise."""
        ids = check_job_ids(job_ids)
        if not ids:
            return {}

        def attempt(tries: int) -> dict[str, JobNotFound | JobStillRunning | None]:
            answer = self._answer("delete", *ids)
            # Not there on a second try: the first one has done it, and its reply was lost.
            return {
                record["id"]: None
                if "deleted" in record or (tries and "state" not in record)
                else _not_deleted(record, answer)
                for record in answer.jobs
            }

        return self._exchange.settle(attempt)

    def cleanup(self, kill: bool = False, *, grace: int = DEFAULT_GRACE) -> bool:
        """Remove the queue, all its jobs, and the links that led to it.

        Raises JobStillRunning, with nothing removed, if some jobs have not ended; with
        `kill` they are killed first.
        """

        def attempt(tries: int) -> bool:
            try:
                self._answer("cleanup", str(int(kill)), str(int(grace)), submitter())
            except QueueDoesntExist:
                if not tries:
                    raise
            return True

        return self._exchange.settle(attempt)

    def _ask(self, verb: str, *arguments: str) -> Answer:
        """A verb that may safely be sent again."""
        return self._exchange.settle(lambda _: self._answer(verb, *arguments))

    def _answer(self, verb: str, *arguments: str) -> Answer:
        reply = self._exchange.run_verb(
            lambda digest: self._program(verb, digest, *arguments)
        )
        return parse_answer(reply.data)

    def _program(self, verb: str, digest: str, *arguments: str) -> Program:
        return protocol.verb(
            verb, str(self.queue), *arguments, digest=digest, needed=self._needed()
        )


def submitter() -> str:
    """Who asks, for people to read: user@host of this machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def check_job_ids(job_ids: Iterable[str]) -> list[str]:
    """Legal ids, each once; ID#N is an attempt."""
    return [*dict.fromkeys(check_job_reference(job_id) for job_id in job_ids)]


def no_job(job_id: str) -> JobNotFound:
    """In the words of the original."""
    return JobNotFound(f"No job '{job_id}'")


def check_killed(status: JobStatus) -> None:
    """Raise JobStillRunning if a job goes on although it was killed."""
    if not status.state.final:
        raise JobStillRunning(
            f"Job '{status.job_id}' was asked to end on {status.host}, and has not yet"
        )
    if status.processes_left:
        raise JobStillRunning(
            f"Job '{status.job_id}' has ended, but {status.processes_left} of its "
            "processes resist SIGKILL"
        )


def _not_deleted(
    record: Mapping[str, str], answer: Answer
) -> JobNotFound | JobStillRunning:
    if "state" not in record:
        return no_job(record["id"])
    status = parse_status(record, answer.head)
    why = status.note or f"it is {status.state}: kill it first"
    return JobStillRunning(f"Job '{status.job_id}' is not deleted; {why}")


