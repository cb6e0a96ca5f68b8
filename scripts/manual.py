"""Manual pages and completion scripts, made from the commands of tej.

`scripts/build_hook.py` adds the pages and scripts to the wheel.  The manual pages are
made from the help of the commands, so that both always describe the same options.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator

import click
from click.shell_completion import ShellComplete, get_completion_class

from tej.cli import bash_completion
from tej.cli.command import Command
from tej.cli.main import tej
from tej.command_list import ABOUT, COMMANDS, EXAMPLE, EXIT_STATUS, OPTIONS
from tej.version import __version__

COMPLETIONS = {
    "bash": "share/bash-completion/completions/tej",
    "zsh": "share/zsh/site-functions/_tej",
    "fish": "share/fish/vendor_completions.d/tej.fish",
}
"""Path of each shell's completion script below the prefix of the installation."""

ENVIRONMENT = {
    "TEJ_DESTINATION": "Default destination.",
    "TEJ_QUEUE": "Default of --queue.",
    "TEJ_PROFILE": "Default of --profile.",
    "TEJ_RUNTIME": "Default of --runtime.",
    "TEJ_TRANSPORT": "Default of --transport.",
    "TEJ_PERSIST": "Time for which ssh keeps an unused connection open.",
}


def files() -> Iterator[tuple[str, str]]:
    """Yield the path below the prefix, and the text, of each file to install."""
    yield "share/man/man1/tej.1", main_page()
    for group in COMMANDS.values():
        for name, summary in group.items():
            yield f"share/man/man1/tej-{name}.1", command_page(name, summary)
    for shell, path in COMPLETIONS.items():
        yield path, completion(shell)


def completion(shell: str) -> str:
    """Return the completion script of a shell."""
    bash_completion.register()
    kind = get_completion_class(shell)
    assert kind is not None
    # The method of the base class does not start the shell to check its version.
    return ShellComplete.source(kind(tej, {}, "tej", "_TEJ_COMPLETE")) + "\n"


def main_page() -> str:
    """Return the manual page tej(1)."""
    lines = [*_head("tej", "run directories as jobs on a server over SSH")]
    lines += ["tej [OPTIONS] COMMAND [ARGS]...", ".SH DESCRIPTION"]
    lines += _paragraphs("\n\n".join(ABOUT))
    lines += [".SH OPTIONS", *_definitions(OPTIONS.items()), ".SH COMMANDS"]
    for heading, commands in COMMANDS.items():
        lines.append(f".SS {_text(heading)}")
        lines += _definitions(
            [(f"tej {name}", text) for name, text in commands.items()]
        )
    lines += [".SH EXIT STATUS", _text(EXIT_STATUS.partition(": ")[2])]
    lines += [".SH ENVIRONMENT", *_definitions(ENVIRONMENT.items())]
    lines += [".SH FILES"]
    lines += _definitions(
        [
            ("~/.config/tej/config.toml", "The user's profiles."),
            ("tej.toml", "The project's profiles."),
            ("~/.tej", "The default queue, on the server."),
        ]
    )
    pages = ", ".join(f"tej-{name}(1)" for group in COMMANDS.values() for name in group)
    lines += [".SH EXAMPLE", ".nf", _text(EXAMPLE), ".fi"]
    return _page([*lines, ".SH SEE ALSO", _text(pages)])


def command_page(name: str, summary: str) -> str:
    """Return the manual page of a command."""
    command = tej.get_command(click.Context(tej), name)
    assert isinstance(command, Command)
    context = click.Context(command, info_name=f"tej {name}")
    lines = [*_head(f"tej-{name}", summary.rstrip("."))]
    lines += [_text(f"tej {name} {' '.join(command.collect_usage_pieces(context))}")]
    lines += [".SH DESCRIPTION", *_paragraphs(inspect.cleandoc(command.help or ""))]
    lines.append(".SH OPTIONS")
    for heading, records in command.option_sections(context).items():
        lines += [] if heading == "Options" else [f".SS {_text(heading)}"]
        lines += _definitions(records)
    example = inspect.cleandoc(command.example)
    lines += [".SH EXAMPLE", ".nf", *map(_text, example.splitlines()), ".fi"]
    return _page([*lines, ".SH SEE ALSO", "tej(1)"])


def _head(name: str, summary: str) -> list[str]:
    return [
        f'.TH {_text(name.upper())} 1 "" "tej {__version__}" "tej manual"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary)}",
        ".SH SYNOPSIS",
    ]


def _page(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\n+", text)):
        yield from [".PP"] if number else []
        lines = paragraph.splitlines()
        if lines[0] == "\b":  # click prints the lines of such a paragraph unchanged
            yield from [".nf", *map(_text, lines[1:]), ".fi"]
        else:
            yield from map(_text, lines)


def _definitions(records: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in records:
        yield from (".TP", f"\\fB{_text(term)}\\fR", _text(" ".join(text.split())))


def _text(text: str) -> str:
    """Return text in which roff finds no requests, escapes or hyphens."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
