"""`RemoteQueue`: a queue of jobs on a server.

The docstrings of the methods are for users.  Other modules implement the requests.
"""

from __future__ import annotations

import logging
import os
import warnings
from builtins import list as list_
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from tej.destination import Destination, destination_as_string, local_user
from tej.errors import (
    InvalidConfiguration,
    JobFailed,
    JobNotFound,
    JobStillRunning,
)
from tej.job.job_id import check_job_id
from tej.job.status import JobState, JobStatus
from tej.queue import delete_request, kill_request, status_requests
from tej.queue.connection import QueueConnection, run_script
from tej.queue.default_queue import DEFAULT_TEJ_DIR
from tej.queue.grace_period import DEFAULT_GRACE
from tej.queue.job import Job
from tej.queue.lazy_module import LazyModule
from tej.queue.retry_policy import Retries
from tej.queue.server_log import ServerLogger
from tej.queue.wait_request import Watcher
from tej.server.scripts import find_runtime
from tej.transport import Transport, open_transport
from tej.transport.io_timeout import IO_TIMEOUT

if TYPE_CHECKING:
    from tej.job import job_list
    from tej.job import spec as job_spec
    from tej.job.job_list import JobList
    from tej.job.resources import Resources
    from tej.job.spec import JobHandle, JobSpec
    from tej.queue import (
        download,
        graph,
        job_failure,
        job_files,
        job_filters,
        logs,
        prune,
        queue_requests,
        submission,
        sweep_parameters,
    )
    from tej.queue.download import Downloaded
    from tej.queue.job_files import JobFile
    from tej.queue.kill_request import Killed
    from tej.queue.logs import Logs
    from tej.queue.queue_requests import DiskUsage, QueueInfo
    from tej.queue.submission import Outcome
else:
    # Import these modules on first use, because `tej status`, for example, needs none
    # of them.
    job_list = LazyModule("tej.job.job_list")
    job_spec = LazyModule("tej.job.spec")
    queue_requests = LazyModule("tej.queue.queue_requests")
    prune = LazyModule("tej.queue.prune")
    download = LazyModule("tej.queue.download")
    job_files = LazyModule("tej.queue.job_files")
    job_filters = LazyModule("tej.queue.job_filters")
    sweep_parameters = LazyModule("tej.queue.sweep_parameters")
    graph = LazyModule("tej.queue.graph")
    job_failure = LazyModule("tej.queue.job_failure")
    logs = LazyModule("tej.queue.logs")
    submission = LazyModule("tej.queue.submission")

Self = TypeVar("Self", bound="RemoteQueue")

logger = logging.getLogger("tej")


class RemoteQueue:
    """A queue of jobs, in a directory on a server.

    The constructor only stores its arguments.  The connection is opened by the first
    request.  Several threads may use the same `RemoteQueue`.  A forked child process
    may use the `RemoteQueue` of its parent; the child then opens its own connection.

    All requests raise ConnectionFailed if the server cannot be reached after several
    attempts (see `Retries`), and RemoteCommandFailure if a command fails on the server.
    All requests raise QueueExists if the queue's path contains something that this
    version of tej cannot use.

    If the queue does not exist, `setup` and the methods that submit jobs create the
    queue.  Other requests except `shell` raise QueueNotFound.  If the queue does not
    exist, although this object has used it before and has not removed it, its file
    system may be unmounted.  All requests except `setup` and `shell` then raise
    RemoteCommandFailure, and create no queue.  If a link to the queue is broken,
    `setup` raises QueueExists, and all other requests except `shell` raise
    QueueLinkBroken.

    Requests for one job, such as `logs` or `kill`, raise JobNotFound if the job does
    not exist.
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
        io_timeout: float = IO_TIMEOUT,
        key: str | None = None,
        known_hosts: str = "",
        retries: Retries | None = None,
        transport: Transport | str | None = None,
        terminal: bool = False,
        persist: str | None = None,
        trust_queue: bool = False,
        silence: float | None = None,
    ) -> None:
        """Create a handle on a queue; no connection to the server is opened yet.

        `destination` is `[user[:password]@]host[:port]`, `local:` for this machine, or
        a dictionary as in tej 0.6.  `queue` is a path on the server.  A relative path
        starts at the home directory, and `~` and `~user` are expanded.  `setup_runtime`
        is the runtime with which a new queue is created: a name, or a folder with a
        `runtime.sh`.  By default, tej selects the runtime of the server's scheduler, or
        `default` if the server has no scheduler.  `need_runtime` lists the runtimes
        that are accepted in an existing queue.

        `ask(prompt)` must return the password, passphrase or code for which `prompt`
        asks.  Without `ask`, a login that needs a password fails.  `timeout` is the
        time limit in seconds for connecting (default: ConnectTimeout of the ssh
        configuration, or 30).  `io_timeout` is the time limit in seconds for a request
        that neither sends nor receives data.  `silence` is the deprecated name of
        `io_timeout`.  `key` is the text of a private key.  If `key` is given, no other
        key is offered to the server.  `known_hosts` is text in the format of the
        known_hosts file.

        `transport` is "openssh", "paramiko", or a `Transport` object.  By default, the
        system's `ssh` is used if it is installed, unless a password, `key`,
        `known_hosts` or `ask` is given.  If `terminal` is true, `ssh` may prompt for
        passwords at the terminal instead of calling `ask`.  `persist` is the time after
        which `ssh` closes an unused connection, such as "8h" (default: 60 seconds).

        If other users can write to the queue, requests raise QueueNotTrusted, because
        these users could run commands with your permissions.  `trust_queue` accepts a
        queue that other users can write to, for example a queue that a group shares.

        If `accept_new_host_key` is true, an unknown host key is added to known_hosts,
        and the connection is accepted.  `retries` is the retry policy for lost
        connections.

        Raises InvalidDestination if `destination` is invalid, and ValueError if another
        argument is invalid.
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
            # Look up the method `server_logger` for each program, because the caller
            # may replace the method later.
            lambda: self.server_logger(),
        )
        self.watcher = Watcher(self.connection)

    @classmethod
    def from_profile(
        cls: type[Self],
        name: str | None = None,
        **options: Any,  # noqa: ANN401 (the arguments of the constructor)
    ) -> Self:
        """Return the queue of a profile in the configuration files.

        Without `name`, the profile is named by TEJ_PROFILE, or is the default profile.
        The files are `~/.config/tej/config.toml`, and `tej.toml` in the current
        directory or above it.  `options` are arguments of the constructor, which take
        precedence over the profile.  Raises InvalidConfiguration if a file has an
        error, or if there is no such profile or no destination in the profile.
        """
        from tej import config

        keys = {"destination", "queue", "transport", "persist", "trust_queue"}
        given = {key: options.pop(key) for key in keys & options.keys()}
        if "setup_runtime" in options:
            given["runtime"] = options.pop("setup_runtime")
        profile = config.load().resolve(name, given)
        if profile.get("destination") is None:
            raise InvalidConfiguration(
                "No profile is given, and no configuration file sets a default; "
                "`tej config` lists the files and profiles"
                if profile.name is None
                else f"Profile '{profile.name.value}' has no destination"
            )
        return cls(profile.get("destination"), **profile.options(), **options)

    def __repr__(self) -> str:
        return f"<RemoteQueue {self.queue} on {self.destination_string}>"

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        # `concurrent.futures` and `multiprocessing` pickle arguments.  Without this
        # method, the error of pickle would only name a lock inside the connection.
        raise TypeError(
            "A RemoteQueue or a Job cannot be pickled: pass the destination and the "
            "job's id, and open a RemoteQueue in the other process"
        )

    def close(self) -> None:
        """Close the connection; the next request opens a new connection."""
        self.transport.close()

    @property
    def destination(self) -> dict[str, Any]:
        """The parts of the destination as in tej 0.6, without the password.

        The keys of the dictionary are "hostname", "username" and, if the port is known,
        "port".
        """
        parts: dict[str, Any] = {
            "hostname": self._destination.host,
            "username": self._destination.user or local_user(),
        }
        if self._destination.port is not None:
            parts["port"] = self._destination.port
        return parts

    @property
    def destination_string(self) -> str:
        """The destination as one string, without the password."""
        return destination_as_string(self._destination)

    @property
    def was_reached(self) -> bool:
        """Whether the server has replied at least once.

        If so, the host name and the port are right, and a retry is useful after a lost
        connection.
        """
        return self.connection.reached

    @property
    def setup_runtime(self) -> str | None:
        """The runtime with which a new queue is created; a caller may change it."""
        return self._setup_runtime

    @setup_runtime.setter
    def setup_runtime(self, name: str | None) -> None:
        runtime, scripts = find_runtime(name or "auto")
        self._setup_runtime = name
        self.connection.use_runtime(runtime, scripts)

    def server_logger(self) -> ServerLogger:
        """Return a new logger for the standard error of one program on the server.

        The lines are logged to the logger `tej.server`.  Override this method to handle
        the lines in another way.
        """
        return ServerLogger()

    # Methods for the queue as a whole.

    def setup(
        self,
        links: Sequence[str | PurePosixPath] | None = None,
        force: bool | int = False,
        only_links: bool = False,
        *,
        max_running: int | None = None,
    ) -> PurePosixPath:
        """Create the queue and links to the queue; return the queue's absolute path.

        `links` are paths on the server.  QueueExists is raised if the queue's path
        exists already.  `force=True` replaces a link, or a queue without jobs.
        `force=2` also replaces a queue in which all jobs have ended.  `only_links`
        creates the links but no queue.  `max_running` limits the number of running
        jobs; see `limit`.
        """
        return queue_requests.set_up(
            self.connection, links or (), int(force), only_links, max_running
        )

    def limit(self, max_running: int) -> None:
        """Limit the number of running jobs; 0 removes the limit.

        Jobs above the limit are `queued`, and start in the order of their submission.
        If the queue's runtime is a scheduler, at most `max_running` jobs at a time are
        submitted to the scheduler, whether they run or are pending there.  Raises
        ValueError if `max_running` is negative.
        """
        queue_requests.set_limit(self.connection, max_running)

    def info(self) -> QueueInfo:
        """Return the queue's absolute path, runtime, and limit of running jobs."""
        return queue_requests.get_info(self.connection)

    def cleanup(self, kill: bool = False, *, grace: int = DEFAULT_GRACE) -> bool:
        """Remove the queue, all its jobs, and the links to the queue; return True.

        If a job has not ended, JobStillRunning is raised, and nothing is removed.  If
        `kill` is true, jobs that have not ended are killed first, as by `kill`.
        """
        return queue_requests.remove(self.connection, kill=kill, grace=grace)

    def shell(
        self,
        script: str,
        *arguments: str,
        stdin: Callable[[], Iterable[bytes]] = tuple,
        take: Callable[[], Callable[[bytes], object]] | None = None,
        again: bool = False,
    ) -> bytes:
        """Run a POSIX shell script on the server; return its output.

        The script needs no queue on the server.  The script starts in the home
        directory, and its parameters $1, $2, ... are `arguments`.  `stdin()` must
        return the script's input.  If `take` is given, `take()` must return a function
        that receives the output in pieces, and `shell` returns b"".  `stdin` and `take`
        are called once per attempt.  After a lost connection, the script is run again
        only if `again` is set; otherwise ConnectionFailed is raised.

        If the exit status of the script is not 0, RemoteCommandFailure is raised.  The
        attribute `ret` of this exception is the exit status, and its message is the
        script's stderr.  Exit statuses below 64 are reserved for tej.
        """
        return run_script(self.connection, script, arguments, stdin, take, again)

    # Methods that submit jobs.

    def job(self: Self, job_id: str) -> Job[Self]:
        """Return a handle on a job; whether the job exists is not checked.

        Raises InvalidJobId if the id is invalid.
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
        ignore: Sequence[str] = (),
        after: Sequence[str | JobHandle] = (),
        inputs: Mapping[str, str | tuple[str | JobHandle, str]] | None = None,
        on_end: str | None = None,
        shared: Sequence[str] = (),
        progress: Callable[[int], object] | None = None,
    ) -> str:
        """Upload a directory and start it as a job; return the job's id.

        By default, `job_id` is `<directory>_<user>_<unique>`.  The other arguments
        except `progress` are the fields of `JobSpec`, and are documented there.  If the
        queue's runtime cannot provide the `resources`, RemoteCommandFailure is raised.
        `progress` is called with the number of bytes of each piece that is sent.

        A job is submitted completely or not at all.  If the server's reply is lost, the
        request is repeated, but the job is never started twice.  InvalidJobId is raised
        before any data is sent.  InvalidJobDirectory is raised before any data is sent,
        or during the upload if a file changes.  JobAlreadyExists is raised if the queue
        already has a job with this id.
        """
        spec = job_spec.JobSpec(
            *(directory, script, job_id, name, labels or {}, environment or {}),
            *(resources, login, everything, ignore, [*after], inputs or {}),
            on_end=on_end,
            shared=shared,
        )
        outcome = submission.submit_one(self.connection, "submit", spec, progress)
        logger.info("Submitted job %s", outcome.job_id)
        return outcome.job_id

    def submit_many(self, specs: Iterable[JobSpec]) -> list_[Outcome]:
        """Submit any number of jobs, about a hundred per round trip.

        Returns one `Outcome` per `JobSpec`, in the same order.  If a job could not be
        submitted, the reason is in the `error` of its `Outcome`, and the other jobs are
        submitted.  If the first request fails, its error is raised.  If a later request
        fails, its error is stored in the `Outcome` of all remaining jobs.
        """
        return submission.submit_all(self.connection, "submit", specs)

    def ensure(
        self: Self,
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
        ignore: Sequence[str] = (),
        after: Sequence[str | JobHandle] = (),
        inputs: Mapping[str, str | tuple[str | JobHandle, str]] | None = None,
        on_end: str | None = None,
        shared: Sequence[str] = (),
        progress: Callable[[int], object] | None = None,
    ) -> Job[Self]:
        """Return the existing job with the same signature, or submit a new job.

        By default, `job_id` is made from the signature of the directory, the script and
        the environment.  The same directory, script and environment therefore have the
        same job id, whichever user submits the job.  The directory is uploaded only if
        no job with this id exists.  `retry` restarts a job that failed, was killed or
        is lost.  The failed attempt is archived with its files as `ID#1`.  The other
        arguments and exceptions are documented in `submit`.

        Raises JobAlreadyExists if the job `job_id` exists with another signature.
        """
        spec = job_spec.JobSpec(
            *(directory, script, job_id, name, labels or {}, environment or {}),
            *(resources, login, everything, ignore, [*after], inputs or {}),
            on_end=on_end,
            shared=shared,
        )
        outcome = submission.submit_one(
            self.connection, "retry" if retry else "ensure", spec, progress
        )
        return Job(
            self, outcome.job_id, is_new=outcome.is_new, status_then=outcome.status
        )

    def ensure_many(
        self, specs: Iterable[JobSpec], *, retry: bool = False
    ) -> list_[Outcome]:
        """Find or submit many jobs, like `ensure`; return one `Outcome` per job.

        If a job needs another job of the same call, the needed job must come first, and
        the reference to it must be its id; `ensure_graph` has no such restrictions.
        """
        return sweep_parameters.ensure_all(self.connection, specs, retry=retry)

    def ensure_graph(
        self, specs: Iterable[JobSpec], *, retry: bool = False
    ) -> list_[Outcome]:
        """Find or submit jobs with dependencies; return one `Outcome` per `JobSpec`.

        The `after` and `inputs` of a `JobSpec` refer to other jobs of the call, or to
        jobs in the queue.  A reference to a job of the call is its `JobSpec`, its
        `job_id`, or its `name` (by default the name of its directory).  A reference to
        a job in the queue is its id, or a `Job`.  The jobs may be given in any order.
        Up to 200 jobs are sent per round trip, and each job starts when the jobs that
        it needs have succeeded.  `retry` restarts the jobs that failed, were killed or
        are lost.

        Before any job is sent, raises InvalidJobId if the dependencies form a cycle, a
        name is ambiguous, or a job is in another queue; JobNotFound if a needed job
        does not exist; and InvalidJobDirectory if a directory cannot be submitted.
        """
        return graph.ensure_graph(self.connection, specs, retry=retry)

    # Methods that report the status of jobs.

    def status(self, job_id: str) -> JobStatus:
        """Return the status of a job.

        As in tej 0.6, the status can be unpacked: `status, directory, result =
        queue.status(job_id)`.
        """
        return status_requests.get_status(self.connection, job_id)

    def statuses(self, job_ids: Iterable[str]) -> dict[str, JobStatus | None]:
        """Return the status of each job, or None if the job does not exist."""
        return status_requests.get_statuses(self.connection, job_ids)

    def attempts(self, job_id: str) -> list_[JobStatus]:
        """Return the archived attempts of a job that was restarted, oldest first.

        Each archived attempt has an id like `ID#1`, which is a valid id for `logs`,
        `download` and `delete`.  If an archived attempt is deleted, its number is not
        used again.
        """
        return status_requests.get_attempts(self.connection, job_id)

    def jobs(
        self,
        *,
        states: Collection[str] = (),
        failed: bool = False,
        labels: Mapping[str, str] | None = None,
        since: datetime | timedelta | None = None,
        sort: str = "id",
        last: int | None = None,
    ) -> JobList:
        """Return the jobs in the queue that match all filters, in sorted order.

        A job matches if it has one of `states` (or, if `failed` is true, has failed),
        has all `labels`, and was submitted at `since` or later.  If `since` is a
        `timedelta`, it is the largest age of a job, by the server's clock.  By default,
        all jobs match.  `sort` is "id", "name", "submitted", "started", "ended",
        "duration" or "state".  If the files of a job are damaged, its state is `lost`,
        and the reason is in its status.  The returned list prints as a table.

        If `last` is given, the filters are applied only to the `last` most recently
        changed jobs.  A job changes when it is submitted, starts, ends or is
        downloaded.  In a queue with many jobs, a request with `last` is much faster.
        """
        found = job_filters.select(
            status_requests.get_jobs(self.connection, last=last),
            states=states,
            failed=failed,
            labels=labels,
            since=since,
        )
        return job_list.JobList(job_filters.sort_jobs(found, sort))

    def sizes(self) -> dict[str, int]:
        """Return the disk space of each job in bytes, as `du` on the server reports."""
        return self.disk_usage().jobs

    def disk_usage(self) -> DiskUsage:
        """Return the disk space that the queue, its content store and its jobs use."""
        return queue_requests.get_disk_usage(self.connection)

    def list(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield an id and a dictionary for each job, as in tej 0.6.

        The dictionary contains the job's state under the key "status", and the keys of
        `JobStatus.as_dict`.
        """
        for status in self.jobs():
            yield status.job_id, {"status": status.state.value, **status.as_dict()}

    # Methods that wait for jobs.

    def wait(
        self, job_ids: Iterable[str], timeout: float | None = None
    ) -> dict[str, JobStatus]:
        """Wait until all jobs in `job_ids` have ended; return their final statuses.

        If the connection is lost, the wait continues over a new connection.  One
        request waits for the jobs of all threads that use this `RemoteQueue`.  Raises
        JobNotFound if a job does not exist.  WaitTimeout is raised after `timeout`
        seconds, and the jobs continue to run.
        """
        return self.watcher.wait(job_ids, timeout)

    def as_completed(
        self,
        job_ids: Iterable[str],
        timeout: float | None = None,
        *,
        on_tick: Callable[[], object] | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> Iterator[tuple[str, JobStatus]]:
        """Yield each job id with the final status, in the order in which the jobs end.

        Lost connections, threads and errors are handled as by `wait`.  `on_tick` is
        called about once a second in the thread that waits.  If `on_tick` raises an
        exception, the wait ends with that exception.  `meanwhile` is the deprecated
        name of `on_tick`.
        """
        if meanwhile is not None:
            on_tick = renamed("meanwhile", "on_tick", meanwhile)
        return self.watcher.as_completed(job_ids, timeout, on_tick)

    # Methods that read the output and the files of jobs.

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
        number of lines at the end of the file to read.  Without `tail`, the whole file
        is read.  If `follow` is true, reading continues until the job has ended, even
        if the connection is lost meanwhile.  If `lines` is False, the bytes are yielded
        as they arrive.
        """
        return logs.read_stream(
            self.connection, job_id, stream, follow=follow, tail=tail, lines=lines
        )

    def read_logs(
        self,
        job_id: str,
        streams: Iterable[str],
        *,
        follow: bool = False,
        tail: int | None = None,
    ) -> Logs:
        """Return a reader of several files of one job.

        The arguments are documented in `logs`.  `Logs.read` passes the content of the
        files to a callback function, in pieces.
        """
        return logs.open_logs(
            self.connection, job_id, streams, follow=follow, tail=tail
        )

    def scheduler_log(self, job_id: str) -> bytes:
        """Return the scheduler's messages about a job, and its accounting record.

        The accounting record is the output of `sacct`, `qstat -f`, `tracejob` or
        `qacct`, depending on the scheduler.  Raises QueueExists if the queue's runtime
        has no scheduler.
        """
        return logs.scheduler_log(self.connection, job_id)

    def on_end_log(self, job_id: str) -> bytes:
        """Return the output of the command `on_end`, which runs when the job has ended.

        The output is empty if the command has not run yet.  Raises DownloadFailed if
        the job was submitted without `on_end`.
        """
        return logs.on_end_log(self.connection, job_id)

    def failure(self, status: JobStatus) -> JobFailed:
        """Return the error for a job that did not succeed.

        The error includes the last lines of the job's stderr, and of the messages that
        a scheduler has written about the job.
        """
        return job_failure.job_failure(self.connection, status)

    def files(self, job_id: str, path: str = ".") -> list_[JobFile]:
        """Return the entries of a directory of a job, sorted by name.

        `path` is a directory in the job's directory, or a file.  Raises DownloadFailed
        if `path` does not exist or is outside the job's directory.
        """
        return job_files.list_files(self.connection, job_id, path)

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
        """Download files and directories of a job; the job may still be running.

        Returns the local paths of the files that were written.  `files` are paths in
        the job's directory, or shell patterns.  Each file is written to `directory`
        (default: the current directory) under its path in the job's directory.  If
        `flatten` is true, each file is written to `directory` under its name only.  If
        a single file or directory is requested, `destination` can be its local path.
        An existing local file is replaced after the new file has been received
        completely.  `progress` is called with the number of bytes of each piece that is
        received.

        Raises DownloadFailed if a file is missing, if `recursive` is False and a
        directory is requested, or if a path is outside the job's directory or the
        local directory.
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

    def note_downloaded(self, job_ids: Iterable[str]) -> None:
        """Record on the server that the results of these jobs were downloaded.

        `tej download` and `tej run` record each complete download of a job that has
        ended.  `tej prune` and `tej destroy` print the number of ended jobs without
        such a record.  If this queue has downloaded files of a job, and another client
        has retried the job since, the new job is not marked.  An error is only logged.
        """
        download.note_downloaded(self.connection, job_ids)

    def download_many(
        self,
        wanted: Mapping[str, str | Sequence[str]] | Iterable[str],
        files: str | Sequence[str] | None = None,
        *,
        directory: str
        | os.PathLike[str]
        | Mapping[str, str | os.PathLike[str]]
        | None = None,
        flatten: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> dict[str, Downloaded]:
        """Download files of many jobs in one round trip; return one outcome per job.

        `wanted` is a sequence of job ids, for which the same `files` are downloaded, or
        a mapping from job ids to files.  `directory` is a directory in which each job
        gets the subdirectory `<id>`, or a mapping from job ids to directories.  If a
        file is missing, the download of its job fails, unless the name of the file is a
        `tej.OptionalFile`.  If the download of a job fails, the reason is in the
        `error` of its outcome, and the other downloads continue.
        """
        return download.download_many(
            self.connection,
            wanted,
            files,
            directory,
            flatten=flatten,
            progress=progress,
        )

    # Methods that kill and delete jobs.

    def kill(self, job_id: str | JobStatus, *, grace: int = DEFAULT_GRACE) -> JobStatus:
        """Kill a job with all its processes; return the status after the kill.

        SIGTERM is sent first, and SIGKILL after `grace` seconds.  A job that has ended
        is not changed.  If the job is given as a JobStatus, and it has been retried
        since that status was read, the new attempt is not killed.  Raises
        JobStillRunning if the job is still running after the kill.
        """
        return kill_request.kill(self.connection, job_id, grace)

    def kill_many(
        self,
        job_ids: Iterable[str | JobStatus],
        *,
        grace: int = DEFAULT_GRACE,
        with_dependents: bool = False,
    ) -> dict[str, Killed | None]:
        """Kill many jobs like `kill`, in one round trip.

        If a job is given as a JobStatus, and the job has been retried since that status
        was read, the new attempt is not killed.  Returns a dictionary from job id to
        outcome; the outcome is None for a job that does not exist.  `with_dependents`
        also kills all jobs that have not ended and depend on one of the jobs, directly
        or indirectly; this takes a second round trip.
        """
        return kill_request.kill_many(
            self.connection, job_ids, grace, with_dependents=with_dependents
        )

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its files and archived attempts.

        Raises JobStillRunning if the job has not ended.
        """
        delete_request.delete(self.connection, job_id)

    def delete_many(
        self, job_ids: Iterable[str | JobStatus]
    ) -> dict[str, JobNotFound | JobStillRunning | None]:
        """Delete many jobs like `delete`, in one round trip.

        If a job is given as a JobStatus, and a job with the same id has been submitted
        since that status was read, the new job is not deleted.  Returns a dictionary
        from job id to error; the value is None for each job that was deleted.
        """
        return delete_request.delete_many(self.connection, job_ids)

    def prune(
        self,
        *,
        older_than: timedelta | None = None,
        keep_last: int = 0,
        failed: bool = False,
        states: Collection[str] = (),
        labels: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> list_[JobStatus]:
        """Delete the jobs that ended longer ago than `older_than`.

        Without `older_than`, jobs of any age are deleted.  Returns the status of each
        deleted job before its deletion.  Only jobs in one of `states` and with all
        `labels` are deleted; if `failed` is true, failed jobs with all `labels` are
        deleted as well.  The `keep_last` jobs that ended last are not deleted.  A job
        that has not ended, or has left processes running, is never deleted.  If
        `dry_run` is true, the jobs are returned but not deleted.
        """
        return prune.prune(
            self.connection,
            older_than=older_than,
            keep_last=keep_last,
            failed=failed,
            states=states,
            labels=labels,
            dry_run=dry_run,
        )


Value = TypeVar("Value")


def renamed(old: str, new: str, value: Value) -> Value:
    """Return `value`; warn that keyword `old` is deprecated in favour of `new`."""
    warnings.warn(f"'{old}' is now called '{new}'", DeprecationWarning, stacklevel=3)
    return value
