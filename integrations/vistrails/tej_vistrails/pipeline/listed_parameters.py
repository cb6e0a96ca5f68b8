"""Parameters of a job: the port values that `tej list` shows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

MAX_PARAMETER = 200
"""Maximum length of a value that `tej list` and the history of a pipeline show."""


def as_parameters(values: Mapping[str, object]) -> dict[str, str]:
    """Return the values that are short enough for `JobSpec.parameters`, as text.

    The names are changed to names of environment variables, as tej requires.
    """
    texts = {
        re.sub(r"[^A-Za-z0-9_]|^(?=[0-9])", "_", name): (
            json.dumps(value, ensure_ascii=False)
            if isinstance(value, bool | list | tuple)
            else str(value)
        )
        for name, value in values.items()
    }
    return {
        name: text
        for name, text in texts.items()
        if len(text) <= MAX_PARAMETER and not name.startswith("TEJ_JOB_")
    }
