"""Names of the module `tej.utils` of tej 0.6, for compatibility.

Names that had different values in Python 2 and Python 3 have their Python 3 values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike, fspath
from typing import TypeVar

Value = TypeVar("Value")

PY3 = True
unicode_ = str
string_types = (str,)
izip = zip
irange = range
iteritems = dict.items
itervalues = dict.values


def listvalues(mapping: Mapping[object, Value]) -> list[Value]:
    """Return the values of a mapping as a list."""
    return list(mapping.values())


def shell_escape(word: str | bytes | PathLike[str]) -> str:
    """Return a word quoted for a shell, in double quotes if necessary.

    New programs should use `shlex.quote` instead.
    """
    text = word.decode() if isinstance(word, bytes) else fspath(word)
    if re.fullmatch(r"[\w\-+=/:.,%]+", text, re.ASCII):
        return text
    return '"' + re.sub(r'([\\"`$])', r"\\\1", text) + '"'
