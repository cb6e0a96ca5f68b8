"""Modules in a real VisTrails 2.2.4 under Python 2.7, one process per execution."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import Gate

import tej
from tests.adapters_vistrails.vistrails_records import PREFIX, records

if TYPE_CHECKING:
    from tests.adapters_vistrails.conftest import VisTrails

Document = dict[str, Any]
Shell = Callable[..., Document]


def test_three_processes_start_find_and_fetch_job(
    vistrails: VisTrails,
    shell: Shell,
    gate: Gate,
    library: tej.RemoteQueue,
    tmp_path: Path,
    sshd: Any,
) -> None:
    script = f"echo started >>starts; {gate.wait}; echo result; echo err >&2\n"
    place = {"hostname": "server", "username": sshd.user, "port": sshd.port}
    document = shell(script, place)
    signature = vistrails.build(document)["signatures"]["job"]
    for _ in range(2):
        answer = vistrails.execute()
        assert answer["package"] == "tej_vistrails"
        assert list(answer["suspended"]) == ["SubmitShellJob"]
        assert answer["errors"] == {}
    assert not library.status(PREFIX + signature).state.final
    gate.open()
    library.wait([PREFIX + signature])
    outputs = vistrails.execute()["outputs"]["SubmitShellJob"]
    assert outputs == {"stdout": "result\n", "stderr": "err\n", "exitcode": 0}

    # The command finds the same job.
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
    """Return a pipeline like VisTrails' example for tej:

    files on ports and a download.
    """
    (folder / "run.sh").write_text("#!/bin/sh\ncat number >result; ls\n")
    (folder / "base/one/two").mkdir(parents=True)
    # VisTrails' signature of a directory uses the time of the newest directory inside.
    os.utime(folder / "base/one/two", (2e9, 2e9))
    return {
        "modules": {
            "queue": {"type": "tej:Queue", "inputs": place()},
            "number": {"type": "basic:String", "inputs": {"value": "1234567890"}},
            # A port with an explicit default value.
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
                "inputs": {"script": "run.sh", "options": ["--label a=b", "--env A=b"]},
            },
            "result": {"type": "tej:DownloadFile", "inputs": {"filename": "result"}},
            "folder": {"type": "tej:DownloadDirectory", "inputs": {"pathname": "."}},
            "output": {"type": "basic:StandardOutput"},
        },
        "connections": [
            ["queue.queue", "job.queue"],
            ["number.value", "file.in_value"],
            ["file.out_value", "job.number"],
            ["script.value", "job.run.sh"],
            ["base.value", "job.job"],
            ["job.job", "result.job"],
            ["result.file", "output.value"],
        ],
    }


def test_files_on_ports_are_sent_and_results_fetched(
    vistrails: VisTrails,
    place: Callable[..., Document],
    library: tej.RemoteQueue,
    tmp_path: Path,
) -> None:
    document = with_files(place, tmp_path)
    del document["modules"]["folder"]
    base = document["modules"]["base"]["inputs"]
    base["name"] = base.pop("value")
    signatures = vistrails.build(document)["signatures"]
    answer = vistrails.execute(console=True, interval=600)
    assert answer["errors"] == answer["suspended"] == {}
    assert answer["outputs"]["DownloadFile"]["file"] == "1234567890"
    # The output of the module StandardOutput.
    assert "1234567890\n" in vistrails.words
    (job,) = library.jobs()
    assert dict(job.labels) == {"a": "b"}
    assert job.job_id == PREFIX + signatures["job"]


REFERENCE = {
    "queue": "75b7df64c2b8b075d449d6dc1a2d579107df0b4b",
    "explicit": "cb5f0da71c7e5ba2652c99f96738f35533d15932",
    "job": "30cfcf5360a6c6f28c78e1613df935bacddde391",
    "print": "814c497832929f9b4d8859d915bc1658e1d5e05d",
    "local": "3b874fec9c63d30371abb798a2b718b389175ad3",
}
"""Signatures of modules in VisTrails 2.2.4 with the package that it includes."""


def test_reference_signatures_are_unchanged(vistrails: VisTrails) -> None:
    host = {"hostname": "user@example.org"}
    source = {"source": "echo hello\n"}
    document = {
        "modules": {
            "queue": {"type": "tej:Queue", "inputs": host},
            "explicit": {"type": "tej:Queue", "inputs": {**host, "queue": "~/.tej"}},
            "job": {"type": "tej:SubmitShellJob", "inputs": source},
            "print": {
                "type": "tej:SubmitShellJob",
                "inputs": {**source, "print_error": True},
            },
            "local": {"type": "tej:Queue", "inputs": {"hostname": "127.0.0.1"}},
        },
        "connections": [["queue.queue", "job.queue"], ["queue.queue", "print.queue"]],
    }
    assert vistrails.build(document)["signatures"] == REFERENCE


def test_signatures_equal_those_of_vistrails_package(
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
    del old["files"]["modules"]["folder"]
    del old["files"]["modules"]["job"]["inputs"]["options"]
    files = {f"{name}.vt": document for name, document in old.items()}
    built = stock_vistrails.build_all(files)
    before = {name: built[f"{name}.vt"]["signatures"] for name in old}
    stock_vistrails.install()
    new = {f"new-{name}": document for name, document in files.items()}
    after = stock_vistrails.build_all(new)
    for name in old:
        assert after[f"new-{name}.vt"]["signatures"] == before[name]
    # A workflow that the original package created can be loaded.
    answer = stock_vistrails.execute("files.vt")
    assert answer["package"] == "tej_vistrails"
    assert sorted(answer["signatures"].values()) == sorted(before["files"].values())
    assert not answer["errors"], stock_vistrails.words


def test_console_mode_waits_and_keeps_non_ascii_text(
    vistrails: VisTrails, shell: Shell
) -> None:
    # VisTrails itself would request the status only after ten minutes.
    vistrails.build(shell("echo 'é ~'; cat <<E\nü\nE\n"))
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "é ~\nü\n"
    assert "COMPLETED" in vistrails.words


def test_password_is_not_in_arguments_or_files(
    vistrails: VisTrails, shell: Shell, sshd: Any, tmp_path: Path
) -> None:
    # This `tej` records the arguments of each command.
    notes = tmp_path / "arguments"
    wrapper = tmp_path / "tej"
    wrapper.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >>{shlex.quote(str(notes))}\n'
        f'exec {shlex.quote(sys.executable)} -m tej "$@"\n'
    )
    wrapper.chmod(0o755)
    vistrails.environment["TEJ_COMMAND"] = shlex.quote(str(wrapper))
    vistrails.build(shell("echo x\n", {"hostname": f"{sshd.user}:s3cret@server"}))
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "x\n"
    assert "submit" in notes.read_text()
    assert "s3cret" not in notes.read_text()
    assert "s3cret" not in vistrails.words.rpartition("{")[0]
    assert "s3cret" not in json.dumps(records(vistrails.folder))


def test_job_in_group_has_same_id(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue, gate: Gate
) -> None:
    document = shell(f"{gate.wait}; echo grouped\n")
    job_id = PREFIX + vistrails.build(document)["signatures"]["job"]
    everything = ["Queue", "SubmitShellJob"]
    request = {"file": "workflow.vt", "change": {}, "delete": [], "tag": "grouped"}
    vistrails("edit", group=everything, **request)
    assert list(vistrails.execute(console=True)["suspended"]) == ["Group"]
    assert [job.job_id for job in library.jobs()] == [job_id]
    gate.open()
    library.wait([job_id])
    answer = vistrails.execute(console=True, interval=600)
    assert answer["errors"] == answer["suspended"] == {}, vistrails.words


def test_loop_over_scripts_starts_one_job_each(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue
) -> None:
    document = shell("")
    del document["modules"]["job"]["inputs"]
    document["modules"]["scripts"] = {
        "type": "basic:List",
        "inputs": {"value": "['echo one', 'echo two']"},
    }
    document["connections"].append(["scripts.value", "job.source"])
    vistrails.build(document)
    answer = vistrails.execute(console=True, interval=600)
    assert answer["errors"] == {}, vistrails.words
    ids = [job.job_id for job in library.jobs()]
    printed = {b"".join(library.logs(one)) for one in ids}
    assert printed == {b"one\n", b"two\n"}
    # The ids have the same form as in the original package of VisTrails.
    assert all(one == PREFIX + one[len(PREFIX) :].upper() for one in ids)
