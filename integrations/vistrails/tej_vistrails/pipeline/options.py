"""Options that all commands for pipelines use, such as `--set` and `--explore`."""

from __future__ import annotations

import functools
import getpass
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click

import tej
from tej_vistrails.pipeline.document import load
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.execution import Execution
from tej_vistrails.pipeline.graph import Exploration, Pipeline

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Loaded:
    """A pipeline from the command line, and the queue to use."""

    file: Path
    values: tuple[str, ...]
    grid: tuple[str, ...]
    destination: str | None
    queue: str | None
    runtime: str | None

    def __post_init__(self) -> None:
        document = load(self.file)
        self.work = change(document.pipeline, self.values, self.grid)
        self.destination = self.destination or document.destination
        self.queue = self.queue or document.queue or tej.DEFAULT_TEJ_DIR

    def execution(self) -> Execution:
        """Return an `Execution` of the pipeline in its queue; nothing is started."""
        return Execution(self.work, self.open_queue())

    def open_queue(self) -> tej.RemoteQueue:
        """Return the queue, which prompts for passwords if there is a terminal.

        Raises UsageError if no destination is known.
        """
        if not self.destination:
            raise click.UsageError(
                "No destination: give --destination, set TEJ_DESTINATION, or add "
                "`destination` to the file"
            )
        return tej.shared_queue(
            self.destination,
            str(self.queue),
            setup_runtime=self.runtime,
            ask=getpass.getpass if sys.stdin.isatty() else None,
        )


def change(
    work: Pipeline | Exploration, values: tuple[str, ...], grid: tuple[str, ...]
) -> Pipeline | Exploration:
    """Return the pipeline with the values of `--set` and the grid of `--explore`."""
    base = work.base if isinstance(work, Exploration) else work
    parameters = dict(work.parameters) if isinstance(work, Exploration) else {}
    for word in values:
        name, text = _split(word, "--set PORT=VALUE")
        base = base.with_values({name: _parse(base, name, text)})
        parameters = _without(parameters, base, name)
    for word in grid:
        name, text = _split(word, "--explore PORT=VALUE,VALUE")
        parameters = _without(parameters, base, name)
        parameters[name] = [_parse(base, name, one) for one in text.split(",")]
    return Exploration(base, parameters) if parameters else base


def _without(
    parameters: Mapping[str, list[Any]], base: Pipeline, name: str
) -> dict[str, list[Any]]:
    """Return the parameters without the port `name`.

    The same port may have the name "port" in one place, and "module.port" in another.
    """
    place = base.find_port(name)
    return {
        key: options
        for key, options in parameters.items()
        if base.find_port(key) != place
    }


def _split(word: str, form: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not (name and equals):
        raise click.UsageError(f"'{word}' is not of the form {form}")
    return name, text


def _parse(pipeline: Pipeline, name: str, text: str) -> object:
    module, port = pipeline.find_port(name)
    kind = module.inputs[port].type
    if kind.is_list:
        raise PipelineError(f"Parameter '{name}' is a list: set it in the file")
    try:
        return kind.parse(text)
    except (ValueError, KeyError):
        raise PipelineError(
            f"Parameter '{name}': '{text}' is not of type {kind}"
        ) from None


def pipeline_options(function: Function) -> Function:
    """Add FILE and the options of a pipeline to a command, which gets a `Loaded`."""

    @functools.wraps(function)
    def call(**options: Any) -> object:
        own = {one.name: options.pop(one.name) for one in fields(Loaded)}
        return function(Loaded(**own), **options)

    wrapped: Any = call
    for decorate in reversed(_OPTIONS):
        wrapped = decorate(wrapped)
    return wrapped  # type: ignore[no-any-return]


_OPTIONS: list[Callable[[Any], Any]] = [
    click.argument(
        "file", type=click.Path(exists=True, dir_okay=False, path_type=Path)
    ),
    click.option(
        "--set",
        "values",
        multiple=True,
        metavar="PORT=VALUE",
        help="Set the value of an input port.",
    ),
    click.option(
        "--explore",
        "grid",
        multiple=True,
        metavar="PORT=V1,V2,...",
        help="Run the pipeline for each of these values.",
    ),
    click.option(
        "--destination",
        envvar="TEJ_DESTINATION",
        metavar="[USER@]HOST[:PORT]",
        help="Server.  [env: TEJ_DESTINATION]",
    ),
    click.option(
        "--queue",
        envvar="TEJ_QUEUE",
        metavar="PATH",
        help=f"Queue on the server.  [env: TEJ_QUEUE; default: {tej.DEFAULT_TEJ_DIR}]",
    ),
    click.option(
        "--runtime",
        envvar="TEJ_RUNTIME",
        metavar="NAME",
        help="Runtime of a new queue.  [env: TEJ_RUNTIME]",
    ),
]
