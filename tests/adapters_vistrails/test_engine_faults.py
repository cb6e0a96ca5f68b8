"""Pipelines whose modules are jobs, on a real sshd, when something is in the way: a job
that failed or is gone, a server that cannot be reached."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs import Gate, wait_until
from servers.proxy import Proxy

import tej
from tej_vistrails import JobMonitor, Pipeline
from tej_vistrails.engine.execution import Execution
from tests.adapters_vistrails.looks import job_id, text_of

Document = dict[str, Any]
Shell = Callable[..., Document]
Load = Callable[[Document], Pipeline]


def test_a_job_deleted_on_the_server_is_started_again(
    shell: Shell, load: Load, library: tej.RemoteQueue, monitor: JobMonitor
) -> None:
    pipeline = load(shell("echo again\n"))
    with pipeline.run(monitor, wait=True):
        pass
    library.delete(job_id(pipeline))
    with pipeline.run(monitor, wait=True) as execution:
        assert text_of(pipeline, execution) == "again\n"


def test_a_job_deleted_while_it_was_awaited_is_started_again(
    shell: Shell, load: Load, library: tej.RemoteQueue, monitor: JobMonitor, gate: Gate
) -> None:
    pipeline = load(shell(f"{gate.wait}; echo again\n"))
    with pipeline.run(monitor) as execution:
        assert execution.suspended
    library.kill(job_id(pipeline), grace=0)
    library.delete(job_id(pipeline))
    gate.open()
    with pipeline.run(monitor, wait=True) as execution:
        assert text_of(pipeline, execution) == "again\n"


def test_a_broken_connection_suspends_and_keeps_the_record(
    shell: Shell, load: Load, flaky: Proxy, monitor: JobMonitor, gate: Gate
) -> None:
    pipeline = load(shell(f"{gate.wait}; echo back\n", {"hostname": "flaky"}))
    with pipeline.run(monitor) as execution:
        assert execution.suspended
    before = json.loads(monitor.path.read_text())  # type: ignore[union-attr]
    flaky.refuse()
    flaky.cut()
    with pipeline.run(monitor) as execution:
        assert list(execution.suspended) == ["job"]
        assert not execution.errors
    assert json.loads(monitor.path.read_text()) == before  # type: ignore[union-attr]
    flaky.accept()
    gate.open()
    with pipeline.run(monitor, wait=True) as execution:
        assert text_of(pipeline, execution) == "back\n"


def test_a_connection_broken_before_the_start_suspends_and_a_later_run_starts(
    shell: Shell, load: Load, flaky: Proxy, monitor: JobMonitor
) -> None:
    pipeline = load(shell("echo started\n", {"hostname": "flaky"}))
    flaky.refuse()
    with pipeline.run(monitor) as execution:
        assert list(execution.suspended) == ["job"]
    flaky.accept()
    with pipeline.run(monitor, wait=True) as execution:
        assert text_of(pipeline, execution) == "started\n"


def test_waiting_goes_on_through_a_server_that_cannot_be_reached(
    shell: Shell, load: Load, flaky: Proxy, monitor: JobMonitor
) -> None:
    pipeline = load(shell("echo at last\n", {"hostname": "flaky"}))
    flaky.refuse()
    with pipeline.run(monitor) as execution:
        assert execution.suspended
        waiting = threading.Thread(target=execution.wait)
        waiting.start()
        before = flaky.connections
        flaky.accept()
        waiting.join()
        assert flaky.connections > before
        assert text_of(pipeline, execution) == "at last\n"


@pytest.fixture
def two_servers(shell: Shell, place: Callable[..., Document]) -> Shell:
    """`two_servers(script)`: one job on the shared server, another on "flaky"."""

    def make(script: str) -> Document:
        document = shell(script)
        document["modules"]["far"] = {"type": "Queue", "inputs": place("flaky")}
        document["modules"]["other"] = {
            "type": "SubmitShellJob",
            "inputs": {"source": "echo there"},
        }
        document["connections"].insert(0, ["far.queue", "other.queue"])
        return document

    return make


def test_another_branch_goes_on_when_one_server_cannot_be_reached(
    two_servers: Shell, load: Load, flaky: Proxy, library: tej.RemoteQueue
) -> None:
    flaky.refuse()
    pipeline = load(two_servers("echo here\n"))
    with pipeline.run() as execution:
        assert "other" in execution.suspended
    library.wait([pipeline.job_ids()["job"]])
    with pipeline.run() as execution:
        assert list(execution.suspended) == ["other"]
        assert text_of(pipeline, execution) == "here\n"


def begin_to_wait(
    execution: Execution, caplog: pytest.LogCaptureFixture
) -> threading.Thread:
    """A thread that has given up the other server, and asked it once more."""
    waiting = threading.Thread(target=execution.wait)
    waiting.start()

    def asked_again() -> bool:
        said = [one for one in caplog.messages if "can be reached" in one]
        return len(said) > 1 or not waiting.is_alive()

    wait_until(asked_again)
    return waiting


def test_other_jobs_are_awaited_when_one_server_cannot_be_reached(
    two_servers: Shell,
    load: Load,
    flaky: Proxy,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flaky.refuse()
    pipeline = load(two_servers(f"{gate.wait}; echo here\n"))
    with pipeline.run() as execution:
        assert set(execution.suspended) == {"job", "other"}
        waiting = begin_to_wait(execution, caplog)
        assert waiting.is_alive()
        gate.open()
        waiting.join()
        assert list(execution.suspended) == ["other"]
        assert text_of(pipeline, execution) == "here\n"


def test_a_server_that_is_back_while_another_one_is_awaited_gets_its_job(
    two_servers: Shell,
    load: Load,
    flaky: Proxy,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flaky.refuse()
    pipeline = load(two_servers(f"{gate.wait}; echo here\n"))
    with pipeline.run() as execution:
        waiting = begin_to_wait(execution, caplog)
        flaky.accept()
        gate.open()
        waiting.join()
        assert execution.completed


def test_a_server_that_lets_nobody_in_is_an_error_and_keeps_the_record(
    shell: Shell,
    load: Load,
    library: tej.RemoteQueue,
    monitor: JobMonitor,
    gate: Gate,
    home: Path,
    queue_path: Path,
) -> None:
    pipeline = load(shell(f"{gate.wait}\n"))
    with pipeline.run(monitor) as execution:
        assert execution.suspended
    config = home / ".ssh/config"
    good = config.read_text()
    config.write_text(good.replace("IdentityFile", "#IdentityFile"))
    from tej_vistrails import clients

    clients._clients.clear()
    with pipeline.run(monitor) as execution:
        assert list(execution.errors) == ["job"]
        assert "key" in str(execution.errors["job"])
    config.write_text(good)
    clients._clients.clear()
    (record,) = JobMonitor(monitor.path).jobs.values()
    assert not record.finished
    assert record.parameters["job_id"] == job_id(pipeline)
    gate.open()
    with pipeline.run(monitor, wait=True) as execution:
        assert execution.completed


def test_a_failed_job_is_told_and_its_exit_code_handed_on(
    shell: Shell, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    pipeline = load(shell("echo why >&2; exit 3\n"))
    with pipeline.run(wait=True) as execution:
        assert execution.output(pipeline.nodes["job"]["exitcode"]) == 3
        assert text_of(pipeline, execution, "stderr") == "why\n"
    assert f"'{job_id(pipeline)}' failed with exit code 3" in caplog.text


@pytest.mark.parametrize("port", ["fail_on_error", "print_error"])
def test_a_failed_job_fails_the_module_if_that_is_wanted(
    shell: Shell, load: Load, port: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline = load(shell("echo why >&2; exit 3\n", **{port: True}))
    with pipeline.run(wait=True) as execution:
        message = str(execution.errors["job"])
    assert job_id(pipeline) in message
    assert message.endswith("failed with exit code 3\nwhy")
    assert ("why" in capfd.readouterr().err) is (port == "print_error")


@pytest.mark.parametrize("retry", [False, True])
def test_a_failed_job_is_tried_again_only_if_that_is_wanted(
    shell: Shell, load: Load, library: tej.RemoteQueue, gate: Gate, retry: bool
) -> None:
    script = f"[ -e '{gate.path}' ] || exit 1; echo well\n"
    pipeline = load(shell(script, retry=retry))
    with pipeline.run(wait=True) as execution:
        assert execution.output(pipeline.nodes["job"]["exitcode"]) == 1
    gate.open()
    with pipeline.run(wait=True) as execution:
        code = execution.output(pipeline.nodes["job"]["exitcode"])
        assert (code, text_of(pipeline, execution)) == (
            (0, "well\n") if retry else (1, "")
        )
    assert library.status(job_id(pipeline)).attempt == (2 if retry else 1)


def test_a_failure_that_was_waited_for_is_told_before_it_is_tried_again(
    shell: Shell, load: Load, library: tej.RemoteQueue, monitor: JobMonitor, gate: Gate
) -> None:
    pipeline = load(shell(f"{gate.wait}; exit 4\n", retry=True, fail_on_error=True))
    with pipeline.run(monitor) as execution:
        assert execution.suspended
    gate.open()
    library.wait([job_id(pipeline)])
    with pipeline.run(monitor) as execution:
        assert "exit code 4" in str(execution.errors["job"])
    assert library.status(job_id(pipeline)).attempt == 1
    with pipeline.run(monitor, wait=True) as execution:
        assert execution.errors
    assert library.status(job_id(pipeline)).attempt == 2


def test_a_killed_job_is_an_error_whatever_is_wanted(
    shell: Shell, load: Load, library: tej.RemoteQueue, gate: Gate
) -> None:
    pipeline = load(shell(f"{gate.wait}\n"))
    with pipeline.run():
        pass
    library.kill(job_id(pipeline), grace=0)
    with pipeline.run() as execution:
        assert "was killed by" in str(execution.errors["job"])
        assert "`retry`" in str(execution.errors["job"])


def test_what_is_no_pair_is_refused_before_anything_is_sent(
    shell: Shell, load: Load, library: tej.RemoteQueue
) -> None:
    pipeline = load(shell("true\n", environment="NAME"))
    with pipeline.run() as execution:
        assert "takes NAME=VALUE, not 'NAME'" in str(execution.errors["job"])
    with pytest.raises(tej.QueueDoesntExist):
        library.status(job_id(pipeline))


def test_a_start_that_was_refused_leaves_no_record(
    shell: Shell, load: Load, monitor: JobMonitor
) -> None:
    pipeline = load(shell("true\n", memory="much"))
    with pipeline.run(monitor) as execution:
        assert "'much' is not a size" in str(execution.errors["job"])
    assert monitor.jobs == {}
