"""The names of tej 0.6's module of helpers, for programs that import them from here.

Those for two versions of Python are what they always were on the newer one.
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
    """The values, as a list."""
    return list(mapping.values())


def shell_escape(word: str | bytes | PathLike[str]) -> str:
    """The word as a shell takes it, in double quotes if it needs any.

    For a program of one's own `shlex.quote` is the better one.
    """
    text = word.decode() if isinstance(word, bytes) else fspath(word)
    if re.fullmatch(r"[\w\-+=/:.,%]+", text, re.ASCII):
        return text
    return '"' + re.sub(r'([\\"`$])', r"\\\1", text) + '"'
