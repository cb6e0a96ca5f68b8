"""Completeness: one round trip for many tasks; a lost reply is an error."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable

import luigi
import pytest
from luigi.task_register import Register
from luigi.tools.range import RangeDaily
from servers.sshd import Sshd

import tej
from tej_luigi import TejBatch, TejFileTarget, TejJobTarget, TejTask
from tej_luigi.config import QueueAddress
from tej_luigi.status_cache import open_queue
from tests.adapters_luigi.run_tasks import Configure, build

MANY = 8


def make_many(queue: tej.RemoteQueue, inlines: list[str]) -> None:
    """Create finished jobs, as tasks with these scripts would."""

    class Maker(TejTask):
        text = luigi.Parameter()

        @property
        def inline(self) -> str:
            return str(self.text)

    class Made(TejBatch):
        def jobs(self) -> list[TejTask]:
            return [Maker(text=text) for text in inlines]

    assert build(Made())
    for job in Made().jobs():
        # Clear the cache, as if another machine had submitted the job.
        open_queue(job.address).forget(job.job_id)


@pytest.fixture
def runs(queue: tej.RemoteQueue) -> Callable[[], int]:
    """Return how many programs were run on the server since the last call."""
    last = [queue.transport.runs]

    def count() -> int:
        before, last[0] = last[0], queue.transport.runs
        return last[0] - before

    return count


def test_scheduling_many_tasks_is_one_round_trip(
    address: QueueAddress, queue: tej.RemoteQueue, runs: Callable[[], int]
) -> None:
    make_many(queue, [f"echo {n}" for n in range(MANY)])

    class Echo(TejTask):
        n = luigi.IntParameter()
        inline = "echo {{n}}"

    class All(luigi.WrapperTask):
        def requires(self) -> list[TejTask]:
            # The same number of tasks without jobs exist, but are not scheduled.
            return [Echo(n=n) for n in range(MANY)]

    runs()
    assert build(All())
    assert runs() == 1


def test_missing_result_is_not_cached(
    address: QueueAddress, queue: tej.RemoteQueue, runs: Callable[[], int]
) -> None:
    class Echo(TejTask):
        n = luigi.IntParameter()
        inline = "echo {{n}}"

    class All(TejBatch):
        def jobs(self) -> list[TejTask]:
            return [Echo(n=n) for n in range(MANY)]

    tasks = All().jobs()
    runs()
    # As in Luigi's scheduling, `complete()` is called for the first time.
    assert not any(task.complete() for task in tasks)
    assert not All().complete()
    assert runs() == 1

    def run_elsewhere(some: list[TejTask]) -> None:
        with contextlib.ExitStack() as stack:
            specs = [stack.enter_context(task.job_spec()) for task in some]
            outcomes = [*queue.ensure_many(specs)]
        queue.wait(outcome.job_id for outcome in outcomes)

    run_elsewhere(tasks[:6])
    # This request includes all other tasks, whose jobs have not succeeded yet.
    assert tasks[5].complete()
    run_elsewhere(tasks[6:])
    runs()
    assert tasks[7].complete()
    assert All().complete()
    assert all(task.complete() for task in tasks)
    assert runs() == 1


def test_recreated_tasks_share_one_request(
    address: QueueAddress, runs: Callable[[], int]
) -> None:
    class Echo(TejTask):
        n = luigi.IntParameter()
        inline = "echo {{n}}"

    before = [Echo(n=n) for n in range(MANY)]
    Register.clear_instance_cache()
    tasks = [Echo(n=n) for n in range(MANY)]
    assert tasks == before
    del before
    runs()
    assert not any(task.complete() for task in tasks)
    assert runs() == 1


@pytest.mark.filterwarnings("ignore:Parameter .* is not of type:UserWarning")
def test_range_tasks_cost_one_round_trip(
    address: QueueAddress, queue: tej.RemoteQueue, runs: Callable[[], int]
) -> None:
    class Daily(TejTask):
        date = luigi.DateParameter()
        greeting = luigi.Parameter(default="hello")
        inline = "echo {{greeting}} {{date}}"

    days = [luigi.DateParameter().parse(f"2026-10-{day:02}") for day in range(1, 31)]
    make_many(queue, [f"echo hi {day}" for day in days[:10]])
    runs()
    given = [{"date": day, "greeting": "hi"} for day in days]
    assert Daily.bulk_complete(given) == given[:10]
    assert runs() == 1
    missing = RangeDaily(
        of=Daily,
        of_params={"greeting": "hi"},
        start=days[0],
        stop=days[29],
        now=1793318400,
        days_back=365,
        task_limit=100,
    ).requires()
    assert sorted(task.date for task in missing) == days[10:29]
    assert runs() <= 1
    assert Daily.bulk_complete([(days[0], "hi"), (days[1], "no")]) == [(days[0], "hi")]


@pytest.mark.parametrize("broken", ["connection", "key", "link", "foreign"])
def test_missing_reply_is_an_error(
    address: QueueAddress,
    queue_path: object,
    sshd: Sshd,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
    tmp_path: object,
) -> None:
    class Task(TejTask):
        inline = "true"

    where = {"destination": "local:", "queue": str(queue_path)}
    if broken == "connection":
        where["destination"] = "nobody@127.0.0.1:1"
    elif broken == "key":
        # The server runs, but refuses every login.
        monkeypatch.setenv("HOME", str(tmp_path))
        where["destination"] = sshd.destination
    elif broken == "link":
        where["queue"] = f"{queue_path}-link"
        with open(where["queue"], "w") as file:
            file.write("tejdir: /no/such/queue\n")
    else:
        where["queue"] = "/etc"
    Task.destination, Task.queue = where["destination"], where["queue"]

    class Batch(TejBatch):
        def jobs(self) -> list[TejTask]:
            return [Task()]

    for ask in (lambda: Task.bulk_complete([()]), Batch().complete):
        with pytest.raises(tej.Error):
            ask()
    with pytest.raises(tej.Error):
        TejJobTarget("job", **where).exists()
    assert not build(Task())


def test_missing_queue_means_not_complete(address: QueueAddress) -> None:
    class Task(TejTask):
        inline = "true"

    assert not Task().complete()


def test_job_target_exists_after_success(
    address: QueueAddress, queue: tej.RemoteQueue, configure: Configure
) -> None:
    class Task(TejTask):
        code = luigi.IntParameter()
        inline = "echo x >file; exit {{code}}"

    for code in (0, 1):
        with Task(code=code).job_spec() as spec:
            queue.wait(outcome.job_id for outcome in queue.ensure_many([spec]))
    good, bad = (TejJobTarget(Task(code=code).job_id) for code in (0, 1))
    assert good.exists()
    assert not bad.exists()
    assert not TejJobTarget("nothing").exists()
    assert pickle.loads(pickle.dumps(good)).exists()
    # The files of a failed job can be read as well.
    with bad.file("file").open() as file:
        assert file.read() == "x\n"
    with pytest.raises(tej.JobNotFound):
        TejJobTarget("nothing").file("x")
    assert isinstance(good.file("file"), TejFileTarget)
