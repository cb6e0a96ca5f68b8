"""Execution of a job's script: exit statuses in unusual environments."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

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
