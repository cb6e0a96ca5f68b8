"""Every command of tej 0.6's README prints exactly the documented output."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import Gate, wait_until

import tej

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]


def test_setup_with_queue_link_and_runtime(
    client: Command, destination: str, queue_path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    done = client(
        *("setup", destination, "--queue", queue_path),
        *("--make-link", link, "--runtime", "default"),
    )
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    assert link.read_text() == f"tejdir: {queue_path}\n"
    assert client("list", destination, "--queue", link).status == 0


def test_submit_prints_the_id_alone_on_stdout(
    client: Command, destination: str, plain_queue: Path, job: Make
) -> None:
    job("true", name="myjobdir")
    done = client("submit", destination, "--queue", plain_queue, "myjobdir")
    user = re.escape("root" if destination == "server" else getpass.getuser())
    assert re.fullmatch(rf"myjobdir_{user}_[a-z0-9]+\n", done.stdout)
    assert (done.status, done.stderr) == (0, "Job submitted as:\n")


def test_submit_on_a_terminal_shows_both_lines(
    client: Command, plain_queue: Path, job: Make
) -> None:
    job("true", name="myjobdir")
    done = client.on_terminal(
        *("submit", "local:", "--queue", plain_queue, "--id", "example_job", "myjobdir")
    )
    assert (done.status, done.stdout) == (0, "Job submitted as:\nexample_job\n")


def test_submit_with_an_id_and_a_script(
    client: Command, destination: str, plain_queue: Path, job: Make
) -> None:
    job("exit 9", {"bin/jobinit": "#!/bin/sh\necho init >ran\n"}, name="myjobdir")
    done = client(
        *("submit", destination, f"--queue={plain_queue}", "--id", "example_job"),
        *("--script", "bin/jobinit", "myjobdir"),
    )
    assert (done.status, done.stdout) == (0, "example_job\n")
    ran = plain_queue / "jobs" / "example_job" / "stage" / "ran"
    wait_until(ran.exists, "the script has run")


def test_status_of_job_that_still_runs(
    client: Command, destination: str, queue_path: Path, waiting: str
) -> None:
    done = client("status", destination, "--queue", queue_path, "--id", waiting)
    assert re.fullmatch(r"Job is still running \(0:\d\d\)\n", done.stdout)
    assert (done.status, done.stderr) == (0, "")


def test_status_of_finished_job(
    client: Command, destination: str, queue_path: Path, ended: str
) -> None:
    done = client("status", destination, "--queue", queue_path, "--id", ended)
    assert re.fullmatch(r"Job is finished \(0:\d\d\)\n", done.stdout)
    assert (done.status, done.stderr) == (0, "")


def test_status_of_missing_job(
    client: Command, destination: str, queue_path: Path, ended: str
) -> None:
    done = client("status", destination, "--queue", queue_path, "--id", "absent_1")
    first, place = done.stderr.splitlines()
    assert (done.status, done.stdout, first) == (3, "", "No job 'absent_1'")
    assert str(queue_path) in place


def test_download_into_the_current_directory(
    client: Command,
    destination: str,
    queue_path: Path,
    library: tej.RemoteQueue,
    job: Make,
) -> None:
    files = {
        "output/log.txt": "log",
        "results.csv": "r",
        "view.png": "v",
        "input.bin": "i",
    }
    library.submit("myjob", job("true", files))
    place = ("--queue", queue_path, "--id", "myjob")
    done = client("download", destination, *place, "output/log.txt")
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    assert (client.place / "output" / "log.txt").read_text() == "log"
    names = ("results.csv", "view.png", "input.bin")
    assert client("download", destination, *place, *names).status == 0
    assert all((client.place / name).is_file() for name in names)


def test_kill_running_job(
    client: Command, destination: str, queue_path: Path, waiting: str
) -> None:
    done = client("kill", destination, "--queue", queue_path, "--id", waiting)
    assert (done.status, done.stdout, done.stderr) == (0, "Job 'waiting' killed\n", "")


def test_kill_finished_job(
    client: Command, destination: str, queue_path: Path, ended: str
) -> None:
    done = client("kill", destination, "--queue", queue_path, "--id", ended)
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == "Job 'ended' has already completed\n"


def test_kill_missing_job(
    client: Command, destination: str, queue_path: Path, ended: str
) -> None:
    done = client("kill", destination, "--queue", queue_path, "--id", "absent")
    first, place = done.stderr.splitlines()
    assert (done.status, done.stdout, first) == (3, "", "No job 'absent'")
    assert str(queue_path) in place


def test_delete_a_job(
    client: Command, destination: str, queue_path: Path, ended: str
) -> None:
    done = client("delete", destination, "--queue", queue_path, "--id", ended)
    assert (done.status, done.stdout, done.stderr) == (0, "Deleted job 'ended'\n", "")


def test_job_from_submit_to_delete_in_default_queue(
    client: Command, job: Make, gate: Gate
) -> None:
    directory = job(f"{gate.wait}; echo results >results.csv")
    done = client("submit", "local:", directory)
    assert done.status == 0
    job_id = done.stdout.strip()
    assert client("status", "local:", "--id", job_id).stdout.startswith("Job is still")
    gate.open()
    wait_until(
        lambda: client("list", "local:").stdout == f"{job_id} finished 0\n",
        "the job has ended",
    )
    client("download", "local:", "--id", job_id, "results.csv")
    assert (client.place / "results.csv").read_text() == "results\n"
    assert client("delete", "local:", "--id", job_id).status == 0
    assert client("list", "local:").stdout == ""
    assert client("cleanup", "local:", "--yes").status == 0
    assert not (Path(client.environment["HOME"]) / ".tej").exists()


def test_status_in_format_of_tej_0_6(
    client: Command, queue_path: Path, ended: str, waiting: str
) -> None:
    words = ("--format", "0.6", "local:", "--queue", queue_path, "--id")
    for job_id, shown in [
        (ended, "finished 0\n"),
        (waiting, "running\n"),
        ("absent", "not found\n"),
    ]:
        done = client("status", *words, job_id)
        assert (done.status, done.stdout, done.stderr) == (0, shown, "")
