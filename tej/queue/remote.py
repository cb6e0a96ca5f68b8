"""`RemoteQueue`, a queue of jobs on a server, and `Job`, a handle on one job.

Each method is documented here and calls the module that implements it.
"""

from __future__ import annotations

import getpass
import logging
import os
import warnings
from builtins import list as list_
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from tej.destination import Destination, destination_as_string
from tej.errors import JobFailed, JobNotFound, JobStillRunning
from tej.job.resources import Resources
from tej.job.spec import JobSpec
from tej.job.status import JobState, JobStatus, check_job_id
from tej.queue import administration, download, filters, logs, management, submission
from tej.queue.connection import (
    DEFAULT_GRACE,
    DEFAULT_TEJ_DIR,
    QueueConnection,
    run_script,
)
from tej.queue.download import Downloaded
from tej.queue.logs import Logs
from tej.queue.management import DiskUsage, Killed
from tej.queue.retry import Retries
from tej.queue.server_log import ServerLogger
from tej.queue.submission import Outcome
from tej.queue.watcher import Watcher
from tej.server.scripts import find_runtime
from tej.transport import Transport, open_transport

Self = TypeVar("Self", bound="RemoteQueue")

logger = logging.getLogger("tej")


class RemoteQueue:
    """A queue of jobs, in a directory on a server.

    The constructor only stores its arguments; the first request connects.  Threads may
    share a queue.  A forked child may use the queue of its parent; the child then opens
    a connection of its own.

    All requests raise ConnectionFailed if the server cannot be reached after several
    attempts (see `Retries`), RemoteCommandFailure if a command fails on the server, and
    QueueExists if the queue's path holds something that this version of tej cannot use.
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
        timeout: float | None = None,
        io_timeout: float = 120,
        key: str | None = None,
        known_hosts: str = "",
        retries: Retries | None = None,
        transport: Transport | str | None = None,
        terminal: bool = False,
        persist: str | None = None,
        trust_queue: bool = False,
        silence: float | None = None,
    ) -> None:
        """Create a handle on a queue; the server is not contacted yet.

        `destination` is `[user[:password]@]host[:port]`, `local:` for this machine, or
        a dictionary as in tej 0.6.  `queue` is a path on the server; a relative path
        starts at the home directory, and `~` and `~user` are expanded.  `setup_runtime`
        is the runtime for a new queue: a name, or a folder with a `runtime.sh`.  By
        default it is the server's scheduler, if there is one.  `need_runtime` lists the
        runtimes that are accepted in an existing queue.

        `ask(prompt)` returns a password, a passphrase or a code; without `ask`, a login
        that needs one fails.  `timeout` is the time limit in seconds for connecting
        (default: ConnectTimeout of the ssh configuration, or 30).  `io_timeout` is the
        time limit in seconds for a request that neither sends nor receives data.  `key`
        is the text of a private key, which is offered instead of all others.
        `known_hosts` holds lines in the format of the known_hosts file.  `silence` is
        the deprecated name of `io_timeout`.

        `transport` is "openssh", "paramiko", or a `Transport` of your own.  By default
        the system's `ssh` is used if it is installed, unless a password, `key`,
        `known_hosts` or `ask` is given.  `terminal` permits `ssh` to ask at the
        terminal in place of `ask`.  `persist` is how long an unused connection of `ssh`
        stays open, such as "8h" (default: 60 seconds).

        Requests raise QueueNotTrusted if other users can write to the queue, since its
        scripts would run as you.  `trust_queue` accepts such a queue, for example one
        that a group shares.

        `accept_new_host_key` adds an unknown host key to known_hosts instead of
        refusing it.  `retries` is the retry policy for lost connections.

        Raises InvalidDestination for an invalid `destination`, and ValueError for
        another invalid argument.
        """
        if isinstance(destination, str):
            self._destination = Destination.parse(destination)
        elif isinstance(destination, Destination):
            self._destination = destination
        else:
            self._destination = Destination.from_mapping(destination)
        if silence is not None:
            io_timeout = renamed("silence", "io_timeout", silence)
        if isinstance(need_runtime, str):
            need_runtime = [need_runtime]
        runtime, scripts = find_runtime(setup_runtime or "auto")
        self.queue = PurePosixPath(queue)
        self._setup_runtime = setup_runtime
        self.need_runtime = None if need_runtime is None else set(need_runtime)
        if transport is None or isinstance(transport, str):
            transport = open_transport(
                self._destination,
                transport=transport,
                ask=ask,
                terminal=terminal,
                accept_new_host_key=accept_new_host_key,
                timeout=timeout,
                io_timeout=io_timeout,
                key=key,
                known_hosts=known_hosts,
                persist=persist,
            )
        self.transport = transport
        self.connection = QueueConnection(
            self.transport,
            str(queue),
            self.destination_string,
            self.destination["username"],
            runtime,
            scripts,
            sorted(self.need_runtime or ()),
            trust_queue,
            retries or Retries(),
            # Looked up for each program: callers may replace `server_logger` later.
            lambda: self.server_logger(),
        )
        self.watcher = Watcher(self.connection)

    def __repr__(self) -> str:
        return f"<RemoteQueue {self.queue} on {self.destination_string}>"

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        self.transport.close()

    @property
    def destination(self) -> dict[str, Any]:
        """The parts of the destination as in tej 0.6, without a password.

        The keys are "hostname", "username" and, if it is known, "port".
        """
        parts: dict[str, Any] = {
            "hostname": self._destination.host,
            "username": self._destination.user or getpass.getuser(),
        }
        if self._destination.port is not None:
            parts["port"] = self._destination.port
        return parts

    @property
    def destination_string(self) -> str:
        """The destination as one string, without a password."""
        return destination_as_string(self._destination)

    @property
    def setup_runtime(self) -> str | None:
        """The runtime for a new queue; may be changed."""
        return self._setup_runtime

    @setup_runtime.setter
    def setup_runtime(self, name: str | None) -> None:
        runtime, scripts = find_runtime(name or "auto")
        self._setup_runtime = name
        self.connection.use_runtime(runtime, scripts)

    def server_logger(self) -> ServerLogger:
        """Return a new logger for the standard error of one program on the server.

        Override this method to send that text elsewhere than to the logger
        `tej.server`.
        """
        return ServerLogger()

    # The queue.

    def setup(
        self,
        links: Sequence[str | PurePosixPath] | None = None,
        force: bool | int = False,
        only_links: bool = False,
        *,
        max_running: int | None = None,
    ) -> PurePosixPath:
        """Create the queue and links to it; returns the queue's absolute path.

        `links` are paths on the server.  Raises QueueExists if the path is taken.
        `force=True` replaces a link, or a queue without jobs; `force=2` also replaces a
        queue whose jobs have all ended.  `only_links` creates the links but no queue.
        `max_running` limits the number of running jobs, like `limit`.
        """
        return administration.set_up(
            self.connection, links or (), int(force), only_links, max_running
        )

    def limit(self, max_running: int) -> None:
        """Limit the number of running jobs; 0 removes the limit.

        Further jobs are `queued`, and start in the order of their submission.  Raises
        QueueDoesntExist, QueueExists if the queue's runtime is a scheduler, and
        ValueError for a negative number.
        """
        administration.set_limit(self.connection, max_running)

    def cleanup(self, kill: bool = False, *, grace: int = DEFAULT_GRACE) -> bool:
        """Remove the queue, all its jobs, and the links that led to it.

        Raises QueueDoesntExist.  Raises JobStillRunning, and removes nothing, if a job
        has not ended.  `kill` kills such jobs first, by SIGTERM and after `grace`
        seconds by SIGKILL.  Always returns True.
        """
        return administration.remove(self.connection, kill=kill, grace=grace)

    def shell(
        self,
        script: str,
        *arguments: str,
        stdin: Callable[[], Iterable[bytes]] = tuple,
        take: Callable[[], Callable[[bytes], object]] | None = None,
        again: bool = False,
    ) -> bytes:
        """Run a POSIX shell script on the server; returns its output.

        No queue is needed.  The script starts in the home directory, with `arguments`
        as $1, ...  `stdin()` returns the input.  `take()` returns a function that
        receives the output in pieces; `shell` then returns b"".  Both are called once
        per attempt.  After a lost connection the script is run again only if `again` is
        set; otherwise ConnectionFailed is raised.

        Raises RemoteCommandFailure if the exit status is not 0: `ret` is the status,
        and the message is the script's stderr.  Statuses below 64 are reserved for tej.
        """
        return run_script(self.connection, script, arguments, stdin, take, again)

    # Submission.

    def job(self, job_id: str) -> Job:
        """Return a handle on a job, without a check that the job exists.

        Raises InvalidJobId.
        """
        return Job(self, check_job_id(job_id))

    def submit(
        self,
        job_id: str | None,
        directory: str | os.PathLike[str],
        script: str | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        resources: Resources | None = None,
        login: bool = False,
        everything: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> str:
        """Upload a directory and start it as a job; returns the job's id.

        The default for `job_id` is `<directory>_<user>_<unique>`.  `script` is a file
        in the directory (default `start.sh`), optionally with arguments, or a shell
        command.  The queue is created if necessary.  `resources` are passed to the
        queue's runtime; RemoteCommandFailure is raised if the runtime cannot provide
        them.  `login` sources the login profile before the job starts.  `everything`
        also sends the files of development tools, such as `.git`.  `progress` is called
        with the number of bytes of each piece sent.

        A job is submitted completely or not at all.  If the reply is lost, the request
        is repeated; this never starts the job twice.  Raises InvalidJobDirectory before
        anything is sent, InvalidJobId, and JobAlreadyExists if the id is taken.
        """
        spec = JobSpec(
            directory,
            script,
            job_id,
            name,
            dict(labels or {}),
            dict(environment or {}),
            resources,
            login,
            everything,
        )
        outcome = submission.submit_one(self.connection, "submit", spec, progress)
        logger.info("Submitted job %s", outcome.job_id)
        return outcome.job_id

    def submit_many(self, specs: Iterable[JobSpec]) -> list_[Outcome]:
        """Submit any number of jobs, about a hundred per round trip.

        Returns one outcome per spec, in order.  The outcome of a job that could not be
        submitted has the reason in `error`; the other jobs are not affected.  An error
        of the first request is raised; an error of a later request is the outcome of
        all remaining jobs.
        """
        return submission.submit_all(self.connection, "submit", specs)

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
        resources: Resources | None = None,
        login: bool = False,
        everything: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> Job:
        """Return the existing job for this work, or submit a new one.

        The default for `job_id` is made from the signature of directory, script and
        environment, so that equal work has the same id, whoever submits it.  The
        directory is uploaded only if no such job exists.  `retry` restarts a job that
        failed, was killed or is lost; the failed attempt is archived as `ID#1`, with
        its files.  The other arguments are those of `submit`.

        Raises JobAlreadyExists if the job `job_id` has another signature, and the
        errors of `submit`.
        """
        spec = JobSpec(
            directory,
            script,
            job_id,
            name,
            dict(labels or {}),
            dict(environment or {}),
            resources,
            login,
            everything,
        )
        mode = "retry" if retry else "ensure"
        outcome = submission.submit_one(self.connection, mode, spec, progress)
        return Job(
            self, outcome.job_id, is_new=outcome.is_new, status_then=outcome.status
        )

    def ensure_many(
        self, specs: Iterable[JobSpec], *, retry: bool = False
    ) -> list_[Outcome]:
        """`ensure` for any number of jobs; see `submit_many` for the outcomes."""
        mode = "retry" if retry else "ensure"
        return submission.submit_all(self.connection, mode, specs)

    # Status.

    def status(self, job_id: str) -> JobStatus:
        """Return the status of a job; raises JobNotFound.

        The status unpacks as in tej 0.6:
        `status, directory, result = queue.status(job_id)`.
        """
        return management.get_status(self.connection, job_id)

    def statuses(self, job_ids: Iterable[str]) -> dict[str, JobStatus | None]:
        """Return the status of each job, in one round trip; None if it is not found."""
        return management.get_statuses(self.connection, job_ids)

    def attempts(self, job_id: str) -> list_[JobStatus]:
        """Return the archived attempts of a job that was retried, oldest first.

        Each attempt has an id like `ID#1`, which `logs`, `download` and `delete`
        accept.  The number of a deleted attempt is not reused.
        """
        return management.get_attempts(self.connection, job_id)

    def jobs(
        self,
        *,
        states: Collection[str] = (),
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        sort: str = "id",
    ) -> list_[JobStatus]:
        """Return the jobs in the queue, filtered and sorted.

        A job is returned if it is in one of `states`, has all `labels`, and was
        submitted at `since` or later; by default all jobs are.  `sort` is "id", "name",
        "submitted", "started", "ended", "duration" or "state".  A job with damaged
        files is listed as lost, with the reason.
        """
        found = filters.select(
            management.get_jobs(self.connection),
            states=states,
            labels=labels,
            since=since,
        )
        return filters.sort_jobs(found, sort)

    def sizes(self) -> dict[str, int]:
        """Return the disk space of each job in bytes, as `du` on the server reports."""
        return self.disk_usage().jobs

    def disk_usage(self) -> DiskUsage:
        """Return the disk space of the queue, its content store and its jobs."""
        return management.get_disk_usage(self.connection)

    def list(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield all jobs as in tej 0.6: pairs of an id and a dictionary.

        The dictionary has the state under "status", and the keys of
        `JobStatus.as_dict`.
        """
        for status in self.jobs():
            yield status.job_id, {"status": status.state.value, **status.as_dict()}

    # Waiting.

    def wait(
        self, job_ids: Iterable[str], timeout: float | None = None
    ) -> dict[str, JobStatus]:
        """Wait until all these jobs have ended; returns their final statuses.

        The wait continues after a lost connection.  All threads that wait for jobs of
        this queue share one request.  Raises JobNotFound, and WaitTimeout after
        `timeout` seconds; after a timeout the jobs continue to run.
        """
        ids = list(job_ids)
        ended = dict(self.watcher.as_completed(ids, timeout))
        return {job_id: ended[job_id] for job_id in dict.fromkeys(ids)}

    def as_completed(
        self,
        job_ids: Iterable[str],
        timeout: float | None = None,
        *,
        on_tick: Callable[[], object] | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> Iterator[tuple[str, JobStatus]]:
        """Yield each id with its final status, in the order in which the jobs end.

        The wait is that of `wait`.  `on_tick` is called about once a second in the
        waiting thread; an exception raised by `on_tick` ends the wait.  `meanwhile` is
        its deprecated name.
        """
        if meanwhile is not None:
            on_tick = renamed("meanwhile", "on_tick", meanwhile)
        return self.watcher.as_completed(job_ids, timeout, on_tick)

    # Output and files.

    def logs(
        self,
        job_id: str,
        stream: str = "stdout",
        *,
        follow: bool = False,
        tail: int | None = None,
        lines: bool = True,
    ) -> Iterator[bytes]:
        """Yield the output of a job as lines of bytes, including their line ends.

        `stream` is "stdout", "stderr", or a file in the job's directory.  `tail` is the
        number of last lines to start with; by default the whole file is read.  `follow`
        continues until the job has ended, also after a lost connection.  `lines=False`
        yields bytes as they arrive.  Raises JobNotFound.
        """
        reader = self.read_logs(job_id, [stream], follow=follow, tail=tail)
        pieces = logs.iterate(reader)
        if lines:
            return logs.split_lines(pieces)
        return (piece.data for piece in pieces)

    def read_logs(
        self,
        job_id: str,
        streams: Iterable[str],
        *,
        follow: bool = False,
        tail: int | None = None,
    ) -> Logs:
        """Return a reader of several files at once; the arguments are those of `logs`.

        `Logs.read` passes the content to a callback, in pieces.
        """
        return logs.open_logs(
            self.connection, job_id, streams, follow=follow, tail=tail
        )

    def failure(self, status: JobStatus) -> JobFailed:
        """Return the error for a job that did not succeed.

        The error includes the last lines of the job's stderr.
        """
        return logs.job_failure(self.connection, status)

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
    ) -> list_[Path]:
        """Download files and directories of a job, running or not.

        Returns the paths of the files that were written.  `files` are paths in the
        job's directory, or shell patterns.  Each is written below `directory` (default:
        the current directory) under the same path, or with `flatten` directly into
        `directory`.  A single file or directory can be written to `destination`
        instead.  An existing file is replaced once the new one is complete.
        `progress` is called with the number of bytes of each piece received.

        Raises JobNotFound, and DownloadFailed for a missing file, for a directory if
        `recursive` is False, and for a path that leaves the job's or the local
        directory.
        """
        return download.download(
            self.connection,
            job_id,
            files,
            destination,
            directory,
            recursive=recursive,
            flatten=flatten,
            progress=progress,
        )

    def download_many(
        self,
        wanted: Mapping[str, str | Sequence[str]] | Iterable[str],
        files: str | Sequence[str] | None = None,
        *,
        directory: str | os.PathLike[str] | None = None,
        flatten: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> dict[str, Downloaded]:
        """`download` for many jobs, in one round trip; returns one outcome per job.

        `wanted` is a sequence of ids, which all use `files`, or a mapping from ids to
        files.  The files of a job are written to `directory/<id>`.  The outcome of a
        job whose download failed has the reason in `error`; the other jobs are not
        affected.
        """
        return download.download_many(
            self.connection,
            wanted,
            files,
            directory,
            flatten=flatten,
            progress=progress,
        )

    # Kill and delete.

    def kill(self, job_id: str, *, grace: int = DEFAULT_GRACE) -> JobStatus:
        """Kill a job with all its processes; returns the status afterwards.

        Sends SIGTERM, then SIGKILL after `grace` seconds.  A job that has ended is not
        changed.  Raises JobNotFound, and JobStillRunning if the job survives.
        """
        return management.kill(self.connection, job_id, grace)

    def kill_many(
        self, job_ids: Iterable[str], *, grace: int = DEFAULT_GRACE
    ) -> dict[str, Killed | None]:
        """`kill` for many jobs, in one round trip.

        Returns the outcome of each job; None if the job is not found.
        """
        return management.kill_many(self.connection, job_ids, grace)

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its files and archived attempts.

        Raises JobNotFound, and JobStillRunning if the job has not ended.
        """
        management.delete(self.connection, job_id)

    def delete_many(
        self, job_ids: Iterable[str]
    ) -> dict[str, JobNotFound | JobStillRunning | None]:
        """`delete` for many jobs, in one round trip.

        Returns the error of each job; None if the job was deleted.
        """
        return management.delete_many(self.connection, job_ids)

    def prune(
        self,
        *,
        older_than: timedelta | None = None,
        keep_last: int = 0,
        states: Collection[str] = (),
        labels: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> list_[JobStatus]:
        """Delete old jobs: those that ended longer ago than `older_than`.

        Returns the status that each deleted job had.
        Only jobs in one of `states` and with all `labels` are considered; the
        `keep_last` most recently ended of these jobs are kept.  A job that has not
        ended, or has left processes running, is never deleted.  `dry_run` returns the
        jobs without deleting them.
        """
        chosen = filters.disposable(
            management.get_jobs(self.connection),
            older_than=older_than,
            keep_last=keep_last,
            states=states,
            labels=labels,
        )
        if dry_run:
            return chosen
        return management.delete_unchanged(self.connection, chosen)


class Job:
    """A handle on a job: a queue and an id, with the queue's methods for one job.

    Every method asks the server: the handle does not cache the job's state.
    """

    def __init__(
        self,
        queue: RemoteQueue,
        job_id: str,
        *,
        is_new: bool = False,
        status_then: JobStatus | None = None,
    ) -> None:
        self.queue = queue
        self.id = job_id
        self.is_new = is_new
        """Whether the call that returned this handle started the job."""
        self.status_then = status_then
        """The status at the time this handle was returned, if known."""

    def __repr__(self) -> str:
        return f"<Job {self.id} in {self.queue!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self.id == other.id and self.queue is other.queue

    def __hash__(self) -> int:
        return hash(self.id)

    def status(self) -> JobStatus:
        """Return the current status; raises JobNotFound."""
        return self.queue.status(self.id)

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until the job has ended; returns its final status.

        Raises WaitTimeout after `timeout` seconds, and JobNotFound.
        """
        return self.queue.wait([self.id], timeout)[self.id]

    def result(self, timeout: float | None = None) -> JobStatus:
        """Wait like `wait`, but raise JobFailed if the job did not succeed."""
        status = self.wait(timeout)
        if not status.succeeded:
            raise self.queue.failure(status)
        return status

    def logs(
        self,
        stream: str = "stdout",
        *,
        follow: bool = False,
        tail: int | None = None,
        lines: bool = True,
    ) -> Iterator[bytes]:
        """Yield the output as lines of bytes; see `RemoteQueue.logs`."""
        return self.queue.logs(self.id, stream, follow=follow, tail=tail, lines=lines)

    def download(
        self,
        files: str | Sequence[str],
        *,
        destination: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        recursive: bool = True,
        flatten: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> list[Path]:
        """Download files; see `RemoteQueue.download`."""
        return self.queue.download(
            self.id,
            files,
            destination=destination,
            directory=directory,
            recursive=recursive,
            flatten=flatten,
            progress=progress,
        )

    def kill(self, *, grace: int = DEFAULT_GRACE) -> JobStatus:
        """Kill the job; see `RemoteQueue.kill`."""
        return self.queue.kill(self.id, grace=grace)

    def delete(self) -> None:
        """Delete the job; see `RemoteQueue.delete`."""
        self.queue.delete(self.id)


Value = TypeVar("Value")


def renamed(old: str, new: str, value: Value) -> Value:
    """Return the value of a deprecated keyword, after a warning with the new name."""
    warnings.warn(f"'{old}' is now called '{new}'", DeprecationWarning, stacklevel=3)
    return value
