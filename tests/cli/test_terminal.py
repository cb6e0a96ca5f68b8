"""Output at a terminal, compared with output to a pipe."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest
from jobs import Gate

import tej
from tej.cli.download import print_written

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]


def test_list_in_pipe_has_one_line_per_job(
    client: Command, queue_path: Path, ended: str, waiting: str
) -> None:
    done = client("list", "local:", "--queue", queue_path)
    assert done.stdout == "ended finished 0\nwaiting running\n"


def test_selected_columns_in_pipe_are_exact(
    client: Command, queue_path: Path, ended: str
) -> None:
    words = ("list", "local:", "--queue", queue_path, "--columns")
    assert client(*words, "id,exit,name").stdout == "ended\t0\tended job\n"
    wrong = client(*words, "job,stat")
    assert wrong.status == 2
    assert "did you mean 'state'?" in wrong.stderr


def test_list_on_terminal_is_coloured_table(
    client: Command,
    queue_path: Path,
    library: tej.RemoteQueue,
    job: Make,
    ended: str,
    waiting: str,
) -> None:
    library.job(library.submit("wrong", job("exit 3", name="wrong"))).wait()
    done = client.on_terminal("list", "local:", "--queue", queue_path)
    head, *rows = done.stdout.splitlines()
    assert "\x1b[1mjob\x1b[0m" in head
    assert {row.split()[0] for row in rows} == {"ended", "waiting", "wrong"}
    by_id = {row.split()[0]: row for row in rows}
    assert "\x1b[31mfinished\x1b[0m  \x1b[31m3\x1b[0m" in by_id["wrong"]
    assert "\x1b[32mrunning\x1b[0m" in by_id["waiting"]
    assert "\x1b" not in by_id["ended"]
    assert " s ago " in by_id["ended"]


def test_download_to_current_directory_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    print_written([Path("a"), Path("b")])
    assert capsys.readouterr().err == "Downloaded 2 files to .\n"


def test_list_is_updated_until_interrupted(
    client: Command, queue_path: Path, waiting: str, gate: Gate
) -> None:
    words = client.words("list", "local:", "--queue", queue_path, "--watch")
    child = pexpect.spawn(
        words[0],
        words[1:],
        env=client.environment,
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 80),
    )
    child.expect("0/1 done, 1 running")
    gate.open()
    child.expect("1/1 done")
    child.sendintr()
    child.expect(r"waiting\s+finished\s+0")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert client(*words[3:]).status == 2


def test_wait_counts_jobs_at_a_terminal(
    client: Command, queue_path: Path, ended: str, waiting: str, gate: Gate
) -> None:
    words = client.words(
        *("wait", "local:", "--queue", queue_path, "--id", ended, "--id", waiting)
    )
    child = pexpect.spawn(
        words[0], words[1:], env=client.environment, encoding="utf-8", timeout=60
    )
    child.expect("1/2 done, 1 running")
    gate.open()
    # The counts are removed before the line of a job.
    child.expect(r"\r +\r(ended|waiting): Job is finished")
    child.expect("2/2 done\r\n")
    child.expect(pexpect.EOF)


def test_empty_list_on_terminal_prints_a_message(
    client: Command, queue_path: Path, library: tej.RemoteQueue
) -> None:
    library.setup()
    assert (
        client.on_terminal("list", "local:", "--queue", queue_path).stdout
        == "No jobs\n"
    )


def test_id_is_shortened_on_narrow_terminal(
    client: Command, queue_path: Path, library: tej.RemoteQueue, job: Make
) -> None:
    job_id = "simulation_of_something_somebody_1234567890"
    library.submit(job_id, job("true"), name="a name that takes some room, too")
    client.environment.pop("COLUMNS", None)
    done = client.on_terminal("list", "local:", "--queue", queue_path, columns=60)
    *_, row = done.stdout.splitlines()
    assert len(re.sub(r"\x1b\[[0-9]+m", "", row)) <= 60
    assert job_id.startswith(row.split()[0])
    wide = client.on_terminal("list", "local:", "--queue", queue_path, columns=150)
    assert job_id in wide.stdout


@pytest.mark.parametrize(
    "name", ["[/bold]", "[red]x", ":smile:", "\x1b[31mred", "new\nline", "\udce9", "é✓"]
)
def test_hostile_name_is_shown_escaped(
    client: Command, queue_path: Path, library: tej.RemoteQueue, job: Make, name: str
) -> None:
    library.submit("named", job("true"), name=name)
    done = client.on_terminal("list", "local:", "--queue", queue_path, columns=120)
    assert done.status == 0
    assert "\x1b[31m" not in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.strip()]) == 2
    if name.isprintable():
        assert name in done.stdout


def test_short_transfer_shows_no_progress_bar(
    client: Command, plain_queue: Path, job: Make
) -> None:
    job("true", {"data": b"x" * 100_000})
    done = client.on_terminal(
        "submit", "local:", "--queue", plain_queue, "--id", "a", "job"
    )
    assert done.stdout == "Job submitted as:\na\n"


SLOW = """
import sys, time
from tej.cli import progress_bar
progress_bar.SHOW_DELAY = 0.0
with progress_bar.TransferBar("Uploading", 100) as bar:
    for _ in range(8):
        bar(25)
"""


def test_progress_bar_is_shown_only_on_terminal(client: Command) -> None:
    words = client.words()
    done = subprocess.run(
        [words[0], "-c", SLOW], env=client.environment, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_long_transfer_shows_progress_bar(
    client: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = client.words()
    monkeypatch.setattr(client, "words", lambda: [words[0], "-c", SLOW])
    done = client.on_terminal()
    assert done.status == 0
    assert "Uploading" in done.stdout
    # The archive may be larger than its files.
    assert "200/200 bytes" in done.stdout
    assert "200/100 bytes" not in done.stdout


# Shell completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(client: Command, shell: str) -> None:
    done = client("completion", shell)
    assert done.status == 0
    assert "_TEJ_COMPLETE" in done.stdout
    assert f"tej completion {shell}" in client("completion", "--help").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_loads_in_its_shell(
    client: Command, shell: str, require: Callable[[str], None]
) -> None:
    require(shell)
    source = client("completion", shell).stdout
    done = subprocess.run(
        [shell, "-n"],
        input=source,
        capture_output=True,
        text=True,
        env=client.environment,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_commands_and_options(
    client: Command, require: Callable[[str], None]
) -> None:
    require("bash")
    own = {"_TEJ_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    assert client(**own, COMP_WORDS="tej st").stdout == "plain,status\n"
    own["COMP_CWORD"] = "2"
    assert "plain,--queue\n" in client(**own, COMP_WORDS="tej status --q").stdout
    own["COMP_CWORD"] = "3"
    assert "dir,sim\n" in client(**own, COMP_WORDS="tej run server sim").stdout
    assert "plain,slurm\n" in client(**own, COMP_WORDS="tej setup -r sl").stdout


def test_jobs_and_hosts_are_completed(
    client: Command, queue_path: Path, ended: str, waiting: str
) -> None:
    own = {"_TEJ_COMPLETE": "bash_complete", "TEJ_QUEUE": str(queue_path)}
    first = client(**own, COMP_WORDS="tej status ", COMP_CWORD="2").stdout
    assert {"plain,local:", "plain,server"} <= set(first.splitlines())
    assert "ended" not in first
    second = client(**own, COMP_WORDS="tej status local: e", COMP_CWORD="3")
    assert second.stdout == "plain,ended\n"
    by_id = client(**own, COMP_WORDS="tej ls local: --id w", COMP_CWORD="4")
    assert by_id.stdout == "plain,waiting\n"
    files = client(**own, COMP_WORDS="tej cat local: ended _std", COMP_CWORD="4")
    assert files.stdout == "plain,_stderr\nplain,_stdout\n"
    own["TEJ_DESTINATION"] = "local:"
    default = client(**own, COMP_WORDS="tej shell ", COMP_CWORD="2").stdout
    assert {"plain,ended", "plain,waiting"} <= set(default.splitlines())


BASH = """\
compopt() { printf '%s\\n' "$*"; }
COMP_LINE=$1 COMP_POINT=${#1}
eval "$(tej completion bash)"
_tej_completion tej "$2" ''
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def program(client: Command, queue_path: Path, ended: str) -> None:
    """Install `tej` in the search path of a shell, with a profile, a host and a job."""
    folder = client.place / "bin"
    folder.mkdir()
    (folder / "tej").write_text(f'#!/bin/sh\nexec {client.words()[0]} -m tej "$@"\n')
    (folder / "tej").chmod(0o755)
    client.environment["PATH"] = f"{folder}:{client.environment['PATH']}"
    (client.place / "tej.toml").write_text(
        'default = "here"\n[profile.here]\ndestination = "local:"\n'
        f"queue = '{queue_path}'\n"
    )


@pytest.mark.parametrize(
    ("line", "part", "found"),
    [
        ("tej run ser", "ser", "-o plusdirs server"),
        # bash treats the characters @ and : as ends of words.
        ("tej list me@ser", "ser", "server"),
        ("tej list loca", "loca", "local:"),
        ("tej logs local: --queue '{queue}' en", "en", "ended"),
    ],
)
def test_bash_completes_jobs_and_destinations(
    client: Command,
    queue_path: Path,
    program: None,
    require: Callable[[str], None],
    line: str,
    part: str,
    found: str,
) -> None:
    require("bash")
    words = ["bash", "-c", BASH, "bash", line.replace("{queue}", str(queue_path)), part]
    seen = subprocess.check_output(
        words, cwd=client.place, env=client.environment, text=True
    )
    assert seen.split() == found.split()


def test_fish_completes_jobs_and_profiles(
    client: Command, program: None, require: Callable[[str], None]
) -> None:
    require("fish")
    script = (
        "tej completion fish | source; complete -C 'tej logs en'; "
        "complete -C 'tej list -p he'; complete -C 'tej list me@ser'"
    )
    seen = subprocess.check_output(
        ["fish", "-N", "-c", script],
        cwd=client.place,
        env=client.environment,
        text=True,
    )
    names = [line.split("\t")[0] for line in seen.splitlines()]
    assert names == ["ended", "here", "me@server"]


def test_zsh_completes_jobs_and_profiles(
    client: Command, program: None, require: Callable[[str], None]
) -> None:
    require("zsh")
    child = pexpect.spawn(
        "zsh",
        ["-f"],
        cwd=client.place,
        env=client.environment | {"TERM": "dumb"},
        encoding="utf-8",
        timeout=60,
    )
    child.sendline("autoload -U compinit; compinit -u -D")
    child.sendline('eval "$(tej completion zsh)"; echo rea""dy')
    child.expect("ready")
    for typed, found in (("logs en", "logs ended "), ("list -p he", "list -p here ")):
        child.send(f"tej {typed}\t")
        child.expect_exact(f"tej {found}")
        child.send("\x15")
    child.sendline("exit")
    child.expect(pexpect.EOF)
    child.close()


def test_destroy_asks_at_a_terminal(
    client: Command, queue_path: Path, ended: str, library: tej.RemoteQueue
) -> None:
    words = [*client.words("destroy", "local:", "--queue", queue_path)]
    child = pexpect.spawn(
        words[0], words[1:], env=client.environment, encoding="utf-8", timeout=60
    )
    child.expect(
        r"with 1 job \(.*B, 1 not yet downloaded\), results included\? \[y/N\]"
    )
    child.sendline("")
    child.expect("Nothing was removed")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert library.status(ended).succeeded
