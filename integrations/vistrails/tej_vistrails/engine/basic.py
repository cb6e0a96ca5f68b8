"""The basic modules of VisTrails that pipelines with jobs need."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path as LocalPath
from string import Formatter
from typing import Any

from tej_vistrails.engine.module import (
    Module,
    ModuleError,
    ModuleSettings,
    NotCacheable,
    PathObject,
)

VERSION = "2.1.1"
"""Version of VisTrails' basic package, part of its modules' `vistrails` signatures."""


class Constant(Module):
    """Base of modules that output a constant value."""

    _settings = ModuleSettings(abstract=True)
    _output_ports = [("value_as_string", "(basic:String)")]

    @staticmethod
    def translate_to_python(text: str) -> Any:
        """Return the value that `text` represents in VisTrails' notation."""
        return text

    def compute(self) -> None:
        value = self.get_input("value")
        self.set_output("value", value)
        self.set_output("value_as_string", str(value))


class String(Constant):
    """Module that outputs a string."""

    _input_ports = [("value", "(basic:String)")]
    _output_ports = [("value", "(basic:String)")]


class Float(Constant):
    """Module that outputs a floating-point number."""

    _input_ports = [("value", "(basic:Float)")]
    _output_ports = [("value", "(basic:Float)")]

    @staticmethod
    def translate_to_python(text: str) -> Any:
        return float(text)


class Integer(Float):
    """Module that outputs an integer, written in decimal or as `0x...`."""

    _input_ports = [("value", "(basic:Integer)")]
    _output_ports = [("value", "(basic:Integer)")]

    @staticmethod
    def translate_to_python(text: str) -> Any:
        return int(text, 16) if text.startswith("0x") else int(text)


class Boolean(Constant):
    """Module that outputs a boolean, written as `True` or `False`."""

    _input_ports = [("value", "(basic:Boolean)")]
    _output_ports = [("value", "(basic:Boolean)")]

    @staticmethod
    def translate_to_python(text: str) -> Any:
        return {"true": True, "false": False}[text.lower()]


class Path(Constant):
    """Module that outputs a path on this machine."""

    _input_ports = [("value", "(basic:Path)"), ("name", "(basic:String)")]
    _output_ports = [("value", "(basic:Path)")]

    @staticmethod
    def translate_to_python(text: str) -> Any:
        return PathObject(text)

    def compute(self) -> None:
        if self.has_input("value"):
            name = self.get_input("value").name
        else:
            name = self.get_input("name")
        self.check(name)
        self.set_output("value", PathObject(name))
        self.set_output("value_as_string", name)

    def check(self, name: str) -> None:
        """Raise ModuleError if the module type requires that the path exists."""


class File(Path):
    """Module that outputs a file on this machine."""

    _input_ports = [("value", "(basic:File)")]
    _output_ports = [("value", "(basic:File)"), ("local_filename", "(basic:String)")]

    def check(self, name: str) -> None:
        if not LocalPath(name).is_file():
            raise ModuleError(self, f"File '{name}' does not exist")
        self.set_output("local_filename", name)


class Directory(Path):
    """Module that outputs a directory on this machine."""

    _input_ports = [("value", "(basic:Directory)")]
    _output_ports = [("value", "(basic:Directory)")]

    def check(self, name: str) -> None:
        if not LocalPath(name).is_dir():
            raise ModuleError(self, f"Directory '{name}' does not exist")


class OutputPath(Path):
    """Module that outputs a path on this machine to which another module writes."""

    _input_ports = [("value", "(basic:OutputPath)")]
    _output_ports = [("value", "(basic:OutputPath)")]


class WriteFile(Module):
    """Module that writes a string to a temporary file."""

    _input_ports = [
        ("in_value", "(basic:String)"),
        ("suffix", "(basic:String)", {"defaults": "['']"}),
        ("encoding", "(basic:String)"),
    ]
    _output_ports = [("out_value", "(basic:File)")]

    def compute(self) -> None:
        result = self.interpreter.filePool.create_file(suffix=self.get_input("suffix"))
        encoding = self.force_get_input("encoding", "utf-8")
        LocalPath(result.name).write_bytes(self.get_input("in_value").encode(encoding))
        self.set_output("out_value", result)


class ReadFile(Module):
    """Module that reads a text file and outputs the text as a string."""

    _input_ports = [("in_value", "(basic:File)"), ("encoding", "(basic:String)")]
    _output_ports = [("out_value", "(basic:String)")]

    def compute(self) -> None:
        data = LocalPath(self.get_input("in_value").name).read_bytes()
        encoding = self.force_get_input("encoding", "utf-8")
        try:
            self.set_output("out_value", data.decode(encoding))
        except UnicodeError as error:
            raise ModuleError(
                self, f"The file is not in {encoding}: {error}"
            ) from error


class ConcatenateString(Module):
    """Module that concatenates up to four strings."""

    _input_ports = [(f"str{i}", "(basic:String)") for i in range(1, 5)]
    _output_ports = [("value", "(basic:String)")]

    def compute(self) -> None:
        parts = (self.force_get_input(f"str{i}", "") for i in range(1, 5))
        self.set_output("value", "".join(parts))


class StringFormat(Module):
    """Module that replaces placeholders in a string by the values of input ports.

    The input port for the first `{}` is `_0`, and the input port for `{name}` is
    `name`."""

    _input_ports = [("format", "(basic:String)")]
    _output_ports = [("value", "(basic:String)")]

    def compute(self) -> None:
        text = self.get_input("format")
        values = {port: self.get_input(port) for port in self.placeholders(text)}
        numbered = [values[f"_{i}"] for i in range(_numbered(text))]
        self.set_output("value", text.format(*numbered, **values))

    @staticmethod
    def placeholders(text: str) -> list[str]:
        """Return the names of the ports for the placeholders in `text`.

        Raises ValueError if `text` is not a valid format string."""
        named = [one for one in _fields(text) if one and not one.isdigit()]
        return [*dict.fromkeys([*(f"_{i}" for i in range(_numbered(text))), *named])]


def _fields(text: str) -> list[str]:
    """Return the field names in a format string, without attributes and indexes."""
    found = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
    return [re.split(r"[.[]", field, maxsplit=1)[0] for field in found]


def _numbered(text: str) -> int:
    names = _fields(text)
    numbers = [int(name) + 1 for name in names if name.isdigit()]
    return max([names.count(""), *numbers])


class StandardOutput(NotCacheable, Module):
    """Module that prints a value, or the contents of a file."""

    _input_ports = [("value", "(basic:Variant)")]

    def compute(self) -> None:
        value = self.get_input("value")
        if isinstance(value, PathObject) and LocalPath(value.name).is_file():
            sys.stdout.flush()
            with LocalPath(value.name).open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.flush()
        else:
            print(value)


class FileSink(NotCacheable, Module):
    """Module that copies a file to a path on this machine."""

    _input_ports = [
        ("file", "(basic:File)"),
        ("outputPath", "(basic:OutputPath)"),
        ("overwrite", "(basic:Boolean)", {"defaults": "['True']"}),
        ("publishFile", "(basic:Boolean)"),
    ]

    def compute(self) -> None:
        target = self.get_input("outputPath").name
        if not self.get_input("overwrite") and os.path.lexists(target):
            raise ModuleError(self, f"'{target}' exists, and may not be replaced")
        shutil.copyfile(self.get_input("file").name, target)


class DirectorySink(NotCacheable, Module):
    """Module that copies a directory to a path on this machine."""

    _input_ports = [
        ("dir", "(basic:Directory)"),
        ("outputPath", "(basic:OutputPath)"),
        ("overwrite", "(basic:Boolean)", {"defaults": "['True']"}),
    ]

    def compute(self) -> None:
        target = self.get_input("outputPath").name
        if os.path.lexists(target):
            if not self.get_input("overwrite"):
                raise ModuleError(self, f"'{target}' exists, and may not be replaced")
            if LocalPath(target).is_dir() and not LocalPath(target).is_symlink():
                shutil.rmtree(target)
            else:
                LocalPath(target).unlink()
        shutil.copytree(self.get_input("dir").name, target, symlinks=True)


MODULES: list[type[Module]] = [
    String,
    Float,
    Integer,
    Boolean,
    Path,
    File,
    Directory,
    OutputPath,
    WriteFile,
    ReadFile,
    ConcatenateString,
    StringFormat,
    StandardOutput,
    FileSink,
    DirectorySink,
]
