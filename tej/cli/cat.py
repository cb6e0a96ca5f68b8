"""`tej cat`: print files of a job."""

from __future__ import annotations

import click

from tej.cli.command import queue_command
from tej.cli.logs import print_json
from tej.cli.one_job_argument import one_job
from tej.cli.output import write_piece
from tej.queue.logs import Piece
from tej.queue.remote import RemoteQueue


@queue_command(
    "cat", "[files...]", usage="JOB [FILES...]", example="tej cat train-1 metrics.json"
)
@one_job
def command(queue: RemoteQueue, job_id: str, files: list[str], as_json: bool) -> None:
    """Print files of a job, running or not, unchanged to stdout."""
    if not files:
        raise click.UsageError("Missing argument 'FILES...': give the job, then files")
    reader = queue.read_logs(job_id, [f"./{name}" for name in files])
    if as_json:
        print_json(job_id, reader)
    else:
        reader.read(lambda piece: write_piece(Piece("", piece.data)))
