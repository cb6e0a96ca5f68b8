"""`TejTask`: a job described by a task; complete when the job is, and its results here.

What belongs to the job is said by attributes, or properties of the same name, as Luigi
does for `priority` and the like: so they are never part of a task's id.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import luigi
from luigi.parameter import ParameterVisibility
from luigi.worker import worker

from tej.errors import (
    ConnectionFailed,
    Error,
    JobAlreadyExists,
    JobStillRunning,
    WaitTimeout,
)
from tej.job.resources import Resources
from tej.job.signature import make_id, signature
from tej.job.status import JobState, JobStatus, check_job_id
from tej.queue import JobSpec
from tej_luigi.config import WAITS, Place, find_place, tej
from tej_luigi.ended import TejJobEnded
from tej_luigi.job_target import TejJobTarget
from tej_luigi.queues import OpenQueue, open_queue
from tej_luigi.rendering import Recipe, render
from tej_luigi.results import Results
from tej_luigi.statuses import take_along
from tej_luigi.watching import Display, describe, listening, lost

if TYPE_CHECKING:
    from tej.queue import RemoteQueue


class TejTask(luigi.Task):
    """A job on a server: started if it does not exist, awaited if it runs, its results
    fetched if it is done, whoever asks and from wherever."""

    directory: str | os.PathLike[str] | None = None
    """What is sent.  It may be made by a task that this one requires."""
    rendered: Sequence[str] = ()
    """Patterns of files in it (`*.in`, `etc/run.cfg`) in which `{{name}}` becomes the
    value of the task's parameter."""
    inline: str | None = None
    """The text of a script, rendered: alone, or as `start.sh` in the directory."""
    command: str | None = None
    """A file of the directory (by default `start.sh`), with or without arguments, or a
    command for the server's shell; rendered."""
    environment: Mapping[str, str] = {}
    """Variables the job sees; rendered, and part of what makes it the same work."""
    results: Sequence[str] = ()
    """What is fetched: paths in the job's directory, with or without wildcards."""
    job_resources: Resources | None = None
    """What it asks of the machine.  (`resources` is Luigi's own.)"""
    labels: Mapping[str, str] = {}
    login: bool = False
    """Read first what a login shell reads."""
    job_id_is_task_id = False
    """Name the job by the task's id, not by the signature of the work."""

    destination: str | None = None
    queue: str | None = None
    runtime: str | None = None
    wait: str | None = None
    poll: float | None = None
    retry: int | None = None
    results_directory: str | os.PathLike[str] | None = None
    tracking_url: str | None = None
    """These are as in the section `[tej]` of the configuration, and go before it."""

    accepts_messages = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        take_along(self)

    def variables(self) -> Mapping[str, object]:
        """What `{{name}}` stands for: the parameters that are significant and public,
        as they are written on the command line.  To be extended."""
        parameters = dict(self.get_params())
        return {
            name: parameters[name].serialize(value)
            for name, value in self.param_kwargs.items()
            if parameters[name].significant
            and parameters[name].visibility == ParameterVisibility.PUBLIC
        }

    # What it is, and where.

    @property
    def place(self) -> Place:
        """Where the job runs.  Raises InvalidDestination if nothing says so."""
        return find_place(self.destination, self.queue, self.runtime)

    @property
    def job_id(self) -> str:
        """The id of its job.

        Raises InvalidJobDirectory if that is made from a directory which is not there.
        """
        if self.job_id_is_task_id:
            return check_job_id(self.task_id)
        return self._signed.job_id

    def status(self) -> JobStatus | None:
        """What the server knows of the job; None if there is none."""
        return self._status_of(self.job_id)

    def _status_of(self, job_id: str) -> JobStatus | None:
        return open_queue(self.place).statuses.get(job_id)

    def output(self) -> dict[str, Any]:
        """`job`, a `TejJobTarget`, and `results`: local targets by the names asked for,
        a list of them for each name with wildcards."""
        return {
            "job": TejJobTarget(self.job_id, place=self.place),
            "results": self.local_results(self.job_id).targets(),
        }

    def complete(self) -> bool:
        """Whether the job has finished well, and its results are here.

        Raises tej.Error if that cannot be known: no connection is no "no".
        """
        try:
            job_id = self.job_id
        except Exception:
            if self._lacks_input():
                return False
            raise
        status = self._status_of(job_id)
        if status is None or not status.succeeded:
            return False
        self._check_same_work(status)
        return self.local_results(job_id).fetched(status)

    def _check_same_work(self, status: JobStatus) -> None:
        """Raise JobAlreadyExists for a job of the same name made from other work, as
        far as both are known: what the task is made of may be gone by now."""
        if not self.job_id_is_task_id or status.signature is None:
            return
        try:
            job_id = self._signed.job_id
        except Exception:
            return
        if job_id != make_id(status.signature):
            raise JobAlreadyExists(
                f"Job '{status.job_id}' is there, but was made from other files or "
                "another command: delete it to run what the task is now"
            )

    @classmethod
    def bulk_complete(cls, parameter_tuples: Any) -> list[Any]:
        """Those of the parameters for which the task is complete, in one round trip;
        each is a value, a tuple or a dictionary."""
        tasks: list[tuple[Any, TejTask]] = []
        for given in parameter_tuples:
            if isinstance(given, list | tuple):
                tasks.append((given, cls(*given)))
            elif isinstance(given, dict):
                tasks.append((given, cls(**given)))
            else:
                tasks.append((given, cls(given)))
        # All are there now, so that the first question is for all.
        return [given for given, task in tasks if task.complete()]

    # What it does.

    def run(self) -> Generator[TejJobEnded, Any, None] | None:
        """Start the job, wait for it, or fetch its results: whatever is to be done.

        Raises JobFailed, with its exit code and the end of its stderr, if it has not
        finished well.
        """
        how = self._how_to_wait()
        if how == "yield":
            return self._run_yielding()
        opened = open_queue(self.place)
        status = self._start(opened)
        while not status.state.final:
            if how == "raise":
                raise JobStillRunning(
                    f"{describe(status)}: not an error, it goes on; Luigi looks again "
                    "when the task is retried"
                )
            status = self._watch(opened.queue, status)
            if self.may_try_again(status):
                status = self._start(opened)
        self._finish(opened, status)
        return None

    def _run_yielding(self) -> Generator[TejJobEnded, Any, None]:
        """Luigi starts it from the top each time: it finds the job that it started."""
        place = self.place
        opened = open_queue(place)
        status = self._start(opened)
        while not status.state.final:
            Display(self, self._tracking_url).job(
                status, opened.queue, f"As of {datetime.now():%H:%M:%S}: "
            )
            shown, queue = place.key
            yield TejJobEnded(
                job_id=status.job_id,
                attempt=status.attempt,
                destination=shown,
                queue=queue,
            )
            status = self._start(opened)
        self._finish(opened, status)

    def _start(self, opened: OpenQueue) -> JobStatus:
        """The job, started if it does not exist, or if it failed and may be retried."""
        with self.job_spec() as spec:
            (outcome,) = opened.queue.ensure_many([spec])
            if outcome.status is not None and self.may_try_again(outcome.status):
                (outcome,) = opened.queue.ensure_many([spec], retry=True)
        if outcome.error is not None:
            raise outcome.error
        if outcome.status is None:
            raise Error(f"The server does not tell of job '{outcome.job_id}'")
        opened.statuses.put(outcome.status)
        return outcome.status

    def _watch(self, queue: RemoteQueue, status: JobStatus) -> JobStatus:
        """Its final status, when it has ended; meanwhile, what it does is shown."""
        display = Display(self, self._tracking_url)
        poll = tej().poll if self.poll is None else self.poll
        job = queue.job(status.job_id)
        with listening(self, job.kill):
            while not status.state.final:
                display.job(status, queue)
                try:
                    status = job.wait(poll)
                except WaitTimeout:
                    with suppress(ConnectionFailed):
                        status = job.status()
                except ConnectionFailed as error:
                    display.message(lost(error, poll))
        return status

    def _finish(self, opened: OpenQueue, status: JobStatus) -> None:
        Display(self).message(f"{status.describe()}: {status.job_id}")
        opened.statuses.put(status)
        if not status.succeeded:
            raise opened.queue.failure(status)
        results = self.local_results(status.job_id)
        if not results.fetched(status):
            files = opened.queue.download(
                status.job_id, results.patterns, directory=results.folder
            )
            results.note(status, files)

    def may_try_again(self, status: JobStatus) -> bool:
        """Whether a job that has come to this is to be started again.

        Not one that was killed: somebody has asked for that.
        """
        retry = tej().retry if self.retry is None else self.retry
        failed = status.state.final and not status.succeeded
        if not failed or status.state is JobState.KILLED:
            return False
        return status.attempt <= retry

    def _how_to_wait(self) -> str:
        how = self.wait or tej().wait
        if how not in WAITS:
            raise Error(f"`wait` is one of {', '.join(WAITS)}, not {how!r}")
        return "block" if how == "yield" and not _comes_back() else how

    @property
    def _tracking_url(self) -> str | None:
        return self.tracking_url or tej().tracking_url

    # What it is made of.

    @contextmanager
    def job_spec(self) -> Iterator[JobSpec]:
        """The job to be, as the core takes it; its directory is there within."""
        with self._recipe().folder() as folder:
            yield self._spec_of(folder)

    def _spec_of(self, folder: Path) -> JobSpec:
        values = self._variables()
        return JobSpec(
            folder,
            self._command(values),
            check_job_id(self.task_id) if self.job_id_is_task_id else None,
            self.task_family,
            dict(self.labels),
            self._environment(values),
            self.job_resources,
            self.login,
        )

    def _recipe(self) -> Recipe:
        return Recipe(
            None if self.directory is None else Path(self.directory),
            tuple(self.rendered),
            self.inline,
            self._variables(),
        )

    def _variables(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.variables().items()}

    def _command(self, values: Mapping[str, str]) -> str | None:
        if self.command is None:
            return None
        return render(self.command, values, "`command`")

    def _environment(self, values: Mapping[str, str]) -> dict[str, str]:
        return {
            name: render(value, values, f"`environment` of {name}")
            for name, value in self.environment.items()
        }

    @cached_property
    def _signed(self) -> _Signed:
        return _Signed(self)

    def local_results(self, job_id: str) -> Results:
        """Where its results are, or will be, on this machine."""
        parent = self.results_directory or tej().results_directory
        return Results(Path(parent), job_id, self.results)

    def _lacks_input(self) -> bool:
        """Whether what it requires is not there yet: then its work is not known."""
        return any(not task.complete() for task in self.deps())


class _Signed:
    """A task's signature, computed anew only when its files have changed."""

    def __init__(self, task: TejTask) -> None:
        self._task = task
        self._seen: object = None
        self._job_id = ""

    @property
    def job_id(self) -> str:
        recipe = self._task._recipe()
        values = recipe.variables
        command = self._task._command(values)
        environment = self._task._environment(values)
        print_ = recipe.fingerprint()
        seen = print_ and (print_, command, tuple(sorted(environment.items())))
        if seen is None or seen != self._seen:
            with recipe.folder() as folder:
                self._job_id = make_id(signature(folder, command, environment))
            self._seen = seen
        return self._job_id


def _comes_back() -> bool:
    """Whether Luigi's worker stays to see what a task waits for."""
    config = worker()
    return bool(config.keep_alive and config.retry_external_tasks)
