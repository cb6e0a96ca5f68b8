"""Messages of the command line at a terminal, and after the output of a job."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from clocks import SimulatedTime
from statuses import NOW, job

from tej import RemoteQueue, errors
from tej.cli import dry_run, output, progress_bar, prune, results, sweep, wait
from tej.cli.confirm_deletion import describe_loss
from tej.cli.connect import clock_time, print_login
from tej.cli.download import print_skipped, print_written
from tej.cli.dry_run import print_files, print_server_plan
from tej.cli.job_selection import SelectedJobs
from tej.cli.job_tree import print_tree
from tej.cli.list import print_json, print_totals
from tej.cli.live_table import screen_lines
from tej.cli.logs import print_several, print_texts
from tej.cli.ls import as_line
from tej.cli.progress_bar import TransferBar
from tej.cli.retry import report_outcomes
from tej.cli.run import print_delay
from tej.cli.status import print_old_words
from tej.cli.table_output import print_lines
from tej.cli.top_requests import read_lines
from tej.job.directory import Entry
from tej.job.spec import JobSpec
from tej.job.summary import summarize
from tej.job.table_columns import JobTable
from tej.queue.dry_run import ServerPlan
from tej.queue.job_files import JobFile
from tej.queue.logs import LineSplitter, Piece
from tej.queue.queue_requests import DiskUsage
from tej.queue.submission import Outcome
from tej.transport.openssh_login import Login


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


def test_plan_of_an_unreachable_server_is_incomplete(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise errors.ConnectionFailed("no network")

    monkeypatch.setattr(dry_run, "plan_on_server", fail)
    queue = RemoteQueue("lab", "/q")
    spec = JobSpec(files={"start.sh": "true"})
    dry_run.print_plan(queue, spec, is_signed=True, as_json=False)
    said = capsys.readouterr()
    assert "/q on " in said.out
    assert said.err == "The server cannot be reached: no network\n"
    dry_run.print_plan(queue, spec, is_signed=True, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["server_error"]["message"] == "no network"


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


def test_loss_is_described_by_number_and_size() -> None:
    assert describe_loss([job("a", downloaded=NOW)], {"a": 5}) == "1 job (5 B)"
    jobs = [job("a"), job("b", "running"), job("c", "queued")]
    assert describe_loss(jobs, {"a": 1000, "b": 500, "x": 9}) == (
        "3 jobs (1.5 kB, 1 not yet downloaded, 2 not ended)"
    )


def test_login_says_when_the_connection_closes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    login = Login("me@host:22", new=True, own=True, socket=Path("s"), persist="600")
    print_login(login)
    said = capsys.readouterr().err
    assert said.startswith("Connected to me@host:22\nIf the connection is not used")
    assert "(after 600 s). Each use extends this time; `tej disconnect`" in said
    print_login(replace(login, new=False))
    assert capsys.readouterr().err == "Already connected to me@host:22\n"
    print_login(replace(login, own=False, persist="8h"))
    said = capsys.readouterr().err
    assert "Your own ssh configuration keeps this connection open" in said
    assert "(after 8h). Each use extends this time.\n" in said
    now = datetime.now().astimezone()
    assert clock_time(now) == now.strftime("%H:%M")
    then = now + timedelta(1)
    assert clock_time(then) == then.strftime("%Y-%m-%d %H:%M")


def test_texts_of_jobs_are_printed_one_by_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fetch(job_id: str) -> bytes:
        if job_id == "x":
            raise errors.JobNotFound("No job x")
        return b"text \xff\n\n" if job_id == "a" else b""

    def run(*ids: str, as_json: bool = False, **facts: bool) -> int:
        jobs = SelectedJobs(ids, **facts)  # type: ignore[arg-type]
        return print_texts(fetch, jobs, "key", "Nothing from", as_json)

    assert run("a") == 0
    assert capsys.readouterr() == ("text \ufffd\n", "")
    assert run("b", was_searched=True) == 0
    assert capsys.readouterr() == ("", "==> b <==\nNothing from 'b'\n")
    assert run("a", "x", "a") == 3
    said = capsys.readouterr()
    assert said == ("text \ufffd\n", "==> a <==\n==> x <==\nNo job x\n")
    assert run("b", by_filter=True) == 0
    assert "==> b <==" in capsys.readouterr().err
    with pytest.raises(errors.JobNotFound):
        run("x")
    assert run("a", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"id": "a", "key": "text \ufffd"}
    assert run("a", "x", as_json=True) == 3
    first, second = json.loads(capsys.readouterr().out)["jobs"]
    assert first == {"id": "a", "key": "text \ufffd", "error": None}
    assert (second["key"], second["error"]["kind"]) == (None, "JobNotFound")


def test_output_of_several_jobs_has_the_worst_status(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    class Reader:
        positions = ("_stdout",)

        def read(self, take: Any) -> None:
            take(Piece("_stdout", b"out\n"))

    class Missing(Reader):
        def read(self, take: Any) -> None:
            raise errors.JobNotFound("No job x")

    readers: Any = {"a": Reader()}
    jobs = SelectedJobs(("a", "x"))
    assert print_several(readers, jobs, as_json=False) == 0
    assert capfdbinary.readouterr() == (b"out\n", b"==> a <==\n")
    readers["x"] = Missing()
    assert print_several(readers, jobs, as_json=False) == 3
    assert capfdbinary.readouterr().err == b"==> a <==\n==> x <==\nNo job x\n"
    assert print_several(readers, jobs, as_json=True) == 3
    first, second = json.loads(capfdbinary.readouterr().out)["jobs"]
    assert first == {"id": "a", "files": {"_stdout": "out\n"}, "error": None}
    assert (second["files"], second["error"]["kind"]) == (None, "JobNotFound")


def test_tree_names_three_further_needs(capsys: pytest.CaptureFixture[str]) -> None:
    needs = ("a", "b", "c", "d", "e", "f")
    jobs = [*map(job, needs), job("z", after=needs), job("y", after=needs[:4])]
    print_tree([replace(one, name=one.job_id) for one in jobs])
    said = [line for line in capsys.readouterr().out.splitlines() if "also" in line]
    assert sorted(line.partition("(")[2] for line in said) == [
        "also after b, c, d and 2 more)",
        "also after b, c, d)",
    ]


def test_live_table_fits_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "4")
    monkeypatch.setenv("NO_COLOR", "1")
    head = "3 finished, at 12:00, of a queue"
    lines = screen_lines(JobTable([*map(job, "abc")], ["job"]), head)
    assert lines == ["3 finished, at 12:00", "job", "a", "... and 2 more"]
    lines = screen_lines(JobTable([*map(job, "ab")], ["job"]), head)
    assert [line.strip() for line in lines[1:]] == ["job", "a", "b"]
    assert screen_lines(JobTable([]), "none") == ["none", "No jobs"]


def test_listed_file_has_size_and_target() -> None:
    assert [
        as_line(JobFile(name, kind, size, target))
        for name, kind, size, target in (
            ("a", "file", 1500, None),
            ("d", "directory", 4096, None),
            ("l", "link", 1, "a"),
        )
    ] == ["   1.5 kB  a", "           d/", "      1 B  l -> a"]


def test_results_are_columns_with_distinct_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = {
        "aa1": job("aa1", parameters={"SEED": "1"}),
        "aa2": job("aa2", "running", parameters={"LR": "x,y"}),
    }
    values = {"aa1": {"loss": "0.5", "state": "good", "long": "v" * 30}}
    rows = results.make_rows(jobs, values)
    assert rows == [
        ["job", "state", "SEED", "LR", "loss", "result.state", "long"],
        ["aa1", "finished", "1", "", "0.5", "good", "v" * 30],
        ["aa2", "running", "", "x,y", "", "", ""],
    ]
    assert results.as_csv_text(rows).splitlines()[2] == 'aa2,running,,"x,y",,,'
    monkeypatch.setenv("COLUMNS", "47")
    results.print_rows(rows, jobs)
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "job  state     SEED  LR   loss  result.state",
        "aa1  finished  1          0.5   good",
        "aa2  running         x,y",
    ]
    assert said.err == "1 more columns: use --csv or --json\n"
    results.print_rows([row[:2] for row in rows], jobs)
    assert capsys.readouterr().err == ""


def test_plot_needs_numbers_in_two_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        ["job", "state", "X", "Y"],
        ["a", "finished", "1", "2"],
        ["b", "q", "3", ""],
    ]
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("LINES", "12")
    results.plot(rows, ("X", "Y"), None)
    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), lines[0], sum(line.count("*") for line in lines)) == (9, "Y", 1)
    with pytest.raises(click.UsageError, match="no column 'Z'; use X, Y"):
        results.plot(rows, ("X", "Z"), None)
    with pytest.raises(click.UsageError, match="no job has numbers in X and state"):
        results.plot(rows, ("X", "state"), None)


def test_only_a_single_result_file_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for listed in ((), ("a", "b"), ("*.csv",), ("a?",), ("[ab]",)):
        profile = {"results": listed}
        monkeypatch.setattr(results, "current_profile", lambda profile=profile: profile)
        with pytest.raises(click.UsageError):
            results.only_result()
    monkeypatch.setattr(results, "current_profile", lambda: {"results": ("a.json",)})
    assert results.only_result() == "a.json"


def test_retried_jobs_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job("a", "killed"), job("b", "killed"), job("c", "killed")]
    outcomes = [
        Outcome("a", job("a", "queued"), is_new=True),
        Outcome("b2", job("b2", "queued"), is_new=False),
        Outcome("c", None, is_new=True, error=errors.JobStillRunning("c runs")),
    ]
    report = output.JobReport(as_json=False)
    report_outcomes(report, jobs, outcomes, only_ids=False)
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "Job 'a' started again",
        "Job 'b' found as 'b2': Job is queued",
    ]
    assert (said.err, report.finish()) == ("c runs\n", 5)
    report_outcomes(output.JobReport(False), jobs[:2], outcomes[:2], only_ids=True)
    assert capsys.readouterr().out == "a\nb2\n"
    report = output.JobReport(as_json=True)
    report_outcomes(report, jobs, outcomes, only_ids=True)
    assert capsys.readouterr() == ("", "")
    report.finish()
    documents = json.loads(capsys.readouterr().out)["jobs"]
    assert [(one["retried"], one["is_new"]) for one in documents] == [
        *(("a", True), ("b", False), ("c", True)),
    ]


def test_outcomes_of_a_sweep_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"A": "1", "B": "x"}, {"A": "2", "B": "x"}, {"A": "3", "B": "x"}]
    refused = errors.JobAlreadyExists("no")
    outcomes = [
        Outcome("a", is_new=True),
        Outcome("b"),
        Outcome("c", is_new=True, error=refused),
    ]
    assert sweep.report(rows, outcomes, as_json=False) == 4
    assert capsys.readouterr() == (
        "a\nb\n",
        "A=3 B=x: no\n1 job submitted, 1 found, 1 refused\n",
    )
    assert sweep.report(rows[:1] * 2, [outcomes[0]] * 2, as_json=False) == 0
    assert capsys.readouterr().err == "2 jobs submitted, 0 found\n"
    assert sweep.report(rows, outcomes, as_json=True) == 4
    said = capsys.readouterr()
    documents = json.loads(said.out)["jobs"]
    assert [
        (one["id"], one["is_new"], one["parameters"]["A"]) for one in documents
    ] == [
        *(("a", True, "1"), ("b", False, "2"), ("c", True, "3")),
    ]
    assert said.err == ""
    with terminal() as screen:
        sweep.report(rows[:1], outcomes[:1], as_json=False)
    assert screen.getvalue() == b"a  A=1 B=x\n1 job submitted, 0 found\n"
    template = JobSpec(".", "run {A}")
    specs = [replace(template, script="run 1", parameters={"A": "1"}), template]
    sweep.print_plan(template, specs, as_json=False)
    assert capsys.readouterr() == (
        "A=1  run 1\n\n",
        "2 jobs would be submitted or found\n",
    )
    sweep.print_plan(template, specs[:1], as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "jobs": [{"parameters": {"A": "1"}, "command": "run 1"}]
    }


def test_old_words_know_two_states(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        *(job("a", "queued"), job("a", exit_code=2), job("a", "lost"), None),
    ]
    print_old_words(dict(enumerate(found)))  # type: ignore[arg-type]
    assert capsys.readouterr().out == "running\nfinished 2\nfinished 125\nnot found\n"


def test_lines_in_a_pipe_have_size_and_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = [job("a", exit_code=3), job("b", "running"), job("c", "killed", signal=9)]
    print_lines(jobs, {"a": 12})
    print_lines(jobs[:2], None)
    assert capsys.readouterr().out.splitlines() == [
        *("a finished 12 3", "b running 0", "c killed 0 137"),
        *("a finished 3", "b running"),
    ]
    print_json(jobs[:1], DiskUsage(99, 5, 4, {"a": 12}))
    document = json.loads(capsys.readouterr().out)
    assert document["jobs"][0]["size"] == 12
    assert document["disk_usage"] == {"total": 99, "store": 5, "attempts": 4}
    print_json(jobs[:1], None)
    document = json.loads(capsys.readouterr().out)
    assert "disk_usage" not in document
    assert "size" not in document["jobs"][0]


def test_end_of_a_wait_is_one_line() -> None:
    one = {"a": job("a", name="train", duration=61.0)}
    assert wait.describe_end(one) == "train: Job is finished (1:01)"
    assert wait.describe_end({"a": job("a", "lost", evidence="gone")}) == (
        "a: Job is lost: gone"
    )
    both = {**one, "b": job("b", "killed")}
    assert wait.describe_end(both) == summarize(both.values())


def test_wait_requests_the_states_of_pending_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []
    replies = {"b": job("b", "running"), "c": job("c")}
    time = SimulatedTime()

    def statuses(ids: list[str]) -> dict[str, Any]:
        asked.append(ids)
        if time.now > 10:
            raise errors.ConnectionFailed
        return {one: replies[one] for one in ids}

    queue: Any = SimpleNamespace(statuses=statuses)
    monkeypatch.setattr(wait, "time", time)
    known: dict[str, Any] = {"a": job("a"), "b": job("b", "queued"), "c": None}
    with terminal() as screen:
        progress = wait.Progress(queue, known)
        progress.update()
        first = screen.getvalue()
        progress.update()
        time.now = wait.POLL - 0.1
        progress.update()
        assert (asked, screen.getvalue()) == ([], first)
        time.now = wait.POLL
        progress.update()
        time.now = 2 * wait.POLL + 1
        progress.update()
        progress.finish()
    assert first.decode() == summarize([job("a"), job("b", "queued"), None])
    # The end of "c" counts only after its line was printed.
    assert asked == [["b", "c"], ["b", "c"]]
    assert (known["b"].state.value, known["c"]) == ("running", None)
    last = summarize(known.values())
    blank = f"\r{' ' * len(first)}\r"
    cleared = f"\r{' ' * len(last)}\r"
    seen = screen.getvalue().decode()
    assert seen == f"{first.decode()}{blank}{last}{cleared}{last}\n"
    silent = wait.Progress(queue, known)
    silent.update()
    silent.finish()


def test_progress_of_one_job_is_not_shown() -> None:
    queue: Any = None
    with terminal() as screen:
        progress = wait.Progress(queue, {"a": job("a")})
        progress.update()
        progress.finish()
    assert screen.getvalue() == b""


def test_transfer_bar_appears_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    time = SimulatedTime(100.0)
    updates: list[tuple[int, int | None]] = []

    class Bar:
        task_ids = (0,)

        def update(self, task: int, *, completed: int, total: int | None) -> None:
            updates.append((completed, total))

        def stop(self) -> None:
            updates.append((-1, None))

    monkeypatch.setattr(progress_bar, "time", time)
    monkeypatch.setattr(TransferBar, "_start", lambda _: Bar())
    with terminal():
        with TransferBar("x", 100) as bar:
            bar(10)
            time.now += progress_bar.SHOW_DELAY - 0.1
            bar(20)
            assert updates == []
            time.now += 0.1
            bar(30)
            bar(50)
        with TransferBar("x") as bar:
            bar(1)
            time.now += 2
            bar(1)
    assert updates == [(60, 100), (110, 110), (-1, None), (2, None), (-1, None)]
    with TransferBar("no terminal") as bar:
        bar(1)
        time.now += 2
        bar(1)
    assert (bar.done, len(updates)) == (2, 5)


def test_report_has_the_highest_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    report = output.JobReport(as_json=False)
    report.add("a", None, "Line\n1")
    report.add("b", None, error=errors.JobStillRunning("b runs"))
    report.add("c", None, error=errors.JobNotFound("no c"))
    assert report.finish() == 5
    assert capsys.readouterr() == ("Line\\n1\n", "b runs\nno c\n")
    assert output.JobReport(as_json=False).finish() == 0
    assert output.as_document("a", None, None, {"x": 1}) == {
        "id": "a",
        "x": 1,
        "error": None,
    }
    assert output.title("a", job("a", parameters={"A": "1", "B": "2"})) == "a (A=1 B=2)"
    assert (output.title("a", None), output.title("a", job("a"))) == ("a", "a")


def test_skipped_jobs_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    print_skipped([job("a", exit_code=1, duration=1.0)], 2)
    print_skipped([], 2)
    assert capsys.readouterr() == (
        "",
        "a skipped: Job is finished (0:01) with exit code 1\n1 of 3 jobs skipped\n",
    )


def test_plan_lists_twenty_files(capsys: pytest.CaptureFixture[str]) -> None:
    stat = os.stat_result((0o100644, 0, 0, 1, 0, 0, 1500, 0, 0, 0))
    files = [Entry(f"f{number}", Path("f"), stat) for number in range(22)]
    print_files(files[:1], 1500)
    print_files(files[:20], 1500)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["Sent:         1 file, 1.5 kB", "              f0 (1.5 kB)"]
    assert (len(lines), "more" in lines[-1]) == (23, False)
    print_files(files, 1500)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Sent:         22 files, 1.5 kB"
    assert lines[-2:] == ["              f19 (1.5 kB)", "              and 2 more"]


def test_delay_is_printed_before_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    for status in (None, job("a"), job("a", "running")):
        print_delay(status)
    assert capsys.readouterr() == ("", "")
    print_delay(job("a", "queued", note="busy"))
    print_delay(job("a", "created"))
    assert capsys.readouterr().err == "Job is queued; busy\nJob is created\n"


def test_new_lines_of_output_end_with_the_job() -> None:
    class Reader:
        def __init__(self) -> None:
            self.status: Any = None
            self.pieces: list[Piece] = []
            self.error: errors.Error | None = None

        def read(self, take: Any) -> None:
            for piece in self.pieces:
                take(piece)
            if self.error is not None:
                raise self.error

    reader: Any = Reader()
    splitters = {"_stdout": LineSplitter(), "_stderr": LineSplitter()}
    reader.pieces = [Piece("_stdout", b"a\r\n10%\r20%\rb"), Piece("_stderr", b"e\n")]
    assert read_lines(reader, splitters) == [
        *(("a", False), ("10%", False), ("20%", False), ("e", True)),
    ]
    reader.pieces, reader.status = [], job("a", "running")
    reader.error = errors.Error("lost")
    assert read_lines(reader, splitters) == [("lost", True)]

    def end(take: Any) -> None:
        reader.status = job("a")

    reader.read = end
    assert read_lines(reader, splitters) == [("b", False)]
    reader.read = None
    assert read_lines(reader, splitters) == []


def test_totals_are_no_part_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_totals(DiskUsage(jobs={}, total=3000, store=2000, attempts=1000))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "Total 3.0 kB, of which the content store 2.0 kB and archived attempts 1.0 kB\n"
    )
