"""What comes back from jobs: their ends, their output, their files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from tej.errors import Error, JobFailed, WaitTimeout
from tej.job.status import JobStatus, check_job_reference
from tej.queue.base import QueueBase, check_job_ids, no_job
from tej.queue.download import Download, Downloaded, Receiver, check_name
from tej.queue.logs import STREAMS, Logs, Position, iterate
from tej.queue.watcher import Watcher
from tej.wire.protocol import Program

FAILURE_LINES = 20
"""Lines of stderr that go with the error of a failed job."""


class Following(QueueBase):
    """The verbs wait, logs and download."""

    @cached_property
    def _watcher(self) -> Watcher:
        return Watcher(
            self._exchange, lambda digest, ids: self._program("wait", digest, *ids)
        )

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
        self,
        job_ids: Iterable[str],
        timeout: float | None = None,
        *,
        meanwhile: Callable[[], object] | None = None,
    ) -> Iterator[tuple[str, JobStatus]]:
        """Ids and final statuses, in the order in which the jobs end; see `wait`.

        `meanwhile` is called about once a second by the thread that waits; what it
        raises ends the wait.
        """
        ids = check_job_ids(job_ids)
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"A time to wait is 0 or more seconds, not {timeout}")
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = dict.fromkeys(ids)
        for job_id, status in self._watcher.ends(ids, deadline, meanwhile):
            if status is None:
                raise no_job(job_id)
            del pending[job_id]
            yield job_id, status
        # The time may be over before anybody was asked.
        for job_id, status in self.statuses(pending).items():
            if status is None:
                raise no_job(job_id)
            if status.state.final:
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
        stream: str = "stdout",
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
        outcome = self._download({job_id: fetch}, progress)[job_id]
        if outcome.error is not None:
            raise outcome.error
        return outcome.files

    def download_many(
        self,
        wanted: Mapping[str, str | Sequence[str]] | Iterable[str],
        files: str | Sequence[str] | None = None,
        *,
        directory: str | os.PathLike[str] | None = None,
        flatten: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> dict[str, Downloaded]:
        """The same for many jobs, in one round trip: `files` of each of the ids
        `wanted`, or those that it maps each id to.

        The files of each go to a directory of its own, called like the job, below
        `directory`.  What fails is in the outcome of its job, and keeps no other back.
        """
        if not isinstance(wanted, Mapping):
            wanted = dict.fromkeys(wanted, files or ())
        elif files is not None:
            raise TypeError("'files' is for ids; a mapping has its own")
        parent = Path("." if directory is None else directory)
        fetches = {
            check_job_reference(job_id): Download(
                [names] if isinstance(names, str) else list(names),
                None,
                parent / job_id,
                recursive=True,
                flatten=flatten,
            )
            for job_id, names in wanted.items()
        }
        return self._download(fetches, progress)

    def _download(
        self,
        fetches: Mapping[str, Download],
        progress: Callable[[int], object] | None,
    ) -> dict[str, Downloaded]:
        done = {one: Downloaded([]) for one in fetches if not fetches[one].patterns}

        def attempt(_: int) -> None:
            left = {one: fetches[one] for one in fetches if one not in done}
            if not left:
                return
            receiver = Receiver(left, progress)
            try:
                self._exchange.run_verb(
                    lambda digest: self._program(
                        "download", digest, *receiver.arguments
                    ),
                    receiver.take,
                )
            finally:
                receiver.finish()
                done.update(receiver.done)

        self._exchange.settle(attempt)
        return {job_id: done[job_id] for job_id in fetches}
