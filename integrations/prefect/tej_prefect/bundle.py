"""Bundles: pickled flows, whose code is uploaded with the job that runs the flow.

Prefect pickles a flow into a file, the bundle, and starts a command to upload it.
`python -m tej_prefect.bundle` is that command: it keeps the bundle in a local folder,
from which the worker copies it into the job's directory.  The job needs only Prefect.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import json
import re
import shutil
import tempfile
from pathlib import Path

from prefect.client.schemas.objects import WorkPool

import tej

EXECUTE = "prefect.bundles.execute"
"""Prefect's module that runs the flow of a bundle."""


@functools.cache
def folder() -> Path:
    """The folder of this process's bundles, which is removed at exit."""
    made = tempfile.mkdtemp(prefix="tej-bundles-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def with_bundle_steps(work_pool: WorkPool) -> WorkPool:
    """The work pool with steps for bundles, unless it has a storage of its own."""
    storage = work_pool.storage_configuration
    if storage.bundle_upload_step is not None:
        return work_pool
    steps = {
        "bundle_upload_step": {__name__: {"folder": str(folder())}},
        "bundle_execution_step": {EXECUTE: {}},
    }
    return work_pool.model_copy(
        update={"storage_configuration": storage.model_copy(update=steps)}
    )


def copy_bundle(command: str, directory: Path) -> bool:
    """Copy the bundle that a command runs into a job's directory.

    False if the command runs no bundle of this process's folder.
    """
    found = re.search(rf"-m {re.escape(EXECUTE)} --key (\S+)", command)
    if found is None:
        return False
    bundle = folder() / found[1]
    if not bundle.is_file():
        raise tej.InvalidJobDirectory(
            f"The code of the flow run (bundle {found[1]}) is not on this machine: the "
            "process that had it has ended. Run the flow again"
        )
    shutil.copyfile(bundle, directory / bundle.name)
    files_key = json.loads(bundle.read_text(encoding="utf-8")).get("files_key")
    if files_key:
        target = directory / files_key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder() / files_key, target)
    return True


def main() -> None:
    """Keep an uploaded file: `--folder FOLDER --key KEY FILE`."""
    parser = argparse.ArgumentParser(description="Keep a bundle in a local folder.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    target: Path = given.folder / given.key
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(given.file, target)


if __name__ == "__main__":
    main()
