"""Conversion of the references to other jobs in a `JobSpec` to job ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tej.errors import InvalidJobId
from tej.job.dependencies import Dependencies, make_dependencies, split_input
from tej.job.spec import JobHandle, JobSpec
from tej.queue.connection import QueueConnection

Reference = str | JobHandle | JobSpec


def resolve(
    connection: QueueConnection,
    spec: JobSpec,
    find: Callable[[str | JobSpec], str] | None = None,
) -> Dependencies:
    """Return the dependencies of a `JobSpec`, with each reference replaced by a job id.

    `find` returns the id for a string or another `JobSpec`; by default, a string is an
    id.  Raises InvalidJobId if a job is in another queue.
    """

    def id_of(reference: Reference) -> str:
        if isinstance(reference, str | JobSpec):
            return (find or _only_id)(reference)
        queue = getattr(reference, "queue", None)
        other: QueueConnection | None = getattr(queue, "connection", None)
        if other is not None and (other.destination, other.path) != (
            connection.destination,
            connection.path,
        ):
            raise InvalidJobId(
                f"A job in queue '{connection.path}' on '{connection.destination}' "
                f"cannot depend on job '{reference.id}', which is in queue "
                f"'{other.path}' on '{other.destination}'"
            )
        return reference.id

    return make_dependencies(
        [id_of(one) for one in spec.after],
        {path: (id_of(job), source) for path, job, source in _inputs(spec)},
    )


def references(spec: JobSpec) -> Iterator[Reference]:
    """Yield the reference to each job that a `JobSpec` needs."""
    yield from spec.after
    for _, job, _ in _inputs(spec):
        yield job


def _inputs(spec: JobSpec) -> Iterator[tuple[str, Reference, str]]:
    """Yield the path of each input, the job that writes it, and its path there."""
    for path, origin in spec.inputs.items():
        job, source = split_input(origin) if isinstance(origin, str) else origin
        yield path, job, source


def _only_id(reference: str | JobSpec) -> str:
    if isinstance(reference, JobSpec):
        raise InvalidJobId(
            f"Job '{reference.title}' has no id yet: pass its JobSpec and the JobSpec "
            "that refers to it to one call of ensure_graph"
        )
    return reference
