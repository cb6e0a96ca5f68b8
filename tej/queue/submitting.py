"""How work gets to a queue: submitted, or found there."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

from tej.errors import InvalidJobDirectory, InvalidJobId
from tej.job.resources import Resources
from tej.job.spec import JobSpec
from tej.job.status import check_job_id
from tej.queue.base import QueueBase, submitter
from tej.queue.job import Job
from tej.queue.submission import Outcome, Submission
from tej.queue.work import Work

if TYPE_CHECKING:
    from tej.queue.remote import RemoteQueue

logger = logging.getLogger("tej")


class Submitting(QueueBase):
    """The verbs submit and ensure, for one job or many."""

    def job(self, job_id: str) -> Job:
        """A handle on the job of that id, which need not exist."""
        return Job(cast("RemoteQueue", self), check_job_id(job_id))

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
        progress: Callable[[int], object] | None = None,
    ) -> str:
        """Send a directory, and start it as a job; returns its id.

        Without `job_id` it is `<directory>_<user>_<unique>`.  `script` is a file of the
        directory (by default `start.sh`), with or without arguments, or a command for
        the server's shell.  The queue is made if it is not there.  `progress` is told
        the bytes of each piece sent.

        `resources` is what it asks for; what the queue's runtime cannot give is an
        error (RemoteCommandFailure), and nothing is started.  With `login`, what a
        login shell reads is read first.

        The job is there as a whole or not at all; if the reply is lost, it is asked for
        again without a second start.  Raises InvalidJobDirectory before anything is
        sent, JobAlreadyExists if the id is taken.
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
        resources: Resources | None = None,
        login: bool = False,
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
            directory,
            script,
            job_id,
            name,
            dict(labels or {}),
            dict(environment or {}),
            resources,
            login,
        )
        mode = "retry" if retry else "ensure"
        work = self._work(spec, signed=True)
        (outcome,) = self._submission(mode, progress).send([work])
        if outcome.error is not None:
            raise outcome.error
        return Job(
            cast("RemoteQueue", self),
            outcome.job_id,
            is_new=outcome.is_new,
            status_then=outcome.status,
        )

    def ensure_many(
        self, specs: Iterable[JobSpec], *, retry: bool = False
    ) -> Iterator[Outcome]:
        """The same for any number of jobs, as `submit_many` does it."""
        return self._submit_many("retry" if retry else "ensure", specs, signed=True)

    def _work(self, spec: JobSpec, *, signed: bool = False) -> Work:
        return Work(spec, self.destination["username"], submitter(), signed=signed)

    def _submit_many(
        self, mode: str, specs: Iterable[JobSpec], *, signed: bool
    ) -> Iterator[Outcome]:
        def make(spec: JobSpec) -> Work | Outcome:
            try:
                return self._work(spec, signed=signed)
            except (InvalidJobDirectory, InvalidJobId) as error:
                return Outcome(spec.job_id or "", error=error)

        return self._submission(mode).send_all(map(make, specs))

    def _submission(
        self, mode: str, progress: Callable[[int], object] | None = None
    ) -> Submission:
        return Submission(self._exchange, mode, self._needed(), self._runtime, progress)
