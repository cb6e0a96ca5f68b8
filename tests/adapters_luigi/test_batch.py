"""`TejBatch`: many jobs in one worker slot; successful jobs survive a failure."""

from __future__ import annotations

import concurrent.futures
import queue as queue_module
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, NoReturn

import luigi
import pytest
from jobs import Gate, wait_until
from luigi.task import externalize

import tej
from tej_luigi import TejBatch, TejTask
from tej_luigi.config import QueueAddress
from tej_luigi.failure_groups import describe_failures
from tej_luigi.run import JobRun
from tests.adapters_luigi.run_tasks import Configure, build, jobs_in

SOON = tej.Retries(limit=2, first=0.01, longest=0.05)


class Square(TejTask):
    """A task whose result is computed by the script in `inline`."""

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
    """Return the results of the tasks that have results."""
    found = [one["results"]["out"] for one in batch.output()]
    return [Path(one.path).read_text().strip() for one in found if one.exists()]


def count_jobs(
    monkeypatch: pytest.MonkeyPatch, queue: tej.RemoteQueue, name: str, asked: list[int]
) -> None:
    """Add the number of jobs of each request `name` to `asked`."""
    request = getattr(queue, name)

    def count(jobs: Any, **options: Any) -> Any:
        asked.append(len(jobs))
        return request(jobs, **options)

    monkeypatch.setattr(queue, name, count)


def test_many_jobs_are_submitted_and_fetched_together(
    address: QueueAddress, queue: tej.RemoteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    for name in ("ensure_many", "download_many"):
        count_jobs(monkeypatch, queue, name, asked)
    batch = Squares(count=16, script="echo $((n * n)) >out")
    assert not batch.complete()
    assert build(batch)
    assert batch.complete()
    assert read(batch) == [str(n * n) for n in range(16)]
    # One request submits all jobs, and the results of each job are fetched once.
    assert asked[0] == 16
    assert sum(asked[1:]) == 16
    assert build(batch)
    assert len(queue.jobs()) == 16


def test_succeeded_jobs_are_kept_when_one_fails(
    address: QueueAddress, queue: tej.RemoteQueue, tmp_path: Path, starts: Path
) -> None:
    script = f"echo $n >>{starts}\n[ $n != 2 ] || [ -e '{tmp_path}/good' ] || {{ echo bad $n >&2; exit 4; }}\necho $n >out"
    batch = Squares(count=4, script=script)
    with pytest.raises(tej.JobFailed, match="1 of 4 tasks failed") as caught:
        batch.run()
    assert "exit code 4" in str(caught.value)
    assert "bad 2" in str(caught.value)
    assert not batch.complete()
    assert read(batch) == ["0", "1", "3"]
    assert not build(batch)
    assert sorted(starts.read_text().split()) == ["0", "1", "2", "3"]
    (tmp_path / "good").touch()
    Square.retry = 1
    try:
        assert build(batch)
    finally:
        Square.retry = None
    assert sorted(starts.read_text().split()) == ["0", "1", "2", "2", "3"]
    assert read(batch) == ["0", "1", "2", "3"]


def test_all_failures_are_named_by_reason(address: QueueAddress) -> None:
    script = "[ $n -gt 1 ] || exit 0; echo log of $n >&2; exit $((n % 2 + 3))"

    class All(TejBatch):
        def jobs(self) -> list[TejTask]:
            found = [Square(n=n, script=script) for n in range(8)]
            return [*found, Lacks()]

    class Lacks(TejTask):
        directory = "nowhere"

    Square.results = ()
    try:
        with pytest.raises(tej.JobFailed, match="7 of 9 tasks failed") as caught:
            All().run()
    finally:
        Square.results = ("out",)
    said = str(caught.value)
    for n in range(2, 8):
        assert f"  Square(n={n}) " in said or f"  Square(n={n}, " in said
    groups = said.split("\n\n")
    groups[1:3] = sorted(groups[1:3])
    assert [one.splitlines()[0] for one in groups[1:]] == [
        "exit code 3: 3 tasks",
        "exit code 4: 3 tasks",
        "InvalidJobDirectory",
    ]
    assert "log of" in groups[1]
    assert "log of" in groups[2]
    assert "nowhere" in groups[3]


def test_task_shows_its_job_until_the_end() -> None:
    shown: list[Any] = []
    display: Any = SimpleNamespace(
        message=shown.append, job=lambda *words: shown.append(words)
    )
    statuses: dict[str, Any] = {}
    queue = SimpleNamespace(
        statuses=lambda ids: {one: statuses.get(one) for one in ids}
    )
    job = SimpleNamespace(id="a", queue=queue)
    task: Any = SimpleNamespace(_tracking_url="url")

    def show(job: object) -> list[Any]:
        shown.clear()
        batch: Any = SimpleNamespace(results=[SimpleNamespace(job=job)])
        TejTask._show(task, display, batch)
        return shown

    assert show(None) == ["Not started: the server cannot be reached"]
    assert show(job) == []
    for state, is_shown in ((tej.JobState.RUNNING, True), (tej.JobState.KILLED, False)):
        statuses["a"] = tej.JobStatus("a", state, PurePosixPath("/"))
        assert show(job) == [(statuses["a"], queue, "url")] * is_shown


def test_report_has_details_of_ten_reasons() -> None:
    errors: dict[str, Exception] = {
        f"T{code}-{n}": tej.JobFailed(
            f"log of {code}" + "!" * n, job_id="a", state="finished", exit_code=code
        )
        for code in range(1, 13)
        for n in range(13 - code)
    }
    run: Any = SimpleNamespace(errors=errors, tasks=[None] * 100)
    head, *groups = describe_failures(run).split("\n\n")
    assert head == (
        "78 of 100 tasks failed; the next run does not repeat the 22 successful tasks"
    )
    assert groups[0].startswith("exit code 1: 12 tasks\n  T1-0  job a\n")
    assert groups[9].splitlines()[-1] == "    log of 10!!"
    assert groups[10].splitlines()[-1] == "  T11-1  job a"
    assert groups[11].splitlines() == ["exit code 12", "  T12-0  job a"]
    run.errors = {str(n): KeyError(n % 11) for n in range(12)}
    lines = describe_failures(run).splitlines()
    assert lines[-10:] == [f"    KeyError: {n}" for n in range(10)]


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
    assert "'1' is not a valid environment variable" in str(caught.value)
    assert sorted(starts.read_text().split()) == ["0", "1", "2"]
    # Luigi first calls `complete()` of the batch.
    more.clear()
    starts.write_text("")
    script = f"echo again $n >>{starts}; echo $n >out"
    assert not build(All())
    assert len(starts.read_text().splitlines()) == 3


def test_batch_spans_several_queues(
    address: QueueAddress, queue: tej.RemoteQueue, tmp_path: Path, queue_path: Path
) -> None:
    class Other(Square):
        queue = f"{queue_path}/other"

    # The second queue is inside the first, so the fixture removes both.
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


def test_batch_requires_what_its_tasks_require(address: QueueAddress) -> None:
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


def test_jobs_may_be_required_while_a_task_runs(
    address: QueueAddress, configure: Configure, starts: Path
) -> None:
    # Luigi calls complete() after run(), and caches its value.
    configure(worker={"check_complete_on_run": "true", "cache_task_completion": "true"})
    script = f"echo $n >>{starts}; echo $((n * n)) >out"

    class Dynamic(luigi.Task):
        def output(self) -> luigi.LocalTarget:
            return luigi.LocalTarget("dynamic")

        def run(self) -> Iterator[Any]:
            squares = yield Squares(count=2, script=script)
            paths = [one["results"]["out"].path for one in squares]
            with self.output().open("w") as file:
                file.write("".join(Path(path).read_text() for path in paths))

    assert build(Dynamic())
    assert Path("dynamic").read_text().split() == ["0", "1"]
    assert sorted(starts.read_text().split()) == ["0", "1"]
    assert externalize(Square)(n=1, script=script).complete()


class Retried(Square):
    retry = 2


class AllRetried(TejBatch):
    script = luigi.Parameter()

    def jobs(self) -> list[Retried]:
        return [Retried(n=n, script=self.script) for n in range(2)]


def test_failing_jobs_are_restarted_while_waiting(
    address: QueueAddress, starts: Path
) -> None:
    second = f"echo $n >>{starts}; [ $n$(grep -c $n {starts}) = 02 ] || exit 1"
    batch = AllRetried(script=f"{second}; echo $n >out")
    with pytest.raises(tej.JobFailed, match="1 of 2 tasks failed"):
        batch.run()
    assert sorted(starts.read_text().split()) == ["0", "0", "1", "1", "1"]
    statuses = [one.status() for one in batch.jobs()]
    assert [one and one.attempt for one in statuses] == [2, 3]
    assert not batch.complete()


def test_cut_during_a_restart_is_no_success(
    address: QueueAddress,
    queue: tej.RemoteQueue,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = AllRetried(script=f"{gate.wait}; exit 5")
    ensure_many, cuts = queue.ensure_many, [0]
    monkeypatch.setattr(queue.connection, "retries", SOON)

    def cut(specs: Any, *, retry: bool = False) -> list[tej.Outcome]:
        if retry and cuts:
            cuts.pop()
            raise tej.ConnectionFailed("cut")
        outcomes = ensure_many(specs, retry=retry)
        gate.open()
        return outcomes

    monkeypatch.setattr(queue, "ensure_many", cut)
    with pytest.raises(tej.JobFailed, match="2 of 2 tasks failed"):
        batch.run()
    assert not cuts
    statuses = [one.status() for one in batch.jobs()]
    assert [one and one.attempt for one in statuses] == [3, 3]


def test_vanished_job_is_no_success(
    address: QueueAddress, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Simulate a batch that stops early without an error.
    monkeypatch.setattr(tej.Batch, "wait", lambda batch, _: batch.results)
    with pytest.raises(tej.JobFailed, match="2 of 2 tasks failed"):
        AllRetried(script=gate.wait).run()
    with pytest.raises(tej.Error, match="outcome of the job is unknown"):
        Retried(n=1, script=gate.wait).run()
    gate.open()


class Message:
    """A message from Luigi's scheduler, and the replies to the message."""

    def __init__(self, text: str, replies: Any) -> None:
        self.text = text
        self.respond = replies.put

    def __str__(self) -> str:
        return self.text


def test_batch_shows_its_jobs_and_is_killed(
    address: QueueAddress, queue: tej.RemoteQueue, gate: Gate
) -> None:
    batch: Any = Squares(
        count=4, script=f"[ $n -lt 2 ] || {{ {gate.wait}; }}; echo >out"
    )
    shown: list[Any] = []
    batch.set_status_message = batch.set_progress_percentage = shown.append
    batch.scheduler_messages = queue_module.Queue()
    replies: queue_module.Queue[str] = queue_module.Queue()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = pool.submit(batch.run)
        wait_until(lambda: "4 jobs: 2 done, 2 running" in shown, "two jobs are done")
        wait_until(lambda: 50 in shown, "50 percent")
        batch.scheduler_messages.put(Message("kill", replies))
        with pytest.raises(tej.JobFailed, match="2 of 4 tasks failed"):
            done.result()
    assert replies.get() == "Killed"
    assert jobs_in(queue, "killed") == 2


def test_kill_prevents_a_postponed_submission(
    address: QueueAddress, queue: tej.RemoteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue.connection, "retries", SOON)

    def lose(*_: object, **__: object) -> NoReturn:
        raise tej.ConnectionFailed("The connection was lost")

    task = Square(n=1, script="true")
    # The server must have replied once.
    assert not task.complete()
    run = JobRun(task, [task], 60, lambda *_: run.kill())
    monkeypatch.setattr(queue, "ensure_many", lose)
    run.run()
    # The lost request may have started the job.
    assert "unknown whether the job was started" in str(run.errors[task])
    assert jobs_in(queue, "running") == 0


def test_lost_scheduler_does_not_fail_a_batch(
    address: QueueAddress, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    batch: Any = Squares(count=1, script="echo >out")
    shown: list[str] = []

    def lose(*_: object) -> None:
        raise OSError("the scheduler is away")

    def refuse(_: object) -> None:
        raise tej.RemoteCommandFailure("no state")

    batch.set_status_message = batch.set_progress_percentage = lose
    batch.run()
    assert batch.complete()
    monkeypatch.setattr(tej.Batch, "count_states", refuse)
    other: Any = Squares(count=2, script=f"{gate.wait}; echo >out")

    def show(message: str) -> None:
        shown.append(message)
        if "the state is unknown: no state" in message:
            gate.open()

    other.set_status_message = show
    other.run()
    assert other.complete()
    assert any("the state is unknown: no state" in message for message in shown)
