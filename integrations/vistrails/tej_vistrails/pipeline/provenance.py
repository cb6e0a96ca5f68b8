"""Provenance of results: the history of a pipeline, and the export as an RO-Crate.

The history is read from the queue.  The history is the same for all clients, and
contains all jobs of the pipeline that have not been deleted, including jobs with
earlier parameters.

A Workflow Run RO-Crate is a directory with the results, the file of the pipeline, and
the description `ro-crate-metadata.json`
(https://www.researchobject.org/workflow-run-crate/).  Each job is an action with its
parameters, times, host and state.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import tej
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.execution import Execution, point_folder
from tej_vistrails.pipeline.module import JobOutput, LocalPath
from tej_vistrails.pipeline.plan_states import Step, StepState, has_succeeded
from tej_vistrails.pipeline.stage import follow

METADATA = "ro-crate-metadata.json"
_PORTS_FILE = "module.json"
_CRATE = "https://w3id.org/ro/crate/1.1"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_LANGUAGES = {".py": "Python", ".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}
Entity = dict[str, Any]


@dataclass(frozen=True)
class PastJob:
    """A job that was started for a pipeline."""

    module: str
    status: tej.JobStatus
    values: dict[str, Any]
    """Values of the ports; files are given by their paths on the server."""


def read_history(queue: tej.RemoteQueue, pipeline: str) -> list[PastJob]:
    """Return the jobs of a pipeline in the order of their submission.

    Two requests are enough for all jobs.
    """
    try:
        jobs = queue.jobs(labels={"pipeline": pipeline}, sort="submitted")
    except tej.QueueDoesntExist:
        return []
    if not jobs:
        return []
    with tempfile.TemporaryDirectory() as temporary:
        queue.download_many(
            (one.job_id for one in jobs), _PORTS_FILE, directory=temporary
        )
        return [
            PastJob(
                status.labels.get("module", ""),
                status,
                dict(_read_values(Path(temporary) / status.job_id / _PORTS_FILE)),
            )
            for status in jobs
        ]


def _read_values(path: Path) -> Iterator[tuple[str, Any]]:
    # A job whose files were deleted by the user is listed without values.
    try:
        document = json.loads(path.read_text("utf-8"))
        yield from document["inputs"].items()
    except (OSError, ValueError, KeyError, AttributeError):
        return


def write_crate(execution: Execution, pipeline_file: Path, directory: Path) -> Path:
    """Write the crate of a run to a new directory; return the path of the description.

    The outputs of the wanted jobs are downloaded.  Raises PipelineError if the
    directory exists and is not empty.
    """
    if directory.exists() and any(directory.iterdir()):
        raise PipelineError(f"The directory '{directory}' is not empty")
    execution.fetch(directory)
    shutil.copyfile(pipeline_file, directory / pipeline_file.name)
    steps = execution.steps()
    crate = _Crate(execution, steps, pipeline_file.name, directory)
    document = {
        "@context": [
            f"{_CRATE}/context",
            "https://w3id.org/ro/terms/workflow-run/context",
        ],
        "@graph": [*crate.entities()],
    }
    target = directory / METADATA
    text = json.dumps(document, indent=1, ensure_ascii=False)
    target.write_text(text + "\n", encoding="utf-8")
    return target


class _Crate:
    """The entities of a crate."""

    def __init__(
        self,
        execution: Execution,
        steps: Mapping[str, Step],
        workflow: str,
        directory: Path,
    ) -> None:
        self.plan = execution.plan
        self.place = f"{execution.queue.destination_string}:{execution.queue.queue}"
        self.steps = steps
        self.workflow = _file_id(Path(workflow))
        self.files = {
            job_id: [*self._files(directory, job_id)] for job_id in self.plan.jobs
        }

    def entities(self) -> Iterator[Entity]:
        """Yield all entities of the description."""
        files = sorted({one for found in self.files.values() for one in found})
        actions = ["#run", *(f"#{one}" for one in self._ended())]
        yield {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": _references([_CRATE, [*_PROFILES][-1]]),
        }
        yield {
            "@id": "./",
            "@type": "Dataset",
            "name": f"Run of pipeline {self.plan.name}",
            "description": f"Results of pipeline {self.plan.name}, run by tej",
            "datePublished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "license": "The rights holder of the data has not specified a license",
            "conformsTo": _references(_PROFILES),
            "hasPart": _references([self.workflow, *files]),
            "mainEntity": {"@id": self.workflow},
            "mentions": _references(actions),
        }
        for profile, name in _PROFILES.items():
            version = profile.rpartition("/")[2]
            kind = "CreativeWork"
            yield {"@id": profile, "@type": kind, "name": name, "version": version}
        yield from self._workflow()
        yield from (
            {"@id": one, "@type": "File", "name": unquote(one)} for one in files
        )
        yield from self._run(files)
        for job_id in self._ended():
            yield from self._action(job_id)

    def _files(self, directory: Path, job_id: str) -> Iterator[str]:
        for point in self.plan.points:
            for name, one in point.ids.items():
                folder = directory / point_folder(self.plan, point) / name
                if one == job_id and folder.is_dir():
                    for path in sorted(folder.rglob("*")):
                        if path.is_file():
                            yield _file_id(path.relative_to(directory))

    def _ended(self) -> list[str]:
        """Return the ids of the jobs that have run."""
        states = (StepState.SUCCEEDED, StepState.FAILED)
        return [one for one, step in self.steps.items() if step.state in states]

    def _workflow(self) -> Iterator[Entity]:
        language = _LANGUAGES.get(Path(self.workflow).suffix.lower(), "YAML")
        modules = {self.steps[one].job.module.name for one in self.plan.jobs}
        yield {
            "@id": self.workflow,
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": self.plan.name,
            "programmingLanguage": {"@id": f"#{language}"},
            "hasPart": _references(f"#module-{one}" for one in sorted(modules)),
        }
        yield {"@id": f"#{language}", "@type": "ComputerLanguage", "name": language}
        yield {
            "@id": "#tej",
            "@type": "SoftwareApplication",
            "name": "tej",
            "softwareVersion": tej.__version__,
        }
        for name in sorted(modules):
            yield {
                "@id": f"#module-{name}",
                "@type": "SoftwareApplication",
                "name": name,
            }

    def _run(self, files: Iterable[str]) -> Iterator[Entity]:
        statuses = [step.status for step in self.steps.values() if step.status]
        yield {
            "@id": "#run",
            "@type": "CreateAction",
            "name": f"Run of pipeline {self.plan.name}",
            "instrument": {"@id": self.workflow},
            "result": _references(files),
            **_times(
                [one.started for one in statuses if one.started],
                [one.ended for one in statuses if one.ended],
            ),
            **_outcome(has_succeeded(self.steps), "a job did not succeed"),
        }

    def _action(self, job_id: str) -> Iterator[Entity]:
        step = self.steps[job_id]
        status, module = step.status, step.job.module
        assert status is not None
        objects: list[str] = []
        for port in module.inputs:
            value = _describe(follow(module.get(port)))
            name = f"#{job_id}-{port}"
            objects.append(name)
            kind = "PropertyValue"
            yield {"@id": name, "@type": kind, "name": port, "value": value}
        yield {
            "@id": f"#{job_id}",
            "@type": "CreateAction",
            "name": f"Job {job_id} of module {module.name}",
            "description": f"Ran on {status.host} in queue {self.place}",
            "instrument": {"@id": f"#module-{module.name}"},
            "object": _references(objects),
            "result": _references(self.files[job_id]),
            **_times(
                [status.started] if status.started else [],
                [status.ended] if status.ended else [],
            ),
            **_outcome(status.succeeded, status.describe()),
        }


def _file_id(path: Path) -> str:
    """Return the id of a file in the crate, which is a relative URI."""
    return quote(path.as_posix(), safe="/,=+@")


def _describe(value: object) -> str:
    """Return the value of a port as text; the file of a job is `MODULE:PATH`."""
    if isinstance(value, list):
        return json.dumps([_describe(one) for one in value])
    if isinstance(value, JobOutput):
        return f"{value.job.name}:{value.path}"
    if isinstance(value, LocalPath):
        return value.path.name
    return str(value)


def _references(ids: Iterable[str]) -> list[dict[str, str]]:
    return [{"@id": one} for one in ids]


def _times(started: list[datetime], ended: list[datetime]) -> dict[str, str]:
    found = {}
    if started:
        found["startTime"] = min(started).isoformat()
    if ended:
        found["endTime"] = max(ended).isoformat()
    return found


def _outcome(succeeded: bool, reason: str) -> Entity:
    if succeeded:
        return {"actionStatus": {"@id": "http://schema.org/CompletedActionStatus"}}
    status = {"@id": "http://schema.org/FailedActionStatus"}
    return {"actionStatus": status, "error": reason}
