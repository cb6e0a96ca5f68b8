"""`Plan`: the jobs of a pipeline or an exploration, with their ids.

The id of a job is made from its signature as the core of tej computes it: the content
of the stage, the environment, and the ids of the jobs whose files it uses.  A change of
a module therefore changes the ids of this module and of the modules downstream of it.
The same pipeline has the same ids on every machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import tej
from tej_vistrails.pipeline.graph import Exploration, Pipeline
from tej_vistrails.pipeline.job import Job
from tej_vistrails.pipeline.module import Module
from tej_vistrails.pipeline.stage import FileCache, spec_of, write_stage


@dataclass
class PlannedJob:
    """A job of a plan."""

    job_id: str
    module: Job
    """The first module with this id; other modules may have the same id."""
    spec: tej.JobSpec
    needs: tuple[str, ...]
    """Ids of the jobs whose files this job uses."""
    is_wanted: bool = False
    """Whether no other job of a pipeline uses the results of this job."""

    @property
    def outputs(self) -> list[str]:
        """Paths of the job's outputs."""
        return [path.rstrip("/") for path in self.module.output_paths.values()]


@dataclass(frozen=True)
class Point:
    """A pipeline of the plan: its parameters, and the id of each job module."""

    parameters: Mapping[str, object]
    pipeline: Pipeline
    ids: Mapping[str, str] = field(default_factory=dict)
    """Job ids by the names of the modules."""


class Plan:
    """The jobs of a pipeline or an exploration.

    A plan is a context manager: the stages of the jobs are in a temporary directory.
    No server is needed to make a plan.
    """

    def __init__(self, work: Pipeline | Exploration) -> None:
        work.check()
        self.name = work.name
        self.jobs: dict[str, PlannedJob] = {}
        """All jobs by id, each after the jobs upstream of it."""
        self.points: list[Point] = []
        self._ids: dict[Module, str] = {}
        self._count = 0
        self._temporary = tempfile.TemporaryDirectory(prefix="tej-pipeline-")
        self._folder = Path(self._temporary.name)
        self._cache = FileCache(self._folder / "files")
        try:
            for parameters, pipeline in work.points:
                self._add_point(parameters, pipeline)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the stages of the jobs."""
        self._temporary.cleanup()

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
                job_id = self._ids[module] = self._add_job(cast("Job", module))
            ids[module.name] = job_id
            used.update(self.jobs[job_id].needs)
        for job_id in set(ids.values()) - used:
            self.jobs[job_id].is_wanted = True
        self.points.append(Point(parameters, pipeline, ids))

    def _add_job(self, module: Job) -> str:
        self._count += 1
        folder = self._folder / str(self._count) / module.name
        stage = write_stage(module, folder, self._ids, self._cache)
        labels = {"pipeline": self.name, "module": module.name}
        spec = spec_of(module, stage, labels)
        job_id = tej.make_id(
            tej.signature(
                stage.folder,
                spec.script,
                spec.environment,
                everything=spec.everything,
                inputs=stage.inputs,
            )
        )
        if job_id not in self.jobs:
            needs = tuple(sorted({one for one, _ in stage.inputs.values()}))
            self.jobs[job_id] = PlannedJob(job_id, module, spec, needs)
        return job_id
