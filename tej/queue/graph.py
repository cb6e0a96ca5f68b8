"""`ensure_graph`: find or submit jobs, each after the jobs on which it depends."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from tej.errors import InvalidJobId, QueueNotFound
from tej.job.spec import JobSpec
from tej.queue.connection import QueueConnection, submitter
from tej.queue.dependency_references import Reference, references, resolve
from tej.queue.prepared_job import PreparedJob
from tej.queue.status_requests import get_statuses
from tej.queue.submission import Outcome, Submission


def ensure_graph(
    connection: QueueConnection, specs: Iterable[JobSpec], *, retry: bool
) -> list[Outcome]:
    """Find or submit the jobs of a graph; see `RemoteQueue.ensure_graph`."""
    graph = _Graph(specs)
    order = graph.order()
    _check_existence(connection, graph.outside())
    jobs: dict[str, PreparedJob] = {}
    for index in order:
        job = PreparedJob(
            graph.specs[index],
            connection.user,
            submitter(),
            signed=True,
            needs=resolve(connection, graph.specs[index], graph.id_of),
        )
        same = jobs.setdefault(job.job_id, job)
        if same.signature != job.signature:
            raise InvalidJobId(f"Two different jobs of the graph have id {job.job_id}")
        graph.ids[index] = job.job_id
    found = Submission(connection, "retry" if retry else "ensure").send_all(
        jobs.values()
    )
    outcomes = {outcome.job_id: outcome for outcome in found}
    return [outcomes[graph.ids[index]] for index in range(len(graph.specs))]


def _check_existence(connection: QueueConnection, ids: set[str]) -> None:
    """Raise JobNotFound if one of the jobs is not in the queue."""
    if not ids:
        return
    try:
        statuses = get_statuses(connection, sorted(ids))
    except QueueNotFound:
        statuses = dict.fromkeys(sorted(ids))
    for job_id, status in statuses.items():
        if status is None:
            raise connection.job_not_found(job_id)


class _Graph:
    """The jobs of one call to `ensure_graph`, and their references to each other."""

    def __init__(self, specs: Iterable[JobSpec]) -> None:
        self.specs = [*specs]
        self.ids: dict[int, str] = {}
        """Id of each job whose id is known, by the index of the job in `specs`."""
        self._places = {id(spec): index for index, spec in enumerate(self.specs)}
        self._by_id: dict[str, list[int]] = {}
        self._by_name: dict[str, list[int]] = {}
        for index, spec in enumerate(self.specs):
            if spec.job_id is not None:
                self._by_id.setdefault(spec.job_id, []).append(index)
            self._by_name.setdefault(spec.title, []).append(index)

    def order(self) -> list[int]:
        """Return the indices of all jobs; each job follows the jobs that it needs.

        Raises InvalidJobId if the dependencies form a cycle.
        """
        sorter: TopologicalSorter[int] = TopologicalSorter()
        for index, spec in enumerate(self.specs):
            needed = (self._find(one) for one in references(spec))
            sorter.add(index, *(one for one in needed if one is not None))
        try:
            return [*sorter.static_order()]
        except CycleError as error:
            cycle = " -> ".join(self._title(index) for index in error.args[1])
            raise InvalidJobId(f"The dependencies form a cycle: {cycle}") from None

    def outside(self) -> set[str]:
        """Return the ids of the jobs that are needed, but are not in the graph."""
        return {
            one
            for spec in self.specs
            for one in references(spec)
            if isinstance(one, str) and self._find(one) is None
        }

    def id_of(self, reference: str | JobSpec) -> str:
        """Return the id of a job; the ids of all jobs that it needs must be known."""
        index = self._find(reference)
        if index is None:
            assert isinstance(reference, str)
            return reference
        return self.ids[index]

    def _find(self, reference: Reference) -> int | None:
        """Return the index of a job in the graph, or None for a job outside the graph.

        Raises InvalidJobId for a JobSpec outside the graph, or for an ambiguous name.
        """
        if isinstance(reference, JobSpec):
            if id(reference) not in self._places:
                raise InvalidJobId(
                    f"A job depends on the JobSpec of '{reference.title}', but the "
                    "graph does not contain this JobSpec: add it to the list of jobs"
                )
            return self._places[id(reference)]
        if not isinstance(reference, str):
            return None
        found = self._by_id.get(reference) or self._by_name.get(reference) or []
        if len(found) > 1:
            raise InvalidJobId(
                f"{len(found)} jobs of the graph are called '{reference}': give each "
                "JobSpec a unique name, or refer to the JobSpec itself"
            )
        return found[0] if found else None

    def _title(self, index: int) -> str:
        spec = self.specs[index]
        return f"'{spec.job_id or spec.title}'"
