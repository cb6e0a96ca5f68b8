"""Stage of a job module: writes the directory that is uploaded, and its inputs.

The stage has these files, which are all part of the signature:

- `start.sh`, and for a PythonScript `main.py`;
- `module.json`: the version of the module class, and the value of each port;
- the `uploads` of the module class;
- `inputs/PORT` plus the suffix of the file's name, such as `inputs/table.csv`: the file
  or directory that is the value of a port.  For a list: `inputs/PORT/000`, `001`, ...

The outputs of other jobs are not in the stage, because the server places them there
when the job starts.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import tej
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.job import Job
from tej_vistrails.pipeline.module import (
    InputPort,
    JobOutput,
    LocalPath,
    Module,
    Source,
    Value,
)


class FileCache:
    """Copies of local files, which the stages of several jobs share by hard links.

    Each file is read once.  All jobs therefore get the same content, even if the file
    changes in the meantime.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: dict[Path, Path] = {}

    def place(self, source: Path, target: Path, where: str) -> None:
        """Create `target` with the content of the file or directory `source`."""
        source = Path.cwd() / source
        try:
            copy = self._copies.get(source)
            if copy is None:
                copy = self._folder / str(len(self._copies))
                self._folder.mkdir(exist_ok=True)
                _copy(source, copy)
                self._copies[source] = copy
            target.parent.mkdir(parents=True, exist_ok=True)
            if copy.is_dir():
                shutil.copytree(copy, target, symlinks=True, copy_function=os.link)
            else:
                os.link(copy, target)
        except OSError as error:
            raise PipelineError(
                f"{where}: '{source}' cannot be read: {error}"
            ) from error


@dataclass
class Stage:
    """The directory of a job on this machine, and the inputs from other jobs."""

    folder: Path
    inputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Path in the stage, to the id of another job and the path in its directory."""


def write_stage(
    job: Job, folder: Path, ids: Mapping[Module, str], cache: FileCache
) -> Stage:
    """Write the stage of a job to a new directory `folder`.

    `ids` has the ids of the jobs upstream.  Raises PipelineError if a port has no value
    or a local file cannot be read.
    """
    folder.mkdir(parents=True)
    stage = Stage(folder)
    values = {
        port.name: _place_port(job, port, stage, ids, cache)
        for port in job.inputs.values()
    }
    outputs = {name: path.rstrip("/") for name, path in job.output_paths.items()}
    where = f"Module '{job.title}', uploads"
    for name in job.uploads:
        cache.place(job.source_folder / name, folder / PurePath(name).name, where)
    for path, text in job.own_files({**values, **outputs}):
        (folder / path).write_text(text, encoding="utf-8", newline="\n")
    document = {"version": str(job.version), "inputs": values, "outputs": outputs}
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False)
    (folder / "module.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    return stage


def spec_of(job: Job, stage: Stage, labels: Mapping[str, str]) -> tej.JobSpec:
    """Return the `JobSpec` of a job whose stage was written."""
    return tej.JobSpec(
        stage.folder,
        "start.sh",
        name=job.title,
        labels=labels,
        environment=job.environment,
        resources=job.__dict__["resources"],
        login=job.login,
        everything=True,
        inputs=stage.inputs,
    )


def _place_port(
    job: Job,
    port: InputPort,
    stage: Stage,
    ids: Mapping[Module, str],
    cache: FileCache,
) -> object:
    """Put the files of a port into the stage; return the value as the job sees it."""
    value = follow(job.get(port.name))
    where = f"Module '{job.title}', port '{port.name}'"
    path = f"inputs/{port.name}"

    # A port of type Directory gets a directory, or the files of a list.
    is_directory = port.type.name == "Directory" and (
        port.type.is_list or not isinstance(value, list)
    )

    def place(one: Value, target: str) -> str:
        target += suffix_of(one, is_directory=is_directory)
        if isinstance(one, JobOutput):
            stage.inputs[target] = (ids[one.job], one.path)
        else:
            cache.place(one.path, stage.folder / target, where)
        return target

    if value is None:
        return None
    if not port.type.is_path:
        # A Constant may be an int although the port is a float.
        if port.type.is_list:
            return [port.type.convert(one) for one in value]
        return port.type.convert(value)
    if not isinstance(value, list):
        return place(value, path)
    # A directory with items from several sources has numbers for the names, because
    # the names of the sources may be equal.
    names = [place(one, f"{path}/{number:03}") for number, one in enumerate(value)]
    return names if port.type.is_list else path


def follow(value: Value) -> Value:
    """Return a copy of `value` with the outputs that each `Source` refers to."""
    if isinstance(value, Source):
        return follow(value.module.output_value(value.port))
    if isinstance(value, list):
        return [follow(one) for one in value]
    return value


def suffix_of(value: LocalPath | JobOutput, *, is_directory: bool = False) -> str:
    """Return the suffix of a file's name, which some programs need, such as `.cif`."""
    if is_directory or (isinstance(value, LocalPath) and value.path.is_dir()):
        return ""
    return PurePath(value.path).suffix


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)
