"""`Execution`: submits the jobs of a pipeline to a queue, and waits for the jobs.

A submission takes one request for the statuses of all jobs, and one request for up to
200 jobs that have to be started.  The server starts each job after the jobs upstream of
it, so the client is not needed after the submission.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import tej
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.graph import Exploration, Pipeline
from tej_vistrails.pipeline.jobs_to_submit import (
    Statuses,
    jobs_in_use,
    jobs_to_submit,
)
from tej_vistrails.pipeline.plan import Plan, PlannedJob
from tej_vistrails.pipeline.step_state import Step, StepState, state_of

MAX_FAILURES = 20
"""Maximum number of failures that are printed, or shown in a report."""


class Execution:
    """The jobs of a pipeline or an exploration in a queue."""

    def __init__(self, work: Pipeline | Exploration, queue: tej.RemoteQueue) -> None:
        self.plan = Plan(work)
        self.queue = queue
        self.started: list[str] = []
        """Ids of the jobs that `submit` started."""

    def run(self, *, retry: bool = False) -> dict[str, Step]:
        """Start the jobs, and wait until they have ended.

        Raises PipelineError unless all jobs have succeeded; the message contains the
        module of a failed job and the end of the job's stderr.  The other jobs have
        ended before the error is raised.
        """
        self.submit(retry=retry)
        steps = self.wait()
        for job_id, failure in self.failures(steps):
            words = steps[job_id].job.describe()
            raise PipelineError(f"{words} failed: {failure}") from failure
        for step in steps.values():
            # No job has failed, but a wanted job has not succeeded, for example because
            # another client has deleted or restarted the job.
            if step.job.is_wanted and step.state is not StepState.SUCCEEDED:
                raise PipelineError(
                    f"Module '{step.job.module.name}', job {step.job.job_id}: "
                    f"{step.state}; `retry=True` starts the missing jobs again"
                )
        return steps

    def submit(self, *, retry: bool = False) -> None:
        """Start the jobs that do not exist and whose results are needed.

        A job that runs or has succeeded is not started again, and neither are the jobs
        upstream of it.  `retry` restarts the jobs that failed, were killed, are lost,
        or were not started.  The first error of a submission is raised.
        """
        try:
            self._submit(retry=retry)
        except tej.JobNotFound:
            # Another client deleted a job between the two requests, so both are
            # repeated.
            self._submit(retry=retry)

    def _submit(self, *, retry: bool) -> None:
        self.started = []
        ids = jobs_to_submit(self.plan, self.statuses(), retry=retry)
        needed = [job for job_id, job in self.plan.jobs.items() if job_id in ids]
        if not needed:
            return
        outcomes = self.queue.ensure_many([one.spec for one in needed], retry=retry)
        self.started = [one.job_id for one in outcomes if one.is_new]
        for outcome, planned in zip(outcomes, needed, strict=True):
            if outcome.error is not None:
                raise outcome.error
            if outcome.job_id != planned.job_id:
                raise PipelineError(
                    f"Module '{planned.module.name}': a local file has changed since "
                    f"the id {planned.job_id} was computed, and job {outcome.job_id} "
                    "was submitted with the new content: run the pipeline again"
                )

    def statuses(self) -> Statuses:
        """Return the status of each job of the plan, in one request."""
        try:
            return self.queue.statuses(self.plan.jobs)
        except tej.QueueNotFound:
            return dict.fromkeys(self.plan.jobs)

    def steps(self) -> dict[str, Step]:
        """Return the jobs of the plan with their states, in one request."""
        statuses = self.statuses()
        used = jobs_in_use(self.plan, statuses)
        return {
            job_id: Step(
                job,
                state_of(statuses[job_id], is_used=job_id in used),
                statuses[job_id],
            )
            for job_id, job in self.plan.jobs.items()
        }

    def wait(
        self,
        timeout: float | None = None,
        *,
        on_end: Callable[[PlannedJob, tej.JobStatus], object] | None = None,
    ) -> dict[str, Step]:
        """Wait until the jobs that were submitted have ended; return all steps.

        `on_end` is called with each job that ends during the wait.  Raises WaitTimeout
        after `timeout` seconds; the jobs continue to run.
        """
        steps = self.steps()
        deadline = None if timeout is None else time.monotonic() + timeout
        while alive := _alive(steps):
            left = None if deadline is None else max(0, deadline - time.monotonic())
            try:
                for job_id, status in self.queue.as_completed(alive, left):
                    if on_end is not None:
                        on_end(self.plan.jobs[job_id], status)
            except tej.JobNotFound:
                # Another client has deleted a job.  The wait continues without that
                # job, and the jobs downstream of it end without being started.
                pass
            steps = self.steps()
        return steps

    def kill(self) -> list[str]:
        """Kill the jobs that are running or queued; return their ids.

        Other pipelines with the same jobs are affected as well.
        """
        alive = _alive(self.steps())
        if alive:
            left = [
                job_id
                for job_id, killed in self.queue.kill_many(alive).items()
                if killed is not None and not killed.status.state.final
            ]
            if left:
                raise tej.JobStillRunning(
                    f"Jobs still run after the kill: {', '.join(left)}"
                )
        return alive

    def failures(
        self, steps: Mapping[str, Step]
    ) -> Iterator[tuple[str, tej.JobFailed]]:
        """Yield the id and the error of each job that failed.

        The error contains the end of the job's stderr, which takes one request per job.
        """
        for job_id, step in steps.items():
            if step.state is StepState.FAILED and step.status:
                yield job_id, self.queue.failure(step.status)

    def fetch(
        self, directory: str | os.PathLike[str], modules: Collection[str] = ()
    ) -> list[Path]:
        """Download the outputs of the jobs that have succeeded; return the directories.

        By default, the outputs of the jobs in `Plan.wanted` are downloaded.  The files
        of a module are placed in `directory/MODULE`, or in
        `directory/PARAMETERS/MODULE` if the plan is an exploration.
        """
        for name in modules:
            if not any(name in point.ids for point in self.plan.points):
                raise PipelineError(
                    f"Pipeline '{self.plan.name}' has no job module '{name}'"
                )
        steps = self.steps()
        chosen = {
            place: step.job
            for place, step in (
                (point.folder / name, steps[job_id])
                for point in self.plan.points
                for name, job_id in point.ids.items()
                if (name in modules if modules else steps[job_id].job.is_wanted)
            )
            if step.state is StepState.SUCCEEDED and step.job.outputs
        }
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".tej-") as temporary:
            self.download({job.job_id for job in chosen.values()}, Path(temporary))
            for place, job in chosen.items():
                source = Path(temporary) / job.job_id
                shutil.copytree(source, folder / place, dirs_exist_ok=True)
        return [folder / place for place in chosen]

    def download(self, job_ids: Collection[str], folder: Path) -> None:
        """Download the outputs of jobs to `folder/ID`, in one request."""
        wanted = {one: self.plan.jobs[one].outputs for one in job_ids}
        if not wanted:
            return
        for result in self.queue.download_many(wanted, directory=folder).values():
            if result.error is not None:
                raise result.error


def _alive(steps: Mapping[str, Step]) -> list[str]:
    """Return the ids of the jobs that are running or queued."""
    alive = (StepState.QUEUED, StepState.RUNNING)
    return [job_id for job_id, step in steps.items() if step.state in alive]
