"""Sweeps: one job for each combination of parameter values, for example SEED=1..10.

Each parameter is an environment variable of the job.  In the command, the value of the
parameter replaces its name in braces, for example `{SEED}`.  The environment and the
command are part of the signature.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tej.job.shell_quoting import fill_shell_fields
from tej.job.spec import JobSpec

MAX_JOBS = 10_000
"""Maximum number of jobs in a sweep; protects against mistyped ranges."""

Row = dict[str, str]

_RANGE = re.compile(r"(-?[0-9]+)\.\.(-?[0-9]+)(?:\.\.([0-9]+))?")
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def parse_parameter(text: str) -> tuple[str, list[str]]:
    """Return the name and the values of a parameter.

    The forms are `SEED=1..10`, `SEED=0..100..10` with a step, and `LR=0.1,0.01`.
    Raises ValueError if `text` does not have one of these forms.
    """
    name, equals, values = text.partition("=")
    if not equals or not name.isidentifier() or not name.isascii():
        raise ValueError(f"A parameter is given as NAME=VALUES, not as '{text}'")
    found: list[str] = []
    for part in values.split(","):
        span = _RANGE.fullmatch(part.strip())
        found += _expand(*span.groups()) if span else [part.strip()]
    return name, found


def _expand(first: str, last: str, step: str | None) -> list[str]:
    """Return the numbers of a range, padded with zeros if `first` begins with 0."""
    start, end, pace = int(first), int(last), int(step or 1)
    if pace == 0 or abs(end - start) // pace >= MAX_JOBS:
        raise ValueError(
            f"The range {first}..{last} never ends, or has more than {MAX_JOBS} values"
        )
    numbers = (
        range(start, end + 1, pace) if end >= start else range(start, end - 1, -pace)
    )
    width = len(first) if first.lstrip("-").startswith("0") else 0
    return [f"{number:0{width}d}" for number in numbers]


def combine(parameters: Sequence[tuple[str, list[str]]], *, zipped: bool) -> list[Row]:
    """Return all combinations of the values; if `zipped`, pair the values in order.

    Raises ValueError if a name is given twice, if there are too many combinations, or
    if zipped parameters have different numbers of values.
    """
    names = [name for name, _ in parameters]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"The parameter {twice[0]} is given twice")
    lists = [values for _, values in parameters]
    if zipped and len({len(values) for values in lists}) > 1:
        counts = ", ".join(f"{name} has {len(values)}" for name, values in parameters)
        raise ValueError(
            f"--zip needs the same number of values for each parameter: {counts}"
        )
    rows = zip(*lists, strict=True) if zipped else itertools.product(*lists)
    found = list(itertools.islice(rows, MAX_JOBS + 1))
    if len(found) > MAX_JOBS:
        raise ValueError(f"The sweep has more than {MAX_JOBS} jobs")
    return [dict(zip(names, row, strict=True)) for row in found]


def parse_table(text: str) -> list[Row]:
    """Return the rows of a table: CSV with a header, or a JSON list of objects.

    Raises ValueError if the text is neither.
    """
    if text.lstrip().startswith("["):
        rows = json.loads(text)
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a table in JSON must be a list of objects")
        return [
            {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in row.items()
            }
            for row in rows
        ]
    reader = csv.DictReader(io.StringIO(text), strict=True)
    rows = list(reader)
    if not reader.fieldnames or any(
        None in row or None in row.values() for row in rows
    ):
        raise ValueError(
            "each row of the CSV file must have exactly one value for each column"
        )
    return rows


def with_parameters(spec: JobSpec, row: Mapping[str, str]) -> JobSpec:
    """Return the job for one combination of parameter values.

    `{NAME}` is replaced by the value: quoted in the script and in `on_end`, unquoted in
    the id.
    """
    return replace(
        spec,
        script=None if spec.script is None else fill_command(spec.script, row),
        job_id=None if spec.job_id is None else fill(spec.job_id, row),
        environment={**spec.environment, **row},
        on_end=None if spec.on_end is None else fill_command(spec.on_end, row),
        parameters=dict(row),
    )


def fill(text: str, row: Mapping[str, str]) -> str:
    """Return `text` with each `{NAME}` replaced by the value of the parameter NAME.

    A field that is not a parameter is not changed.
    """
    return _FIELD.sub(lambda field: row.get(field[1], field[0]), text)


def fill_command(command: str, row: Mapping[str, str]) -> str:
    """Return a shell command with each `{NAME}` replaced by the value, quoted.

    The quoting of the value depends on the quotes around the field.
    """
    return fill_shell_fields(command, _FIELD, lambda field: row.get(field[1]))


def find_duplicate(ids: Iterable[str]) -> str | None:
    """Return the first id that occurs twice, or None."""
    seen: set[str] = set()
    for job_id in ids:
        if job_id in seen:
            return job_id
        seen.add(job_id)
    return None
