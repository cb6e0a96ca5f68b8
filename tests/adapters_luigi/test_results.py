"""Fetched results: complete and from one run of the job, or else not complete."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import luigi
import pytest

import tej
from tej_luigi import TejTask
from tej_luigi.config import QueueAddress
from tej_luigi.result_cache import NOTE
from tej_luigi.run import TaskResults
from tej_luigi.status_cache import open_queue
from tests.adapters_luigi.run_tasks import build


class Sheets(TejTask):
    """A task whose job writes the files that are listed in `made`."""

    made = luigi.Parameter(significant=False)
    results = ("out/*.csv", "all", "f[1].txt")

    @property
    def inline(self) -> str:
        return f"""
            mkdir -p out all/below all/empty
            for name in $(cat '{self.made}'); do echo $name >$name; done
            echo x >'f[1].txt'; echo x >all/below/kept
        """


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made"
    path.write_text("out/a.csv out/b.csv out/c.txt all/one")
    return path


@pytest.fixture
def task(address: QueueAddress, made: Path) -> Sheets:
    found = Sheets(made=str(made))
    assert build(found)
    assert found.complete()
    return found


def names(task: Any, pattern: str) -> list[str]:
    return [Path(one.path).name for one in task.output()["results"][pattern]]


def again(task: Sheets, queue: tej.RemoteQueue) -> None:
    """Delete the job and run the task again, as another user might."""
    queue.delete(task.job_id)
    open_queue(task.address).forget(task.job_id)
    assert not task.complete()
    assert build(task)
    assert task.complete()


def test_pattern_matches_fetched_files_only(task: Sheets) -> None:
    assert names(task, "out/*.csv") == ["a.csv", "b.csv"]
    folder = Path(task.output()["results"]["all"].path)
    (folder.parent / "out/mine.csv").touch()
    assert names(task, "out/*.csv") == ["a.csv", "b.csv"]


def test_result_may_be_named_like_a_pattern(task: Sheets) -> None:
    assert names(task, "f[1].txt") == ["f[1].txt"]


@pytest.mark.parametrize("name", ["out/a.csv", "all/one", "all/below/kept", "f[1].txt"])
def test_lost_file_is_fetched_when_opened(task: Sheets, name: str) -> None:
    folder = task.fetch_results()
    (folder / name).unlink()
    assert task.complete()
    assert task.output()["results"]["all"].path == str(folder / "all")
    assert (folder / name).exists()


def test_results_fetched_meanwhile_are_kept(task: Sheets) -> None:
    files, status = task.result_files(task.job_id), task.status()
    assert status is not None
    files.remove()
    fetched = TaskResults()
    (run,) = fetched.make_runs([task])
    assert callable(run.results)
    assert run.results(status)
    # The connection is lost, and another process fetches the results.
    task.fetch_results()
    assert run.results(status) == []
    fetched.on_fetch([tej.RunResult(run, status=status)])
    assert (files.folder / "out/a.csv").exists()


def test_results_of_earlier_runs_are_removed(
    task: Sheets, queue: tej.RemoteQueue, made: Path
) -> None:
    folder = Path(task.output()["results"]["all"].path)
    (folder / "mine").touch()
    made.write_text("out/b.csv out/new.csv all/two")
    again(task, queue)
    assert names(task, "out/*.csv") == ["b.csv", "new.csv"]
    assert sorted(one.name for one in (folder.parent / "out").iterdir()) == [
        "b.csv",
        "new.csv",
    ]
    # Files that tej did not fetch are kept.
    assert {one.name for one in folder.iterdir()} == {"below", "empty", "mine", "two"}


def test_files_behind_links_are_not_removed(
    address: QueueAddress, queue: tej.RemoteQueue, made: Path
) -> None:
    class Linked(Sheets):
        results = ("all",)

        @property
        def inline(self) -> str:
            return f"mkdir all; cd all; . '{self.made}'"

    made.write_text("mkdir a b; echo 1 >a/x; echo 1 >b/x")
    task = Linked(made=str(made))
    assert build(task)
    folder = Path(task.output()["results"]["all"].path)
    (folder / "a/x").unlink()
    (folder / "a").rmdir()
    made.write_text("mkdir b; echo 2 >b/x; ln -s b a")
    again(task, queue)
    assert (folder / "a/x").read_text() == "2\n"


def test_tasks_of_one_job_share_results(address: QueueAddress, made: Path) -> None:
    class All(Sheets):
        results = ("all",)

    class Out(Sheets):
        results = ("out/*",)

    one, other = All(made=str(made)), Out(made=str(made))
    assert one.job_id == other.job_id
    assert build(one, other)
    assert names(other, "out/*") == ["a.csv", "b.csv", "c.txt"]
    assert one.complete()
    assert other.complete()


def test_runs_within_a_second_are_distinguished(task: Sheets) -> None:
    status = task.status()
    assert status is not None
    results = task.result_files(task.job_id)
    assert results.is_current(status)
    assert not results.is_current(dataclasses.replace(status, native_id="0"))


def test_other_users_can_read_the_record(task: Sheets, made: Path) -> None:
    """If a group shares the directory of results, the results are fetched once."""
    folder = task.fetch_results()
    assert (folder / NOTE).stat().st_mode == made.stat().st_mode
    assert [one.name for one in folder.glob(f"{NOTE}*")] == [NOTE]


def test_record_with_outside_paths_is_ignored(task: Sheets, tmp_path: Path) -> None:
    note = Path(task.output()["results"]["all"].path).parent / NOTE
    note.write_text(note.read_text().replace("out/a.csv", "../../../made"))
    folder = task.fetch_results()
    assert (folder / "out/a.csv").exists()
    assert (tmp_path / "made").exists()


def test_result_targets_are_read_only(task: Sheets) -> None:
    target = task.output()["results"]["all"]
    assert isinstance(target, luigi.LocalTarget)
    with pytest.raises(ValueError, match="read-only"):
        target.open("w")
