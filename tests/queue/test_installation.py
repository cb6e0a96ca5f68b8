"""Installation of the server scripts by the first request, upgrades and repairs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs import wait_until, wait_until_ended

import tej
from tej.server.scripts import Scripts, built_in

if TYPE_CHECKING:
    from tests.queue.conftest import Server

Make = Callable[..., Path]

CLIENT = """
import sys
sys.path[:0] = {path!r}
import tej
queue = tej.RemoteQueue("local:", {queue!r}, "default")
sys.stdin.readline()
for number in range(2):
    queue.submit(sys.argv[1] + str(number), {directory!r})
"""


def scripts_of(queue_path: Path) -> Path:
    """Return the directory of the scripts in use."""
    for line in (queue_path / "version").read_text().splitlines():
        if line.startswith("scripts "):
            return queue_path / "scripts" / line.split()[1]
    raise AssertionError("no scripts in version")


def listing(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def whole() -> dict[str, bytes]:
    return {path: text.encode() for path, text in built_in().files.items()}


def test_queue_finished_by_another_client_is_accepted(
    local_queue: tej.RemoteQueue, queue_path: Path
) -> None:
    local_queue.setup()
    # One client found that there is no `version`. Before this client checks again,
    # another client has written `version`.
    bootstrap = Path(tej.__file__).parent / "server/bootstrap.sh"
    code = '. "$1"; queue=$2; check_unused; printf "%s" "$?"'
    done = subprocess.run(
        ["sh", "-c", code, "sh", bootstrap, queue_path], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("1", "")


def test_installed_scripts_equal_those_of_package(
    queue: tej.RemoteQueue, queue_path: Path
) -> None:
    queue.setup()
    assert listing(scripts_of(queue_path)) == whole()
    assert [path.name for path in (queue_path / "scripts").iterdir()] == [
        built_in().digest
    ]
    assert list((queue_path / "incoming").iterdir()) == []
    assert sorted(os.listdir(queue_path)) == [
        "attempts",
        "incoming",
        "jobs",
        "objects",
        "scripts",
        "version",
    ]


def test_concurrent_setups_create_one_queue(
    server: Server, queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    directory = job("echo ran >>ran")
    code = CLIENT.format(path=sys.path, queue=str(queue_path), directory=str(directory))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, f"process{number}-"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    errors: list[BaseException] = []
    together = threading.Barrier(4)

    def submit(number: int, shared: tej.RemoteQueue) -> None:
        try:
            together.wait()
            for again in range(2):
                shared.submit(f"thread{number}-{again}", directory)
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(
            target=submit,
            args=(number, queue if number % 2 else server.queue(queue_path)),
        )
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    together.wait()
    words = [process.communicate("go\n")[1] for process in processes]
    for thread in threads:
        thread.join()
    assert (errors, words) == ([], ["", "", ""])
    wait_until(
        lambda: all(status.state.final for status in queue.jobs()),
        "all jobs have ended",
    )
    found = queue.jobs()
    assert len(found) == 2 * (3 + 3)
    for status in found:
        assert status.succeeded
        assert Path(status.directory, "ran").read_text() == "ran\n"
    assert listing(scripts_of(queue_path)) == whole()
    assert [path.name for path in (queue_path / "scripts").iterdir()] == [
        built_in().digest
    ]
    assert list((queue_path / "incoming").iterdir()) == []
    assert not list(queue_path.glob(".version*"))


def test_one_of_many_first_clients_starts_job(
    server: Server, queue: tej.RemoteQueue, queue_path: Path, job: Make, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    outcomes: list[object] = []
    together = threading.Barrier(4)
    directories = [
        job(f"echo {number} >>'{runs}'", name=f"job{number}") for number in range(4)
    ]

    def submit(number: int) -> None:
        together.wait()
        try:
            outcomes.append(queue.submit("same", directories[number]))
        except tej.JobAlreadyExists:
            outcomes.append(None)
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["None"] * 3 + ["same"]
    wait_until_ended(queue, "same")
    assert len(runs.read_text().splitlines()) == 1
    assert f"job{runs.read_text().strip()}" == queue.status("same").name
    wait_until(lambda: not list(queue_path.glob("incoming/*")), "nothing is left over")


@pytest.mark.parametrize("part", ["lib/load.sh", "exec_job.sh", "commands", "scripts"])
def test_missing_scripts_are_reinstalled(
    queue: tej.RemoteQueue, queue_path: Path, ended: str, job: Make, part: str
) -> None:
    for verb in (
        lambda: queue.status(ended),
        queue.jobs,
        lambda: queue.submit(None, job("true", name="again")),
    ):
        here = (
            queue_path / "scripts"
            if part == "scripts"
            else scripts_of(queue_path) / part
        )
        if part == "commands":
            (here / "status").unlink()
            (here / "submit").unlink()
        elif here.is_dir():
            shutil.rmtree(here)
        else:
            here.unlink()
        assert verb()
        assert listing(scripts_of(queue_path)) == whole()
    assert queue.status(ended).succeeded


def test_scripts_without_a_version_file_are_completed(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    """A cleanup of old files may delete any files of a queue."""
    queue.setup()
    (scripts_of(queue_path) / "runtimes/hooks.sh").unlink()
    (queue_path / "version").unlink()
    again = tej.RemoteQueue(queue.destination, str(queue_path))
    job_id = again.submit(None, job("true"))
    wait_until_ended(again, job_id)
    assert again.status(job_id).succeeded
    assert listing(scripts_of(queue_path)) == whole()


def set_version(queue_path: Path, digest: str, version: str) -> None:
    """Change the queue's scripts to those of another version of tej."""
    old = scripts_of(queue_path)
    old.rename(old.with_name(digest))
    lines = (queue_path / "version").read_text().splitlines()
    lines[2] = f"scripts {digest} {version}"
    (queue_path / "version").write_text("\n".join(lines) + "\n")


def test_older_scripts_are_upgraded_by_any_request(
    queue: tej.RemoteQueue, queue_path: Path, ended: str
) -> None:
    set_version(queue_path, "0123456789abcdef", "0.7.0.dev1")
    assert queue.status(ended).succeeded
    assert scripts_of(queue_path).name == built_in().digest
    assert listing(scripts_of(queue_path)) == whole()
    assert "runtime default\n" in (queue_path / "version").read_text()


def test_older_scripts_are_upgraded_by_submit(
    queue: tej.RemoteQueue, queue_path: Path, ended: str, job: Make
) -> None:
    set_version(queue_path, "0123456789abcdef", "0.0.1")
    assert queue.submit("second", job("true", name="second")) == "second"
    assert scripts_of(queue_path).name == built_in().digest
    assert {status.job_id for status in queue.jobs()} == {ended, "second"}


def test_running_job_keeps_its_older_scripts(
    queue: tej.RemoteQueue, queue_path: Path, waiting: str, gate: object
) -> None:
    # A running job continues to read the scripts with which it was started.
    old = scripts_of(queue_path)
    shutil.copytree(old, old.with_name("0123456789abcdef"))
    version = (queue_path / "version").read_text()
    (queue_path / "version").write_text(version.replace(old.name, "0123456789abcdef"))
    assert queue.status(waiting).state is tej.JobState.RUNNING
    assert old.is_dir()
    gate.open()  # type: ignore[attr-defined]
    wait_until_ended(queue, waiting)
    assert queue.status(waiting).exit_code == 3


def test_newer_scripts_are_used_and_kept(
    server: Server, queue: tej.RemoteQueue, queue_path: Path, ended: str, job: Make
) -> None:
    set_version(queue_path, "fedcba9876543210", "99.1.0")
    newer = scripts_of(queue_path)
    status = newer / "commands" / "status"
    status.write_text(status.read_text() + "\nprintf '%s\\0' 'unknown=word'\n")
    before = listing(newer)
    queue = server.queue(queue_path)
    assert queue.status(ended).succeeded
    job_id = queue.submit(None, job("true", name="other"))
    wait_until_ended(queue, job_id)
    queue.download(job_id, "_stdout", directory=queue_path.parent / "out")
    queue.kill(job_id)
    queue.delete(job_id)
    assert listing(scripts_of(queue_path)) == before
    assert "99.1.0" in (queue_path / "version").read_text()


def test_unknown_runtime_of_queue_is_named(
    queue: tej.RemoteQueue, queue_path: Path, ended: str, job: Make
) -> None:
    set_version(queue_path, "0123456789abcdef", "0.0.1")
    version = (queue_path / "version").read_text()
    (queue_path / "version").write_text(version.replace("default", "quantum"))
    for ask in (queue.jobs, lambda: queue.submit("a", job("true", name="a"))):
        with pytest.raises(
            tej.QueueExists, match="'quantum', which this tej does not have"
        ):
            ask()


def test_failed_installation_leaves_no_queue(
    queue: tej.RemoteQueue, queue_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = queue.connection.scripts
    # The installation fails, because `version` cannot be both a file and a directory.
    broken = {**honest.files, "version/is/a/file": "x", "version": "x"}
    monkeypatch.setattr(queue.connection, "scripts", Scripts(broken, honest.digest))
    with pytest.raises(tej.RemoteCommandFailure, match="cannot be set up"):
        queue.setup()
    assert not (queue_path / "version").exists()
    assert list((queue_path / "incoming").iterdir()) == []
    monkeypatch.undo()
    assert queue.setup()


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_unwritable_path_is_named(server: Server) -> None:
    with pytest.raises(tej.RemoteCommandFailure, match="cannot be made"):
        server.queue("/usr/queue").setup()


@pytest.mark.skipif(os.getuid() != 0, reason="only root mounts")
def test_queue_works_on_noexec_disk(
    server: Server, tmp_path: Path, job: Make, watch: Callable[[Path], Path]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "noexec", "none", disk], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        queue = server.queue(disk / "queue")
        # On such a disk the job's own script cannot be started, but a command can.
        job_id = queue.submit(None, job("echo ran"), "sh start.sh")
        wait_until_ended(queue, job_id)
        assert Path(queue.status(job_id).directory, "_stdout").read_text() == "ran\n"
        assert queue.cleanup()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
