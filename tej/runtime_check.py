"""Conformance test of a runtime: run short jobs on a server, one for each outcome."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tej.errors import Error
from tej.job.spec import JobSpec
from tej.job.start_script import DEFAULT_SCRIPT
from tej.job.status import JobState, JobStatus
from tej.queue.remote import RemoteQueue

JOB_TIMEOUT = 300.0
"""Time limit in seconds for a job that normally runs about one second."""


class CheckFailed(Exception):
    """Raised by a test that finds a fault of the runtime."""


@dataclass(frozen=True)
class Finding:
    """The result of one test of a runtime."""

    what: str
    complaint: str | None
    """The fault that the test found, or None if the test passed."""


class RuntimeCheck:
    """Tests a runtime in a new queue, which is removed after the tests."""

    def __init__(self, queue: RemoteQueue) -> None:
        self._queue = queue
        self._folder = Path()

    def run(self) -> Iterator[Finding]:
        """Run the tests and yield the result of each test.

        If the queue cannot be created, only the first result is yielded.
        """
        with tempfile.TemporaryDirectory() as folder:
            self._folder = Path(folder)
            first = self._try("the queue can be created", self._set_up)
            yield first
            if first.complaint is not None:
                return
            try:
                for what, function in self._checks():
                    yield self._try(what, function)
            finally:
                last = self._try("the queue can be removed", self._remove)
            yield last

    def _checks(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "a job runs, and its exit code is reported", self._exit_code
        yield "exit code 143 and an end by SIGTERM are distinguished", self._signals
        yield "each of several concurrent jobs has its own exit code", self._several
        yield "output can be read while the job runs", self._output
        yield "SIGTERM reaches the script, which has the grace period", self._grace
        yield "SIGKILL ends a job that ignores SIGTERM", self._deaf
        yield "a killed job can be deleted", self._delete

    @staticmethod
    def _try(what: str, function: Callable[[], None]) -> Finding:
        try:
            function()
        except (CheckFailed, Error) as error:
            return Finding(what, str(error))
        return Finding(what, None)

    def _set_up(self) -> None:
        self._queue.setup()

    def _remove(self) -> None:
        self._queue.cleanup(kill=True, grace=1)

    def _submit(self, job_id: str, script: str) -> None:
        self._queue.submit(job_id, self._directory(script))
        if self._queue.status(job_id).state is JobState.LOST:
            raise CheckFailed("a job is lost directly after its submission")

    def _directory(self, script: str) -> Path:
        directory = self._folder / secrets.token_hex(4)
        directory.mkdir()
        (directory / DEFAULT_SCRIPT).write_text(f"#!/bin/sh\n{script}\n")
        return directory

    def _expect(self, job_id: str, *, code: int | None, signal: int | None) -> None:
        status = self._queue.job(job_id).wait(JOB_TIMEOUT)
        if status.state is not JobState.FINISHED:
            raise CheckFailed(f"the job did not finish: {status.describe()}")
        if (status.exit_code, status.signal) != (code, signal):
            raise CheckFailed(
                f"the status should have exit code {code} and signal {signal}, but is: "
                f"{status.describe()}"
            )

    def _exit_code(self) -> None:
        self._submit("exit", "echo out; exit 3")
        self._expect("exit", code=3, signal=None)
        if not self._queue.status("exit").native_id:
            raise CheckFailed("the status has no `native_id`")
        if b"".join(self._queue.logs("exit")) != b"out\n":
            raise CheckFailed("the output is not in _stdout")

    def _signals(self) -> None:
        self._submit("plain", "exit 143")
        self._submit("signal", "kill -s TERM $$; sleep 10")
        self._expect("plain", code=143, signal=None)
        self._expect("signal", code=None, signal=15)

    def _several(self) -> None:
        specs = [
            JobSpec(self._directory(f"exit {number}"), job_id=f"job{number}")
            for number in range(4)
        ]
        for outcome in self._queue.submit_many(specs):
            if outcome.error is not None:
                raise outcome.error
        for number in range(4):
            self._expect(f"job{number}", code=number, signal=None)

    def _output(self) -> None:
        self._begin("running", "echo begun; sleep 600")
        status = self._queue.status("running")
        if status.state is not JobState.RUNNING:
            raise CheckFailed(f"the job is not running: {status.describe()}")
        self._kill("running", grace=5)

    def _grace(self) -> None:
        wait = "while :; do sleep 1; done"
        # The trap takes one second, because some schedulers kill all remaining
        # processes as soon as the scheduler's own shell ends.
        script = f"trap 'sleep 1; echo cleaned; exit 9' TERM; echo begun; {wait}"
        self._begin("tidy", script)
        status = self._kill("tidy", grace=60)
        if status.exit_code != 9:
            raise CheckFailed(
                f"the status should have exit code 9, but is: {status.describe()}"
            )
        if b"".join(self._queue.logs("tidy")) != b"begun\ncleaned\n":
            raise CheckFailed("the trap for SIGTERM did not run exactly once")

    def _deaf(self) -> None:
        self._begin("deaf", "trap '' TERM; echo begun; while :; do sleep 1; done")
        self._kill("deaf", grace=1)

    def _delete(self) -> None:
        self._queue.delete("deaf")

    def _begin(self, job_id: str, script: str) -> None:
        self._submit(job_id, script)
        deadline = time.monotonic() + JOB_TIMEOUT
        while b"".join(self._queue.logs(job_id)) != b"begun\n":
            if time.monotonic() > deadline:
                raise CheckFailed("the output does not arrive while the job runs")
            time.sleep(0.5)

    def _kill(self, job_id: str, *, grace: int) -> JobStatus:
        status = self._queue.kill(job_id, grace=grace)
        if status.state is not JobState.KILLED:
            raise CheckFailed(f"the job was not killed: {status.describe()}")
        return status


def check_queue() -> PurePosixPath:
    """Return a new, random path for a test queue."""
    return PurePosixPath(f"~/.tej-check-{secrets.token_hex(6)}")
