"""Private names of Prefect that the package uses exist in the installed Prefect."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

from tej_prefect.context import PRIVATE_NAMES


@pytest.mark.parametrize("owner", PRIVATE_NAMES)
def test_private_names_of_prefect_exist(owner: type | ModuleType) -> None:
    # Attributes of instances are found by their assignment in the source.
    source = inspect.getsource(owner)
    missing = [
        name
        for name in PRIVATE_NAMES[owner]
        if not hasattr(owner, name) and f"self.{name}" not in source
    ]
    assert missing == []
