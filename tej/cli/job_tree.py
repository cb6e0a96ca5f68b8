"""Output of `tej list --tree`: the jobs of a queue as a tree of their dependencies."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from tej.job.escaping import escape_line
from tej.job.status import JobStatus
from tej.job.tree import arrange_tree

SHOWN = 3
"""Maximum number of needed jobs that a line lists in addition to its parent."""


def print_tree(jobs: Sequence[JobStatus]) -> None:
    """Print one line per job, under one of the jobs that it needs.

    The branches are drawn in ASCII if stdout cannot encode other characters.
    """
    try:
        "├─└│".encode(sys.stdout.encoding or "ascii")
        ascii_only = False
    except UnicodeEncodeError:
        ascii_only = True
    for branch in arrange_tree(jobs, ascii_only=ascii_only):
        job = branch.job
        words = [job.job_id, str(job.state)]
        if job.name and job.name != job.job_id:
            words.append(job.name)
        text = escape_line(" ".join(words))
        if branch.others:
            more = len(branch.others) - SHOWN
            also = ", ".join(branch.others[:SHOWN])
            text += f"  (also after {also}{f' and {more} more' if more > 0 else ''})"
        click.echo(branch.prefix + text)
