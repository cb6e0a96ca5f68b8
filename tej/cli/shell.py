"""`tej shell`: open a shell in the directory of a job."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.one_job_argument import one_job, refuse
from tej.destination import Destination
from tej.job.status import JobState, JobStatus
from tej.queue.remote import RemoteQueue
from tej.transport.interactive_ssh import terminal_command


@queue_command("shell", "[files...]", usage="[JOB]", example="tej shell train-1")
@one_job
def command(queue: RemoteQueue, job_id: str, files: list[str], as_json: bool) -> int:
    """Open a shell in the directory of a job.

    Under Slurm, the shell of a running job runs on the node of the job, within the
    resources of the job.  The exit status is that of the shell.
    """
    if as_json or not sys.stdin.isatty():
        raise click.UsageError(
            "`tej shell` needs a terminal, and does not support --json"
        )
    refuse(files)
    status = queue.status(job_id)
    destination = Destination.parse(queue.destination_string)
    output.say_line(
        f"{status.describe()}; `exit` leaves {queue.destination_string}", err=True
    )
    return subprocess.call(terminal_command(destination, login_script(status)))


def login_script(job: JobStatus) -> str:
    """Return the shell script that enters the job's directory and starts a shell."""
    directory = shlex.quote(str(job.directory))
    shell = '"${SHELL:-/bin/sh}" -l'
    lines = [f"cd {directory} || exit"]
    if job.runtime == "slurm" and job.state is JobState.RUNNING and job.native_id:
        number, _, cluster = job.native_id.partition(";")
        option = f"-M {shlex.quote(cluster)} " if cluster else ""
        step = f'exec srun {option}--jobid="${{tej_job%% *}}" --pty'
        # srun does not accept the id of an array task, such as 12_3, so use the task's
        # job number (%A). srun would block while the job is suspended, so use only a
        # running job. Since Slurm 20.11, a new step waits for the running steps of the
        # job, unless `--overlap` is given.
        lines += [
            # Unset SLURM_CLUSTERS, which could select another cluster.
            "unset SLURM_CLUSTERS",
            f"tej_job=$(squeue -h {option}-j {shlex.quote(number)} -o '%A %T'"
            " 2>/dev/null | grep ' RUNNING$' | sort -n | head -n 1)",
            "case $(srun --help 2>/dev/null),$tej_job in",
            ",*) printf 'No srun on the PATH: this shell is not on the job node\\n' ;;",
            "*,) printf 'The job is not running: this shell is not on its node\\n' ;;",
            f"*--overlap*) {step} --overlap {shell} ;;",
            f"*) {step} {shell} ;;",
            "esac",
        ]
    return "\n".join([*lines, f"exec {shell}"])
