"""Pipelines on a server: jobs are started, killed and retried; results are fetched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from jobs import Gate, wait_until

import tej
from tej_vistrails import (
    Execution,
    Gather,
    Job,
    Output,
    Pipeline,
    PipelineError,
    write_report,
)
from tej_vistrails.pipeline.module import Module
from tests.adapters_vistrails.modules import Listing, Mesh, Relax, Total


def sum_of(*steps: int, size: int = 3) -> Pipeline:
    mesh = Mesh(size=size)
    parts = [Relax(structure=mesh, steps=n, name=f"r{n}") for n in steps]
    total = Total(parts=[one.energy for one in parts])
    listing = Listing(folder=Gather([one.energy for one in parts]))
    return Pipeline([total, listing], name="sum")


def waiting(gate: Gate, **more: object) -> type[Job]:
    body: dict[str, Any] = {"__annotations__": {"out": Output}, "out": "out.txt"}
    body |= {"__module__": __name__, "command": f"{gate.wait}; echo x >{{out}}"}
    return type("Waiting", (Job,), {**body, **more})


def states(execution: Execution) -> dict[str, str]:
    return {one.job.module.name: str(one.state) for one in execution.steps().values()}


def test_files_are_handed_over_on_the_server(
    library: tej.RemoteQueue, tmp_path: Path
) -> None:
    execution = Execution(sum_of(1, 10), library)
    execution.run()
    assert set(states(execution).values()) == {"succeeded"}
    folders = execution.fetch(tmp_path / "results")
    assert sorted(one.name for one in folders) == ["listing", "total"]
    document = json.loads((tmp_path / "results/total/total.json").read_text())
    assert document == {"total": 33.0, "parts": [3, 30]}
    listed = (tmp_path / "results/listing/files.txt").read_text().split()
    assert listed == ["inputs/folder:", "000.json", "001.json"]
    assert not [*(tmp_path / "results").glob(".tej-*")]
    labels = {job.labels["module"] for job in library.jobs(labels={"pipeline": "sum"})}
    assert labels == {"mesh", "r1", "r10", "total", "listing"}


def test_finished_jobs_are_not_started_or_requested(
    library: tej.RemoteQueue, tmp_path: Path
) -> None:
    execution = Execution(sum_of(1), library)
    execution.run()
    ids = execution.plan.points[0].ids
    # The requested results exist even without these jobs.
    library.delete_many([ids["mesh"], ids["r1"]])
    execution = Execution(sum_of(1), library)
    execution.submit()
    assert execution.started == []
    assert states(execution)["mesh"] == "not needed"
    execution = Execution(sum_of(1, 2), library)
    execution.run()
    names = {execution.plan.jobs[one].module.name for one in execution.started}
    assert names == {"mesh", "r1", "r2", "total", "listing"}


def test_failed_job_fails_the_pipeline_and_others_finish(
    library: tej.RemoteQueue, tmp_path: Path
) -> None:
    pipeline = Pipeline([*sum_of(13, 1), Listing(folder=tmp_path, name="other")])
    execution = Execution(pipeline, library)
    with pytest.raises(PipelineError, match="Module 'r13' failed: Job 'sig-.*code 1"):
        execution.run()
    found = states(execution)
    assert (found["r13"], found["total"]) == ("failed", "not started")
    assert (found["r1"], found["other"]) == ("succeeded", "succeeded")
    folders = execution.fetch(tmp_path / "results")
    assert [one.name for one in folders] == ["other"]
    # Only a retry starts the jobs again.
    execution.submit()
    assert execution.started == []
    execution.submit(retry=True)
    names = {execution.plan.jobs[one].module.name for one in execution.started}
    assert names == {"r13", "total", "listing"}
    execution.wait()


def test_pipeline_without_results_is_not_a_success(
    library: tej.RemoteQueue, gate: Gate
) -> None:
    job = waiting(gate, command=f"[ -e '{gate.path}' ]; echo x >{{out}}")
    execution = Execution(Pipeline(Listing(folder=Gather([job()]))), library)
    with pytest.raises(PipelineError, match="'waiting' failed"):
        execution.run()
    # Another client restarts the failed job, but not the job downstream of it.
    gate.open()
    failed = execution.plan.jobs[execution.plan.points[0].ids["waiting"]]
    library.ensure_many([failed.spec], retry=True)
    library.job(failed.job_id).wait()
    with pytest.raises(PipelineError, match="'listing', job sig-.*: not started"):
        execution.run()
    execution.run(retry=True)


def test_missing_output_fails_its_module(library: tej.RemoteQueue, gate: Gate) -> None:
    job = waiting(gate, command="true")()
    execution = Execution(Pipeline(Listing(folder=Gather([job]))), library)
    with pytest.raises(PipelineError, match="'waiting' failed.*(?s:.*)'out.txt' was n"):
        execution.run()


def test_job_deleted_during_the_submission_is_started_again(
    library: tej.RemoteQueue, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    upstream = waiting(gate, command="echo x >{out}")()
    execution = Execution(Pipeline(upstream), library)
    execution.run()
    (job_id,) = execution.plan.jobs
    ask = library.statuses

    def delete_after_reply(ids: Iterable[str]) -> dict[str, tej.JobStatus | None]:
        found = ask(ids)
        monkeypatch.setattr(library, "statuses", ask)
        library.delete(job_id)
        return found

    execution = Execution(Pipeline(Listing(folder=Gather([upstream]))), library)
    monkeypatch.setattr(library, "statuses", delete_after_reply)
    execution.submit()
    assert set(execution.started) == set(execution.plan.jobs)
    execution.wait()


def test_file_changed_before_the_submission_is_an_error(
    library: tej.RemoteQueue, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("1")
    upstream = Relax(structure=tmp_path / "file")
    execution = Execution(Pipeline(Relax(structure=upstream.energy)), library)
    (tmp_path / "file").write_text("2")
    with pytest.raises(PipelineError, match="'relax': a local file has changed since"):
        execution.submit()
    assert set(execution.statuses().values()) == {None}


def test_other_client_finds_the_jobs_of_a_pipeline(
    library: tej.RemoteQueue, gate: Gate, tmp_path: Path
) -> None:
    job: Module = waiting(gate)()
    pipeline = Pipeline(Listing(folder=Gather([job])))
    first = Execution(pipeline, library)
    first.submit()
    assert len(first.started) == 2
    other = tej.RemoteQueue("local:", library.queue)
    second = Execution(pipeline, other)
    wait_until(lambda: states(second)["waiting"] == "running", "the job runs")
    assert states(second)["listing"] == "queued"
    second.submit()
    assert second.started == []
    gate.open()
    second.run()
    second.fetch(tmp_path / "out")
    assert (tmp_path / "out/listing/files.txt").exists()


def test_jobs_deleted_by_others_are_no_obstacle(
    library: tej.RemoteQueue, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, other = waiting(gate)(name="waits"), Mesh(size=1, name="other")
    listing = Listing(folder=Gather([other]))
    ensure_many, as_completed = library.ensure_many, library.as_completed
    execution = Execution(Pipeline([waits, other, listing]), library)
    ids = execution.plan.points[0].ids
    first = execution.plan.jobs[ids["other"]].spec
    library.ensure_many([first])
    library.wait([ids["other"]])

    def delete_and_submit(*given: Any, **options: Any) -> list[tej.Outcome]:
        monkeypatch.setattr(library, "ensure_many", ensure_many)
        library.delete(ids["other"])
        return ensure_many(*given, **options)

    def delete_and_wait(*given: Any) -> Any:
        monkeypatch.setattr(library, "as_completed", as_completed)
        library.wait([ids["listing"]])
        library.delete(ids["listing"])
        gate.open()
        return as_completed(*given)

    monkeypatch.setattr(library, "ensure_many", delete_and_submit)
    execution.submit()
    assert len(execution.started) == 2
    monkeypatch.setattr(library, "as_completed", delete_and_wait)
    execution.wait()
    assert states(execution) == {
        "waits": "succeeded",
        "other": "succeeded",
        "listing": "not submitted",
    }


def test_kill_ends_all_jobs_of_the_pipeline(
    library: tej.RemoteQueue, gate: Gate
) -> None:
    pipeline = Pipeline(Listing(folder=Gather([waiting(gate)()])))
    execution = Execution(pipeline, library)
    execution.submit()
    assert len(execution.kill()) == 2
    assert {one.status.state for one in execution.steps().values() if one.status} == {
        tej.JobState.KILLED
    }
    assert execution.kill() == []


def test_job_that_outlives_the_kill_is_an_error(
    library: tej.RemoteQueue, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_in_vain(ids: list[str]) -> dict[str, tej.Killed | None]:
        found = library.statuses(ids)
        return {
            one: status and tej.Killed(status.state, status)
            for one, status in found.items()
        }

    execution = Execution(Pipeline(waiting(gate)()), library)
    execution.submit()
    monkeypatch.setattr(library, "kill_many", kill_in_vain)
    with pytest.raises(tej.JobStillRunning, match="still run after the kill: sig-"):
        execution.kill()
    gate.open()
    execution.wait()


def test_exploration_over_ssh_takes_few_requests(
    sshd: object, queue_path: Path, tmp_path: Path, client_home: Path
) -> None:
    queue = tej.RemoteQueue("server", queue_path, "default")
    queue.setup()
    mesh = Mesh(size=2)
    relax = Relax(structure=mesh, label="é")
    grid = Pipeline(Total(parts=[relax.energy]), name="grid").explore(
        steps=range(1, 11), scale=[1, 2]
    )
    execution = Execution(grid, queue)
    before = count_requests(queue)
    execution.submit()
    assert count_requests(queue) - before <= 2
    assert len(execution.started) == 31
    execution.wait()
    execution.fetch(tmp_path / "out")
    totals = [
        json.loads(path.read_text())["total"]
        for path in sorted((tmp_path / "out").glob("*/total/total.json"))
    ]
    assert totals == [2 * n * scale for n in range(1, 11) for scale in (1, 2)]
    report = write_report(execution, tmp_path / "report.html").read_text("utf-8")
    queue.close()
    assert "31 jobs: 31 succeeded" in report
    assert report.count("<svg") == 1
    assert "<th>steps</th><th>scale</th><th>state</th>" in report
    assert "http" not in report.replace("http://www.w3.org", "")


def count_requests(queue: tej.RemoteQueue) -> int:
    return int(queue.transport.runs)  # type: ignore[attr-defined]


def test_report_shows_images_failures_and_escapes(
    library: tej.RemoteQueue, tmp_path: Path
) -> None:
    hints = {"number": int, "plot": Output, "values": Output}
    command = """
        echo '<svg xmlns="http://www.w3.org/2000/svg"/>' >{plot}
        echo '{"energy": 1.5, "note": "<b>"}' >{values}
        [ {number} -ne 2 ] || { echo '<i>stderr' >&2; exit 4; }
    """
    body = {"plot": "p.svg", "values": "v.json", "command": command}
    cls: Callable[..., Job] = type(
        "Plot", (Job,), {"__annotations__": hints, "__module__": __name__, **body}
    )
    grid = Pipeline(cls(number=1), name="a<b").explore(number=[1, 2])
    execution = Execution(grid, library)
    execution.submit()
    execution.wait()
    page = write_report(execution, tmp_path / "report.html").read_text("utf-8")
    assert "<h1>a&lt;b</h1>" in page
    assert "1 failed, 1 succeeded" in page
    assert page.count("data:image/svg+xml;base64,") == 1
    assert "<td class='number'>1.5</td>" in page
    assert "<div class='text'>&lt;b&gt;</div>" in page
    assert "&lt;i&gt;stderr" in page
    assert "<i>stderr" not in page
