"""Tasks in flows:

jobs that are started or found; failures, retries, batches, templates.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from jobs import Gate
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.runtime import flow_run

import tej
from tej_prefect import (
    JobResult,
    JobsFailed,
    TejDestination,
    TejJob,
    batch,
    delete_job,
    fetch_results,
    kill_job,
    run_job,
    run_jobs,
    submit_job,
    tej_task,
    template_task,
    wait_for_job,
)
from tests.adapters_prefect.events import wait_for_events
from tests.adapters_prefect.flow_processes import FlowThread, wait_until

Make = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("prefect_server")


def artifacts_of(flow_run_id: UUID) -> dict[str, list[Artifact]]:
    """Return the artifacts of a flow run by their types."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id])
            )
        )
    by_type: dict[str, list[Artifact]] = {}
    for artifact in found:
        by_type.setdefault(str(artifact.type), []).append(artifact)
    return by_type


def attempts(queue: tej.RemoteQueue) -> dict[str, int]:
    """Return how many times each job in a queue was started."""
    return {job.job_id: job.attempt for job in queue.jobs()}


def test_repeated_flow_finds_its_job(
    destination: TejDestination, queue: tej.RemoteQueue, job: Make, results: Path
) -> None:
    ids: list[UUID] = []

    @flow
    def once() -> JobResult:
        ids.append(UUID(flow_run.id))
        return run_job(
            TejJob(
                destination=destination,
                directory=job("echo said; echo 42 >answer.txt"),
                results=["answer.txt"],
                results_directory=results,
            )
        )

    first, second = once(), once()
    assert (first.found, second.found) == (False, True)
    assert second.path("answer.txt").read_text() == "42\n"
    assert second.stdout == "said\n"
    assert first.job_id == second.job_id
    assert attempts(queue) == {first.job_id: 1}
    assert queue.status(first.job_id).labels["prefect-flow-run"] == str(ids[0])
    (table,) = artifacts_of(ids[0])["table"]
    (row,) = json.loads(str(table.data))
    assert row["job"] == first.job_id
    assert (row["state"], row["exit code"]) == ("finished", 0)
    assert row["seconds"] is not None
    assert row["place"] == destination.place
    # The second flow run found a job that had ended, and emits no event.
    payload = wait_for_events(first.job_id, ["started", "finished"])["finished"]
    assert payload["exit_code"] == 0


def test_single_steps_of_a_job(
    local: TejDestination, queue: tej.RemoteQueue, job: Make, gate: Gate, results: Path
) -> None:
    block = TejJob(
        destination=local,
        directory=job(f"{gate.wait}; echo 1 >one"),
        results=["one"],
        results_directory=results,
    )
    other = TejJob(destination=local, script=f"{gate.wait}; exit 0", name="other")

    @flow
    def steps() -> JobResult:
        run, doomed = submit_job(block), submit_job(other)
        assert kill_job(doomed).state == "killed"
        delete_job(doomed)
        gate.open()
        return fetch_results(wait_for_job(run))

    result = steps()
    assert result.path("one").read_text() == "1\n"
    assert [one.job_id for one in queue.jobs()] == [result.job_id]


def test_job_gets_files_of_unfinished_job(
    local: TejDestination, queue: tej.RemoteQueue, gate: Gate, results: Path
) -> None:
    first = TejJob(destination=local, script=f"{gate.wait}; echo 42 >out")

    @flow
    def chain() -> JobResult:
        made = submit_job(first)
        second = TejJob(
            destination=local,
            script="cat in",
            after=[made],
            inputs={"in": (made, "out")},
            results_directory=results,
        )
        gate.open()
        return run_job(second)

    assert chain().stdout == "42\n"
    assert len(queue.jobs()) == 2


def test_failed_job_restarts_only_with_retry_failed(
    local: TejDestination, queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    fixed = tmp_path / "fixed"
    block = TejJob(
        destination=local,
        directory=job(f"echo it is broken >&2; [ -e '{fixed}' ] || exit 7"),
    )

    @flow
    def failing() -> JobResult:
        return run_job(block)

    @flow
    def retried(retry_failed: bool) -> JobResult:
        fixed.touch()
        again = run_job.with_options(retries=1, retry_delay_seconds=0)
        return again(block, retry_failed=retry_failed)

    with pytest.raises(tej.JobFailed) as caught:
        failing()
    assert caught.value.exit_code == 7
    assert "it is broken" in str(caught.value)
    with pytest.raises(tej.JobFailed, match="exit code 7"):
        retried(False)
    assert [*attempts(queue).values()] == [1]
    assert retried(True).succeeded
    assert [*attempts(queue).values()] == [2]


def test_killed_job_restarts_in_new_run_only(
    local: TejDestination, queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    block = TejJob(destination=local, directory=job(gate.wait))
    run = block.trigger()
    run.kill()
    waits: list[int] = []

    @flow
    def again() -> JobResult:
        return run_job.with_options(retries=2, retry_delay_seconds=0)(block)

    class KillOnce(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "started at" in record.getMessage():
                waits.append(1)
                queue.kill(run.job_id)

    watcher = KillOnce()
    logging.getLogger("prefect.task_runs").addHandler(watcher)
    try:
        with pytest.raises(tej.JobFailed, match="was killed"):
            again()
    finally:
        logging.getLogger("prefect.task_runs").removeHandler(watcher)
    assert waits == [1]
    assert attempts(queue) == {run.job_id: 2}


def test_many_jobs_in_one_task(
    destination: TejDestination, queue: tej.RemoteQueue, job: Make, results: Path
) -> None:
    directory = job("echo $N; echo $((N * N)) >square; [ $N != 3 ] || exit 5")
    blocks = [
        TejJob(
            destination=destination,
            directory=directory,
            environment={"N": str(number)},
            results=["square"],
            results_directory=results,
        )
        for number in [0, 1, 2, 3, 4, 1]
    ]
    ids: list[UUID] = []

    @flow
    def sweep(**options: bool) -> list[JobResult]:
        ids.append(UUID(flow_run.id))
        return run_jobs(blocks, **options)

    with pytest.raises(JobsFailed, match="1 of 6 jobs failed") as caught:
        sweep()
    assert "exit code 5" in str(caught.value)
    for found in (caught.value.results, sweep(raise_on_failure=False)):
        assert [one.exit_code for one in found] == [0, 0, 0, 5, 0, 0]
        squares = [one.path("square").read_text() for one in found if one.succeeded]
        assert squares == ["0\n", "1\n", "4\n", "16\n", "1\n"]
    assert [*attempts(queue).values()] == [1] * 5
    shown = artifacts_of(ids[0])
    (bar,), (table,) = shown["progress"], shown["table"]
    assert bar.data == 100.0
    rows = json.loads(str(table.data))
    assert [row["exit code"] for row in rows] == [0, 0, 0, 5, 0, 0]


def test_failures_do_not_affect_other_jobs(
    local: TejDestination,
    queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    results: Path,
    tmp_path: Path,
) -> None:
    def block(**fields: object) -> TejJob:
        base = {"destination": local, "results_directory": results}
        return TejJob(**{**base, **fields})

    other = TejJob(destination=local, script="echo other work", job_id="taken")
    other.trigger().wait_for_completion()
    (tmp_path / "no script").mkdir()
    deleted = block(script=gate.wait, name="deleted")
    deleted_id = deleted.trigger().job_id
    blocks = [
        block(script="echo 1"),
        block(directory=tmp_path / "nowhere"),
        block(directory=tmp_path / "no script"),
        block(script="echo 4", job_id="taken"),
        block(script="echo 5 >there", results=["there", "missing"], name="partial"),
        block(script="echo {{ unknown }}", parameters={}),
        deleted,
        block(script=f"{gate.wait}; echo 8"),
    ]

    class Delete(logging.Handler):
        """Delete a job after all jobs have started; only then may the last job end."""

        def emit(self, record: logging.LogRecord) -> None:
            if "jobs started" in record.getMessage():
                queue.kill(deleted_id)
                queue.delete(deleted_id)
                gate.open()

    ids: list[UUID] = []

    @flow
    def sweep(**options: bool) -> list[JobResult]:
        ids.append(UUID(flow_run.id))
        return run_jobs(blocks, **options)

    watcher = Delete()
    logging.getLogger("prefect.task_runs").addHandler(watcher)
    try:
        with pytest.raises(JobsFailed, match="6 of 8 jobs failed") as caught:
            sweep()
    finally:
        logging.getLogger("prefect.task_runs").removeHandler(watcher)
    found = caught.value.results
    assert [one.succeeded for one in found] == [
        number in (0, 7) for number in range(len(blocks))
    ]
    assert [found[number].stdout for number in (0, 7)] == ["1\n", "8\n"]
    assert (found[0].error, found[7].error) == (None, None)
    for number, words in {
        1: "nowhere",
        2: "start.sh",
        3: "made from different files",
        4: "missing",
        5: "unknown",
        6: "deleted",
    }.items():
        assert words in str(found[number].error)
    (table,) = artifacts_of(ids[0])["table"]
    states = [row["state"] for row in json.loads(str(table.data))]
    assert states == ["finished", "finished", "deleted", "finished"]
    again = sweep(raise_on_failure=False)
    assert [one.succeeded for one in again] == [
        number in (0, 6, 7) for number in range(len(blocks))
    ]


def test_first_jobs_are_shown_before_last_upload(
    local: TejDestination, results: Path
) -> None:
    seen: list[dict[str, object]] = []

    class Look:
        """Record which jobs others can see while the second job is being prepared."""

        def __str__(self) -> str:
            (table,) = artifacts_of(UUID(flow_run.id))["table"]
            seen.extend(json.loads(str(table.data)))
            return "second"

    first = TejJob(
        destination=local, script="echo first", results_directory=results, name="first"
    )
    second = TejJob(
        destination=local,
        script="echo {{ look }}",
        parameters={"look": Look()},
        results_directory=results,
        retry_failed=True,
    )

    @flow
    def sweep() -> list[JobResult]:
        return run_jobs([first, second])

    assert [one.stdout for one in sweep()] == ["first\n", "second\n"]
    assert [(row["name"], row["place"]) for row in seen] == [("first", local.place)]
    assert seen[0]["state"] in ("queued", "running", "finished")


def test_jobs_of_several_queues_in_one_batch(
    local: TejDestination, job: Make, tmp_path: Path, results: Path
) -> None:
    from tests.queue.conftest import watched

    with watched(tmp_path / "second"):
        second = local.model_copy(update={"queue": str(tmp_path / "second")})
        directory = job("echo here")

        @flow
        def two() -> list[JobResult]:
            return run_jobs(
                [
                    TejJob(
                        destination=one, directory=directory, results_directory=results
                    )
                    for one in (local, second, local)
                ]
            )

        places = [one.place for one in two()]
    assert places == [local.place, second.place, local.place]


def test_template_makes_one_job_per_parameter(
    local: TejDestination, queue: tej.RemoteQueue, job: Make, results: Path
) -> None:
    template = job(
        "cat input.txt >out; echo $TWICE >>out",
        {"input.txt.j2": "seed {{ seed }} of {{ name }}\n", "asis.txt": "{{ seed }}"},
        name="template",
    )
    simulate = template_task(
        template,
        local,
        results=["out", "asis.txt"],
        results_directory=results,
        environment={"TWICE": "{{ seed * 2 }}"},
    )

    @flow
    def sweep() -> list[JobResult]:
        return simulate.map(seed=range(2), name="x").result()

    found = sweep()
    outs = [one.path("out").read_text() for one in found]
    assert outs == [f"seed {seed} of x\n{seed * 2}\n" for seed in range(2)]
    assert found[0].path("asis.txt").read_text() == "{{ seed }}"
    assert len({one.job_id for one in found}) == 2
    assert all(one.found for one in sweep())
    assert attempts(queue) == {one.job_id: 1 for one in found}
    (one,) = queue.jobs(labels={"seed": "1"})
    assert one.job_id == found[1].job_id


def test_decorated_function_defines_the_parameters(
    local: TejDestination, job: Make, results: Path
) -> None:
    template = job(
        "exit 0", {"input.txt.j2": "{{ seed }} {{ steps }} {{ more }}\n"}, name="decor"
    )

    @tej_task(template, local, results=["input.txt"], results_directory=results)
    def simulate(seed: int, steps: int = 10) -> dict[str, object]:
        return {"more": seed + steps}

    @flow
    def sweep() -> list[str]:
        found = [simulate(1), *simulate.map(seed=[2], steps=20).result()]
        return [one.path("input.txt").read_text() for one in found]

    assert sweep() == ["1 10 11\n", "2 20 22\n"]


def test_script_is_rendered_as_template(local: TejDestination) -> None:
    run = TejJob(
        destination=local, script="echo seed {{ seed }}", parameters={"seed": 3}
    ).trigger()
    run.wait_for_completion()
    assert run.logs() == "seed 3\n"


def test_result_ignores_files_of_earlier_job(
    local: TejDestination, results: Path
) -> None:
    block = TejJob(
        destination=local,
        script="mkdir plots; echo 1 | tee plots/one >old",
        job_id="same",
        results=["old", "plots"],
        results_directory=results,
    )
    first = run_job.fn(block)
    assert first.path("plots").is_dir()
    assert first.path("plots/one").read_text() == "1\n"
    second = run_job.fn(block.model_copy(update={"results": ["plots/*"]}))
    assert second.path("plots/one").read_text() == "1\n"
    assert (results / "same/old").exists()
    with pytest.raises(tej.DownloadFailed, match="'old'"):
        second.path("old")


def test_flow_retry_does_not_restart_killed_job(
    local: TejDestination, queue: tej.RemoteQueue, gate: Gate
) -> None:
    block = TejJob(destination=local, script=gate.wait)

    @flow(retries=1)
    def killing() -> JobResult:
        run = submit_job(block)
        kill_job(run)
        return fetch_results(run)

    with pytest.raises(tej.JobFailed, match="was killed"):
        killing()
    assert [*attempts(queue).values()] == [1]


def test_on_timeout_kills_or_leaves_job(
    local: TejDestination, queue: tej.RemoteQueue, gate: Gate
) -> None:
    block = TejJob(destination=local, script=gate.wait)

    @flow
    def limited() -> None:
        for on_timeout in ("leave", "kill"):
            with pytest.raises(tej.WaitTimeout) as caught:
                run_job.with_options(retries=0)(
                    block, timeout=0.1, on_timeout=on_timeout
                )
            words = "1 jobs killed" if on_timeout == "kill" else "continues to run"
            assert words in str(caught.value)
            (job,) = queue.jobs()
            assert job.state.final == (on_timeout == "kill")

    limited()


def test_missing_template_parameter_is_named(local: TejDestination, job: Make) -> None:
    template = job("exit 0", {"input.txt.j2": "{{ sede }}"})
    with pytest.raises(tej.InvalidJobDirectory, match=r"'input.txt.j2'.*sede.*seed"):
        TejJob(destination=local, directory=template, parameters={"seed": 1}).trigger()


def test_output_is_logged_while_job_runs(
    local: TejDestination,
    job: Make,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
    results: Path,
) -> None:
    block = TejJob(
        destination=local,
        directory=job(f"echo first; echo wrong >&2; {gate.wait}; printf last"),
        results_directory=results,
    )

    class OpenGate(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "first" in record.getMessage():
                gate.open()

    opener = OpenGate()
    logging.getLogger("prefect.task_runs").addHandler(opener)
    try:

        @flow
        def talking() -> JobResult:
            return run_job(block)

        # The job ends only after its first line was seen in the log.
        assert talking().stdout == "first\nlast"
    finally:
        logging.getLogger("prefect.task_runs").removeHandler(opener)
    messages = [record.getMessage() for record in caplog.records]
    for words in ("first", "stderr: wrong", "last"):
        assert messages.count(words) == 1


def test_job_is_claimed_when_server_replies_again(
    prefect_server: str,
    local: TejDestination,
    gate: Gate,
    queue_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Outside of a flow, no job is claimed.
    run = TejJob(destination=local, script=gate.wait).trigger()
    read_status, is_silent = batch._read_status, iter([True])

    def read(queue: tej.RemoteQueue, job_id: str) -> tej.JobStatus | None:
        return None if next(is_silent, False) else read_status(queue, job_id)

    monkeypatch.setattr(batch, "PERIOD", 0)
    monkeypatch.setattr(batch, "_read_status", read)

    @flow
    def waiting() -> None:
        wait_for_job(run)

    thread = FlowThread(waiting)
    wait_until(
        lambda: any(
            run.job_id in path.read_text() for path in queue_path.glob("claims/[!.]*")
        ),
        "the job is claimed",
    )
    gate.open()
    wait_until(thread.ended, "the flow ends")
    assert thread.error is None


def test_logged_output_is_limited(
    local: TejDestination,
    job: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    results: Path,
) -> None:
    monkeypatch.setattr("tej_prefect.output_log.OUTPUT_LIMIT", 2048)
    block = TejJob(
        destination=local,
        directory=job("i=0; while [ $i -lt 999 ]; do echo line $i; i=$((i+1)); done"),
        results_directory=results,
    )

    @flow
    def chatty() -> JobResult:
        return run_job(block)

    assert chatty().stdout.splitlines()[-1] == "line 998"
    messages = [record.getMessage() for record in caplog.records]
    assert sum(len(one) for one in messages if "line" in one) < 4096
    assert any("The log shows only the first 2 KB" in message for message in messages)


def test_plain_functions_need_no_prefect_server(
    local: TejDestination,
    job: Make,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Prefect's server was asked")

    monkeypatch.setattr("tej_prefect.context.get_client", refuse)
    monkeypatch.setattr("tej_prefect.artifacts.get_client", refuse)
    monkeypatch.setattr("tej_prefect.claims.get_client", refuse)
    block = TejJob(
        destination=local, directory=job("echo plain"), results_directory=results
    )
    assert run_job.fn(block).stdout == "plain\n"
    assert [one.stdout for one in run_jobs.fn([block, block])] == ["plain\n"] * 2
    run = submit_job.fn(block)
    assert fetch_results.fn(wait_for_job.fn(run)).found
    assert "0 jobs started, 2 existing jobs found" in caplog.text


def test_task_runs_are_named_by_their_jobs(
    local: TejDestination, job: Make, results: Path
) -> None:
    template = job("exit 0", name="simulation")
    simulate = template_task(template, local, results_directory=results)
    ids: list[UUID] = []

    @flow
    def named() -> None:
        ids.append(UUID(flow_run.id))
        block = TejJob(destination=local, directory=template, results_directory=results)
        run_job(block)
        run_jobs([block, block])
        simulate(seed=3)

    named()

    def names() -> set[str]:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        with get_client(sync_client=True) as client:
            runs = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids))
            )
        assert all("tej" in run.tags for run in runs)
        return {run.name for run in runs}

    expected = {"run_job simulation", "run_jobs 2", "simulation seed=3"}
    wait_until(lambda: names() == expected, "the server knows all task runs")
