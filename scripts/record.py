"""Recorded sessions of the documentation: run their commands, and renew their output.

    .venv/bin/python scripts/record.py           # renew docs/sessions.md
    .venv/bin/python scripts/record.py --check   # print the differences, if any

The commands after `$ ` in the page run in order, on `local:`, in the home directory of
a new user, at a terminal of 80 columns.  If a command asks a question, the answer is
taken from the page.  The lines after `>>> ` are the cells of a notebook.  The test
`tests/project/test_sessions.py` runs the check.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import difflib
import getpass
import inspect
import io
import math
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from tej.cli import progress_bar
from tej.cli.main import main as run_tej

if TYPE_CHECKING:
    from tej.cli.top_screen import TopScreen

PAGE = Path(__file__).parents[1] / "docs" / "sessions.md"
ANSWER = re.compile(r"\[y/N\]: (\w+)$")
"""The end of a recorded line with a question, and the answer."""
CELL = ">>> "
"""The start of a cell of a notebook."""
PROMPTS = ("    $ ", f"    {CELL}")


class Terminal(io.BytesIO):
    """Standard input or output whose `isatty` returns true."""

    def isatty(self) -> bool:
        return True


class Notebook:
    """A notebook, whose cells are lines of Python and may contain `await`."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def run(self, cell: str) -> str:
        """Run a cell; return what it prints, and the text form of its value."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            value = self._evaluate(cell)
            if value is not None:
                print(str(value) if hasattr(value, "_repr_pretty_") else repr(value))
        return output.getvalue()

    def _evaluate(self, cell: str) -> object:
        try:
            ast.parse(cell, mode="eval")
            mode = "eval"
        except SyntaxError:
            mode = "exec"
        code = compile(cell, "cell", mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        value = eval(code, self.names)
        if not inspect.iscoroutine(value):
            return value
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(value)
        finally:
            loop.close()


def show_top(app: TopScreen) -> None:
    """Print the screen of `tej top` when it has the jobs and the output of a job.

    Empty lines are left out.
    """

    async def show() -> list[str]:
        async with app.run_test(size=(80, 24)) as pilot:
            # The check fails, instead of running forever, if the output never comes.
            for _ in range(3000):
                strips = app.screen._compositor.render_strips()
                text = "\n".join(strip.text for strip in strips)
                cells = app.table.get_row_at(0) if app.table.row_count else []
                # The widths of the columns are set some time after the rows.
                wanted = ["Quit", *map(str, cells)]
                if cells and app.output.lines and all(one in text for one in wanted):
                    break
                await pilot.pause(0.02)
            return text.splitlines()

    lines = [line.rstrip() for line in asyncio.run(show())]
    for thread in threading.enumerate():
        # The requests of these threads must end before the next command runs.
        if thread.name == "tej top":
            thread.join()
    print("\n".join(filter(None, lines)))


class Session:
    """The home directory of a user, in which the commands of a page run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home
        self.notebook = Notebook()

    def run(self, command: str, answers: list[str]) -> str:
        """Run one command or cell; return its output."""
        words = [] if command.startswith(CELL) else shlex.split(command)
        if not words:
            os.chdir(self.folder)
            output = self.notebook.run(command.removeprefix(CELL))
        elif words[0] == "cd":
            self.folder = self.folder / words[1]
            output = ""
        elif words[0] == "tej":
            output = self._run_tej(words[1:], answers)
        else:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            output = done.stdout
        for name, text in (
            (str(self.home), "/home/me"),
            (f"{getpass.getuser()}@{socket.gethostname()}", "me@laptop"),
        ):
            output = output.replace(name, text)
        host = re.escape(socket.gethostname().partition(".")[0])
        return re.sub(rf"\b{host}\b", "vm", output)

    def _run_tej(self, words: list[str], answers: list[str]) -> str:
        """Run a command of tej in this process, which is faster than a new process."""
        seen = Terminal()
        screen = io.TextIOWrapper(seen, encoding="utf-8", write_through=True)
        typed = Terminal("".join(f"{one}\n" for one in answers).encode())
        keyboard = sys.stdin
        os.chdir(self.folder)
        try:
            sys.stdin = io.TextIOWrapper(typed, encoding="utf-8")
            with (
                contextlib.redirect_stdout(screen),
                contextlib.redirect_stderr(screen),
                contextlib.suppress(SystemExit),
                # On a slow machine, the bar would leave its line in the output.
                mock.patch.object(progress_bar, "SHOW_DELAY", math.inf),
                replace_screen() if words[0] == "top" else contextlib.nullcontext(),
            ):
                run_tej(words)
        finally:
            sys.stdin = keyboard
        text = seen.getvalue().decode()
        # At a real terminal, the terminal echoes the user's answer.
        for answer in answers:
            text = text.replace("[y/N]: ", f"[y/N]: {answer}\n", 1)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\a", "", text)
        # The line that counts jobs is overwritten by the lines that follow it.
        return re.sub(r"^.*\r(?!\n)", "", text, flags=re.M)


def replace_screen() -> contextlib.AbstractContextManager[object]:
    """Return a context in which `tej top` prints its screen once and ends."""
    # The module is imported here, because its packages are not always installed.
    from tej.cli.top_screen import TopScreen

    return mock.patch.object(TopScreen, "run", show_top)


def prepare(home: Path) -> dict[str, str]:
    """Return the environment of a new user whose home directory is `home`."""
    kept = ("PATH", "TMPDIR", "SLURM_CONF", "TEST_SCRIPTS", "PYTHONPATH")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(home),
        "COLUMNS": "80",
        "LINES": "24",
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }


def is_output(lines: list[str]) -> bool:
    """Return whether the first line is output of a command; it may be an empty line."""
    shown = next((line for line in lines[:2] if line), "")
    return shown.startswith("    ") and not shown.startswith(PROMPTS)


def record(page: str, home: Path) -> Iterator[str]:
    """Yield the lines of the page, with the output that its commands have now.

    The process must have the environment that `prepare` returns.
    """
    session = Session(home)
    lines = page.splitlines()
    while lines:
        line = lines.pop(0)
        yield line
        if not line.startswith(PROMPTS):
            continue
        old = []
        while is_output(lines):
            old.append(lines.pop(0))
        answers = [found[1] for one in old if (found := ANSWER.search(one))]
        command = line.strip().removeprefix("$ ")
        for shown in session.run(command, answers).splitlines():
            yield f"    {shown}".rstrip()


def normalize(text: str) -> str:
    """Return a page without the parts that depend on the machine and its speed."""
    for pattern, constant in (
        (r"^    Job is (created|queued).*\n", ""),
        # The frame and the keys of `tej top` depend on the version of textual.
        (r"^.*(─|\bq Quit).*\n", ""),
        (r"\d+ (s|min|h) ago", "N s ago"),
        (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "DATE"),
        (r"\b\d+:\d\d\b", "0:00"),
        (r"\b\d+(\.\d+)? [kM]?B\b", "N kB"),
        (r" +", " "),
    ):
        text = re.sub(pattern, constant, text, flags=re.M)
    # Jobs that run at the same time end in any order.
    return re.sub(r"(?:^.*\bsig-[0-9a-f]{3,}.*\n)+", sort_lines, text, flags=re.M)


def sort_lines(match: re.Match[str]) -> str:
    """Return the lines of a match, in sorted order."""
    return "".join(sorted(match[0].splitlines(keepends=True)))


def compare(old: str, new: str) -> str:
    """Return the differences of two pages, except differences between machines."""
    lines = [normalize(text).splitlines() for text in (old, new)]
    return "\n".join(difflib.unified_diff(*lines, "page", "now", lineterm="", n=1))


def main() -> int:
    """Renew or check the page; return the exit status."""
    old = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder).resolve()
        environment = prepare(home)
        os.environ.clear()
        os.environ.update(environment)
        new = "\n".join(record(old, home)) + "\n"
        os.chdir("/")
    if "--check" in sys.argv[1:]:
        differences = compare(old, new)
        sys.stdout.write(differences and f"{differences}\n")
        return 1 if differences else 0
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
