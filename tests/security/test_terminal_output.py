"""Text from a hostile server is shown escaped; job output is copied unchanged."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

import click
import pytest

import tej
from tej.cli import main, output, progress_bar
from tej.cli.main import tej as group
from tej.cli.password_prompt import ask_for_secret
from tej.cli.table_output import print_lines, print_table
from tej.job.escaping import escape
from tej.job.table_columns import JobTable
from tej.queue.logs import Piece

# The text sets the window title, clears the screen, moves the cursor up, and writes
# right to left.
EVIL = "\x1b]0;title\x07\x1b[2J\r\x9b1A\u202eevil\x7f"
OBEYED = ("\x1b", "\x07", "\r", "\x9b", "\u202e", "\x7f")


def assert_harmless(shown: str) -> None:
    assert [one for one in OBEYED if one in shown] == []
    assert "evil" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é✓", "plain é✓"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("back\x08space", "back\\x08space"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udce9", "\\udce9"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_newline_in_a_status_is_no_new_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_line("Job is running; x\nJob is finished (0:00)")
    assert capsys.readouterr().out.count("\n") == 1


def test_status_with_hostile_facts_is_harmless(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = tej.JobStatus(
        "a", tej.JobState.LOST, PurePosixPath("/q"), evidence=EVIL, note=EVIL, host=EVIL
    )
    report = output.JobReport(as_json=False)
    report.add("a", job, job.describe())
    report.add("b", None, error=tej.JobNotFound(f"No job 'b'\n{EVIL}"))
    report.finish()
    done = capsys.readouterr()
    assert_harmless(done.out)
    assert_harmless(done.err)


def test_list_with_hostile_ids_is_harmless(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    state, place = tej.JobState.RUNNING, PurePosixPath("/q")
    jobs = [tej.JobStatus(EVIL, state, place, host=EVIL, name=EVIL)]
    print_lines(jobs, None)
    assert_harmless(capsys.readouterr().out)
    print_table(JobTable(jobs))
    assert_harmless(capsys.readouterr().out)


def test_markup_in_ids_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    state, place = tej.JobState.RUNNING, PurePosixPath("/q")
    print_table(JobTable([tej.JobStatus("[red]a", state, place, name="[/b]")]))
    shown = capsys.readouterr().out
    assert "[red]a" in shown
    assert "[/b]" in shown


def test_error_from_the_server_is_harmless(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise tej.RemoteCommandFailure(EVIL, "list", 1)

    monkeypatch.setattr(tej.RemoteQueue, "jobs", fail)
    with pytest.raises(SystemExit):
        main(["list", "local:"])
    assert_harmless(capsys.readouterr().err)


def test_verbose_log_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("tej")
    before = logger.handlers[:], logger.level
    try:
        assert group.callback is not None
        group.callback(verbose=2)
        logging.getLogger("tej.server").info("%s", EVIL)
    finally:
        logger.handlers[:], logger.level = before[0], before[1]
    assert_harmless(capsys.readouterr().err)


def test_login_prompt_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def prompt(text: str, **_: object) -> str:
        asked.append(text)
        return "secret"

    monkeypatch.setattr(click, "prompt", prompt)
    assert ask_for_secret(f"(server) {EVIL}\nPassword for me@home: ") == "secret"
    assert_harmless(asked[0])
    first, second = asked[0].splitlines()
    assert first.startswith("(server) ")
    assert second == "| Password for me@home"


def test_job_output_is_copied_as_it_is(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    output.write_piece(Piece("_stdout", EVIL.encode()))
    assert capfdbinary.readouterr().out == EVIL.encode()


def test_progress_bar_label_is_escaped(tmp_path: Path) -> None:
    assert_harmless(progress_bar.TransferBar(f"Downloading {EVIL}")._label)
