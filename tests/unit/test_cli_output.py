"""Messages of the command line at a terminal, and after the output of a job."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tej.cli import output
from tej.cli.download import print_written
from tej.queue.logs import Piece


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def terminal() -> Iterator[Terminal]:
    """Connect stdout and stderr to one terminal, which keeps what is printed."""
    screen = Terminal()
    text = io.TextIOWrapper(screen, encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield screen
    # Without detach(), the garbage collector would close the screen.
    text.detach()


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"50 %\r100 %", b"50 %\r100 %\nJob is finished\nBye\n"),
        (b"done\n", b"done\nJob is finished\nBye\n"),
    ],
)
def test_message_starts_on_a_new_line(data: bytes, seen: bytes) -> None:
    with terminal() as screen:
        output.write_piece(Piece("_stdout", data))
        output.say_line("Job is finished", err=True)
        output.say("Bye")
    assert screen.getvalue() == seen


def test_download_prints_files_for_a_person() -> None:
    with terminal() as screen:
        print_written([Path("out/1/a.csv")])
        print_written([Path("out/1/a.csv"), Path("out/2/a.csv")])
        print_written([])
    assert screen.getvalue().decode().splitlines() == [
        f"Downloaded {Path('out/1/a.csv')}",
        "Downloaded 2 files to out",
        "Downloaded 0 files",
    ]
