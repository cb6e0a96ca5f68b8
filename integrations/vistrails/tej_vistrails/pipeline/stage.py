"""Stage of a job module: the files in the job's directory when the job starts.

The stage has these files, which are all part of the signature:

- `start.sh`, and for a PythonScript `main.py`;
- `module.json`: the version of the module class, and the value of each port;
- the `uploads` of the module class;
- `inputs/PORT` plus the suffix of the file's name, such as `inputs/table.csv`: the file
  or directory that is the value of a port.  For a list: `inputs/PORT/000`, `001`, ...

The server copies the outputs of other jobs to `inputs/` before the job starts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath

import tej
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.job import Job
from tej_vistrails.pipeline.listed_parameters import as_parameters
from tej_vistrails.pipeline.module import (
    InputPort,
    JobOutput,
    Module,
    Source,
    Value,
)


def make_spec(job: Job, ids: Mapping[Module, str], pipeline: str) -> tej.JobSpec:
    """Return the `JobSpec` of a job module in a pipeline.

    `ids` maps the modules upstream to the ids of their jobs.  Raises PipelineError if a
    local file does not exist, or if two files of the job have the same path.
    """
    stage = _Stage(job, ids)
    values = {port.name: stage.place_port(port) for port in job.inputs.values()}
    outputs = {name: path.rstrip("/") for name, path in job.output_paths.items()}
    for name in job.uploads:
        where = f"Module '{job.title}', uploads"
        stage.add(PurePath(name).name, job.source_folder / name, where)
    document = {"version": str(job.version), "inputs": values, "outputs": outputs}
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False)
    for name, content in [
        *job.own_files({**values, **outputs}),
        ("module.json", f"{text}\n"),
    ]:
        stage.add(name, content, f"Module '{job.title}'")
    for path in outputs.values():
        stage.check_output(path)
    return tej.JobSpec(
        files=stage.files,
        script="start.sh",
        name=job.title,
        labels={"pipeline": pipeline, "module": job.name},
        environment=job.environment,
        resources=job.__dict__["resources"],
        login=job.login,
        inputs=stage.inputs,
        parameters=as_parameters(
            {
                name: value
                for name, value in values.items()
                if not job.inputs[name].type.is_path
            }
        ),
    )


class _Stage:
    """The files of a job, and its inputs from other jobs.

    The keys of `files` and `inputs` are paths in the job's directory.
    """

    def __init__(self, job: Job, ids: Mapping[Module, str]) -> None:
        self.job = job
        self.ids = ids
        self.files: dict[str, str | Path] = {}
        self.inputs: dict[str, tuple[str, str]] = {}

    def add(self, path: str, content: str | Path, where: str) -> None:
        """Add a string or a local file; raise PipelineError if the path is taken."""
        if isinstance(content, Path) and not content.exists():
            raise PipelineError(f"{where}: '{content}' does not exist")
        if path in self.files:
            raise PipelineError(
                f"{where}: the job already has a file '{path}': rename the file"
            )
        self.files[path] = content

    def check_output(self, path: str) -> None:
        """Raise PipelineError if a file of the stage has the path of an output.

        Such an output would exist even if the command did not write it.
        """
        target = PurePosixPath(path)
        for above in (target, *target.parents):
            content = self.files.get(above.as_posix())
            if content is None:
                continue
            rest = target.relative_to(above)
            if above == target or (
                isinstance(content, Path) and (content / rest).exists()
            ):
                raise PipelineError(
                    f"Module '{self.job.title}': the output '{path}' is also a file "
                    "that is uploaded: rename the output or the file"
                )

    def place_port(self, port: InputPort) -> object:
        """Add the files on a port to the stage; return the port's value in the job.

        The value of a file is its path in the job's directory.
        """
        value = follow(self.job.get(port.name))
        if value is None:
            return None
        if not port.type.is_path:
            # The value is converted, because a Constant may be an int although the port
            # is a float.
            return self.job.check_value(port, value)
        path = f"inputs/{port.name}"
        if not isinstance(value, tuple):
            return self._place(port, value, path)
        # A port of type Directory gets the directory with the files of the list.
        kind = port.type.name if port.type.is_list else "File"
        # The files of a list are named by numbers, because the names of the sources may
        # be equal.  All numbers have the same length, so that the names are in the
        # order of the list.
        width = max(3, len(str(len(value) - 1)))
        names = [
            self._place(port, one, f"{path}/{number:0{width}}", kind)
            for number, one in enumerate(value)
        ]
        return names if port.type.is_list else path

    def _place(self, port: InputPort, value: Value, path: str, kind: str = "") -> str:
        source = value.path if isinstance(value, JobOutput) else value
        is_directory = (kind or port.type.name) == "Directory"
        if not is_directory and not (isinstance(source, Path) and source.is_dir()):
            # Keep the suffix of the name, such as `.cif`, which some programs need.
            path += PurePath(source).suffix
        if isinstance(value, JobOutput):
            self.inputs[path] = (self.ids[value.job], value.path)
        else:
            where = f"Module '{self.job.title}', port '{port.name}'"
            self.add(path, Path.cwd() / value, where)
        return path


def follow(value: Value) -> Value:
    """Return `value` with each `Source` replaced by the output that it refers to."""
    if isinstance(value, Source):
        return follow(value.module.output_value(value.port))
    if isinstance(value, tuple):
        return tuple(follow(one) for one in value)
    return value
