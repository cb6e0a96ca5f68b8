"""Provenance of results: the export of a run as a Workflow Run RO-Crate.

A crate is a directory with the results, the file of the pipeline, and the description
`ro-crate-metadata.json` (https://www.researchobject.org/workflow-run-crate/).  The
description has an action for each job, with its parameters, times, host and state.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import tej
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.execution import Execution
from tej_vistrails.pipeline.module import JobOutput
from tej_vistrails.pipeline.plan import Plan
from tej_vistrails.pipeline.stage import follow
from tej_vistrails.pipeline.step_state import Step, StepState, has_succeeded

METADATA = "ro-crate-metadata.json"
_CRATE = "https://w3id.org/ro/crate/1.1"
_WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    _WORKFLOW_CRATE: "Workflow RO-Crate",
}
_LANGUAGES = {".py": "Python", ".json": "JSON"}
Entity = dict[str, Any]


def write_crate(execution: Execution, pipeline_file: Path, directory: Path) -> Path:
    """Write the crate of a run to a new directory; return the path of the description.

    The outputs of the wanted jobs are downloaded, and the file of the pipeline is
    copied.  Raises PipelineError if the directory exists and is not empty.
    """
    if directory.exists() and any(directory.iterdir()):
        raise PipelineError(f"The directory '{directory}' is not empty")
    execution.fetch(directory)
    shutil.copyfile(pipeline_file, directory / pipeline_file.name)
    steps = execution.steps()
    files = _list_outputs(execution.plan, directory)
    document = {
        "@context": [
            f"{_CRATE}/context",
            "https://w3id.org/ro/terms/workflow-run/context",
        ],
        "@graph": [
            *_describe_crate(execution, steps, files, _file_id(pipeline_file.name)),
            *_describe_jobs(execution, steps, files),
        ],
    }
    target = directory / METADATA
    text = json.dumps(document, indent=1, ensure_ascii=False)
    target.write_text(text + "\n", encoding="utf-8")
    return target


def _list_outputs(plan: Plan, directory: Path) -> dict[str, list[str]]:
    """Return, for each job id, the crate ids of the files downloaded from the job."""
    found: dict[str, list[str]] = {job_id: [] for job_id in plan.jobs}
    for point in plan.points:
        for name, job_id in point.ids.items():
            for path in sorted((directory / point.folder / name).rglob("*")):
                if path.is_file():
                    found[job_id].append(
                        _file_id(path.relative_to(directory).as_posix())
                    )
    return found


def _describe_crate(
    execution: Execution,
    steps: Mapping[str, Step],
    files: Mapping[str, Iterable[str]],
    workflow: str,
) -> Iterator[Entity]:
    """Yield the RO-Crate entities of the crate, its files, and the pipeline run."""
    name = execution.plan.name
    title = f"Run of pipeline {name}"
    results = sorted({one for found in files.values() for one in found})
    modules = sorted({step.job.module.name for step in steps.values()})
    yield _entity(
        METADATA,
        "CreativeWork",
        about={"@id": "./"},
        conformsTo=_references([_CRATE, _WORKFLOW_CRATE]),
    )
    yield _entity(
        "./",
        "Dataset",
        name=title,
        description=f"Results of pipeline {name}, run by tej",
        datePublished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        license="The rights holder of the data has not specified a license",
        conformsTo=_references(_PROFILES),
        hasPart=_references([workflow, *results]),
        mainEntity={"@id": workflow},
        mentions=_references(["#run", *(f"#{one}" for one in _ended(steps))]),
    )
    yield from _describe_parts(name, workflow, modules, results)
    yield _entity(
        "#run",
        "CreateAction",
        name=title,
        instrument={"@id": workflow},
        result=_references(results),
        **_times(step.status for step in steps.values()),
        **_outcome(has_succeeded(steps), "a job did not succeed"),
    )


def _describe_parts(
    name: str, workflow: str, modules: Iterable[str], results: Iterable[str]
) -> Iterator[Entity]:
    """Yield the entities of the profiles, the workflow, its modules and the results."""
    for url, profile in _PROFILES.items():
        number = url.rpartition("/")[2]
        yield _entity(url, "CreativeWork", name=profile, version=number)
    language = _LANGUAGES.get(Path(workflow).suffix.lower(), "YAML")
    yield _entity(
        workflow,
        ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        name=name,
        programmingLanguage={"@id": f"#{language}"},
        hasPart=_references(f"#module-{one}" for one in modules),
    )
    yield _entity(f"#{language}", "ComputerLanguage", name=language)
    application = "SoftwareApplication"
    yield _entity("#tej", application, name="tej", softwareVersion=tej.__version__)
    for one in modules:
        yield _entity(f"#module-{one}", application, name=one)
    for one in results:
        yield _entity(one, "File", name=unquote(one))


def _describe_jobs(
    execution: Execution,
    steps: Mapping[str, Step],
    files: Mapping[str, Iterable[str]],
) -> Iterator[Entity]:
    """Yield the action of each job that has run, and the values of its ports."""
    place = f"{execution.queue.destination_string}:{execution.queue.queue}"
    for job_id in _ended(steps):
        status, module = steps[job_id].status, steps[job_id].job.module
        assert status is not None
        for port in module.inputs:
            value = _describe(follow(module.get(port)))
            yield _entity(f"#{job_id}-{port}", "PropertyValue", name=port, value=value)
        yield _entity(
            f"#{job_id}",
            "CreateAction",
            name=f"Job {job_id} of module {module.name}",
            description=f"Ran on {status.host} in queue {place}",
            instrument={"@id": f"#module-{module.name}"},
            object=_references(f"#{job_id}-{port}" for port in module.inputs),
            result=_references(files[job_id]),
            **_times([status]),
            **_outcome(status.succeeded, status.describe()),
        )


def _ended(steps: Mapping[str, Step]) -> list[str]:
    """Return the ids of the jobs that have run."""
    states = (StepState.SUCCEEDED, StepState.FAILED)
    return [one for one, step in steps.items() if step.state in states]


def _entity(identifier: str, kind: str | list[str], **properties: object) -> Entity:
    return {"@id": identifier, "@type": kind, **properties}


def _file_id(path: str) -> str:
    """Return the id of a file in the crate, which is a relative URI."""
    return quote(path, safe="/,=+@")


def _describe(value: object) -> str:
    """Return the value of a port as text; the file of a job is `MODULE:PATH`."""
    if isinstance(value, tuple):
        return json.dumps([_describe(one) for one in value])
    if isinstance(value, JobOutput):
        return f"{value.job.name}:{value.path}"
    if isinstance(value, Path):
        return value.name
    return str(value)


def _references(ids: Iterable[str]) -> list[dict[str, str]]:
    return [{"@id": one} for one in ids]


def _times(statuses: Iterable[tej.JobStatus | None]) -> dict[str, str]:
    """Return the start of the first job, and the end of the last job."""
    known = [one for one in statuses if one is not None]
    started = [one.started for one in known if one.started is not None]
    ended = [one.ended for one in known if one.ended is not None]
    times = {}
    if started:
        times["startTime"] = min(started).isoformat()
    if ended:
        times["endTime"] = max(ended).isoformat()
    return times


def _outcome(succeeded: bool, reason: str) -> Entity:
    if succeeded:
        return {"actionStatus": {"@id": "http://schema.org/CompletedActionStatus"}}
    status = {"@id": "http://schema.org/FailedActionStatus"}
    return {"actionStatus": status, "error": reason}
