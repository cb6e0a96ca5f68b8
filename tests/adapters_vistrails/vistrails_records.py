"""Job records that VisTrails saves in a workflow file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

PREFIX = "vistrails_module_"


def records(folder: Path, name: str = "workflow.vt") -> dict[str, Any]:
    """Return the job records that VisTrails has saved."""
    with zipfile.ZipFile(folder / name) as archive:
        root = ElementTree.fromstring(archive.read("vistrail"))
    (value,) = (
        one.get("value", "")
        for one in root.iter("annotation")
        if one.get("key") == "__jobs__"
    )
    jobs: dict[str, Any] = json.loads(value)["jobs"]
    return jobs
