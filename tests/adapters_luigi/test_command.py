"""`python -m tej_luigi` prints states, and fetches or removes jobs and results."""

from __future__ import annotations

import io
import os
import runpy
import shutil
import sys
from pathlib import Path

import luigi
import pytest
from jobs import Gate

import tej
from tej_luigi import TejBatch, TejTask
from tej_luigi.__main__ import find_tasks, main
from tej_luigi.config import QueueAddress
from tej_luigi.status_cache import open_queue
from tests.adapters_luigi.run_tasks import build


class Made(TejTask):
    n = luigi.IntParameter()
    inline = "echo {{n}} >out"
    results = ("out",)


class Used(Made):
    inline = "echo used {{value}} >out"

    def requires(self) -> luigi.Task:
        return Made(n=self.n)

    def variables(self) -> dict[str, object]:
        with self.input()["results"]["out"].open() as file:
            return {"value": file.read().strip()}


class Held(TejTask):
    until = luigi.Parameter()
    inline = "{{until | raw}}"


class Both(TejBatch):
    def jobs(self) -> list[TejTask]:
        return [Made(n=1), Made(n=2)]


class Top(luigi.WrapperTask):
    def requires(self) -> list[luigi.Task]:
        return [Used(n=1), Used(n=2), Both()]


def test_module_can_be_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sys.modules[main.__module__].__file__
    assert path is not None
    monkeypatch.setattr("sys.argv", [path, "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(path, run_name="__main__")
    assert "python -m tej_luigi" in capsys.readouterr().out


def test_status_takes_one_round_trip(
    address: QueueAddress, queue: tej.RemoteQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "Top"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Made(n=1): not started",
        "Used(n=1): waits for Made(n=1)",
        "Made(n=2): not started",
        "Used(n=2): waits for Made(n=2)",
        "Top(): not complete",
    ]
    assert queue.transport.runs == 1
    assert build(Top())
    assert main(["status", "--depth", "0", "Used", "--n", "1"]) == 0
    assert capsys.readouterr().out.startswith("Used(n=1): Job is finished")


def test_closed_pipe_ends_the_command_silently(
    address: QueueAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["status", "Both"]) == 141


def test_remove_prompts_and_tasks_run_again(
    address: QueueAddress, queue: tej.RemoteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["Used", "--n", "1"]
    assert main(["fetch", *words]) == 1
    assert build(Top())
    shutil.rmtree("results")
    runs = queue.transport.runs
    assert main(["fetch", "Top"]) == 0
    # The results of each level of requirements are fetched with one request.
    assert queue.transport.runs == runs + 2
    assert {one.name for one in Path("results").iterdir()} == {
        task(n=n).job_id for task in (Made, Used) for n in (1, 2)
    }
    removed = Used(n=1).job_id
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert main(["remove", *words]) == 1
    assert Used(n=1).complete()
    assert main(["remove", "--yes", *words]) == 0
    assert not Used(n=1).complete()
    assert not Path("results", removed).exists()
    assert build(Top())
    # The id of Used depends on the results of Made.
    runs = queue.transport.runs
    assert main(["remove", "--yes", "--depth", "1", "Top"]) == 0
    # Two requests read the statuses of four jobs, and one request deletes the jobs.
    assert queue.transport.runs <= runs + 3
    assert not queue.jobs()


def test_levels_of_a_long_chain_are_found() -> None:
    class Link(luigi.Task):
        n = luigi.IntParameter()

        def requires(self) -> list[luigi.Task]:
            return [Link(n=self.n - 1)] if self.n else []

    levels = find_tasks(Link(n=600), float("inf"))
    assert [*levels.values()] == [*range(601)]


def test_running_job_is_not_removed(
    address: QueueAddress, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    with Held(until=gate.wait).job_spec() as spec:
        open_queue(address).queue.ensure_many([spec])
    assert main(["remove", "--yes", "Held", "--until", gate.wait]) == 1
    assert "was not deleted" in capsys.readouterr().err
