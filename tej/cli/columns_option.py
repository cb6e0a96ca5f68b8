"""Option `--columns`: the names of the columns of a table of jobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import click

from tej.job.resources import Resources
from tej.job.status import JobStatus
from tej.job.table_columns import COLUMNS, SYNONYMS

RESOURCES = [
    field.name
    for field in dataclasses.fields(Resources)
    if field.name not in (*COLUMNS, "modules", "options")
]
"""The requested resources that can be columns."""


def parse_columns(text: str) -> list[str]:
    """Return the names of the columns in a list such as "job,state,LR"."""
    names = [SYNONYMS.get(name.strip(), name.strip()) for name in text.split(",")]
    return [*dict.fromkeys(name for name in names if name)]


def check_columns(names: Iterable[str], jobs: Sequence[JobStatus]) -> None:
    """Raise click.BadParameter if a name is not a column, resource, parameter or label.

    In a queue without jobs, every name is accepted, because a script that lists a
    parameter must not fail before its first job is submitted.
    """
    own = {key for job in jobs for key in (*job.parameters, *job.labels)}
    known = [*COLUMNS, *SYNONYMS, "size", *RESOURCES, *sorted(own)]
    for name in names if jobs else ():
        if name in known:
            continue
        close = get_close_matches(name, known, 1)
        way_out = (
            f"did you mean '{close[0]}'?" if close else f"use {', '.join(COLUMNS)}"
        )
        raise click.BadParameter(
            f"no job has the column '{name}': {way_out}", param_hint="--columns"
        )
