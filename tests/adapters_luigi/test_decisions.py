"""Decisions of tasks, results and the status cache, without a server."""

from __future__ import annotations

import contextlib
import os
import queue as queues
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from clocks import SimulatedTime

import tej
from tej_luigi import files, run, status_cache
from tej_luigi.display import Display, describe, parse_progress
from tej_luigi.files import TejFileSystem, TejFileTarget
from tej_luigi.result_cache import NOTE, ResultFiles
from tej_luigi.run import JobRun, TaskResults, may_restart
from tej_luigi.status_cache import OpenQueue, cached_statuses
from tej_luigi.targets import TejResultTarget
from tej_luigi.task import TaskJob
from tests.adapters_luigi.run_tasks import Configure

STATES = tej.JobState


def status(
    job_id: str = "a", state: tej.JobState = STATES.FINISHED, **facts: Any
) -> tej.JobStatus:
    if state is STATES.FINISHED:
        facts = {"exit_code": 0} | facts
    return tej.JobStatus(job_id, state, PurePosixPath("/"), **facts)


FAILED = status(exit_code=1)


@pytest.mark.parametrize(
    ("end", "attempt", "restarts"),
    [
        (status(), 1, False),
        (status(state=STATES.RUNNING), 1, False),
        (status(state=STATES.KILLED), 1, False),
        (status(state=STATES.LOST), 2, True),
        (FAILED, 1, True),
        (FAILED, 2, True),
        (FAILED, 3, False),
        (status(cut_off="limit"), 1, True),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_failed_job_has_as_many_attempts_as_set(
    configure: Configure, end: Any, attempt: int, restarts: bool, own: bool
) -> None:
    task: Any = SimpleNamespace(retry=2 if own else None)
    configure(tej={"retry": "9" if own else "2"})
    object.__setattr__(end, "attempt", attempt)
    assert may_restart(task, end) is restarts
    task.retry = 0
    assert not may_restart(task, end)


class Task:
    """A task whose local results are as the test decides."""

    def __init__(self, name: str, current: bool = False) -> None:
        self.address = self.job_spec = name
        self.retry, self.hook_error, self.job_id = None, None, name
        self.recorded: list[Any] = []
        self.files = SimpleNamespace(
            folder=Path(name),
            patterns=["out"],
            is_current=lambda _: current,
            record=self._record,
        )

    def result_files(self, job_id: str) -> Any:
        assert job_id in ("", "a")
        return self.files

    def run_after_fetch(self) -> None:
        if self.hook_error is not None:
            raise self.hook_error

    def _record(self, end: Any, some: Any, hook: Any) -> None:
        self.recorded.append((end, some))
        hook()


def test_only_fetched_results_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    good, current, broken, invalid = (
        Task("good"),
        Task("current", current=True),
        Task("broken"),
        Task("invalid"),
    )
    refused = tej.InvalidDestination("none")

    def open_queue(address: str) -> Any:
        if address == "invalid":
            raise refused
        return SimpleNamespace(queue=f"queue of {address}")

    monkeypatch.setattr(run, "open_queue", open_queue)
    results = TaskResults()
    runs: Any = [*results.make_runs([good, invalid, current, broken])]  # type: ignore[list-item]
    assert [one.queue for one in runs] == [
        *("queue of good", "queue of current", "queue of broken"),
    ]
    assert results.errors == {invalid: refused}
    assert [one.results(status()) for one in runs] == [["out"], [], ["out"]]
    broken.hook_error = hook_error = ValueError("wrong")  # type: ignore[assignment]

    def result(of: Any, **facts: Any) -> Any:
        known = {"run": of, "error": None, "status": status(), "files": ["f"]}
        return SimpleNamespace(**known | facts)

    results.on_fetch([result(one) for one in runs])
    assert good.recorded == [(status(), ["f"])]
    assert current.recorded == []
    assert results.errors == {invalid: refused, broken: hook_error}
    # A second call without a fetch records nothing.
    results.on_fetch([result(runs[0])])
    assert len(good.recorded) == 1
    lost = tej.ConnectionFailed("cut")
    runs[0].results(status())
    results.on_fetch([result(runs[0], error=lost)])
    assert results.errors[good] is lost  # type: ignore[index]
    assert len(good.recorded) == 1


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (None, tej.JobNotFound),
        (status(state=STATES.RUNNING), tej.JobStillRunning),
        (FAILED, tej.JobFailed),
        (status(), None),
    ],
)
def test_only_results_of_success_are_fetched(
    monkeypatch: pytest.MonkeyPatch, found: Any, error: type[tej.Error] | None
) -> None:
    queue = SimpleNamespace(
        failure=lambda end: tej.JobFailed(end.describe()), job=lambda job_id: job_id
    )
    one = SimpleNamespace(status=lambda _: found, queue=queue)
    monkeypatch.setattr(run, "open_queue", lambda _: one)
    asked: list[Any] = []
    monkeypatch.setattr(run.tej, "fetch_results", lambda some, _: asked.extend(some))
    task: Any = Task("a")
    task.address = SimpleNamespace(queue="/q", shown="lab")
    errors = run.fetch_results([task])
    assert [type(one) for one in errors.values()] == ([error] if error else [])
    assert [one.job for one in asked] == ([] if error else ["a"])


def job_run(**facts: Any) -> Any:
    made: Any = JobRun.__new__(JobRun)
    known = {"_poll": 5.0, "_next_update": 0.0, "errors": {}}
    for name, value in (known | facts).items():
        setattr(made, name, value)
    return made


def test_message_is_updated_every_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    time = SimulatedTime()
    shown, said, received = [], [], []
    error: list[tej.Error] = []

    def show(*_: object) -> None:
        shown.append(time.now)
        if error:
            raise error[0]

    display = SimpleNamespace(
        message=said.append, receive_messages=lambda kill: received.append(time.now)
    )
    monkeypatch.setattr(run, "time", time)
    made = job_run(_display=display, _show=show, _batch=None)
    for time.now in (10.0, 14.9, 15.0, 19.0):
        made._tick()
    assert (shown, received) == ([10, 15], [10, 14.9, 15, 19])
    error.append(tej.ConnectionFailed("silent"))
    for time.now in (20.0, 24.0, 25.0):
        made._tick()
    assert shown == [10, 15, 20, 25]
    assert said == ["Still waiting, but the state is unknown: silent"] * 2


def test_job_without_known_end_is_an_error() -> None:
    def result(key: str, succeeded: bool, error: Any = None) -> Any:
        return SimpleNamespace(
            succeeded=succeeded, error=error, run=SimpleNamespace(key=key), job=None
        )

    own, known = tej.JobFailed("exit code 1"), ValueError("hook")
    some = [
        result("good", True),
        result("failed", False, own),
        result("unknown", False),
        result("known", False, own),
    ]
    made = job_run(_batch=SimpleNamespace(run=lambda: some), errors={"known": known})
    made.run()
    assert made.errors.pop("unknown").args == (
        "The outcome of the job is unknown: unknown",
    )
    assert made.errors == {"failed": own, "known": known}


def test_ended_jobs_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[Any] = []
    monkeypatch.setattr(run, "open_queue", lambda _: SimpleNamespace(put=put.append))
    key = SimpleNamespace(address="a")
    some: Any = [
        SimpleNamespace(status=end, run=SimpleNamespace(key=key))
        for end in (None, FAILED, status())
    ]
    run._cache_statuses(some)
    assert put == [FAILED, status()]


class Server:
    """The core's queue; the test gives its replies."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.replies: dict[str, Any] = {}
        self.errors: list[tej.Error] = []
        self.pauses: list[int] = []
        retries = SimpleNamespace(pause=self.pauses.append)
        self.was_reached = True
        self.connection = SimpleNamespace(retries=retries)

    def statuses(self, ids: list[str]) -> dict[str, Any]:
        self.asked.append(ids)
        if self.errors:
            raise self.errors.pop(0)
        return {one: self.replies.get(one) for one in ids}

    def delete_many(self, jobs: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return dict.fromkeys(one.job_id for one in jobs)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedTime:
    time = SimulatedTime(100.0)
    monkeypatch.setattr(status_cache, "time", time)
    return time


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, clock: SimulatedTime) -> Iterator[Any]:
    """Yield an open queue whose statuses are cached for 5 seconds."""
    made: Any = OpenQueue.__new__(OpenQueue)
    made.queue, made._key, made._fresh = Server(), "key", 5.0
    made._lock, made._cached = status_cache.threading.Lock(), {}
    monkeypatch.setattr(status_cache, "_job_ids", lambda _: ["b", "c"])
    yield made
    assert status_cache._thread.since is None


def test_success_is_cached_for_a_while(opened: Any, clock: SimulatedTime) -> None:
    server = opened.queue
    server.replies = {"a": status(), "b": status("b"), "c": FAILED}
    assert opened.status("a") == status()
    assert server.asked == [["a", "b", "c"]]
    clock.now = 105.0
    assert opened.status("b") == status("b")
    assert len(server.asked) == 1
    # A failed job may have been restarted since, so its status is requested again.
    assert opened.status("c") is FAILED
    assert server.asked[1][0] == "c"
    clock.now = 105.1
    assert opened.status("a") == status()
    assert server.asked[2][0] == "a"
    opened.forget("a")
    opened.status("a")
    assert len(server.asked) == 4


def test_first_question_of_a_task_uses_all_statuses(
    opened: Any, clock: SimulatedTime
) -> None:
    server, task, other = opened.queue, SimpleNamespace(), SimpleNamespace()
    with cached_statuses(task):
        assert opened.status("a") is None
        assert opened.status("b") is None
    assert len(server.asked) == 1
    with cached_statuses(other), cached_statuses(task):
        assert opened.status("c") is None
    assert len(server.asked) == 1
    clock.now += 1
    with cached_statuses(task):
        opened.status("b")
        assert len(server.asked) == 2
        # The reply is younger than the question.
        opened.status("b")
    assert len(server.asked) == 2
    with cached_statuses():
        clock.now += 1
        opened.status("b")
    assert len(server.asked) == 2


def test_question_while_ids_are_computed_is_an_error(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_cache._thread, "is_naming", True)
    with pytest.raises(tej.Error, match="has not been requested yet"):
        opened.status("a")
    assert opened.queue.asked == []
    opened.put(status())
    assert opened.status("a") == status()
    opened.put(status(exit_code=1))
    assert opened._cached == {}


def test_outage_is_awaited_if_the_server_has_replied(opened: Any) -> None:
    server = opened.queue
    lost, unmounted = tej.ConnectionFailed("cut"), tej.QueueLinkBroken("broken")
    server.errors = [lost, lost]
    assert opened.status("a") is None
    assert server.pauses == [1, 2]
    server.was_reached = False
    for error in (lost, unmounted):
        server.errors = [error]
        with pytest.raises(type(error)):
            opened.status("x")
    server.was_reached = True
    for error in (tej.AuthenticationFailed("no"), unmounted, tej.Error("wrong")):
        server.errors = [error]
        with pytest.raises(type(error)):
            opened.status("x")
    server.errors = [tej.QueueNotFound("none")]
    assert opened.status("x") is None
    assert server.pauses == [1, 2]


def test_deleted_jobs_are_asked_for_again(opened: Any) -> None:
    opened.put(status())
    assert opened.delete({"a": status()}) == {"a": None}
    assert opened._cached == {}
    lost = tej.ConnectionFailed("cut")
    opened.queue.errors = [lost]
    assert opened.delete({"a": status(), "b": status("b")}) == {"a": lost, "b": lost}


def test_ids_of_all_tasks_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: dict[int, Any] = {}
    naming: list[tuple[bool, float | None]] = []

    class Named:
        def __init__(self, job_id: str, key: str = "key", creates: Any = None) -> None:
            self.address, self.creates = SimpleNamespace(key=key), creates
            self.name = job_id
            tasks[id(self)] = self

        @property
        def job_id(self) -> str:
            thread = status_cache._thread
            naming.append((thread.is_naming, thread.since))
            if self.creates is not None:
                kept.append(Named(self.creates))
            if self.name == "wrong":
                raise ValueError
            return self.name

    monkeypatch.setattr(status_cache, "_tasks", tasks)
    kept = [Named("a", creates="later"), Named("wrong"), Named("x", key="other")]
    kept.append(Named("b"))
    ids: Any = status_cache._job_ids("key")  # type: ignore[arg-type]
    assert ids == ["a", "b", "later"]
    assert naming == [(True, 0.0)] * 4
    thread = status_cache._thread
    assert (thread.is_naming, thread.since) == (False, None)


class FileQueue:
    """A server whose file commands end with the statuses that the test gives."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.status = 0

    def shell(self, script: str, *words: str, again: bool, **options: Any) -> bytes:
        self.calls.append((*words, again))
        if self.status:
            raise tej.RemoteCommandFailure("failed", ret=self.status)
        if "take" in options:
            for data in (b"half", b"content"):
                options["take"]()(data)
        return {"exists": b"yes\n", "isdir": b"no\n", "listdir": b"./a\0b/\xff\0"}.get(
            words[0], b""
        )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FileQueue:
    queue = FileQueue()
    monkeypatch.setattr(files, "_script", lambda: "")
    monkeypatch.setattr(files, "open_queue", lambda _: SimpleNamespace(queue=queue))
    monkeypatch.setattr(files, "_unique", lambda: "u")
    return queue


ADDRESS: Any = SimpleNamespace(shown="lab")


def test_only_repeatable_file_commands_are_repeated(
    server: FileQueue, tmp_path: Path
) -> None:
    there = TejFileSystem(address=ADDRESS)
    assert there.exists("p")
    assert not there.isdir("p")
    assert [*there.listdir("p")] == ["p/a", "p/b/\udcff"]
    there.mkdir("p")
    there.mkdir("p", parents=False, raise_if_exists=True)
    there.remove("p")
    there.remove("p", recursive=False)
    there.move("p", "q")
    there.rename_dont_move("p", "q")
    there.copy("p", "q")
    assert server.calls[3:] == [
        ("mkdir", "p", "1", "0", True),
        ("mkdir", "p", "0", "1", True),
        ("remove", "p", "1", False),
        ("remove", "p", "0", False),
        ("move", "p", "q", False),
        ("rename", "p", "q", False),
        ("copy", "p", "q", "u", True),
    ]
    there.get("p", tmp_path / "new/file")
    assert (tmp_path / "new/file").read_bytes() == b"content"
    server.status = 64
    with pytest.raises(files.PathNotFound):
        there.get("p", tmp_path / "new/file")
    assert os.listdir(tmp_path / "new") == ["file"]
    there_errors = {65: "PathExists", 66: "PathIsDirectory", 67: "PathIsNotADirectory"}
    for server.status, name in (there_errors | {68: "ParentNotFound"}).items():
        with pytest.raises(getattr(files, name), match=r"failed \(lab\)"):
            there.exists("p")
    server.status = 69
    with pytest.raises(tej.RemoteCommandFailure, match="failed"):
        there.exists("p")


def test_only_a_closed_writer_uploads(
    server: FileQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []

    def upload(_: object, file: Any, path: str) -> None:
        file.seek(0)
        sent.append(file.read())

    monkeypatch.setattr(TejFileSystem, "upload", upload)
    target = TejFileTarget("p", address=ADDRESS)
    writer = target.open("w")
    writer.write("text")
    writer.close()
    writer.close()
    assert sent == [b"text"]
    with pytest.raises(KeyError), target.open("w") as writer:
        raise KeyError
    # The content is incomplete, so a later close() uploads nothing.
    writer.close()
    writer = target.open("w")
    del writer
    assert sent == [b"text"]
    with target.open("wt") as writer:
        writer.write("more")
    assert sent == [b"text", b"more"]
    with target.open("r") as reader:
        assert reader.read() == "content"
    for mode in ("a", "rw", "x", ""):
        with pytest.raises(ValueError, match="mode must be"):
            target.open(mode)


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        *[("0", 0), ("99.9", 99), ("100%", 100), ("250", 100), (" 7 % ", 7)],
        *[("1/3", 33), ("3/0", None), ("0/3", 0), ("", None), ("7 of 9", None)],
    ],
)
def test_progress_is_a_whole_percentage(text: str, percent: int | None) -> None:
    assert parse_progress(text) == percent


def test_state_of_a_job_is_one_line() -> None:
    running = status(state=STATES.RUNNING)
    assert describe(running) == "running: a"
    facts = {"host": "n1", "native_id": "7", "runtime": "slurm", "duration": 60.0}
    words = describe(status(state=STATES.RUNNING, **facts), "x" * 300 + "end")
    assert words.startswith("running on n1 (slurm 7) for ")
    assert words.endswith(f": a\n{'x' * 197}end")


class Message(str):
    """A message of Luigi's scheduler, which records its replies."""

    def respond(self, words: str) -> None:
        replies.append(words)
        raise ConnectionError("the scheduler has gone")


replies: list[str] = []


def test_only_the_message_kill_kills() -> None:
    messages: Any = queues.Queue()
    kills: list[int] = []

    def kill() -> None:
        kills.append(len(replies))
        if len(kills) > 1:
            raise tej.ConnectionFailed("silent")

    replies.clear()
    for words in ("stop", " KILL\n", "kill"):
        messages.put(Message(words))
    shown: Any = SimpleNamespace(scheduler_messages=messages)
    Display(shown).receive_messages(kill)
    assert kills == [1, 2]
    assert replies[0].startswith("Unknown message")
    assert replies[1:] == ["Killed", "Cannot kill the job: silent"]
    Display(SimpleNamespace()).receive_messages(kill)  # type: ignore[arg-type]
    assert len(kills) == 2


def test_scheduler_error_does_not_fail_the_task() -> None:
    seen: list[Any] = []

    def fail(value: object) -> NoReturn:
        seen.append(value)
        raise OSError("no scheduler")

    task: Any = SimpleNamespace(
        set_status_message=fail, set_progress_percentage=fail, set_tracking_url=None
    )
    display = Display(task)
    display.message("<b>")
    display.progress(None)
    display.progress(0)
    display._call("set_tracking_url", "x")
    assert seen == ["\u2039b\u203a", 0]


def test_results_of_another_attempt_are_not_current(tmp_path: Path) -> None:
    def results(*patterns: Any) -> ResultFiles:
        return ResultFiles(folder, patterns)

    folder = tmp_path / "results"
    folder.mkdir()
    first, second = status(attempt=1), status(attempt=2)
    for name in ("out", "a.csv", "b.csv"):
        (folder / name).touch()
    one = results("out", "*.csv")
    assert results().is_current(first)
    assert not one.is_current(first)
    one.record(first, [folder / name for name in ("out", "a.csv", "b.csv")])
    assert one.is_current(first)
    assert not one.is_current(second)
    assert one.names() == ["a.csv", "b.csv", "out"]
    assert results("out").is_current(first)
    assert not results("out", "more").is_current(first)
    (folder / "b.csv").unlink()
    assert not one.is_current(first)
    assert results("out").is_current(first)
    # Other patterns of the same attempt are added.
    (folder / "log").touch()
    results("log").record(first, [folder / "log"])
    assert results("out", "log").is_current(first)
    one.record(second, [folder / "out"])
    assert sorted(os.listdir(folder)) == [NOTE, "out"]

    def fail() -> NoReturn:
        raise ValueError

    with pytest.raises(ValueError, match=r"\A\Z"):
        one.record(second, [folder / "out"], fail)
    assert not one.is_current(second)


@pytest.mark.parametrize(
    ("name", "succeeded", "exists"),
    [
        ("out", True, True),
        # A required file is not fetched to answer the question.
        ("missing", True, True),
        ("out", False, False),
        (tej.OptionalFile("out"), True, True),
        (tej.OptionalFile("broken"), True, True),
        (tej.OptionalFile("missing"), True, False),
        ("*.csv", True, False),
    ],
)
def test_result_exists_after_success(
    tmp_path: Path, name: str, succeeded: bool, exists: bool
) -> None:
    (tmp_path / "out").touch()
    (tmp_path / "broken").symlink_to("nowhere")
    task: Any = SimpleNamespace(
        job_succeeded=lambda: succeeded, fetch_results=lambda: tmp_path
    )
    target = TejResultTarget(task, name)
    assert target.exists() is exists
    with pytest.raises(ValueError, match="read-only"):
        target.open("w")


def test_restarted_job_has_no_cached_success(opened: Any, configure: Configure) -> None:
    """The job may have been deleted since, by another user."""
    opened.put(status())
    server = opened.queue
    handle: Any = TaskJob.__new__(TaskJob)
    handle.queue, handle.id, handle._opened = server, "a", opened
    handle._task = SimpleNamespace(job_spec=lambda: contextlib.nullcontext("spec"))
    started = status(state=STATES.QUEUED)
    outcome = SimpleNamespace(error=None, status=started)
    server.ensure_many = lambda specs, retry: [outcome] * (specs == ["spec"] and retry)
    assert handle.retry() is started
    assert opened._cached == {}
    outcome.status = None
    with pytest.raises(tej.Error, match="did not report the state of job 'a'"):
        handle.retry()
    outcome.error = tej.JobAlreadyExists("other files")
    with pytest.raises(tej.JobAlreadyExists):
        handle.retry()
