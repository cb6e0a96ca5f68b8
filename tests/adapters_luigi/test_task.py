"""A task's job is started if it does not exist, awaited if it runs, fetched if done."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import luigi
import pytest
from jobs import job_directory
from luigi.mock import MockTarget

import tej
from tej_luigi import TejTask
from tej_luigi.config import Place
from tej_luigi.queues import open_queue
from tests.adapters_luigi.tools import Configure, build


def counting(starts: Path, lines: str = "") -> str:
    """A script that tells that it was started."""
    return f"echo x >>'{starts}'\n{lines}"


def test_a_job_is_started_once_and_its_results_are_fetched(
    place: Place, queue: tej.RemoteQueue, starts: Path
) -> None:
    class Square(TejTask):
        n = luigi.IntParameter()
        inline = counting(
            starts, "mkdir plots; echo $(({{n}} * {{n}})) | tee out plots/a"
        )
        results = ("out", "plots/*")

    task = Square(n=7)
    assert not task.complete()
    assert build(task)
    assert task.complete()
    results = task.output()["results"]
    with results["out"].open() as file:
        assert file.read() == "49\n"
    assert [Path(one.path).name for one in results["plots/*"]] == ["a"]
    assert task.output()["job"].exists()
    assert build(task)
    assert starts.read_text() == "x\n"
    assert [one.job_id for one in queue.jobs()] == [task.job_id]


def test_what_another_machine_has_done_is_only_fetched(
    place: Place, queue: tej.RemoteQueue, starts: Path, tmp_path: Path
) -> None:
    folder = job_directory(tmp_path, counting(starts, "echo $1 >out"))

    class Found(TejTask):
        n = luigi.IntParameter()
        directory = str(folder)
        command = "./start.sh {{ n }}"
        results = ("out",)

    elsewhere = queue.ensure(folder, script="start.sh 3")
    elsewhere.wait()
    task = Found(n=3)
    assert task.job_id == elsewhere.id
    assert task.output()["job"].exists()
    # Its results are not here yet.
    assert not task.complete()
    assert build(task)
    assert task.complete()
    assert Path(task.output()["results"]["out"].path).read_text() == "3\n"
    assert starts.read_text() == "x\n"


def test_files_are_rendered_with_the_parameters_and_the_others_are_not(
    place: Place, tmp_path: Path
) -> None:
    folder = job_directory(
        tmp_path,
        "cat run.cfg sub/other.cfg plain; printf ' %s' $SEED",
        {
            "run.cfg": "seed={{seed}} {{ day }}",
            "sub/other.cfg": "{{extra}}",
            "plain": "{{seed}}",
        },
    )

    class Rendered(TejTask):
        seed = luigi.IntParameter()
        day = luigi.DateParameter()
        secret = luigi.Parameter(significant=False, default="hush")
        directory = str(folder)
        rendered = ("*.cfg",)
        environment = MappingProxyType({"SEED": "{{seed}}"})

        def variables(self) -> dict[str, object]:
            return {**super().variables(), "extra": 1.5}

    task: Any = Rendered.from_str_params({"seed": "5", "day": "2026-11-22"})
    assert "secret" not in task.variables()
    assert build(task)
    with task.output()["job"].file("_stdout").open() as printed:
        assert printed.read() == "seed=5 2026-11-221.5{{seed}} 5"
    assert (folder / "run.cfg").read_text() == "seed={{seed}} {{ day }}"


def test_a_name_that_is_no_variable_is_an_error_that_says_what_is(place: Place) -> None:
    class Wrong(TejTask):
        seed = luigi.IntParameter()
        inline = "echo {{sede}}"

    with pytest.raises(tej.InvalidJobDirectory, match=r"\{\{sede\}\}.*known: seed"):
        Wrong(seed=1).complete()


def test_a_pattern_that_no_file_has_is_an_error(place: Place, tmp_path: Path) -> None:
    class Wrong(TejTask):
        directory = str(job_directory(tmp_path))
        rendered = ("*.conf",)

    with pytest.raises(tej.InvalidJobDirectory, match=r"\*\.conf"):
        _ = Wrong().job_id


def test_different_work_is_another_job_and_old_results_do_not_count(
    place: Place, starts: Path, tmp_path: Path
) -> None:
    folder = job_directory(tmp_path, counting(starts, "cp data out"), {"data": "one"})

    class Copy(TejTask):
        directory = str(folder)
        results = ("out",)

    task = Copy()
    assert build(task)
    (folder / "data").write_text("two")
    assert not task.complete()
    assert build(task)
    assert Path(task.output()["results"]["out"].path).read_text() == "two"
    assert len(starts.read_text().split()) == 2


def test_a_job_may_be_named_by_the_tasks_id_and_is_never_taken_for_other_work(
    place: Place, tmp_path: Path
) -> None:
    class Named(TejTask):
        n = luigi.IntParameter()
        job_id_is_task_id = True
        text = "one"

        @property
        def inline(self) -> str:  # type: ignore[override]
            return f"echo {self.text}"

    task = Named(n=1)
    assert task.job_id == task.task_id
    assert build(task)
    task.text = "two"
    # What has become of other work is not taken for it.
    with pytest.raises(tej.JobAlreadyExists, match=r"made from other files.*delete it"):
        task.complete()
    with pytest.raises(tej.JobAlreadyExists):
        task.run()


def test_a_directory_made_by_a_required_task_is_waited_for(
    place: Place, tmp_path: Path
) -> None:
    class Make(luigi.Task):
        def output(self) -> luigi.LocalTarget:
            return luigi.LocalTarget(str(tmp_path / "made/start.sh"))

        def run(self) -> None:
            with self.output().open("w") as file:
                file.write("#!/bin/sh\necho made\n")

    class Use(TejTask):
        def requires(self) -> luigi.Task:
            return Make()

        @property
        def directory(self) -> str:  # type: ignore[override]
            return str(Path(self.input().path).parent)

    task = Use()
    assert not task.complete()
    assert build(task)
    assert task.complete()


def test_a_directory_that_is_missing_for_good_is_an_error(
    place: Place, tmp_path: Path
) -> None:
    class Missing(TejTask):
        directory = str(tmp_path / "nowhere")

    with pytest.raises(tej.InvalidJobDirectory, match="nowhere"):
        Missing().complete()
    assert not build(Missing())


def test_a_job_feeds_tasks_of_every_kind(place: Place) -> None:
    class Square(TejTask):
        n = luigi.IntParameter()
        inline = "echo $(({{n}} * {{n}})) >out"
        results = ("out",)

    class Sum(luigi.Task):
        def requires(self) -> list[luigi.Task]:
            return [Square(n=n) for n in range(4)]

        def output(self) -> MockTarget:
            return MockTarget("sum")

        def run(self) -> None:
            total = 0
            for one in self.input():
                with one["results"]["out"].open() as file:
                    total += int(file.read())
            with self.output().open("w") as file:
                file.write(str(total))

    assert build(Sum(), workers=1)
    with MockTarget("sum").open() as file:
        assert file.read() == "14"
    MockTarget("sum").remove()


def test_a_failed_job_raises_with_its_exit_code_and_the_end_of_its_stderr(
    place: Place, starts: Path
) -> None:
    class Fails(TejTask):
        inline = counting(starts, "echo why it failed >&2; exit 7")

    with pytest.raises(tej.JobFailed, match="exit code 7") as caught:
        Fails().run()
    assert "why it failed" in str(caught.value)
    assert not Fails().complete()
    # Asked again, it is the same failure, not another start.
    assert not build(Fails())
    assert starts.read_text() == "x\n"


def test_a_failed_job_is_started_again_as_often_as_asked(
    place: Place, starts: Path
) -> None:
    class Third(TejTask):
        inline = counting(starts, f"[ $(wc -l <'{starts}') -ge 3 ] || exit 1")
        retry = 1

    with pytest.raises(tej.JobFailed):
        Third().run()
    assert len(starts.read_text().split()) == 2
    Third.retry = 2
    assert build(Third())
    assert len(starts.read_text().split()) == 3
    status = Third().status()
    assert status is not None
    assert status.attempt == 3


def test_luigis_own_retries_start_nothing_unless_asked(
    place: Place, starts: Path, configure: Configure
) -> None:
    configure(
        worker={"keep_alive": "true", "wait_interval": "0.1", "wait_jitter": "0"},
        scheduler={"retry_delay": "0.1"},
    )

    class Fails(TejTask):
        inline = counting(starts, "exit 1")
        wait = "block"
        retry_count = 3

    runs = []
    Fails.event_handler(luigi.Event.START)(runs.append)
    assert not build(Fails())
    assert len(runs) == 3
    assert starts.read_text() == "x\n"


def test_a_job_that_is_deleted_is_not_complete(
    place: Place, queue: tej.RemoteQueue
) -> None:
    class Short(TejTask):
        inline = "true"

    assert build(Short())
    assert Short().complete()
    queue.delete(Short().job_id)
    # Believed for a while, and then asked for again.
    open_queue(place).forget()
    assert not Short().complete()


def test_a_result_that_the_job_did_not_make_is_an_error_and_no_completeness(
    place: Place,
) -> None:
    class Lacks(TejTask):
        inline = "true"
        results = ("out",)

    with pytest.raises(tej.DownloadFailed, match="out"):
        Lacks().run()
    assert not Lacks().complete()


def test_a_result_that_is_lost_here_is_fetched_again(
    place: Place, starts: Path
) -> None:
    class Square(TejTask):
        inline = counting(starts, "echo 1 >out")
        results = ("out",)

    assert build(Square())
    Path(Square().output()["results"]["out"].path).unlink()
    assert not Square().complete()
    assert build(Square())
    assert Square().complete()
    assert starts.read_text() == "x\n"
