"""`tej logs`: print the output of jobs."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.options import job_ids
from tej.queue.logs import STREAMS, Piece
from tej.queue.remote import RemoteQueue


@queue_command("logs", example="tej logs -f lab --id train-1")
@job_ids
@click.option("-f", "--follow", is_flag=True, help="Continue until the job has ended.")
@click.option("--stdout", "wanted", flag_value="stdout", help="Print stdout only.")
@click.option(
    "--stderr", "wanted", flag_value="stderr", help="Print stderr only, to stdout."
)
@click.option("--file", "name", metavar="NAME", help="Print a file of the job instead.")
@click.option(
    "--tail", type=click.IntRange(0), metavar="N", help="Start with the last N lines."
)
def command(
    queue: RemoteQueue,
    ids: tuple[str, ...],
    follow: bool,
    wanted: str | None,
    name: str | None,
    tail: int | None,
    as_json: bool,
) -> None:
    """Print the output of a job, running or not.

    The job's stdout goes to stdout and its stderr to stderr, as they are.
    """
    id_ = ids[-1]
    streams = [name] if name else [wanted] if wanted else list(STREAMS)
    reader = queue.read_logs(id_, streams, follow=follow, tail=tail)
    if as_json:
        contents: dict[str, bytes] = dict.fromkeys(reader.positions, b"")

        def keep(piece: Piece) -> None:
            contents[piece.name] += piece.data

        reader.read(keep)
        texts = {
            file: data.decode("utf-8", "replace") for file, data in contents.items()
        }
        output.print_json({"id": id_, "files": texts})
    elif len(streams) == 1:
        reader.read(lambda piece: output.write_piece(Piece("", piece.data)))
    else:
        reader.read(output.write_piece)
