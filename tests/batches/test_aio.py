"""`tej.aio`: the methods of a queue in asyncio and trio, with few threads."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from jobs import Gate, wait_until

import tej
import tej.aio
from tests.conftest import unavailable

Make = Callable[..., Path]
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return a function that runs an async function in one of the event loops."""
    if importlib.util.find_spec(request.param) is None:
        unavailable(f"{request.param} is not installed")

    def run_(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        anyio.run(function, backend=request.param)

    return run_


@pytest.fixture
def queue(local_queue: tej.RemoteQueue) -> Iterator[tej.aio.AsyncQueue]:
    yield tej.aio.AsyncQueue(local_queue)
    wait_until(lambda: not threads("tej wait", "tej logs"), "the threads have ended")


def threads(*names: str) -> list[str]:
    return [one.name for one in threading.enumerate() if one.name in names]


def test_job_is_started_waited_for_and_fetched(
    run: Run, queue: tej.aio.AsyncQueue, job: Make, tmp_path: Path
) -> None:
    async def main() -> None:
        async with queue:
            one = await queue.ensure(job("echo out; echo 1 >result"), job_id="one")
            status = await one.result(60)
            assert status.succeeded
            assert (await one.status()).exit_code == 0
            assert [line async for line in one.logs()] == [b"out\n"]
            (path,) = await one.download("result", directory=tmp_path)
            assert path.read_text() == "1\n"
            assert (await queue.statuses(["one", "two"]))["two"] is None
            with pytest.raises(tej.JobNotFound):
                await queue.wait(["one", "two"])
            await one.delete()
            with pytest.raises(tej.JobNotFound):
                await queue.status("one")

    run(main)


def test_one_thread_waits_for_all_tasks(
    run: Run, queue: tej.aio.AsyncQueue, job: Make, gate: Gate
) -> None:
    ids = [str(number) for number in range(6)]
    ended: dict[str, tej.JobStatus] = {}

    async def wait(job_id: str) -> None:
        ended[job_id] = await queue.job(job_id).wait()

    async def main() -> None:
        directory = job(gate.wait)
        await queue.submit_many([tej.JobSpec(directory, job_id=one) for one in ids])
        before = threading.active_count()
        async with anyio.create_task_group() as tasks:
            for job_id in ids:
                tasks.start_soon(wait, job_id)
            waiters = queue.sync.watcher._waiters
            while len(waiters) < len(ids):
                await anyio.sleep(0.01)
            assert threads("tej wait") == ["tej wait"]
            # The request itself has a thread for each of its streams.
            assert threading.active_count() <= before + 4
            gate.open()
        assert all(ended[one].succeeded for one in ids)

    run(main)


def test_cancelled_wait_leaves_the_job_running(
    run: Run, queue: tej.aio.AsyncQueue, job: Make, gate: Gate
) -> None:
    async def main() -> None:
        one = await queue.ensure(job(gate.wait), job_id="one")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.wait)
            while not queue.sync.watcher._waiters:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert queue.sync.watcher._waiters == []
        with pytest.raises(tej.WaitTimeout, match="continues to run"):
            await one.wait(0.01)
        assert (await one.status()).state is tej.JobState.RUNNING
        assert (await one.kill(grace=0)).state is tej.JobState.KILLED

    run(main)


def test_followed_output_comes_while_the_job_runs(
    run: Run, queue: tej.aio.AsyncQueue, job: Make, gate: Gate
) -> None:
    async def main() -> None:
        script = f"echo first; {gate.wait}; printf 'two\nlast'"
        one = await queue.ensure(job(script), job_id="one")
        async with contextlib.aclosing(one.logs(follow=True)) as lines:
            assert await anext(lines) == b"first\n"
            gate.open()
            assert [line async for line in lines] == [b"two\n", b"last"]
        pieces = [piece async for piece in one.logs(lines=False)]
        assert b"".join(pieces) == b"first\ntwo\nlast"

    run(main)


def test_cancelled_download_writes_no_file(
    run: Run, queue: tej.aio.AsyncQueue, job: Make, tmp_path: Path
) -> None:
    started, cancelled = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def progress(_: int) -> None:
        started.set()
        cancelled.wait(60)

    def download(*arguments: Any, **options: Any) -> list[Path]:
        try:
            return tej.RemoteQueue.download(queue.sync, *arguments, **options)
        except BaseException as error:
            errors.append(error)
            raise

    queue.sync.download = download  # type: ignore[method-assign]

    async def main() -> None:
        size = 3_000_000
        one = await queue.ensure(job("true", {"big": b"x" * size}), job_id="one")
        await one.wait()

        async def fetch() -> None:
            await queue.download("one", "big", directory=tmp_path, progress=progress)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetch)
            await anyio.to_thread.run_sync(started.wait)
            tasks.cancel_scope.cancel()
        cancelled.set()
        wait_until(lambda: errors, "the download has ended")
        assert not (tmp_path / "big").exists()

    run(main)
