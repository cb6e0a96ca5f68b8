"""Many jobs in one worker slot: what is done stays done when one fails."""

from __future__ import annotations

import threading
from pathlib import Path
from types import MappingProxyType

import luigi
import pytest
from jobs import Gate, wait_until

import tej
from tej_luigi import TejBatch, TejTask
from tej_luigi.config import QueueAddress
from tests.adapters_luigi.tools import Configure, build, jobs_in


class Square(TejTask):
    """Its results are those of `inline`, given by the test."""

    n = luigi.IntParameter()
    script = luigi.Parameter(significant=False)
    results = ("out",)

    @property
    def inline(self) -> str:
        return f"n={self.n}\n{self.script}"


class Squares(TejBatch):
    count = luigi.IntParameter()
    script = luigi.Parameter()

    def jobs(self) -> list[Square]:
        return [Square(n=n, script=self.script) for n in range(self.count)]


def read(batch: Squares) -> list[str]:
    """The results, of those that are here."""
    found = [one["results"]["out"] for one in batch.output()]
    return [Path(one.path).read_text().strip() for one in found if one.exists()]


def test_forty_jobs_cost_few_round_trips(
    address: QueueAddress, queue: tej.RemoteQueue, configure: Configure
) -> None:
    configure(tej={"poll": "30"})
    batch = Squares(count=40, script="echo $((n * n)) >out")
    assert not batch.complete()
    assert build(batch)
    assert batch.complete()
    assert read(batch) == [str(n * n) for n in range(40)]
    # Asked for, submitted, waited for, fetched, and a message now and then.
    assert queue.transport.runs < 15
    assert build(batch)
    assert len(queue.jobs()) == 40


def test_succeeded_jobs_are_kept_when_one_fails(
    address: QueueAddress, queue: tej.RemoteQueue, tmp_path: Path, starts: Path
) -> None:
    script = f"echo $n >>{starts}\n[ $n != 2 ] || [ -e '{tmp_path}/good' ] || {{ echo bad $n >&2; exit 4; }}\necho $n >out"
    batch = Squares(count=5, script=script)
    with pytest.raises(tej.JobFailed, match="1 of 5 tasks failed") as caught:
        batch.run()
    assert "exit code 4" in str(caught.value)
    assert "bad 2" in str(caught.value)
    assert not batch.complete()
    assert read(batch) == ["0", "1", "3", "4"]
    assert not build(batch)
    assert sorted(starts.read_text().split()) == ["0", "1", "2", "3", "4"]
    (tmp_path / "good").touch()
    Square.retry = 1
    try:
        assert build(batch)
    finally:
        Square.retry = None
    assert sorted(starts.read_text().split()) == ["0", "1", "2", "2", "3", "4"]
    assert read(batch) == ["0", "1", "2", "3", "4"]


def test_failing_jobs_are_restarted_while_waiting(
    address: QueueAddress, starts: Path, gate: Gate
) -> None:
    class Twice(Square):
        retry = 1

    class All(TejBatch):
        def jobs(self) -> list[Twice]:
            script = f"echo $n >>{starts}; [ $(grep -c $n {starts}) = 2 ] || exit 1; echo $n >out"
            return [Twice(n=n, script=script) for n in range(3)]

    assert build(All())
    assert sorted(starts.read_text().split()) == ["0", "0", "1", "1", "2", "2"]


def test_all_failures_are_named_by_reason(address: QueueAddress) -> None:
    script = "[ $n -gt 1 ] || exit 0; echo log of $n >&2; exit $((n % 2 + 3))"

    class All(TejBatch):
        def jobs(self) -> list[TejTask]:
            found = [Square(n=n, script=script) for n in range(16)]
            return [*found, Lacks()]

    class Lacks(TejTask):
        directory = "nowhere"

    Square.results = ()
    try:
        with pytest.raises(tej.JobFailed, match="15 of 17 tasks failed") as caught:
            All().run()
    finally:
        Square.results = ("out",)
    said = str(caught.value)
    for n in range(2, 16):
        assert f"  Square(n={n}) " in said or f"  Square(n={n}, " in said
    groups = said.split("\n\n")
    assert [one.splitlines()[0] for one in groups[1:]] == [
        "exit code 3: 7 tasks",
        "exit code 4: 7 tasks",
        "InvalidJobDirectory",
    ]
    assert "log of" in groups[1]
    assert "log of" in groups[2]
    assert "nowhere" in groups[3]


def test_tasks_with_equal_work_share_a_job(
    address: QueueAddress, queue: tej.RemoteQueue
) -> None:
    class Same(Square):
        inline = "echo same >out"  # type: ignore[assignment]

    class All(TejBatch):
        def jobs(self) -> list[Same]:
            return [Same(n=n, script="") for n in range(3)]

    assert build(All())
    assert len(queue.jobs()) == 1


def test_missing_directory_does_not_affect_other_jobs(
    address: QueueAddress, tmp_path: Path
) -> None:
    class Wrong(Square):
        directory = str(tmp_path / "nowhere")
        job_id_is_task_id = True

    class All(TejBatch):
        def jobs(self) -> list[Square]:
            return [Wrong(n=1, script=""), Square(n=2, script="echo $n >out")]

    with pytest.raises(tej.JobFailed, match="nowhere"):
        All().run()
    assert Square(n=2, script="echo $n >out").complete()


def test_invalid_tasks_do_not_affect_other_jobs(
    address: QueueAddress, tmp_path: Path, starts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing(TejTask):
        directory = str(tmp_path / "nowhere")

    class Broken(TejTask):
        inline = "true"

        @property
        def command(self) -> str:
            return {}["absent"]

    class Elsewhere(TejTask):
        inline = "true"
        destination = "ssh://"

    class Unfit(TejTask):
        inline = "true"
        environment = MappingProxyType({"1": "no name"})

    script = f"echo $n >>{starts}; echo $n >out"

    class All(TejBatch):
        def jobs(self) -> list[TejTask]:
            good = [Square(n=n, script=script) for n in range(3)]
            return [good[0], Missing(), Broken(), good[1], Unfit(), *more, good[2]]

    more: list[TejTask] = [Elsewhere()]
    with pytest.raises(tej.JobFailed, match="4 of 7 tasks failed") as caught:
        All().run()
    assert "nowhere" in str(caught.value)
    assert "KeyError: 'absent'" in str(caught.value)
    assert "'1' cannot be an environment variable" in str(caught.value)
    assert sorted(starts.read_text().split()) == ["0", "1", "2"]
    # Luigi asks first whether it is complete.
    more.clear()
    starts.write_text("")
    script = f"echo again $n >>{starts}; echo $n >out"
    assert not build(All())
    assert len(starts.read_text().splitlines()) == 3


def test_status_after_a_batch_is_the_final_one(
    address: QueueAddress, starts: Path
) -> None:
    class Third(Square):
        retry = 2

    script = f"[ $n = 0 ] || {{ echo >>{starts}; [ $(wc -l <{starts}) -ge 3 ]; }}; echo $n >out; exit $n"

    class All(TejBatch):
        def jobs(self) -> list[Third]:
            return [Third(n=n, script=script) for n in range(2)]

    batch = All()
    assert not build(batch)
    status = batch.jobs()[1].status()
    assert status is not None
    assert status.attempt == 3


def test_deleted_job_is_reported(
    address: QueueAddress, queue: tej.RemoteQueue, gate: Gate
) -> None:
    batch = Squares(count=2, script=f"[ $n = 0 ] || {{ {gate.wait}; }}; echo $n >out")
    caught: list[BaseException] = []

    def run() -> None:
        try:
            batch.run()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: jobs_in(queue, "finished") == 1, "one is done")
    wait_until(lambda: jobs_in(queue, "running") == 1, "one runs")
    job_id = batch.jobs()[1].job_id
    queue.kill(job_id)
    queue.delete(job_id)
    thread.join()
    assert isinstance(caught[0], tej.JobFailed)
    assert "1 of 2" in str(caught[0])


def test_batch_spans_several_queues(
    address: QueueAddress, queue: tej.RemoteQueue, tmp_path: Path, queue_path: Path
) -> None:
    class Other(Square):
        queue = f"{queue_path}/other"

    # In the directory of the first, so that it goes with it.
    Other.queue = str(queue_path.parent / "queue-2")

    class All(TejBatch):
        def jobs(self) -> list[Square]:
            script = "echo $n >out"
            return [kind(n=1, script=script) for kind in (Square, Other)]

    try:
        assert build(All())
        assert len(queue.jobs()) == 1
        assert len(tej.RemoteQueue("local:", Other.queue).jobs()) == 1
    finally:
        tej.RemoteQueue("local:", Other.queue).cleanup(kill=True)


def test_batch_requires_the_requirements_of_jobs(address: QueueAddress) -> None:
    class Before(luigi.Task):
        def output(self) -> luigi.LocalTarget:
            return luigi.LocalTarget("before")

        def run(self) -> None:
            Path("before").touch()

    class After(Square):
        def requires(self) -> luigi.Task:
            return Before()

    class All(TejBatch):
        def jobs(self) -> list[Square]:
            return [After(n=n, script="echo $n >out") for n in range(2)]

    assert All().requires() == [Before()]
    assert build(All())
