"""List of the commands, and the output of `tej --help`.

The import of click takes several times as long as the start of Python.  This module
therefore does not import click, and `tej --help` uses only this module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from textwrap import wrap

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "Run": {
        "run": "Run a directory as a job, print its output, fetch its results.",
        "sweep": "Submit a job for each combination of parameter values.",
        "submit": "Upload a directory and start it as a job; print the job's id.",
        "signature": "Print the job id made from the signature of a directory.",
    },
    "Watch": {
        "status": "Print the status of jobs.",
        "wait": "Wait until jobs have ended.",
        "logs": "Print the output of a job, running or not.",
        "list": "List the jobs in the queue.",
        "top": "Show the jobs live, with keys to kill, retry and download.",
    },
    "Fetch": {
        "download": "Download files, directories or patterns from jobs.",
        "results": "Print a table of the values that jobs have written to a file.",
        "ls": "List the files of a job.",
        "cat": "Print files of a job.",
        "open": "Print the path of a job's directory, for cd or scp.",
        "shell": "Open a shell in the directory of a job.",
    },
    "Manage": {
        "retry": "Start failed jobs again, with their own parameters.",
        "kill": "Kill running jobs, with all their processes.",
        "delete": "Delete jobs that have ended, with their files.",
        "prune": "Delete old jobs.",
        "destroy": "Remove a queue with all its jobs.",
        "cleanup": "Delete old jobs that match a filter; see also prune.",
        "queue": "Print the path, the runtime and the limit of a queue.",
        "limit": "Limit the number of running jobs of a queue.",
    },
    "Configure": {
        "init": "Add a profile to a configuration file.",
        "config": "Print the settings in effect, and their sources.",
    },
    "Server": {
        "connect": "Log in to a server once, for all commands that follow.",
        "disconnect": "Close the connection to a server.",
        "doctor": "Check the connection and the server, step by step.",
        "setup": "Create a queue on a server (optional).",
        "runtime-check": "Test a runtime with short jobs on a server.",
        "completion": "Print a script that completes commands in a shell.",
        "guide": "Print a guide for programs and assistants that use tej.",
    },
}
"""The commands in groups, with their lines in the output of `tej --help`.

Each command is the function `command` in the module `tej.cli.NAME`."""

OTHER_NAMES: Mapping[str, str] = {
    name: command
    for command, names in {
        "delete": "rm remove del",
        "list": "ps jobs squeue qstat",
        "logs": "log tail output",
        "status": "stat state info show",
        "kill": "stop cancel terminate abort scancel qdel",
        "download": "get fetch pull scp",
        "run": "start exec",
        "submit": "sub sbatch qsub",
        "retry": "rerun restart resubmit requeue",
        "shell": "ssh attach",
        "ls": "dir files",
        "connect": "login",
        "disconnect": "logout",
        "prune": "clean gc",
    }.items()
    for name in names.split()
}
"""For each command name of other programs (ps, qdel, ...), the equivalent command of
tej."""

OPTIONS: Mapping[str, str] = {
    "--version": "Show the version and exit.",
    "-v, --verbose": "Log more; if given twice, log everything.",
    "-h, --help": "Show this message and exit.",
}
"""The options of `tej` itself, which precede the command."""

ABOUT = (
    "Run directories as jobs on a server over SSH, and keep track of them.",
    'A destination is [user@]host[:port], an alias from ~/.ssh/config, or "local:" for '
    "this machine.  TEJ_DESTINATION, or a profile in tej.toml or "
    "~/.config/tej/config.toml, sets the default destination.",
)
EXAMPLE = "tej run user@host simulation/ --download 'results/*.csv'"
EXIT_STATUS = (
    "Exit status: 0 done, 1 error, 2 wrong usage, 3 no such job, 4 job exists, 5 job "
    "still running; run and wait: the exit status of the job, or 125 if tej failed."
)


def help_page(width: int | None = None) -> str:
    """Return the output of `tej --help`; the default width is the terminal's."""
    width = max(min(_columns(), 80) - 2, 50) if width is None else width
    lines = ["Usage: tej [OPTIONS] COMMAND [ARGS]...", ""]
    for paragraph in ABOUT:
        lines += [*_wrap(paragraph, width), ""]
    for heading, entries in {"Options": OPTIONS, **COMMANDS}.items():
        lines += [f"{heading}:", *_table(entries, width), ""]
    lines += ["  Example:", f"    {EXAMPLE}", "", *_wrap(EXIT_STATUS, width)]
    return "\n".join(lines)


def _columns() -> int:
    # `shutil.get_terminal_size` is not used, because the import of `shutil` is slow.
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (AttributeError, OSError, ValueError):
        return 80


def _table(entries: Mapping[str, str], width: int) -> Iterator[str]:
    """Yield the lines of a two-column table of names and descriptions."""
    column = 2 + max(map(len, entries)) + 2
    for name, description in entries.items():
        start = f"  {name}".ljust(column)
        yield from wrap(
            description, width, initial_indent=start, subsequent_indent=" " * column
        )


def _wrap(text: str, width: int) -> list[str]:
    return wrap(text, width, initial_indent="  ", subsequent_indent="  ")
