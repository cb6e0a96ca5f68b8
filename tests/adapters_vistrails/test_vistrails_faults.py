"""Faults in a real VisTrails 2.2.4: failed jobs, unreachable servers, wrong records."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import Gate, wait_until
from servers.proxy import Proxy

import tej
from tests.adapters_vistrails.vistrails_records import PREFIX, records

if TYPE_CHECKING:
    from tests.adapters_vistrails.conftest import VisTrails

Document = dict[str, Any]
Shell = Callable[..., Document]


def test_ctrl_c_in_console_mode_leaves_job_running(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue, gate: Gate
) -> None:
    document = shell(f"{gate.wait}; echo done\n", {"hostname": "server"})
    signature = vistrails.build(document)["signatures"]["job"]
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
    assert "continues to run" in suspended
    assert not library.status(PREFIX + signature).state.final
    assert not records(vistrails.folder)[signature]["finished"]
    gate.open()
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "done\n"


def test_errors_while_resuming_keep_the_record(
    vistrails: VisTrails, shell: Shell, flaky: Proxy, gate: Gate, home: Path
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
    # The login is refused.
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


def test_empty_job_record_is_ignored(
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


def test_job_deleted_on_server_is_started_again(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue
) -> None:
    signature = vistrails.build(shell("echo again\n"))["signatures"]["job"]
    assert vistrails.execute(console=True, interval=600)["errors"] == {}
    library.delete(PREFIX + signature)
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["stdout"] == "again\n"


def test_deletion_on_server_is_noticed_after_fetch(
    vistrails: VisTrails, shell: Shell, library: tej.RemoteQueue
) -> None:
    signature = vistrails.build(shell("echo again\n"))["signatures"]["job"]
    tej_ = [sys.executable, "-m", "tej"]
    place = ["local:", "--queue", str(library.queue), "--id", PREFIX + signature]
    wait, delete = [*tej_, "wait", *place], [*tej_, "delete", *place]
    assert vistrails.execute(between=[wait, delete])["errors"] == {}
    # The job exists only if it was started again.
    (job,) = library.jobs()
    assert job.job_id == PREFIX + signature


def test_concurrent_executions_wait_for_one_job(
    vistrails: VisTrails,
    shell: Shell,
    library: tej.RemoteQueue,
    gate: Gate,
    tmp_path: Path,
) -> None:
    signature = vistrails.build(shell(f"echo s >>starts; {gate.wait}\n"))["signatures"][
        "job"
    ]
    # Each process uses its own workflow file, because VisTrails would mix up the
    # records of one file.
    names = [f"copy{number}.vt" for number in range(3)]
    for name in names:
        shutil.copy(vistrails.folder / "workflow.vt", vistrails.folder / name)
    clients = [vistrails.start({"do": "execute", "file": name}) for name in names]
    for answer in map(vistrails.answer, clients):
        assert list(answer["suspended"]) == ["SubmitShellJob"]
        assert answer["errors"] == {}
    gate.open()
    library.wait([PREFIX + signature])
    library.download(PREFIX + signature, "starts", directory=tmp_path)
    assert (tmp_path / "starts").read_text() == "s\n"


def test_failed_job_is_reported(vistrails: VisTrails, shell: Shell) -> None:
    script = "echo why >&2; exit 3\n"
    documents = {
        "workflow.vt": shell(script),
        "strict.vt": shell(script, print_error=True),
        "open.vt": shell(script, options="--label 'a=b"),
    }
    vistrails.build_all(documents)
    answer = vistrails.execute(console=True, interval=600)
    assert answer["outputs"]["SubmitShellJob"]["exitcode"] == 3
    assert "failed with exit code 3" in vistrails.words
    answer = vistrails.execute("strict.vt", console=True, interval=600)
    assert answer["errors"]["SubmitShellJob"].endswith("failed with exit code 3\nwhy")
    assert "why\n" in vistrails.words
    error = vistrails.execute("open.vt")["errors"]["SubmitShellJob"]
    assert error == "Port 'options', value '--label 'a=b': No closing quotation"


def test_non_ascii_messages_are_shown(vistrails: VisTrails, shell: Shell) -> None:
    vistrails.build(shell("echo 'wéll, no' >&2; exit 1", print_error=True))
    error = vistrails.execute(console=True, interval=600)["errors"]["SubmitShellJob"]
    # VisTrails cannot save every character.
    assert error.endswith("failed with exit code 1\nw\\xe9ll, no")
    assert records(vistrails.folder)


def test_missing_tej_command_is_named(vistrails: VisTrails, shell: Shell) -> None:
    vistrails.environment["TEJ_COMMAND"] = "/absent/tej"
    vistrails.build(shell("true\n"))
    error = vistrails.execute()["errors"]["SubmitShellJob"]
    assert "/absent/tej" in error
    assert "TEJ_COMMAND" in error
