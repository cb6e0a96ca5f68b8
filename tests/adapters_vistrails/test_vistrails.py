"""The modules in real VisTrails 2.2.4, under Python 2.7; a process for each execution."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jobs import Gate

import tej
from tej_vistrails import JobMonitor, Pipeline
from tests.adapters_vistrails.looks import PREFIX, records

if TYPE_CHECKING:
    from tests.adapters_vistrails.conftest import VisTrails

Document = dict[str, Any]
Shell = Callable[..., Document]


def test_a_job_started_by_one_process_is_found_running_by_a_second_and_fetched_by_a_third(
    vistrails: VisTrails,
    shell: Shell,
    gate: Gate,
    library: tej.RemoteQueue,
    tmp_path: Path,
    home: Path,
) -> None:
    document = shell(f"echo started >>starts; {gate.wait}; echo result; echo err >&2\n")
    signature = vistrails.build(document)["signatures"]["job"]
    for _ in range(2):
        answer = vistrails.execute()
        assert answer["package"] == "tej_vistrails"
        assert list(answer["suspended"]) == ["SubmitShellJob"]
        assert answer["errors"] == {}
    assert library.status(PREFIX + signature).state == "running"
    gate.open()
    library.wait([PREFIX + signature])
    outputs = vistrails.execute()["outputs"]["SubmitShellJob"]
    assert outputs == {"stdout": "result\n", "stderr": "err\n", "exitcode": 0}

    # The same job, by all other ways there are.
    pipeline = Pipeline.load(vistrails.folder / "workflow.vt")
    assert list(pipeline.job_ids().values()) == [PREFIX + signature]
    with pipeline.run() as execution:
        (job,) = (one for name, one in pipeline.nodes.items() if "Submit" in name)
        assert execution.text(job["stdout"]) == "result\n"
    status = subprocess.run(
        [sys.executable, "-m", "tej", "status", "server", "--queue", str(library.queue)]
        + ["--id", PREFIX + signature],
        env={**os.environ, "PYTHONPATH": vistrails.environment["PYTHONPATH"]},
        capture_output=True,
        text=True,
    )
    assert status.stdout.startswith("Job is finished")
    library.download(PREFIX + signature, "starts", directory=tmp_path)
    assert (tmp_path / "starts").read_text() == "started\n"


def with_files(place: Callable[..., Document], folder: Path) -> Document:
    """A pipeline as VisTrails' example for tej has it: files on ports, a download."""
    (folder / "run.sh").write_text("#!/bin/sh\ncat number >result; ls\n")
    (folder / "base/one/two").mkdir(parents=True)
    # In VisTrails' scheme a directory is as new as the newest one in it.
    os.utime(folder / "base/one/two", (2e9, 2e9))
    return {
        "modules": {
            "queue": {"type": "tej:Queue", "inputs": place()},
            "number": {"type": "basic:String", "inputs": {"value": "1234567890"}},
            # A default that is set
            "file": {"type": "basic:WriteFile", "inputs": {"suffix": ""}},
            "script": {
                "type": "basic:File",
                "inputs": {"value": str(folder / "run.sh")},
            },
            "base": {
                "type": "basic:Directory",
                "inputs": {"value": str(folder / "base")},
            },
            "job": {
                "type": "tej:SubmitJob",
                "files": ["number", "run.sh"],
                "inputs": {"script": "run.sh", "labels": ["a=b"], "environment": "A=b"},
            },
            "result": {"type": "tej:DownloadFile", "inputs": {"filename": "result"}},
            "folder": {"type": "tej:DownloadDirectory", "inputs": {"pathname": "."}},
            "some": {
                "type": "tej:DownloadFiles",
                "inputs": {"filenames": ["res*", "number"]},
            },
            "output": {"type": "basic:StandardOutput"},
        },
        "connections": [
            ["queue.queue", "job.queue"],
            ["number.value", "file.in_value"],
            ["file.out_value", "job.number"],
            ["script.value", "job.run.sh"],
            ["base.value", "job.job"],
            ["job.job", "result.job"],
            ["job.job", "some.job"],
            ["result.file", "output.value"],
        ],
    }


@pytest.mark.parametrize("scheme", ["vistrails", "content"])
def test_a_directory_with_files_from_ports_is_the_same_job_in_both_engines(
    vistrails: VisTrails,
    place: Callable[..., Document],
    library: tej.RemoteQueue,
    tmp_path: Path,
    scheme: str,
) -> None:
    document = with_files(place, tmp_path)
    del document["modules"]["folder"]
    document["modules"]["queue"]["inputs"]["signatures"] = scheme
    base = document["modules"]["base"]["inputs"]
    base["name"] = base.pop("value")
    signatures = vistrails.build(document)["signatures"]
    answer = vistrails.execute(console=True, interval=600)
    assert answer["errors"] == answer["suspended"] == {}
    assert answer["outputs"]["DownloadFile"]["file"] == "1234567890"
    # What StandardOutput has printed
    assert "1234567890\n" in vistrails.words
    (job,) = library.jobs()
    assert dict(job.labels) == {"a": "b"}
    pipeline = Pipeline.load(vistrails.folder / "workflow.vt")
    assert list(pipeline.job_ids().values()) == [job.job_id]
    if scheme == "vistrails":
        assert job.job_id == PREFIX + signatures["job"]
        # Of every module, not of the job's alone
        for name, node in pipeline.nodes.items():
            (known,) = {
                signatures[one]
                for one, module in document["modules"].items()
                if module["type"].endswith(":" + node.type.__name__)
            }
            assert pipeline.signature(node) == known, name


def test_signatures_are_those_the_package_of_vistrails_gives(
    stock_vistrails: VisTrails,
    shell: Shell,
    place: Callable[..., Document],
    tmp_path: Path,
) -> None:
    old = {
        "plain": shell("hostname; uname ~/%x\n"),
        "errors": shell("exit 0\n", print_error=True),
        "files": with_files(place, tmp_path),
    }
    for name in ("some", "folder"):
        del old["files"]["modules"][name]
    del old["files"]["modules"]["job"]["inputs"]["labels"]
    del old["files"]["modules"]["job"]["inputs"]["environment"]
    old["files"]["connections"].remove(["job.job", "some.job"])
    files = {f"{name}.vt": document for name, document in old.items()}
    built = stock_vistrails.build_all(files)
    before = {name: built[f"{name}.vt"]["signatures"] for name in old}
    stock_vistrails.install()
    new = {f"new-{name}": document for name, document in files.items()}
    after = stock_vistrails.build_all(new)
    for name in old:
        assert after[f"new-{name}.vt"]["signatures"] == before[name]
        # And a workflow that was made then loads now.
        answer = stock_vistrails.execute(f"{name}.vt")
        assert answer["package"] == "tej_vistrails"
        assert sorted(answer["signatures"].values()) == sorted(before[name].values())
        assert not answer["errors"], stock_vistrails.words
        ids = Pipeline.load(stock_vistrails.folder / f"{name}.vt").job_ids()
        assert list(ids.values()) == [PREFIX + before[name]["job"]]


def test_a_workflow_that_was_edited_is_the_same_in_both_engines(
    vistrails: VisTrails, shell: Shell
) -> None:
    document = shell("one\n")
    document["modules"]["output"] = {"type": "basic:StandardOutput"}
    document["connections"].append(["job.stdout", "output.value"])
    before = set(vistrails.build(document)["signatures"].values())
    with zipfile.ZipFile(vistrails.folder / "workflow.vt") as archive:
        version_before = archive.read("vistrail").count(b"</action>")
    after = vistrails(
        "edit",
        file="workflow.vt",
        change={"Queue": {"hostname": "x"}, "SubmitShellJob": {"source": "two"}},
        delete=["StandardOutput"],
        tag="edited",
    )
    path = vistrails.folder / "workflow.vt"
    for version in (None, "edited"):
        pipeline = Pipeline.load(path, version)
        found = {node.type.__name__: node for node in pipeline.nodes.values()}
        assert {name: pipeline.signature(node) for name, node in found.items()} == after
    # And as it was before.
    old = Pipeline.load(path, str(version_before))
    assert {old.signature(node) for node in old.nodes.values()} == before


def test_console_mode_waits_for_the_end_and_not_for_its_ten_minutes(
    vistrails: VisTrails, shell: Shell
) -> None:
    vistrails.build(shell("sleep 1; echo done\n"))
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "done\n"
    assert "COMPLETED" in vistrails.words


def test_text_that_is_more_than_ascii_reaches_the_job(
    vistrails: VisTrails, shell: Shell
) -> None:
    vistrails.build(shell("echo 'é ~'; cat <<E\nü\nE\n"))
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "é ~\nü\n"


def test_jobs_are_killed_and_deleted_by_modules(
    vistrails: VisTrails,
    shell: Shell,
    place: Callable[..., Document],
    library: tej.RemoteQueue,
) -> None:
    signature = vistrails.build(shell("sleep 1000\n"))["signatures"]["job"]
    vistrails.execute()
    inputs = {"id": PREFIX + signature}
    ending = {
        "modules": {
            "queue": {"type": "tej:Queue", "inputs": place()},
            "kill": {"type": "tej:KillJob", "inputs": inputs},
            "delete": {"type": "tej:DeleteJob"},
        },
        "connections": [["queue.queue", "kill.queue"], ["kill.job", "delete.job"]],
    }
    vistrails.build(ending, "ending.vt")
    answer = vistrails.execute("ending.vt")
    assert answer["errors"] == {}, vistrails.words
    assert answer["outputs"]["KillJob"]["state"] == "killed"
    assert library.jobs() == []


def test_secrets_are_neither_in_arguments_nor_in_what_is_saved(
    vistrails: VisTrails, shell: Shell, sshd: Any, tmp_path: Path
) -> None:
    # Notes the arguments of each command that is started.
    notes = tmp_path / "arguments"
    wrapper = tmp_path / "tej"
    wrapper.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >>{shlex.quote(str(notes))}\n'
        f'exec {shlex.quote(sys.executable)} -m tej "$@"\n'
    )
    wrapper.chmod(0o755)
    vistrails.environment["TEJ_COMMAND"] = shlex.quote(str(wrapper))
    document = shell(
        'echo "${#KEY}"\n',
        {"hostname": f"{sshd.user}:s3cret@server"},
        environment="KEY=t0psecret",
    )
    vistrails.build(document)
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "9\n"
    assert "submit" in notes.read_text()
    for secret in ("s3cret", "t0psecret"):
        assert secret not in notes.read_text()
        assert secret not in vistrails.words.rpartition("{")[0]
        assert secret not in json.dumps(records(vistrails.folder))


def test_values_are_put_into_a_script_as_vistrails_does(
    vistrails: VisTrails, shell: Shell
) -> None:
    document = shell("")
    del document["modules"]["job"]["inputs"]
    document["modules"] |= {
        "number": {"type": "basic:Integer", "inputs": {"value": 7}},
        "word": {"type": "basic:String", "inputs": {"value": "seven"}},
        "script": {
            "type": "basic:StringFormat",
            "ports": {"_0": "Integer", "_1": "String", "what": "String"},
            "inputs": {"format": "echo {:03d} {:>6} {{}} {what[0]}"},
        },
    }
    document["connections"] += [
        ["number.value", "script._0"],
        ["word.value", "script._1"],
        ["word.value", "script.what"],
        ["script.value", "job.source"],
    ]
    signature = vistrails.build(document)["signatures"]["job"]
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "007 seven {} s\n"
    pipeline = Pipeline.load(vistrails.folder / "workflow.vt")
    assert list(pipeline.job_ids().values()) == [PREFIX + signature]
    (script,) = (one for name, one in pipeline.nodes.items() if "Format" in name)
    with pipeline.run() as execution:
        # Not executed: the job is there.
        assert not execution.modules[script.name].computed
        execution.modules[script.name].update()
        assert execution.output(script["value"]) == "echo 007  seven {} s"


@pytest.mark.parametrize("scheme", ["vistrails", "content"])
def test_a_job_in_a_group_is_the_same_job(
    vistrails: VisTrails,
    shell: Shell,
    library: tej.RemoteQueue,
    gate: Gate,
    scheme: str,
) -> None:
    document = shell(f"{gate.wait}; echo grouped\n", {"signatures": scheme})
    signature = vistrails.build(document)["signatures"]["job"]
    (job_id,) = Pipeline.load(vistrails.folder / "workflow.vt").job_ids().values()
    assert scheme == "content" or job_id == PREFIX + signature
    everything = ["Queue", "SubmitShellJob"]
    request = {"file": "workflow.vt", "change": {}, "delete": [], "tag": "grouped"}
    vistrails("edit", group=everything, **request)
    assert list(vistrails.execute(console=True)["suspended"]) == ["Group"]
    assert [job.job_id for job in library.jobs()] == [job_id]
    gate.open()
    library.wait([job_id])
    answer = vistrails.execute(console=True, interval=600)
    assert answer["errors"] == answer["suspended"] == {}, vistrails.words
    with pytest.raises(tej.Error, match="A group is nothing this engine knows"):
        Pipeline.load(vistrails.folder / "workflow.vt")


@pytest.mark.parametrize("scheme", ["vistrails", "content"])
def test_a_loop_over_scripts_is_a_job_for_each(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue, scheme: str
) -> None:
    document = shell("", {"signatures": scheme})
    del document["modules"]["job"]["inputs"]
    document["modules"]["scripts"] = {
        "type": "basic:List",
        "inputs": {"value": "['echo one', 'echo two']"},
    }
    document["connections"].append(["scripts.value", "job.source"])
    vistrails.build(document)
    answer = vistrails.execute(console=True, interval=600)
    if scheme == "content":
        assert "cannot see what a loop puts in" in answer["errors"]["SubmitShellJob"]
        return
    assert answer["errors"] == {}, vistrails.words
    ids = [job.job_id for job in library.jobs()]
    printed = {b"".join(library.logs(one)) for one in ids}
    assert printed == {b"one\n", b"two\n"}
    # As the package of VisTrails has named them
    assert all(one == PREFIX + one[len(PREFIX) :].upper() for one in ids)


def test_the_engine_goes_on_with_what_vistrails_has_started(
    vistrails: VisTrails, shell: Shell, gate: Gate, monitor: JobMonitor
) -> None:
    vistrails.build(shell(f"{gate.wait}; echo shared\n"))
    assert vistrails.execute()["suspended"]
    pipeline = Pipeline.load(vistrails.folder / "workflow.vt")
    with pipeline.run(monitor) as execution:
        assert execution.suspended
    gate.open()
    with pipeline.run(monitor, wait=True) as execution:
        (job,) = (one for name, one in pipeline.nodes.items() if "Submit" in name)
        assert execution.text(job["stdout"]) == "shared\n"
