"""Shell functions of the server scripts, called without a server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).parents[2] / "tej/server"
SETUP = """
queue=$1 here=$2 runtime=$3 marker=unique id=a job=$1/jobs/a fresh=$1/fresh spec='token=0123456789abcdef end' token=''
. "$here/lib/load.sh"
# Each listing of squeue begins with a header.
patiently() { [ "$1 $2" != 'squeue -r' ] || echo 'JOBID|STATE|REASON|NAME|COMMAND'; "$@"; }
nap() { :; }
cd "$queue"
"""
Shell = Callable[..., str]


@pytest.fixture
def shell(
    tmp_path: Path, request: pytest.FixtureRequest, require: Callable[[str], None]
) -> Shell:
    """Return a function that runs lines of shell after loading a runtime's scripts.

    The function passes keyword arguments on to `subprocess.run`.  The shell is /bin/sh,
    or the parameter of the fixture (`in_all_shells`).
    """
    name = getattr(request, "param", "/bin/sh")
    require(name)
    program = shutil.which(name)
    (tmp_path / "jobs/a/stage").mkdir(parents=True)
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "version").touch()
    (tmp_path / "jobs/a/spec").write_text("token=0123456789abcdef end\n")

    def run(lines: str, runtime: str = "slurm", **options: Any) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", SETUP + lines, "sh", tmp_path, SERVER, runtime],
            executable=program,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )
        assert done.stderr == "", done.stdout
        return done.stdout

    return run
