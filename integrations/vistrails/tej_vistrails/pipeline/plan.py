"""`Plan`: the jobs of a pipeline or an exploration, with their ids.

The id of a job is made from the signature of the job, as in tej itself.  The signature
covers the content of the files, the environment, and the ids of the jobs whose files
are inputs.  A change of a module therefore changes the job ids of this module and of
the modules downstream of it.  The same pipeline has the same ids on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import tej
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.graph import Exploration, Pipeline
from tej_vistrails.pipeline.job import Job
from tej_vistrails.pipeline.listed_parameters import as_parameters
from tej_vistrails.pipeline.module import Module
from tej_vistrails.pipeline.stage import make_spec


@dataclass
class PlannedJob:
    """A job of a plan."""

    job_id: str
    module: Job
    """The first module that has this job; other modules may share the job."""
    spec: tej.JobSpec
    needs: tuple[str, ...]
    """Ids of the jobs whose files this job uses."""
    parameters: Mapping[str, object]
    """Values of the explored parameters.  A parameter is left out if its values differ
    between the points that share this job."""
    is_wanted: bool = False
    """Whether a pipeline of the plan contains no job that uses this job's results."""

    @property
    def outputs(self) -> list[str]:
        """Paths of the job's outputs."""
        return [path.rstrip("/") for path in self.module.output_paths.values()]

    @property
    def title(self) -> str:
        """Name of the module with the parameters, such as "relax steps=10"."""
        return " ".join([self.module.name, *format_values(self.parameters)])

    def describe(self) -> str:
        """Return the module and the parameters for a message."""
        words = " ".join(format_values(self.parameters))
        return f"Module '{self.module.name}'" + (f" ({words})" if words else "")


@dataclass(frozen=True)
class Point:
    """A pipeline of the plan: its parameters, and the id of each job module."""

    parameters: Mapping[str, object]
    pipeline: Pipeline
    number: int
    ids: Mapping[str, str]
    """Job ids by the names of the modules."""

    @property
    def folder(self) -> Path:
        """Directory for the results, such as `003-steps=10,seed=1`."""
        if not self.parameters:
            return Path()
        text = ",".join(format_values(self.parameters))
        name = re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text)[:100]
        # The number distinguishes the names if two values differ only in characters
        # that are replaced in the names.
        return Path(f"{self.number:03}-{name}")


class Plan:
    """The jobs of a pipeline or an exploration.  No server is needed to make a plan."""

    def __init__(self, work: Pipeline | Exploration) -> None:
        work.check()
        self.name = work.name
        self.jobs: dict[str, PlannedJob] = {}
        """All jobs by id, each after the jobs upstream of it."""
        self.points: list[Point] = []
        self._ids: dict[Module, str] = {}
        for parameters, pipeline in work.points:
            self._add_point(parameters, pipeline)
        self._finish_parameters()

    @property
    def wanted(self) -> list[str]:
        """Ids of the jobs whose results no other job uses."""
        return [one.job_id for one in self.jobs.values() if one.is_wanted]

    def _add_point(self, parameters: Mapping[str, object], pipeline: Pipeline) -> None:
        ids = {}
        used: set[str] = set()
        for module in pipeline.jobs:
            job_id = self._ids.get(module)
            if job_id is None:
                job_id = self._add_job(cast("Job", module), parameters)
                self._ids[module] = job_id
            job = self.jobs[job_id]
            job.parameters = {
                key: value
                for key, value in job.parameters.items()
                if parameters[key] == value
            }
            ids[module.name] = job_id
            used.update(job.needs)
        for job_id in set(ids.values()) - used:
            self.jobs[job_id].is_wanted = True
        self.points.append(Point(parameters, pipeline, len(self.points), ids))

    def _finish_parameters(self) -> None:
        """Remove parameters with a single value; add all others to the specs."""
        first = self.points[0].parameters
        explored = {
            key
            for key, value in first.items()
            if any(point.parameters[key] != value for point in self.points)
        }
        for job in self.jobs.values():
            job.parameters = {
                key: value for key, value in job.parameters.items() if key in explored
            }
            shown = {**as_parameters(job.parameters), **job.spec.parameters}
            job.spec = replace(job.spec, parameters=shown)

    def _add_job(self, module: Job, parameters: Mapping[str, object]) -> str:
        try:
            spec = make_spec(module, self._ids, self.name)
            inputs = cast("Mapping[str, tuple[str, str]]", spec.inputs)
            digest = tej.signature(
                script=spec.script,
                environment=spec.environment,
                inputs=inputs,
                files=spec.files,
            )
        except (tej.InvalidJobDirectory, OSError) as error:
            raise PipelineError(f"Module '{module.title}': {error}") from error
        job_id = tej.make_id(digest)
        if job_id not in self.jobs:
            needs = tuple(sorted({one for one, _ in inputs.values()}))
            self.jobs[job_id] = PlannedJob(job_id, module, spec, needs, parameters)
        return job_id


def format_values(values: Mapping[str, object]) -> list[str]:
    """Return the names and values of parameters, such as ["steps=10", "seed=1"]."""
    return [f"{name}={value}" for name, value in values.items()]
