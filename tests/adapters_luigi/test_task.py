"""`TejTask`: starts a missing job, waits for a running job, fetches a finished job."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import MappingProxyType
from typing import Any

import luigi
import pytest
from jobs import Gate, job_directory
from luigi.task import flatten

import tej
from tej_luigi import Optional, TejTask
from tej_luigi.config import QueueAddress
from tests.adapters_luigi.run_tasks import Configure, build


def counting(starts: Path, lines: str = "") -> str:
    """Return a script that records each of its starts."""
    return f"echo x >>'{starts}'\n{lines}"


def test_job_starts_once_and_results_are_fetched(
    address: QueueAddress, queue: tej.RemoteQueue, starts: Path
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


def test_job_of_another_machine_is_complete(
    address: QueueAddress, queue: tej.RemoteQueue, starts: Path, tmp_path: Path
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
    assert task.complete()
    assert not Path("results").exists()
    with task.output()["results"]["out"].open() as file:
        assert file.read() == "3\n"
    assert starts.read_text() == "x\n"


def test_only_matching_files_are_rendered(
    address: QueueAddress, tmp_path: Path
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


def test_unknown_variable_error_lists_the_known(address: QueueAddress) -> None:
    class Wrong(TejTask):
        seed = luigi.IntParameter()
        inline = "echo {{sede}}"

    with pytest.raises(tej.InvalidJobDirectory, match=r"\{\{sede\}\}.*known: seed"):
        Wrong(seed=1).complete()


def test_rendered_pattern_without_match_is_an_error(
    address: QueueAddress, tmp_path: Path
) -> None:
    class Wrong(TejTask):
        directory = str(job_directory(tmp_path))
        rendered = ("*.conf",)

    with pytest.raises(tej.InvalidJobDirectory, match=r"\*\.conf"):
        _ = Wrong().job_id


def test_changed_input_makes_another_job(
    address: QueueAddress, starts: Path, tmp_path: Path
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


def test_job_named_by_task_id_must_match(address: QueueAddress, tmp_path: Path) -> None:
    class Named(TejTask):
        n = luigi.IntParameter()
        job_id_is_task_id = True
        text = "one"

        @property
        def inline(self) -> str:
            return f"echo {self.text}"

    task = Named(n=1)
    assert task.job_id == task.task_id
    assert build(task)
    task.text = "two"
    # A job with the same id but other files is an error.
    with pytest.raises(
        tej.JobAlreadyExists, match=r"made from different files.*delete the job"
    ):
        task.complete()
    with pytest.raises(tej.JobAlreadyExists):
        task.run()


def test_directory_may_come_from_a_requirement(
    address: QueueAddress, tmp_path: Path
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
        def directory(self) -> str:
            return str(Path(self.input().path).parent)

    task = Use()
    assert not task.complete()
    assert build(task)
    assert task.complete()


def test_missing_directory_is_an_error(address: QueueAddress, tmp_path: Path) -> None:
    class Missing(TejTask):
        directory = str(tmp_path / "nowhere")

    with pytest.raises(tej.InvalidJobDirectory, match="nowhere"):
        Missing().complete()
    assert not build(Missing())


def test_results_feed_other_kinds_of_tasks(address: QueueAddress) -> None:
    class Square(TejTask):
        n = luigi.IntParameter()
        inline = "echo $(({{n}} * {{n}})) >out"
        results = ("out",)

    class Sum(luigi.Task):
        def requires(self) -> list[luigi.Task]:
            return [Square(n=n) for n in range(4)]

        def output(self) -> luigi.LocalTarget:
            return luigi.LocalTarget("sum")

        def run(self) -> None:
            total = 0
            for one in self.input():
                with one["results"]["out"].open() as file:
                    total += int(file.read())
            with self.output().open("w") as file:
                file.write(str(total))

    assert build(Sum(), workers=1)
    assert Path("sum").read_text() == "14"


def test_failed_job_raises_exit_code_and_stderr(
    address: QueueAddress, starts: Path
) -> None:
    class Fails(TejTask):
        inline = counting(starts, "echo why it failed >&2; exit 7")

    with pytest.raises(tej.JobFailed, match="exit code 7") as caught:
        Fails().run()
    assert "why it failed" in str(caught.value)
    assert not Fails().complete()
    # A second request reports the same failure, and does not restart the job.
    assert not build(Fails())
    assert starts.read_text() == "x\n"


def test_failed_job_is_restarted_up_to_retry(
    address: QueueAddress, starts: Path
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


def test_luigi_retries_do_not_restart_jobs(
    address: QueueAddress, starts: Path, configure: Configure
) -> None:
    configure(
        worker={"keep_alive": "true", "wait_interval": "0.1", "wait_jitter": "0"},
        scheduler={"retry_delay": "0.1"},
    )

    class Fails(TejTask):
        inline = counting(starts, "exit 1")
        retry_count = 3

    runs = []
    Fails.event_handler(luigi.Event.START)(runs.append)
    assert not build(Fails())
    assert len(runs) == 3
    assert starts.read_text() == "x\n"


def test_deleted_job_is_not_complete(
    address: QueueAddress, queue: tej.RemoteQueue
) -> None:
    class Short(TejTask):
        inline = "true"

    assert build(Short())
    assert Short().complete()
    queue.delete(Short().job_id)
    # The success is still cached.
    assert Short().complete()
    with pytest.raises(tej.JobNotFound):
        Short().job.delete()
    assert not Short().complete()


def test_missing_result_is_an_error(address: QueueAddress) -> None:
    class Lacks(TejTask):
        inline = "true"
        results = ("out",)

    with pytest.raises(tej.DownloadFailed, match="out"):
        Lacks().run()
    with pytest.raises(tej.DownloadFailed, match="out"):
        Lacks().output()["results"]["out"].open()


def test_run_can_be_extended(address: QueueAddress, starts: Path) -> None:
    class Called(TejTask):
        inline = counting(starts, "echo 1 >out")
        results = ("out",)
        how = luigi.Parameter(significant=False)

        def run(self):
            if self.how == "yield":
                yield from super().run()
            else:
                super().run()
            assert super().complete()
            Path(self.how).touch()

        def complete(self):
            return Path(self.how).exists()

    class Plain(Called):
        def run(self):
            assert inspect.isgenerator(TejTask.run(self))
            Path(self.how).touch()

    for task in (Called(how="yield"), Plain(how="plain")):
        assert build(task)
        assert Path(task.how).exists()
        assert Path(task.output()["results"]["out"].path).read_text() == "1\n"
    assert starts.read_text() == "x\n"


def test_after_fetch_runs_before_results_are_used(address: QueueAddress) -> None:
    class Sorted(TejTask):
        inline = "echo b >out; echo a >>out"
        results = ("out", "o*")

        def after_fetch(self) -> None:
            assert Path("ready").exists()
            (path,) = self.output()["results"]["o*"]
            lines = Path(path.path).read_text().splitlines()
            Path(path.path).write_text("".join(sorted(lines)))

    with pytest.raises(AssertionError):
        Sorted().run()
    # The job has succeeded, but this machine has no usable results yet.
    assert Sorted().complete()
    with pytest.raises(AssertionError):
        Sorted().output()["results"]["out"].open()
    Path("ready").touch()
    with Sorted().output()["results"]["out"].open() as file:
        assert file.read() == "ab"


def test_output_exists_before_inputs(address: QueueAddress, tmp_path: Path) -> None:
    class Make(TejTask):
        inline = "mkdir made; echo 'echo 2 >out' >made/start.sh"
        results = ("made",)

    class Use(TejTask):
        results = ("out", "*.log")

        def requires(self) -> luigi.Task:
            return Make()

        @property
        def directory(self) -> str:
            return self.input()["results"]["made"].path

    task = Use()
    targets = flatten(task.output())
    assert [one.exists() for one in targets] == [False] * 3
    assert "Use" in str(targets)
    assert not task.complete()
    with pytest.raises(tej.JobNotFound, match="no job of Make"):
        task.output()["results"]["out"].open()
    assert not Path("results").exists()


def test_optional_results_may_be_missing(address: QueueAddress) -> None:
    class Logs(TejTask):
        n = luigi.IntParameter()
        inline = "echo x >out; [ {{n}} = 0 ] || echo y >run.log"
        results = ("out", Optional("*.log"), Optional("plot.png"))

    for n in range(2):
        assert build(Logs(n=n))
        found = Logs(n=n).output()["results"]
        assert [Path(one.path).name for one in found["*.log"]] == ["run.log"][:n]
        assert found["out"].exists()
        assert not found["plot.png"].exists()


def test_handle_reads_deletes_and_retries(
    address: QueueAddress, starts: Path, gate: Gate
) -> None:
    class Handled(TejTask):
        inline = counting(starts, f"echo said; [ -e '{gate.path}' ]")

    task = Handled()
    with pytest.raises(tej.JobFailed):
        task.run()
    assert b"".join(
        one.encode() if isinstance(one, str) else one for one in task.job.logs()
    ).split() == [b"said"]
    gate.open()
    assert task.job.retry().attempt == 2
    handle = task.job
    assert handle.wait().succeeded
    # The success is cached after the handle was made.
    assert task.complete()
    handle.delete()
    assert not task.complete()
    assert task.job.retry().attempt == 1
    task.job.kill()


@pytest.mark.parametrize("how", ["task", "configuration"])
def test_wrong_settings_are_found_before_the_start(
    address: QueueAddress, queue: tej.RemoteQueue, configure: Configure, how: str
) -> None:
    class Wrong(TejTask):
        inline = "true"

    url = "http://x/{job-id}/{name}"
    if how == "task":
        Wrong.tracking_url = url
    else:
        configure(tej={"tracking_url": url})
    for call in (Wrong().run, Wrong().complete):
        with pytest.raises(tej.Error, match=r"tracking_url .*\{native_id\}"):
            call()
    with pytest.raises(tej.QueueNotFound):
        queue.jobs()
