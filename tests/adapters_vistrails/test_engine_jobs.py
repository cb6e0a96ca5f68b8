"""Pipelines whose modules are jobs, on a real sshd: started, awaited, fetched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs import Gate

import tej
from tej_vistrails import JobMonitor, Pipeline
from tests.adapters_vistrails.looks import job_id, text_of

Document = dict[str, Any]
Shell = Callable[..., Document]
Load = Callable[[Document], Pipeline]


def test_a_job_is_started_then_found_running_then_fetched(
    shell: Shell, load: Load, library: tej.RemoteQueue, gate: Gate, tmp_path: Path
) -> None:
    document = shell(f"echo started >>starts; {gate.wait}; echo result\n")
    records = tmp_path / "records"
    # Each with what is in the file alone, as a new process has it.
    for _ in range(2):
        with load(document).run(JobMonitor(records)) as execution:
            assert list(execution.suspended) == ["job"]
            assert not execution.errors
    gate.open()
    pipeline = load(document)
    with pipeline.run(JobMonitor(records), wait=True) as execution:
        assert execution.completed
        assert text_of(pipeline, execution) == "result\n"
        assert execution.output(pipeline.nodes["job"]["exitcode"]) == 0
    (record,) = JobMonitor(records).jobs.values()
    assert record.finished
    assert record.parameters["job_id"] == job_id(pipeline)
    library.download(job_id(pipeline), "starts", directory=tmp_path)
    assert (tmp_path / "starts").read_text() == "started\n"


def test_who_knows_nothing_of_a_job_finds_it(
    shell: Shell, load: Load, library: tej.RemoteQueue
) -> None:
    pipeline = load(shell("echo once\n"))
    with pipeline.run(wait=True):
        pass
    before = library.status(job_id(pipeline))
    with pipeline.run() as execution:
        assert text_of(pipeline, execution) == "once\n"
    assert library.status(job_id(pipeline)).submitted == before.submitted


def test_what_leads_to_a_job_that_is_there_is_not_executed(
    load: Load, place: Callable[..., Document], tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\ncat numbers >copy\n")
    pipeline = Pipeline("content")
    queue = pipeline.add("Queue", **place())
    text = pipeline.add("String", value="1 2 3")
    numbers = pipeline.add("WriteFile", in_value=text["value"])
    file = pipeline.add("File", value=script)
    job = pipeline.add(
        "SubmitJob",
        queue=queue["queue"],
        files={"numbers": numbers["out_value"], "start.sh": file["value"]},
    )
    result = pipeline.add("DownloadFile", job=job["job"], filename="copy")
    for times, computed in ((1, True), (2, False)):
        with pipeline.run(wait=True) as execution:
            assert execution.text(result["file"]) == "1 2 3", times
            assert execution.modules[numbers.name].computed is computed


def test_several_people_at_once_start_it_once(
    shell: Shell, load: Load, library: tej.RemoteQueue, tmp_path: Path
) -> None:
    pipelines = [load(shell("echo $$ >>starts; echo done\n")) for _ in range(5)]
    seen: list[str] = []

    def execute(pipeline: Pipeline) -> None:
        with pipeline.run(wait=True) as execution:
            seen.append(text_of(pipeline, execution))

    threads = [threading.Thread(target=execute, args=(one,)) for one in pipelines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["done\n"] * 5
    library.download(job_id(pipelines[0]), "starts", directory=tmp_path)
    assert len((tmp_path / "starts").read_text().split()) == 1


def test_the_environment_and_labels_reach_the_job(
    shell: Shell, load: Load, library: tej.RemoteQueue
) -> None:
    inputs = {"environment": ["ONE=é 1", "TWO=a=b"], "labels": ["project=x", "n=1"]}
    pipeline = load(shell('echo "$ONE|$TWO"\n', **inputs))
    with pipeline.run(wait=True) as execution:
        assert text_of(pipeline, execution) == "é 1|a=b\n"
    assert library.status(job_id(pipeline)).labels == {"project": "x", "n": "1"}


def test_resources_and_options_reach_the_queue(
    shell: Shell, load: Load, queue_path: Path
) -> None:
    asked = {"nodes": 2, "memory": "1G", "scheduler_options": ["--a b", "--c"]}
    pipeline = load(shell("true\n", **asked, partition="long"))
    with pipeline.run(wait=True) as execution:
        assert execution.completed
    lines = (
        (queue_path / "jobs" / job_id(pipeline) / "resources").read_text().split("\n")
    )
    wanted = {
        "nodes=2",
        "memory=1073741824",
        "partition=long",
        "option=--a",
        "option=b",
    }
    assert wanted <= set(lines)


def test_a_directory_is_sent_with_the_files_of_the_ports(
    place: Callable[..., Document], tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "run.sh").write_text("#!/bin/sh\ncat data/a/* data/b extra >result\n")
    (base / "run.sh").chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("A")
    (tmp_path / "x").write_text("X")
    pipeline = Pipeline()
    queue = pipeline.add("Queue", **place())
    directory = pipeline.add("Directory", value=base)
    data = pipeline.add("Directory", value=folder)
    extra = pipeline.add("File", value=tmp_path / "x")
    job = pipeline.add(
        "SubmitJob",
        queue=queue["queue"],
        job=directory["value"],
        script="run.sh",
        files={
            "extra": extra["value"],
            "data/b": extra["value"],
            "data/a": data["value"],
        },
    )
    result = pipeline.add("DownloadFile", job=job["job"], filename="result")
    with pipeline.run(wait=True) as execution:
        assert execution.text(result["file"]) == "AXX"
    assert not (base / "extra").exists()


@pytest.mark.parametrize("name", ["../up", "/root", "a//b", ".", ""])
def test_a_port_cannot_lead_out_of_the_job(
    place: Callable[..., Document], tmp_path: Path, name: str
) -> None:
    (tmp_path / "x").write_text("X")
    pipeline = Pipeline()
    queue = pipeline.add("Queue", **place())
    file = pipeline.add("File", value=tmp_path / "x")
    pipeline.add("SubmitJob", queue=queue["queue"], files={name: file["value"]})
    with pipeline.run() as execution:
        assert f"called '{name}'" in str(execution.errors["SubmitJob"])


def test_a_job_of_nothing_is_an_error_that_says_so(
    place: Callable[..., Document],
) -> None:
    pipeline = Pipeline()
    queue = pipeline.add("Queue", **place())
    pipeline.add("SubmitJob", queue=queue["queue"])
    with pipeline.run() as execution:
        assert "needs a directory" in str(execution.errors["SubmitJob"])


@pytest.fixture
def results(shell: Shell, load: Load) -> Pipeline:
    """A pipeline whose job has left some files."""
    script = (
        "mkdir plots; echo 1 >plots/1.png; echo 2 >plots/2.png; echo t >table.csv\n"
    )
    return load(shell(script))


def test_files_are_fetched_one_at_a_time_by_directory_or_several_at_once(
    results: Pipeline,
) -> None:
    job = results.nodes["job"]
    one = results.add("DownloadFile", job=job["job"], filename="table.csv")
    folder = results.add("DownloadDirectory", job=job["job"], pathname="plots")
    some = results.add(
        "DownloadFiles", job=job["job"], filenames=["table.csv", "plots/*.png"]
    )
    with results.run(wait=True) as execution:
        path = Path(execution.output(one["file"]).name)
        assert (path.name, path.read_text()) == ("table.csv", "t\n")
        plots = Path(execution.output(folder["directory"]).name)
        assert sorted(file.name for file in plots.iterdir()) == ["1.png", "2.png"]
        files = [
            Path(file.name).read_text() for file in execution.output(some["files"])
        ]
        assert sorted(files) == ["1\n", "2\n", "t\n"]
    assert not path.exists()


@pytest.mark.parametrize(
    ("type_", "port", "name", "words"),
    [
        ("DownloadFile", "filename", "absent", "absent"),
        ("DownloadFile", "filename", "plots/*.png", "is 2 files"),
        ("DownloadFile", "filename", "../spec", "spec"),
        ("DownloadFile", "filename", "/etc/passwd", "passwd"),
        ("DownloadDirectory", "pathname", "table.csv", "is no directory"),
        ("DownloadDirectory", "pathname", "absent", "absent"),
        ("DownloadDirectory", "pathname", "plot?", "is no directory"),
    ],
)
def test_what_cannot_be_fetched_is_named(
    results: Pipeline, type_: str, port: str, name: str, words: str
) -> None:
    results.add(type_, job=results.nodes["job"]["job"], **{port: name})
    with results.run(wait=True) as execution:
        assert words in str(execution.errors[type_])


def test_a_job_can_be_named_by_its_id(
    shell: Shell, load: Load, gate: Gate, library: tej.RemoteQueue
) -> None:
    pipeline = load(shell(f"{gate.wait}; exit 2\n"))
    with pipeline.run():
        pass
    named = Pipeline()
    queue = named.add("Queue", hostname="local:", queue=library.queue)
    job = named.add("Job", queue=queue["queue"], id=job_id(pipeline))
    with named.run() as execution:
        assert list(execution.suspended) == ["Job"]
    gate.open()
    with named.run(wait=True) as execution:
        assert execution.output(job["exitcode"]) == 2


def test_a_job_that_does_not_exist_is_an_error(
    place: Callable[..., Document], library: tej.RemoteQueue
) -> None:
    library.setup()
    pipeline = Pipeline()
    queue = pipeline.add("Queue", **place())
    pipeline.add("Job", queue=queue["queue"], id="absent")
    with pipeline.run() as execution:
        assert "No job 'absent'" in str(execution.errors["Job"])


def test_a_job_is_killed_and_deleted_by_modules(
    shell: Shell, load: Load, library: tej.RemoteQueue, place: Callable[..., Document]
) -> None:
    pipeline = load(shell("sleep 1000\n"))
    with pipeline.run():
        pass
    ending = Pipeline()
    queue = ending.add("Queue", **place())
    kill = ending.add("KillJob", queue=queue["queue"], id=job_id(pipeline))
    delete = ending.add("DeleteJob", job=kill["job"])
    with ending.run() as execution:
        assert execution.output(kill["state"]) == "killed"
        assert execution.output(delete["deleted"]) is True
    assert library.jobs() == []
    with ending.run() as execution:
        assert "No job" in str(execution.errors["KillJob"])


def test_a_job_is_deleted_after_what_it_is_to_wait_for(
    results: Pipeline, library: tej.RemoteQueue
) -> None:
    job = results.nodes["job"]
    file = results.add("DownloadFile", job=job["job"], filename="table.csv")
    deleted = results.add("DeleteJob", job=job["job"], after=file["file"])
    with results.run(wait=True) as execution:
        assert execution.text(file["file"]) == "t\n"
        assert execution.output(deleted["deleted"]) is True
    assert library.jobs() == []


def test_a_password_is_in_no_record_and_in_no_words(
    shell: Shell, load: Load, monitor: JobMonitor, sshd: Any, gate: Gate
) -> None:
    hostname = f"{sshd.user}:s3cret@server"
    pipeline = load(shell(f"{gate.wait}\n", {"hostname": hostname}))
    with pipeline.run(monitor) as execution:
        reference = execution.modules["queue"].outputPorts["queue"]
        assert "s3cret" not in repr(reference) + str(execution.suspended)
    assert "s3cret" not in monitor.path.read_text()  # type: ignore[union-attr]
    assert monitor.path.stat().st_mode & 0o077 == 0  # type: ignore[union-attr]
    gate.open()


def test_by_content_the_same_work_is_one_job_wherever_the_files_are(
    place: Callable[..., Document], library: tej.RemoteQueue, tmp_path: Path
) -> None:
    for number, server in enumerate(["server", "local:"]):
        script = tmp_path / f"script{number}"
        script.write_text("echo $$\n")
        pipeline = Pipeline("content")
        queue = pipeline.add("Queue", **place(server))
        file = pipeline.add("File", value=script)
        pipeline.add(
            "SubmitJob", queue=queue["queue"], files={"start.sh": file["value"]}
        )
        with pipeline.run(wait=True) as execution:
            assert execution.completed
    (only,) = library.jobs()
    assert only.job_id.startswith("vistrails_content_")
