"""Types of ports: read the annotations of module classes, and check values."""

from __future__ import annotations

import contextlib
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from tej_vistrails.pipeline.errors import PipelineError

_OUTPUT = "an output of a job"
Output = Annotated[Any, _OUTPUT]
"""Annotation of an output port.  The default value of the port is the path of the
output.

The path is relative to the job's directory.  A path that ends in `/` is a directory."""

_MAX_BITS = 10_000
"""Maximum size of an integer in bits.  Python refuses to convert much larger integers
to decimal digits."""
SCALARS = {"int": int, "float": float, "str": str, "bool": bool}
PATHS = ("File", "Directory")


@dataclass(frozen=True)
class PortType:
    """The type of a port: a scalar, a File or a Directory, or a list of these."""

    name: str
    is_list: bool = False
    is_optional: bool = False

    def __str__(self) -> str:
        text = f"list[{self.name}]" if self.is_list else self.name
        return f"{text} | None" if self.is_optional else text

    @property
    def is_path(self) -> bool:
        """Whether values of this type are files or directories."""
        return self.name in PATHS

    @property
    def item(self) -> PortType:
        """The type of the items of a list."""
        return PortType(self.name)

    def accepts(self, source: PortType) -> bool:
        """Return whether an output of type `source` can be connected to this port."""
        if self.name == "Directory" and not self.is_list and source.is_list:
            # A list of files fits a Directory port: the port gets one directory that
            # contains the files.
            return source.is_path
        if source.is_list != self.is_list:
            return False
        return source.name == self.name or (source.name, self.name) == ("int", "float")

    def convert(self, value: object) -> object:
        """Return a scalar in its canonical form.

        1 becomes 1.0 on a float port, so that both have the same signature.  Raises
        TypeError if the value does not have this type.
        """
        wanted = SCALARS[self.name]
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise TypeError(f"the integer has more than {_MAX_BITS} bits")
        if wanted is float and type(value) is int:
            value = _exact_float(value)
        if type(value) is not wanted:
            raise TypeError(f"{value!r} is not of type {self}")
        if isinstance(value, float) and not math.isfinite(value):
            raise TypeError(f"{value!r} is not a finite number")
        if isinstance(value, str):
            if "\0" in value:
                raise TypeError("the text contains a NUL character")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise TypeError(f"{value!r} is not valid Unicode text") from None
        return value

    def parse(self, text: str) -> object:
        """Return the value that `text` denotes on the command line.

        Raises ValueError if the text does not have this type.
        """
        if self.name == "bool":
            return {"true": True, "false": False}[text.lower()]
        return text if self.is_path else SCALARS[self.name](text)


def _exact_float(value: int) -> float:
    """Return the float that equals `value`; raise TypeError if no float does."""
    with contextlib.suppress(OverflowError):
        if float(value) == value:
            return float(value)
    raise TypeError(f"{value!r} cannot be represented exactly as a float")


def read_annotation(hint: object, where: str) -> PortType | None:
    """Return the type of an input port, or None for the annotation `Output`.

    The annotation may also be a PortType.  Raises PipelineError if the annotation is
    not a type of a port.
    """
    if typing.get_origin(hint) is Annotated and typing.get_args(hint)[1] == _OUTPUT:
        return None
    if isinstance(hint, PortType):
        return hint
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [one for one in typing.get_args(hint) if one is not type(None)]
        optional = len(options) < len(typing.get_args(hint))
        hint = options[0] if len(options) == 1 else hint
    is_list = typing.get_origin(hint) is list
    if is_list:
        (hint,) = typing.get_args(hint)
    name = getattr(hint, "__name__", "")
    if hint in SCALARS.values() or name in PATHS:
        return PortType(name, is_list, optional)
    raise PipelineError(
        f"{where} has the annotation {hint!r}, which is not a type of a port: use int, "
        "float, str, bool, File, Directory, a list of these, or Output"
    )


def infer_type(value: object, where: str) -> PortType:
    """Return the type of a port whose value is given but whose type is not declared.

    Raises PipelineError if the type cannot be determined.
    """
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    items = list(typing.cast("Sequence[object]", value)) if is_list else [value]
    names = {type(one).__name__ for one in items}
    if names == {"int", "float"}:
        names = {"float"}
    if len(names) != 1 or not names <= SCALARS.keys():
        raise PipelineError(f"{where}: the value {value!r} does not fit any port type")
    return PortType(names.pop(), is_list)


def check_output_path(path: object, where: str) -> str:
    """Return the path of an output; raise PipelineError if it is not valid."""
    if not isinstance(path, str) or not path or "\n" in path or "\0" in path:
        raise PipelineError(
            f"{where}: the value of an output must be a path in the job's directory, "
            f"not {path!r}"
        )
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or parts.as_posix() == ".":
        raise PipelineError(f"{where}: '{path}' is not below the job's directory")
    if parts.parts[0] == "inputs":
        raise PipelineError(f"{where}: '{path}' is in the directory of the inputs")
    return parts.as_posix() + ("/" if path.endswith("/") else "")
