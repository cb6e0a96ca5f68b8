"""Execution of a job's script: exit statuses, and the end of background processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import is_alive, wait_until

SERVER = Path(__file__).parents[2] / "tej/server"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_awk_reports_no_false_exit_status(shell: str) -> None:
    """If SIGCHLD is ignored, awk cannot determine the exit status of the script."""
    lines = '. "$0"; tej_run="exit 3"; export tej_run; run_in_awk; echo "$end"'
    done = subprocess.run(
        [shell, "-c", lines, SERVER / "lib/run_script.sh"],
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() in ("exit 3", "")


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_shell_distinguishes_signals_from_exit_codes(shell: str) -> None:
    """On many servers, /bin/sh is bash, and programs print warnings when they start."""

    def run(script: str) -> bytes:
        done = subprocess.run(
            [shell, SERVER / "print_exit_status.sh", "TERM"],
            env={
                "PATH": os.defpath,
                "tej_run": script,
                "LD_PRELOAD": "/absent.so",
                "LC_ALL": "absent",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        return done.stdout.partition(b"=")[2]

    assert run("exit 143") == b"=143"
    for name, status in [("TERM", 143), ("KILL", 137), ("SEGV", 139)]:
        # The shell that waits survives a SIGTERM to the whole session.
        said = run(f"kill -s TERM $PPID; kill -s {name} $$")
        # yash and ksh93 add 384 or 256 to the number of the signal, and not 128.
        message, _, reported = said.rpartition(b"=")
        assert int(reported) % 128 == status % 128
        assert message or int(reported) != status


@pytest.mark.parametrize("shell", ["sh", "bash", "mksh", "yash", "ksh"])
def test_background_process_ends_at_once(
    shell: str, require: Callable[[str], None]
) -> None:
    """mksh loses a SIGTERM that arrives before the new process has set its trap."""
    require(shell)
    lines = """
        . "$0/process_identity.sh"; . "$0/sleep.sh"
        proc=/proc
        (begin_sleeps; trap 'end_sleep; exit 0' TERM; sleep_until_signal 600; exit 7) &
        end_background "$!"
        echo $?"""
    done = subprocess.run(
        [shell, "-c", lines, SERVER / "lib"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    # A process without a trap is ended by the signal.
    assert done.stdout.strip() != "7"
    assert done.stdout.strip()


@pytest.mark.parametrize("shell", ["sh", "bash", "mksh", "yash", "ksh"])
def test_ended_pause_leaves_no_process(
    shell: str, tmp_path: Path, require: Callable[[str], None]
) -> None:
    require(shell)
    pause = tmp_path / "sleep"
    pause.write_text(
        "#!/bin/sh\n"
        f"[ \"$1\" != 600 ] || echo $$ >'{tmp_path}/pid'\n"
        f"PATH='{os.environ['PATH']}'; exec sleep \"$1\"\n"
    )
    pause.chmod(0o755)
    lines = f"""
        . "$0/process_identity.sh"; . "$0/sleep.sh"
        proc=/proc PATH='{tmp_path}':$PATH
        (begin_sleeps; trap 'end_sleep; exit 0' TERM; sleep_until_signal 600) &
        until [ -s '{tmp_path}/pid' ]; do :; done
        end_background "$!" """
    subprocess.run([shell, "-c", lines, SERVER / "lib"], timeout=60, check=False)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_alive(pid), "the pause has ended")


def test_cdpath_leads_to_no_other_directory(tmp_path: Path) -> None:
    """Under a scheduler, the start-up files of a login can export CDPATH."""
    stage, other = tmp_path / "job/stage", tmp_path / "other/stage"
    for folder in (stage, other):
        folder.mkdir(parents=True)
    (other / "_stdout").touch()
    (stage.parent / "spec").write_text("token=ab end\n")
    (stage.parent / "command").write_text("pwd\n")
    subprocess.run(
        ["sh", SERVER / "exec_job.sh"],
        cwd=stage.parent,
        env={
            "PATH": os.environ["PATH"],
            "CDPATH": str(other.parent),
            "tej_here": str(SERVER),
            "tej_host": "host boot space",
            "tej_queue": "/queue",
            "tej_id": "job",
            "tej_clock": " ",
        },
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    assert (stage / "_stdout").read_text() == f"{stage}\n"
    assert (other / "_stdout").read_bytes() == b""


def test_functions_hidden_by_an_older_client_are_restored() -> None:
    """The scripts of a queue may be newer than the client, which hides the functions."""
    lines = '. "$0"; restore_environment; module x; env | grep "^tej_"'
    done = subprocess.run(
        ["bash", "--posix", "-c", lines, SERVER / "lib/user_environment.sh"],
        env={
            "PATH": os.environ["PATH"],
            "tej_kept_functions": "module () \n{ \n    echo $1\n}\nexport -f module\n",
        },
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "x\n"
