"""Sweep parameters: store a sweep's parameters in existing jobs that the sweep finds.

`tej run --env SEED=1` submits the same work as a sweep with the parameter SEED=1, so
the sweep finds the job.  The server then stores the parameters in the job's file
`parameters`, so that lists and tables show them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tej.errors import Error
from tej.job.spec import JobSpec
from tej.queue.connection import QueueConnection
from tej.queue.submission import Outcome, submit_all
from tej.wire.records import parameter_words

logger = logging.getLogger("tej")


def ensure_all(
    connection: QueueConnection, specs: Iterable[JobSpec], *, retry: bool
) -> list[Outcome]:
    """Find or submit many jobs; see `RemoteQueue.ensure_many`."""
    seen: list[JobSpec] = []

    def watch() -> Iterator[JobSpec]:
        # Do not collect the JobSpecs in advance, because `specs` may be a generator
        # that rewrites one directory for each JobSpec.
        for spec in specs:
            seen.append(spec)
            yield spec

    outcomes = submit_all(connection, "retry" if retry else "ensure", watch())
    return _store(connection, seen, outcomes)


def _store(
    connection: QueueConnection, specs: Iterable[JobSpec], outcomes: Iterable[Outcome]
) -> list[Outcome]:
    """Store sweep parameters in jobs that existed before; return the updated outcomes.

    A job that already has all parameters is left out of the request.  An error is only
    logged, because the parameters only describe the job.
    """
    updated: list[Outcome] = []
    arguments: list[str] = []
    for spec, outcome in zip(specs, outcomes, strict=True):
        status = outcome.status
        if (
            outcome.error is None
            and not outcome.is_new
            and status is not None
            and status.signature
            and not spec.parameters.items() <= status.parameters.items()
        ):
            merged = {**status.parameters, **spec.parameters}
            words = parameter_words(merged)
            arguments += [outcome.job_id, status.signature, words]
            outcome = replace(outcome, status=replace(status, parameters=merged))
        updated.append(outcome)
    if arguments:
        try:
            connection.request("note_parameters", *arguments)
        except Error as error:
            logger.warning(
                "The parameters of existing jobs could not be stored: %s", error
            )
    return updated
