"""The network cut, stalled or unreachable during each request.

Requests that only read are repeated.  Interrupted actions are completed.  If every
attempt fails, the request soon raises ConnectionFailed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import Victim
from jobs import Gate, wait_until, wait_until_connected
from servers.proxy import Proxy

import tej
from tej import JobState, Retries
from tej.transport import Completed
from tej.transport.io_timeout import cut_off
from tej.transport.local import LocalTransport

Through = Callable[..., tej.RemoteQueue]
Make = Callable[..., Path]

# The program has a few kilobytes and the reply a few hundred bytes; a cut at a larger
# number occurs after the transfer.
UP = (1, 2_000, 6_000)
DOWN_ = (1, 60, 400)
CUTS = [*({"up": size} for size in UP), *({"down": size} for size in DOWN_)]


@pytest.fixture(autouse=True)
def _ended_job(queue: tej.RemoteQueue, job: Make) -> None:
    queue.submit("ended", job("echo out"))
    wait_until(lambda: queue.status("ended").state.final, "the job has ended")


@contextlib.contextmanager
def cut(proxy: Proxy, remote: tej.RemoteQueue, **where: int) -> Iterator[None]:
    """Break the queue's connection during the next request."""
    # This request opens the connection again, if an earlier cut has broken it.
    remote.status("ended")
    proxy.cut_after(**where)
    yield
    proxy.cut_after(up=None, down=None)


READING: dict[str, Callable[[tej.RemoteQueue, Path], object]] = {
    "status": lambda queue, _: queue.status("ended").exit_code,
    "list": lambda queue, _: [job.job_id for job in queue.jobs()],
    "download": lambda queue, out: [
        path.read_text() for path in queue.download("ended", "_stdout", directory=out)
    ],
    "wait": lambda queue, _: queue.job("ended").wait().exit_code,
    "logs": lambda queue, _: list(queue.job("ended").logs()),
}


@pytest.mark.parametrize("verb", READING)
def test_reading_request_is_repeated_after_a_cut(
    verb: str, through: Through, proxy: Proxy, queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    ask = READING[verb]
    expected = ask(queue, tmp_path / "expected")
    remote = through()
    for where in CUTS:
        with cut(proxy, remote, **where):
            assert ask(remote, tmp_path / "out") == expected


VERBS: dict[str, Callable[[tej.RemoteQueue, Path], object]] = {
    **READING,
    "submit": lambda queue, out: queue.submit("new", out.parent / "job", "true"),
    "kill": lambda queue, _: queue.kill("ended"),
    "delete": lambda queue, _: queue.delete("ended"),
    "cleanup": lambda queue, _: queue.cleanup(),
    "setup": lambda queue, _: queue.setup(),
}
VAIN = Retries(limit=2, first=0.01)
FAILING = [verb for verb in VERBS if verb != "wait"]
if not os.environ.get("TEJ_THOROUGH"):
    # One verb for each kind of request.
    FAILING = ["status", "submit", "setup"]


@pytest.mark.parametrize("verb", FAILING)
@pytest.mark.parametrize("fault", ["refused", "stalled"])
def test_request_without_network_fails_soon(
    fault: str, verb: str, through: Through, proxy: Proxy, tmp_path: Path
) -> None:
    remote = through(VAIN, timeout=0.5, io_timeout=0.5)
    if fault == "refused":
        proxy.refuse()
        words = "refuses"
    else:
        proxy.stall()
        words = "does not answer"
    with pytest.raises(tej.ConnectionFailed, match=words) as caught:
        VERBS[verb](remote, tmp_path / "out")
    assert caught.value.__cause__ is not None
    proxy.resume()
    proxy.accept()
    if verb != "setup":
        # This queue has long time limits, because a busy machine may be slow.
        VERBS[verb](through(), tmp_path / "out")


def test_request_on_stalled_network_times_out(through: Through, proxy: Proxy) -> None:
    # The time limit covers the start of a program, which is equal for all requests.
    # A busy machine may need several attempts to connect at all.
    remote = through(Retries(limit=1), timeout=2, io_timeout=1)
    wait_until_connected(remote.transport)
    proxy.stall()
    with pytest.raises(tej.ConnectionFailed):
        remote.status("ended")
    proxy.resume()


def test_wait_continues_when_network_returns(
    through: Through, proxy: Proxy, queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    from faults.test_shells_that_die import doing

    queue.submit("slow", job(f"{gate.wait}; exit 7", name="slow"))
    remote = through(io_timeout=40)
    with doing(lambda: remote.job("slow").wait()) as wait:
        # A number of bytes would not distinguish a reply from the login.
        wait_until(lambda: remote.connection.reached, "the wait runs")
        proxy.refuse()
        proxy.cut()
        gate.open()
        wait_until(lambda: queue.status("slow").state.final, "the job has ended")
        proxy.accept()
    status = wait.result()
    assert isinstance(status, tej.JobStatus)
    assert status.exit_code == 7


@pytest.mark.parametrize(
    "where",
    [
        *({"up": size} for size in (1, 6_000, 400_000, 2_095_000)),
        *({"down": size} for size in (1, 60, 200, 400)),
    ],
    ids=str,
)
def test_submit_cut_anywhere_starts_job_once(
    where: dict[str, int],
    through: Through,
    proxy: Proxy,
    victim: Victim,
    queue: tej.RemoteQueue,
) -> None:
    remote = through()
    with cut(proxy, remote, **where):
        assert remote.submit(victim.id, victim.directory) == victim.id
    victim.check(queue)


def test_submit_without_connection_leaves_nothing(
    through: Through,
    proxy: Proxy,
    victim: Victim,
    queue: tej.RemoteQueue,
    queue_path: Path,
) -> None:
    remote = through(Retries(limit=3, first=0.01))
    refusing = through(Retries(limit=1))
    for half in (refusing, remote):
        half.transport.run("true")
        proxy.cut_after(up=500_000)
        if half is remote:
            # The client does not reconnect.
            proxy.refuse()
        with pytest.raises(tej.ConnectionFailed):
            half.submit(victim.id, victim.directory)
        wait_until(
            lambda: not list(queue_path.glob("incoming/*")), "the upload is removed"
        )
        assert queue.statuses([victim.id]) == {victim.id: None}
    assert victim.starts == 0
    proxy.accept()
    victim.check(queue)


def submit_victims(
    queue: tej.RemoteQueue, directory: Path
) -> list[tuple[str, dict[str, int]]]:
    """Submit a job for each cut; return the ids and the cuts."""
    specs = [
        tej.JobSpec(directory, job_id=f"victim{number}") for number in range(len(CUTS))
    ]
    queue.submit_many(specs)
    return [(f"victim{number}", where) for number, where in enumerate(CUTS)]


def test_kill_with_lost_reply_is_completed(
    through: Through, proxy: Proxy, queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    remote = through()
    for job_id, where in submit_victims(queue, job(gate.wait, name="waits")):
        with cut(proxy, remote, **where):
            status = remote.kill(job_id, grace=2)
        assert status.state is JobState.KILLED


def test_delete_with_lost_reply_is_completed(
    through: Through, proxy: Proxy, queue: tej.RemoteQueue, job: Make
) -> None:
    remote = through()
    victims = submit_victims(queue, job("true", name="quick"))
    queue.wait([job_id for job_id, _ in victims])
    for job_id, where in victims:
        with cut(proxy, remote, **where):
            remote.delete(job_id)
        assert queue.statuses([job_id]) == {job_id: None}


def test_cut_download_is_repeated_and_complete(
    through: Through,
    proxy: Proxy,
    victim: Victim,
    queue: tej.RemoteQueue,
    tmp_path: Path,
) -> None:
    queue.submit(victim.id, victim.directory)
    remote = through()
    for size in (1, 3_000, 700_000, 2_000_000):
        out = tmp_path / str(size)
        with cut(proxy, remote, down=size):
            remote.download(victim.id, ["data", "last"], directory=out)
        assert (out / "data").read_bytes() == victim.data
        assert sorted(path.name for path in out.iterdir()) == ["data", "last"]


def test_download_without_connection_leaves_no_partial_file(
    through: Through,
    proxy: Proxy,
    victim: Victim,
    queue: tej.RemoteQueue,
    tmp_path: Path,
) -> None:
    queue.submit(victim.id, victim.directory)
    remote = through()
    remote.transport.run("true")
    proxy.cut_after(down=700_000)
    proxy.refuse()
    with pytest.raises(tej.ConnectionFailed):
        remote.download(victim.id, "data", directory=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


class CutAtFirst(LocalTransport):
    """A transport whose first connections are lost right after the login."""

    cuts = 5

    def run(self, *arguments: Any) -> Completed:
        if self.cuts:
            self.cuts -= 1
            raise cut_off("The connection was lost")
        return super().run(*arguments)


@pytest.mark.parametrize("verb", ["wait", "follow", "status"])
def test_cuts_before_the_first_reply_end_no_wait(verb: str, queue_path: Path) -> None:
    remote = tej.RemoteQueue(
        "local:",
        str(queue_path),
        transport=CutAtFirst(),
        retries=Retries(limit=2, first=0.0),
    )
    if verb == "wait":
        assert remote.wait(["ended"])["ended"].succeeded
    elif verb == "follow":
        assert list(remote.logs("ended", follow=True)) == [b"out\n"]
    else:
        with pytest.raises(tej.ConnectionFailed):
            remote.status("ended")
