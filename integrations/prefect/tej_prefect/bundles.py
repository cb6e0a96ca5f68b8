"""Bundles: the code and files of a flow, which are sent with the flow run's job.

Prefect serializes the flow as a bundle, and stores the bundle with the upload command
of the work pool.  If the work pool has no upload command, the worker in the flow's own
process uses this module as the command, and the bundle is uploaded with the job.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from prefect import bundles
from prefect.bundles import execute
from prefect.client.schemas.objects import WorkPool, WorkPoolStorageConfiguration

UPLOAD = "tej_prefect.bundles"
EXECUTE = "prefect.bundles.execute"
STAGE = '"$tej_stage"/'
"""The job's directory, as written in the job's script, which may change the current
directory."""
UNPACKS_FILES = hasattr(execute, "ZipExtractor")
"""Whether Prefect unpacks the files of a bundle in the job; version 3.8.0 does not."""


def with_storage(pool: WorkPool, spool: Path) -> WorkPool:
    """Return the work pool, with the directory `spool` as storage if it has none."""
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


def lacks_bundle(command: str | None, pool: WorkPool) -> bool:
    """Return whether a command needs a bundle that only the caller of the flow has."""
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
    # Prefect adds the settings of this process, among them the API's address and key.
    # Without the settings in the bundle, the flow run uses the settings in the
    # environment of its job.
    context = bundles._deserialize_bundle_object(bundle["context"])
    context["settings_context"] = {}
    bundle["context"] = bundles._serialize_bundle_object(context)
    (folder / key).write_text(json.dumps(bundle), encoding="utf-8")
    if files := bundle.get("files_key"):
        (folder / files).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(spool / files, folder / files)
    return f"{command.removesuffix(key)}{STAGE}{key}"


def main() -> None:
    """Copy a file of a bundle to the directory of the worker: the upload command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    target: Path = arguments.directory / arguments.key
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(arguments.path, target)


if __name__ == "__main__":
    main()
