"""`tej ls`, `cat`, `open` and `shell`: commands on the directory of a job."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pexpect
import pytest

import tej
from tej.cli.open import argument_of_scp
from tej.cli.shell import login_script

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]

SCRIPT = """
mkdir -p out/sub .hidden
echo hello >out/text
ln -s out/text link
ln -s /etc outside
: >"a b -> c"
: >"new
line"
"""


@pytest.fixture
def full(
    library: tej.RemoteQueue, job: Make, client: Command, queue_path: Path
) -> Callable[..., object]:
    """Return a function that runs a command on a job with files of all kinds."""
    library.job(library.submit("full", job(SCRIPT))).wait()
    own = {"TEJ_DESTINATION": "local:", "TEJ_QUEUE": str(queue_path)}
    return lambda verb, *words: client(verb, *words, **own)


def test_ls_prints_names_of_all_kinds(full: Callable) -> None:
    done = full("ls", "full")
    assert done.stdout.splitlines() == [
        *(".hidden/", "_stderr", "_stdout", "a b -> c", "link", "new\\nline", "out/"),
        *("outside", "start.sh"),
    ]
    assert full("ls", "full", "out").stdout == "sub/\ntext\n"
    assert full("ls", "full", "out/sub").stdout == ""
    assert full("ls", "full", "link").stdout == "text\n"


def test_ls_json_has_kinds_sizes_and_targets(full: Callable) -> None:
    document = full("ls", "full", "--json").json
    assert (document["id"], document["path"]) == ("full", ".")
    files = {file.pop("name"): file for file in document["files"]}
    assert files["link"] == {"kind": "link", "size": 8, "target": "out/text"}
    assert files["a b -> c"] == {"kind": "file", "size": 0, "target": None}
    assert files[".hidden"]["kind"] == "directory"
    assert files["new\nline"]["size"] is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent", "There is no 'absent' in job 'full'"),
        ("outside", "points outside the directory of job 'full'"),
        ("../..", "is outside the job's directory"),
        ("/etc", "is outside the job's directory"),
    ],
)
def test_ls_refuses_other_paths(full: Callable, path: str, message: str) -> None:
    done = full("ls", "full", path)
    assert (done.status, done.stdout) == (1, "")
    assert message in done.stderr


def test_cat_prints_files_in_order(full: Callable) -> None:
    assert full("cat", "full", "out/text", "start.sh").stdout == (
        f"hello\n#!/bin/sh\n{SCRIPT}\n"
    )
    assert full("cat", "full", "link", "--json").json["files"] == {"link": "hello\n"}
    assert full("cat", "full", "absent").status == 1
    assert full("cat", "full").status == 2
    assert full("cat", "absent", "file").status == 3


def test_open_prints_the_directory(full: Callable, queue_path: Path) -> None:
    directory = f"{queue_path}/jobs/full/stage"
    assert full("open", "full").stdout == f"{directory}\n"
    assert full("open", "full", "--scp", "--json").json == {
        "id": "full",
        "directory": directory,
        "scp": directory,
    }
    assert full("open", "absent").status == 3


@pytest.mark.parametrize(
    ("destination", "there"),
    [
        ("me@host:22", "me@host:/d"),
        ("host", "host:/d"),
        ("me@[::1]:22", "me@[::1]:/d"),
        ("local:", "/d"),
    ],
)
def test_scp_argument_has_user_and_host(destination: str, there: str) -> None:
    assert argument_of_scp(destination, "/d") == there


def test_shell_starts_in_the_job_directory(
    client: Command, destination: str, queue_path: Path, ended: str
) -> None:
    words = client.words("shell", destination, "--queue", queue_path, ended)
    child = pexpect.spawn(
        words[0], words[1:], env=client.environment, encoding="utf-8", timeout=60
    )
    child.expect("Job is finished")
    # The output differs from the echo of the typed command.
    child.sendline("printf '<%s>\\n' \"$(pwd)\"; exit 7")
    child.expect_exact(f"<{queue_path}/jobs/{ended}/stage>")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 7


def test_shell_needs_a_terminal(full: Callable) -> None:
    assert full("shell", "full").status == 2


@pytest.mark.parametrize(
    ("native_id", "listed", "printed"),
    [
        ("12", "12 RUNNING", "srun --jobid=12 --pty --overlap /bin/echo -l"),
        # An array task, and a job on another cluster.
        ("12_3", "15 RUNNING", "srun --jobid=15 --pty --overlap /bin/echo -l"),
        ("12;b", "12 RUNNING", "srun -M b --jobid=12 --pty --overlap /bin/echo -l"),
        ("12", "12 SUSPENDED", "The job is not running"),
        ("12", None, "No srun on the PATH"),
    ],
)
def test_shell_of_running_slurm_job_overlaps(
    tmp_path: Path, native_id: str, listed: str | None, printed: str
) -> None:
    for name in "grep", "sort", "head":
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    own = '[ -n "${SLURM_CLUSTERS-}" ] ||'
    for name, line in ("squeue", f"{own} echo {listed}"), ("srun", 'echo "srun $*"'):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --help ] && echo --overlap && exit\n{line}\n'
        )
        program.chmod(0o755 if listed else 0o644)
    status = tej.JobStatus(
        "a",
        tej.JobState.RUNNING,
        PurePosixPath(tmp_path),
        native_id=native_id,
        runtime="slurm",
    )
    environment = {"PATH": str(tmp_path), "SHELL": "/bin/echo", "SLURM_CLUSTERS": "c"}
    command = ["/bin/sh", "-c", login_script(status)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(printed)


def test_shell_of_ended_job_is_on_login_node() -> None:
    ended = tej.JobStatus(
        "a",
        tej.JobState.FINISHED,
        PurePosixPath("/q/it's/stage"),
        native_id="12",
        runtime="slurm",
    )
    script = login_script(ended)
    assert "cd '/q/it'\"'\"'s/stage'" in script
    assert "srun" not in script
