"""The modules in real VisTrails 2.2.4, under Python 2.7; a process for each execution."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jobs import Gate, wait_until
from servers.proxy import Proxy
from tej_vistrails import JobMonitor, Pipeline

import tej

if TYPE_CHECKING:
    from tests.adapters_vistrails.conftest import VisTrails

Document = dict[str, Any]
Shell = Callable[..., Document]
PREFIX = "vistrails_module_"


def records(folder: Path, name: str = "workflow.vt") -> Document:
    """What VisTrails has saved of its jobs."""
    from xml.etree import ElementTree

    with zipfile.ZipFile(folder / name) as archive:
        root = ElementTree.fromstring(archive.read("vistrail"))
    (value,) = (
        one.get("value", "")
        for one in root.iter("annotation")
        if one.get("key") == "__jobs__"
    )
    return json.loads(value)["jobs"]


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
            "file": {"type": "basic:WriteFile"},
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
    before = {}
    for name, document in old.items():
        before[name] = stock_vistrails.build(document, f"{name}.vt")["signatures"]
    stock_vistrails.install()
    for name, document in old.items():
        after = stock_vistrails.build(document, f"new-{name}.vt")["signatures"]
        assert after == before[name]
        # And a workflow that was made then loads now.
        answer = stock_vistrails.execute(f"{name}.vt")
        assert answer["package"] == "tej_vistrails"
        assert sorted(answer["signatures"].values()) == sorted(before[name].values())
        assert not answer["errors"], stock_vistrails.words
        ids = Pipeline.load(stock_vistrails.folder / f"{name}.vt").job_ids()
        assert list(ids.values()) == [PREFIX + before[name]["job"]]


def test_console_mode_waits_for_the_end_and_not_for_its_ten_minutes(
    vistrails: VisTrails, shell: Shell
) -> None:
    vistrails.build(shell("sleep 1; echo done\n"))
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "done\n"
    assert "COMPLETED" in vistrails.words


def test_ctrl_c_while_console_mode_waits_suspends_and_the_job_goes_on(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue, gate: Gate
) -> None:
    signature = vistrails.build(shell(f"{gate.wait}; echo done\n"))["signatures"]["job"]
    request = {"do": "execute", "file": "workflow.vt", "console": True, "interval": 600}
    client = vistrails.start(request)

    def waits() -> bool:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if b"wait" in words and (PREFIX + signature).encode() in words:
                    return os.getpgid(int(path.parent.name)) == client.pid
        return False

    wait_until(waits, "VisTrails waits for the job")
    os.killpg(client.pid, signal.SIGINT)
    (suspended,) = vistrails.answer(client)["suspended"].values()
    assert "goes on" in suspended
    assert library.status(PREFIX + signature).state == "running"
    assert not records(vistrails.folder)[signature]["finished"]
    gate.open()
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "done\n"


def test_a_broken_connection_while_resuming_keeps_the_record(
    vistrails: VisTrails, shell: Shell, flaky: Proxy, gate: Gate
) -> None:
    document = shell(f"{gate.wait}; echo back\n", {"hostname": "flaky"})
    signature = vistrails.build(document)["signatures"]["job"]
    assert vistrails.execute(console=True)["suspended"]
    before = records(vistrails.folder)
    assert before[signature]["parameters"]["job_id"] == PREFIX + signature
    flaky.refuse()
    flaky.cut()
    answer = vistrails.execute(console=True)
    assert list(answer["suspended"]) == ["SubmitShellJob"]
    assert answer["errors"] == {}
    assert records(vistrails.folder) == before
    flaky.accept()
    gate.open()
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "back\n"
    assert records(vistrails.folder)[signature]["finished"]


def test_an_error_while_resuming_keeps_the_record(
    vistrails: VisTrails, shell: Shell, gate: Gate, home: Path
) -> None:
    signature = vistrails.build(shell(f"{gate.wait}; echo back\n"))["signatures"]["job"]
    assert vistrails.execute(console=True)["suspended"]
    before = records(vistrails.folder)
    config = home / ".ssh/config"
    good = config.read_text()
    config.write_text(good.replace("IdentityFile", "#IdentityFile"))
    assert "key" in vistrails.execute(console=True)["errors"]["SubmitShellJob"]
    assert records(vistrails.folder) == before
    config.write_text(good)
    gate.open()
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "back\n"
    assert records(vistrails.folder)[signature]["finished"]


def test_a_record_that_was_emptied_does_no_harm(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue
) -> None:
    signature = vistrails.build(shell("echo well\n"))["signatures"]["job"]
    vistrails.execute(console=True)
    path = vistrails.folder / "workflow.vt"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    found = records(vistrails.folder)[signature]["parameters"]
    text = json.dumps(found).replace('"', "&quot;").encode()
    assert text in members["vistrail"]
    members["vistrail"] = members["vistrail"].replace(text, b"{}")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    library.wait([PREFIX + signature])
    answer = vistrails.execute(console=True)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "well\n"


def test_a_job_deleted_on_the_server_is_started_again(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue
) -> None:
    signature = vistrails.build(shell("echo again\n"))["signatures"]["job"]
    assert vistrails.execute(console=True, interval=600)["errors"] == {}
    library.delete(PREFIX + signature)
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "again\n"


def test_a_job_deleted_on_the_server_is_missed_by_the_process_that_has_fetched_it(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue
) -> None:
    signature = vistrails.build(shell("echo again\n"))["signatures"]["job"]
    tej_ = [sys.executable, "-m", "tej"]
    place = ["server", "--queue", str(library.queue), "--id", PREFIX + signature]
    wait, delete = [*tej_, "wait", *place], [*tej_, "delete", *place]
    assert vistrails.execute(between=[wait, delete])["errors"] == {}
    # Started again, or it would not be there
    (job,) = library.jobs()
    assert job.job_id == PREFIX + signature


def test_all_who_start_it_at_once_wait_for_the_one_job(
    vistrails: VisTrails,
    shell: Shell,
    library: tej.RemoteQueue,
    gate: Gate,
    tmp_path: Path,
) -> None:
    signature = vistrails.build(shell(f"echo s >>starts; {gate.wait}\n"))["signatures"][
        "job"
    ]
    request = {"do": "execute", "file": "workflow.vt"}
    for answer in map(vistrails.answer, [vistrails.start(request) for _ in range(3)]):
        assert list(answer["suspended"]) == ["SubmitShellJob"]
        assert answer["errors"] == {}
    gate.open()
    library.wait([PREFIX + signature])
    library.download(PREFIX + signature, "starts", directory=tmp_path)
    assert (tmp_path / "starts").read_text() == "s\n"


def test_a_failed_job_is_told_fails_if_wanted_and_is_tried_again(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue
) -> None:
    signature = vistrails.build(shell("echo why >&2; exit 3\n"))["signatures"]["job"]
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["exitcode"] == 3
    assert "failed with exit code 3" in vistrails.words
    strict = shell("echo why >&2; exit 3\n", fail_on_error=True, retry=True)
    # The same job, by its id.
    assert vistrails.build(strict, "strict.vt")["signatures"]["job"] == signature
    answer = vistrails.execute("strict.vt", console=True, interval=600)
    assert answer["errors"]["SubmitShellJob"].endswith("failed with exit code 3\nwhy")
    assert library.status(PREFIX + signature).attempt == 2


def test_text_that_is_more_than_ascii_reaches_the_job(
    vistrails: VisTrails, shell: Shell
) -> None:
    vistrails.build(shell("echo 'é ~'; cat <<E\nü\nE\n"))
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "é ~\nü\n"


def test_words_that_are_more_than_ascii_are_told(
    vistrails: VisTrails, shell: Shell
) -> None:
    vistrails.build(shell("echo 'wéll, no' >&2; exit 1", fail_on_error=True))
    error = vistrails.execute(console=True, interval=600)["errors"]["SubmitShellJob"]
    # As far as VisTrails can save it
    assert error.endswith("failed with exit code 1\nw\\xe9ll, no")
    assert records(vistrails.folder)


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


def test_a_tej_that_is_not_there_is_named(vistrails: VisTrails, shell: Shell) -> None:
    vistrails.environment["TEJ_COMMAND"] = "/absent/tej"
    vistrails.build(shell("true\n"))
    error = vistrails.execute()["errors"]["SubmitShellJob"]
    assert "/absent/tej" in error
    assert "TEJ_COMMAND" in error


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
