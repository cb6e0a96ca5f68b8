"""What tests look at, of a pipeline with one job, and of what VisTrails has saved."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tej_vistrails import Pipeline

PREFIX = "vistrails_module_"


def job_id(pipeline: Pipeline) -> str:
    (only,) = pipeline.job_ids().values()
    return only


def text_of(pipeline: Pipeline, execution: Any, port: str = "stdout") -> str:
    return execution.text(pipeline.nodes["job"][port])


def records(folder: Path, name: str = "workflow.vt") -> dict[str, Any]:
    """What VisTrails has saved of its jobs."""
    with zipfile.ZipFile(folder / name) as archive:
        root = ElementTree.fromstring(archive.read("vistrail"))
    (value,) = (
        one.get("value", "")
        for one in root.iter("annotation")
        if one.get("key") == "__jobs__"
    )
    jobs: dict[str, Any] = json.loads(value)["jobs"]
    return jobs
