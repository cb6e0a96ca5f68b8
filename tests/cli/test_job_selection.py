"""Selection of jobs by names and filters, in all commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs import wait_until

import tej

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Done

Here = Callable[..., "Done"]
Make = Callable[..., Path]


@pytest.fixture
def jobs(library: tej.RemoteQueue, job: Make, here: Here) -> list[str]:
    """Create two failed jobs and one successful job from two directories."""
    bad, good = job("exit 3", name="bad"), job("echo out", name="good")
    library.submit("train-1", bad, labels={"lr": "1"})
    library.submit("train-2", bad, labels={"lr": "2"})
    library.submit("plot", good)
    library.wait(["train-1", "train-2", "plot"])
    return ["train-1", "train-2", "plot"]


def test_prefix_name_and_position_find_jobs(here: Here, jobs: list[str]) -> None:
    done = here("status", "pl", "good", "train-2")
    first, second = done.stdout.splitlines()
    assert first.startswith("plot: Job is finished")
    assert second.startswith("train-2: Job is finished")
    assert second.endswith("with exit code 3")
    assert here("logs", "@").stdout == "out\n"
    assert here("logs", "@").stderr == "==> plot <==\n"
    assert here("wait", "train-1", "--json").json["jobs"][0]["id"] == "train-1"
    assert here("download", "plo", "_stdout", "--json").json["id"] == "plot"


def test_ambiguous_word_stops_the_command(
    here: Here, jobs: list[str], library: tej.RemoteQueue
) -> None:
    done = here("delete", "plot", "train")
    assert (done.status, done.stdout) == (1, "")
    assert "'train' matches 2 jobs" in done.stderr
    done = here("delete", "plot", "absent")
    assert (done.status, done.stdout) == (3, "")
    assert done.stderr.startswith("No job 'absent'\nIt was not found in queue ")
    assert "tej list local: --queue" in done.stderr
    assert len(library.jobs()) == 3


def test_without_a_job_the_latest_of_the_directory(
    here: Here, jobs: list[str], client: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (client.place / "tej.toml").rename(client.place.parent / "tej.toml")
    monkeypatch.chdir(client.place / "bad")
    (client.place / "bad" / "start.sh").unlink()
    assert here("status").stdout.startswith("train-2: ")
    elsewhere = client.place.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done = here("status")
    assert done.status == 3
    assert "No job of the directory 'elsewhere'" in done.stderr


def test_filters_select_jobs(here: Here, jobs: list[str]) -> None:
    def ids(*words: str) -> list[str]:
        return sorted(one["id"] for one in here(*words, "--json").json["jobs"])

    assert ids("status", "--failed") == ["train-1", "train-2"]
    assert ids("list", "--failed", "--running") == ["train-1", "train-2"]
    assert ids("wait", "--failed", "--label", "lr=2") == ["train-2"]
    assert ids("logs", "--state", "finished", "--since", "1h") == sorted(jobs)
    assert ids("download", "--label", "lr=1", "_stdout") == ["train-1"]
    assert ids("kill", "--all") == []
    assert ids("status", "--running") == []
    nothing = here("kill", "--failed")
    assert (nothing.status, nothing.stdout) == (0, "")
    assert "Jobs that match, but had already ended: 2" in nothing.stderr


def test_delete_of_all_jobs_needs_yes_in_scripts(
    here: Here, jobs: list[str], waiting: str, library: tej.RemoteQueue
) -> None:
    done = here("delete", "--failed")
    assert sorted(done.stdout.splitlines()) == [
        "Deleted job 'train-1'",
        "Deleted job 'train-2'",
    ]
    done = here("delete", "--all")
    assert done.status == 2
    assert "would delete 1 job (" in done.stderr
    done = here("delete", "--all", "--yes")
    assert (done.status, done.stdout) == (0, "Deleted job 'plot'\n")
    assert "kept: 1" in done.stderr
    assert [one.job_id for one in library.jobs()] == [waiting]
    assert here("kill", "--running").stdout == f"Job '{waiting}' killed\n"


def test_delete_and_prune_at_a_terminal_ask(
    client: Command, here: Here, jobs: list[str], library: tej.RemoteQueue
) -> None:
    seen = client.on_terminal("delete", "--all", answer=b"n\n")
    assert seen.status == 1
    assert "Delete 3 jobs (" in seen.stdout
    assert len(library.jobs()) == 3
    seen = client.on_terminal("prune", "--label", "lr=1", answer=b"y\n")
    assert seen.status == 0
    assert "Delete 1 job (" in seen.stdout
    assert "1 not yet downloaded" in seen.stdout
    assert {one.job_id for one in library.jobs()} == {"train-2", "plot"}


def test_job_submitted_again_is_not_deleted(
    here: Here, jobs: list[str], library: tej.RemoteQueue, job: Make
) -> None:
    old = library.status("plot")
    library.delete("plot")
    wait_until(lambda: _submit_later(library, job, old), "a second has passed")
    error = library.delete_many([old, "train-1"])
    assert error["train-1"] is None
    assert "submitted in the meantime" in str(error["plot"])


def _submit_later(library: tej.RemoteQueue, job: Make, old: tej.JobStatus) -> bool:
    """Submit the job again and again until its time of submission, in seconds, differs."""
    library.submit("plot", job("true", name="plot"))
    new = library.wait(["plot"])["plot"]
    if new.submitted != old.submitted:
        return True
    library.delete("plot")
    return False


def test_end_is_shown_on_desktop_or_in_terminal(
    here: Here, ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "notify-send"
    program.write_text(f"#!/bin/sh\nprintf '%s|' \"$@\" >'{folder}/shown'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    done = here("wait", ended, "--notify")
    text = f"ended job: {done.stdout.strip()}"
    assert (done.status, done.stderr) == (0, "")
    assert (folder / "shown").read_text() == f"--app-name=tej|--|tej wait|{text}|"
    for name in ("notify-send", "osascript"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    assert here("wait", ended, "--notify").stderr == f"tej wait: {text}\n"
