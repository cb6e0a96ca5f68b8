"""Bundles: the decorator `@tej_flow` sends the code of a flow with the flow's job.

Prefect serializes the flow as a bundle, and runs the upload command of the work pool to
store the bundle.  If the work pool has no upload command, the worker in the process
that calls the flow uses this module as the upload command, and uploads the bundle with
the job.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import prefect
from prefect import Flow, bundles
from prefect.bundles import execute
from prefect.client.schemas.objects import WorkPool, WorkPoolStorageConfiguration
from prefect.flows import InfrastructureBoundFlow, bind_flow_to_infrastructure
from prefect.workers.base import BaseWorker

P = ParamSpec("P")
R = TypeVar("R")

BOUND = ("worker_cls", "work_pool", "job_variables", "launcher", "include_files")
"""Attributes that bind a flow to a work pool.  The pickle for the job omits these
attributes, because the flow must not be bound inside its own job."""
UNPACKS_FILES = hasattr(execute, "ZipExtractor")
"""Whether Prefect unpacks the files of a bundle in the job; version 3.8.0 does not."""
UPLOAD = "tej_prefect.bundles"
EXECUTE = "prefect.bundles.execute"
STAGE = '"$tej_stage"/'
"""Shell expression for the path of the job's directory, with a slash at the end.

The path is absolute, because the job's script may change the current directory."""


class TejFlow(InfrastructureBoundFlow[P, R]):
    """A flow that `tej_flow` has bound to a work pool."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle a plain `Flow`, so that the job does not need this package."""
        state = {name: one for name, one in vars(self).items() if name not in BOUND}
        return object.__new__, (Flow,), state

    def with_options(self, **options: Any) -> TejFlow[P, R]:
        """Return a copy of the flow with different options."""
        return _as_tej_flow(super().with_options(**options))


def _as_tej_flow(bound: InfrastructureBoundFlow[P, R]) -> TejFlow[P, R]:
    # The class is replaced here, because Prefect offers no way to choose it.
    bound.__class__ = TejFlow
    return cast("TejFlow[P, R]", bound)


def tej_flow(
    work_pool: str,
    *,
    include_files: Sequence[str] | None = None,
    python: str = "python",
    **job_variables: Any,
) -> Callable[[Flow[P, R]], TejFlow[P, R]]:
    """Return a decorator that runs a flow as a job of a work pool of type `tej`.

        @tej_flow("hpc", include_files=["*.csv"], cpus=4, walltime="2:00:00")
        @flow
        def study() -> None: ...

        state = study(return_state=True)

    When the flow is called, a worker in the calling process sends the flow's code and
    the files that match `include_files` with the job, and waits for the job.  The flow
    can return a value only if it has a result storage.  The patterns are relative to
    the directory of the flow's file.  `python` is the Python interpreter of the job.
    The other arguments are variables of the work pool.

    Raises ValueError if this version of Prefect does not unpack `include_files`.
    """
    if include_files and not UNPACKS_FILES:
        raise ValueError(
            f"include_files has no effect in Prefect {prefect.__version__}, which does "
            "not unpack the files in the job: install a newer version of Prefect"
        )

    def decorate(flow: Flow[P, R]) -> TejFlow[P, R]:
        worker = BaseWorker.get_worker_class_from_type("tej")
        assert worker is not None
        bound = bind_flow_to_infrastructure(
            flow,
            work_pool=work_pool,
            worker_cls=worker,
            job_variables=job_variables,
            # The default is `uv`, which the server may not have. So use Python.
            launcher={"upload": [sys.executable], "execution": [python]},
            include_files=include_files,
        )
        return _as_tej_flow(bound)

    return decorate


def with_storage(pool: WorkPool, spool: Path) -> WorkPool:
    """Return the pool; if it has no storage, return a copy with the storage `spool`."""
    if pool.storage_configuration.bundle_upload_step is not None:
        return pool
    storage = WorkPoolStorageConfiguration(
        bundle_upload_step={UPLOAD: {"directory": str(spool)}},
        bundle_execution_step={EXECUTE: {}},
        default_result_storage_block_id=(
            pool.storage_configuration.default_result_storage_block_id
        ),
    )
    return pool.model_copy(update={"storage_configuration": storage})


def main() -> None:
    """Upload command of Prefect: copy a file of a bundle to the worker's directory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    target: Path = arguments.directory / arguments.key
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(arguments.path, target)


def lacks_bundle(command: str | None, pool: WorkPool) -> bool:
    """Return whether a command runs a bundle, but the pool has no storage for bundles.

    Only the worker in the process that calls the flow has the bundle of such a command.
    """
    if EXECUTE not in (command or ""):
        return False
    return pool.storage_configuration.bundle_upload_step is None


def add_bundle(command: str, spool: Path, folder: Path) -> str:
    """Copy the bundle of a command from `spool` to the job's directory `folder`.

    Return the command to run in the job.  If the command has no bundle, the command is
    returned unchanged.
    """
    key = command.rpartition(" ")[2]
    if EXECUTE not in command or not (spool / key).is_file():
        return command
    bundle = json.loads((spool / key).read_bytes())
    # Prefect adds the settings of this process to the bundle, among them the API's
    # address and key.  Remove these settings, so that the flow run uses the settings in
    # the environment of its job.
    context = bundles._deserialize_bundle_object(bundle["context"])
    context["settings_context"] = {}
    bundle["context"] = bundles._serialize_bundle_object(context)
    (folder / key).write_text(json.dumps(bundle), encoding="utf-8")
    if files := bundle.get("files_key"):
        (folder / files).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(spool / files, folder / files)
    return f"{command.removesuffix(key)}{STAGE}{key}"


if __name__ == "__main__":
    main()
