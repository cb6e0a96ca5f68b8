"""`Job`: a module that runs a command on the server; `PythonScript` runs Python."""

from __future__ import annotations

import inspect
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import tej
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.module import JobOutput, Module, Value

_FIELD = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_]*)\}")

_CHECK_OUTPUTS = """\
for output in {paths}; do
    if [ ! -e "$output" ]; then
        printf '%s\\n' "The output '$output' was not written" >&2
        exit 1
    fi
done
"""


def _folder_of(cls: type) -> Path:
    try:
        return Path(inspect.getfile(cls)).resolve().parent
    except (OSError, TypeError):
        return Path.cwd()


def _as_words(value: object) -> str | list[str]:
    """Return the text of a value, or the list of the texts of a list's items.

    Each text becomes one argument in the shell command.
    """
    if isinstance(value, list | tuple):
        return [str(_as_words(one)) for one in value]
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class Job(Module):
    """A module that runs a command as a job on the server.

    `{port}` in the command is replaced by the value of the port, quoted for the shell.
    For a file on a port, the value is the file's path in the job's directory.
    `${NAME}` is not replaced, because it is a variable of the shell.
    """

    command: ClassVar[str] = ""
    """Shell commands; the job ends at the first command that fails (`set -e`)."""
    script: ClassVar[str] = ""
    """File that contains the command, relative to the file of the class."""
    uploads: ClassVar[tuple[str, ...]] = ()
    """Files and directories that are uploaded, relative to the file of the class."""
    environment: ClassVar[Mapping[str, str]] = {}
    version: ClassVar[str | int] = 1
    """Part of the signature: a new version runs the jobs of this class again."""
    login: ClassVar[bool] = False
    """Whether the login profile is sourced before the job starts."""
    source_folder: ClassVar[Path] = Path()
    """Directory of the file that defines the class."""
    default_resources: ClassVar[tej.Resources | None] = None
    is_job = True

    def __init__(
        self, *, name: str = "", resources: tej.Resources | None = None, **ports: object
    ) -> None:
        super().__init__(name=name, **ports)
        if not self.has_command():
            raise PipelineError(
                f"Module '{self.title}': class {type(self).__name__} has no command"
            )
        resources = resources or self.default_resources
        if not isinstance(resources, tej.Resources | None):
            raise PipelineError(
                f"Module '{self.title}': resources must be a tej.Resources, not "
                f"{resources!r}"
            )
        self.__dict__["resources"] = resources

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.is_job = True
        # A float is refused, because the versions 1.1 and 1.10 would be the same float.
        if type(cls.version) not in (str, int):
            raise PipelineError(
                f"The version of module class {cls.__name__} must be text or an "
                f"integer, not {cls.version!r}: put the version in quotes"
            )
        if "source_folder" not in cls.__dict__:
            cls.source_folder = _folder_of(cls)
        if cls.has_command():
            cls.check_class()

    @classmethod
    def has_command(cls) -> bool:
        """Return whether the class has a command; a base class may have none."""
        return bool(cls.command or cls.script)

    @classmethod
    def check_class(cls) -> None:
        """Raise PipelineError if the command refers to a port that does not exist."""
        template = cls.template()
        where = f"The command of module class {cls.__name__} contains"
        for name in _FIELD.findall(template):
            if name not in cls.inputs and name not in cls.outputs:
                raise PipelineError(
                    f"{where} '{{{name}}}', but the class has no port '{name}'"
                )
        for name in (*cls.inputs, *cls.outputs):
            field = f"{{{name}}}"
            if field in template and not _FIELD.fullmatch(field):
                raise PipelineError(
                    f"{where} '{field}', but a port in a command needs a name of ASCII "
                    f"letters, digits and _: rename the port '{name}'"
                )

    @classmethod
    def template(cls) -> str:
        """Return the command with placeholders `{port}` for the values of the ports."""
        if not cls.script:
            return cls.command
        try:
            return (cls.source_folder / cls.script).read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise PipelineError(
                f"The script of module class {cls.__name__} cannot be read: {error}"
            ) from error

    def output_value(self, port: str) -> Value:
        return JobOutput(self, self.output_paths[port].rstrip("/"))

    def start_script(self, words: Mapping[str, object]) -> str:
        """Return the content of `start.sh`.

        `words` maps the name of each port to its value; the value for a file is its
        path in the job's directory.
        """
        lines = ["#!/bin/sh", "set -e"]
        outputs = [path.rstrip("/") for path in self.output_paths.values()]
        folders = {
            path.rpartition("/")[0] or "." for path in self.output_paths.values()
        }
        if folders - {"."}:
            lines.append(f"mkdir -p -- {shlex.join(sorted(folders - {'.'}))}")
        lines.append(self.command_line(words).strip("\n"))
        text = "\n".join(lines) + "\n"
        if outputs:
            text += _CHECK_OUTPUTS.format(paths=shlex.join(outputs))
        return text

    def command_line(self, words: Mapping[str, object]) -> str:
        """Return the command with the values of the ports."""
        template = textwrap.dedent(self.template())
        try:
            return tej.fill_shell_fields(
                template, _FIELD, lambda field: _as_words(words[field[1]])
            )
        except tej.CannotQuote as error:
            raise PipelineError(f"Module '{self.title}': {error}") from None

    def own_files(self, words: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """Yield path and content of the files that the class adds to the job."""
        yield "start.sh", self.start_script(words)


class PythonScript(Job):
    """A module that runs Python code with the Python of the server.

    The code is either the function `main` of the class, or the text `source`.  `main`
    is called with the values of all ports as keyword arguments.  In `source`, each port
    is a variable.  For a file on a port, the value is the path of the file.  `main`
    must not use names that are defined elsewhere in its file.
    """

    source: ClassVar[str] = ""
    python: ClassVar[str] = "python3"
    """Command that starts Python on the server."""
    main: ClassVar[Callable[..., object] | None] = None
    _code: ClassVar[str] = ""
    """Content of `main.py`, as it was when the class was defined.

    The file of the class may have changed since then."""

    @classmethod
    def has_command(cls) -> bool:
        return bool(cls.source) or cls.main is not None

    @classmethod
    def check_class(cls) -> None:
        cls._code = cls.code()
        try:
            compile(textwrap.dedent(cls.source) or cls._code, cls.__name__, "exec")
        except SyntaxError as error:
            raise PipelineError(
                f"The code of module class {cls.__name__} is not valid Python: "
                f"{error.msg} (line {error.lineno})"
            ) from error

    @classmethod
    def code(cls) -> str:
        """Return the content of `main.py`."""
        head = (
            "import json\n\n"
            "with open('module.json', encoding='utf-8') as file:\n"
            "    ports = json.load(file)\n"
            "ports = {**ports['inputs'], **ports['outputs']}\n"
        )
        if cls.source:
            return f"{head}globals().update(ports)\n\n{textwrap.dedent(cls.source)}"
        try:
            lines = inspect.getsource(_function(cls)).splitlines(keepends=True)
        except OSError as error:
            raise PipelineError(
                f"The source of `main` of module class {cls.__name__} is not "
                f"available: {error}"
            ) from error
        # Leave out the decorators, such as @staticmethod, in front of `def main`.
        text = textwrap.dedent("".join(lines))
        start = re.search(r"^def main\b", text, re.MULTILINE)
        if start is None:
            raise PipelineError(
                f"`main` of module class {cls.__name__} is not a function"
            )
        return f"{head}\n\n{text[start.start() :]}\n\nmain(**ports)\n"

    def command_line(self, words: Mapping[str, object]) -> str:
        return f"{self.python} main.py"

    def own_files(self, words: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        yield from super().own_files(words)
        yield "main.py", self._code


def _function(cls: type[PythonScript]) -> Callable[..., object]:
    found: Any = inspect.getattr_static(cls, "main")
    return getattr(found, "__func__", found)  # type: ignore[no-any-return]
