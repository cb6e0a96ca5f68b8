"""Messages of the command line at a terminal, and after the output of a job."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from statuses import job

from tej.cli import output, prune
from tej.cli.download import print_written
from tej.cli.dry_run import print_files, print_server_plan
from tej.cli.job_tree import print_tree
from tej.queue.dry_run import ServerPlan
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


def test_plan_of_the_server_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_server_plan(ServerPlan())
    plan = ServerPlan(
        job("a"), "slurm", ["--mem=1"], ["-t", "1 2"], ["#!/bin/sh", "x"], "no account"
    )
    print_server_plan(plan)
    print_files([], 1500)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == ("Runtime:      unknown, because the queue does not exist yet")
    assert out[1].startswith("Exists:       Job")
    assert out[2:] == [
        "Runtime:      slurm",
        "Directive:    --mem=1",
        "Scheduler:    -t '1 2'",
        "Batch script: #!/bin/sh",
        "              x",
        "Refused:      no account",
        "Sent:         0 files, 1.5 kB",
    ]


def test_tree_is_drawn_in_the_encoding_of_stdout() -> None:
    jobs = [job("a"), job("b", "queued", after=("a",), name="B")]
    drawn = {}
    for encoding in ("utf-8", "ascii"):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
        with contextlib.redirect_stdout(stdout):
            print_tree(jobs)
        stdout.flush()
        drawn[encoding] = stdout.buffer.getvalue().decode(encoding).splitlines()
    assert drawn == {
        "utf-8": ["a finished", "└─ b queued B"],
        "ascii": ["a finished", "`- b queued B"],
    }


def test_declined_deletion_is_no_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "is_confirmed", lambda *_: False)
    queue: Any = None
    assert prune.prune(queue, [job("a")], ask=True, as_json=False) == 1
    assert capsys.readouterr() == ("", "Nothing was deleted\n")
