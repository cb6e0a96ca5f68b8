"""Resources of a job in the default runtime, which has no scheduler; login profiles."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs import Gate

import tej
from tej import JobState, Resources

if TYPE_CHECKING:
    from tests.queue.conftest import Server

Make = Callable[..., Path]


def test_job_over_time_limit_ends_with_reason(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    directory = job(f"trap 'echo cleaned; exit 9' TERM; {gate.wait}")
    local_queue.submit("polite", directory, resources=Resources(walltime=1))
    status = local_queue.job("polite").wait()
    assert (status.state, status.exit_code) == (JobState.FINISHED, 9)
    assert "the time limit of 0:00:01 was reached" in status.describe()
    assert b"".join(local_queue.logs("polite")) == b"cleaned\n"


def test_job_that_ignores_time_limit_is_killed(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    directory = job(f"trap '' TERM; {gate.wait}")
    local_queue.submit("deaf", directory, resources=Resources(walltime=1))
    status = local_queue.job("deaf").wait()
    assert (status.state, status.signal) == (JobState.FINISHED, signal.SIGKILL)
    assert "time limit" in status.describe()


def test_job_within_time_limit_gets_no_signal(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    local_queue.submit("quick", job("exit 3"), resources=Resources(walltime="1:00:00"))
    status = local_queue.job("quick").wait()
    assert (status.exit_code, status.note) == (3, None)


def test_ignored_resources_are_named_in_warning(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    wanted = Resources(
        nodes=2,
        cpus=4,
        memory="1G",
        gpus=1,
        walltime=60,
        partition="long",
        account="us",
        options=["--x"],
    )
    local_queue.submit("asks", job("true"), resources=wanted)
    status = local_queue.job("asks").wait()
    assert status.succeeded
    assert status.note == (
        "runtime default ignores: nodes cpus memory gpus partition account scheduler-option"
    )


@pytest.mark.parametrize(
    "wanted",
    [
        {"cpus": 0},
        {"nodes": -1},
        {"memory": "much"},
        {"walltime": "soon"},
        {"partition": "-x"},
        {"account": "a b"},
        {"options": ["a\nb"]},
    ],
    ids=str,
)
def test_invalid_resources_are_refused_before_upload(
    wanted: dict[str, object],
) -> None:
    with pytest.raises(tej.InvalidJobDirectory):
        Resources(**wanted)  # type: ignore[arg-type]


def test_resources_are_not_part_of_signature(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    directory = job("true")
    first = local_queue.ensure(directory, resources=Resources(walltime=60))
    second = local_queue.ensure(directory, resources=Resources(walltime=90))
    assert (first.id, second.is_new) == (second.id, False)


@pytest.mark.parametrize("login", [False, True])
def test_login_option_sources_the_profile(
    queue: tej.RemoteQueue, server: Server, job: Make, login: bool
) -> None:
    profile = server.home / ".profile"
    before = profile.read_bytes() if profile.exists() else None
    profile.write_text("FROM_LOGIN=read; export FROM_LOGIN\necho Welcome\n")
    try:
        queue.submit("asks", job('echo "${FROM_LOGIN-not read}"'), login=login)
        assert queue.job("asks").wait().succeeded
    finally:
        profile.unlink()
        if before is not None:
            profile.write_bytes(before)
    lines = b"".join(queue.logs("asks")).decode().splitlines()
    assert lines[-1] == ("read" if login else "not read")
