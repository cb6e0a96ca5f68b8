"""`tej delete`: delete jobs that have ended."""

from __future__ import annotations

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.options import job_ids
from tej.queue.remote import RemoteQueue


@queue_command("delete", example="tej delete lab --id train-1")
@job_ids
def command(queue: RemoteQueue, ids: tuple[str, ...], as_json: bool) -> int:
    """Delete jobs that have ended, with their files and archived attempts."""
    report = output.JobReport(as_json)
    for id_, error in queue.delete_many(ids).items():
        gone = {"deleted": error is None}
        report.add(id_, None, f"Deleted job '{id_}'", error, gone)
    return report.finish()
