"""Parsers of option values: NAME=VALUE pairs, durations, dates, environment files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import IO

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_pairs(
    words: Iterable[str], what: str, form: str = "NAME=VALUE"
) -> dict[str, str]:
    """Return a dictionary of the names and values in words of the form NAME=VALUE.

    The error message for an invalid word contains `what`, the kind of word, and `form`.
    """
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            form = "KEY=VALUE" if what == "label" else form
            article = "An" if what[0] in "aeiou" else "A"
            raise click.UsageError(
                f"{article} {what} is given as {form}, not as '{word}'"
            )
        pairs[name] = value
    return pairs


def parse_parameters(words: Iterable[str]) -> dict[str, Collection[str] | None]:
    """Return the values of each parameter; `words` are like SEED=1..3 or LR=0.1,0.01.

    The value of a word without `=` is None, which means any value.  A value with a
    comma is also accepted as one value, because a table of a sweep may contain such
    values.
    """
    # Few commands get parameters, so the module is imported only here.
    from tej.job.sweep import parse_parameter

    found: dict[str, Collection[str] | None] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            _, values = parse_parameter(word if equals else f"{word}=")
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        found[name] = {*(found.get(name) or ()), *values, text} if equals else None
    return found


def read_variables(file: IO[str]) -> list[str]:
    """Read a JSON object from a file, and return words of the form NAME=VALUE."""
    import json

    try:
        values = json.load(file)
    except ValueError as error:
        raise click.UsageError(
            f"--env-file: {file.name} is not JSON: {error}"
        ) from None
    if not isinstance(values, dict) or not all(
        isinstance(value, str) for value in values.values()
    ):
        raise click.UsageError(f"--env-file: {file.name} is not an object of strings")
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise click.UsageError(f"--env-file: {name!r} is not a variable name")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise click.UsageError(
                f"--env-file: the value of {name} contains characters that cannot be "
                "encoded as UTF-8"
            )
    return [f"{name}={value}" for name, value in values.items()]


def seconds(text: str) -> float:
    """Return the number of seconds in `text`, such as 90 or 0.5."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not number >= 0:
        raise click.BadParameter(f"'{text}' is not a number of seconds")
    return number


def duration(text: str) -> timedelta:
    """Return the duration in `text`, such as 30d, 12h, 90m, 45s or 2w."""
    unit = _UNITS.get(text[-1:])
    try:
        # Negative durations are refused, because every job is older than a negative
        # age.
        if unit is not None and float(text[:-1]) >= 0:
            return timedelta(**{unit: float(text[:-1])})
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(f"'{text}' is not a time like 2w, 30d, 12h, 90m or 45s")


def age_or_time(text: str) -> timedelta | datetime:
    """Return an age such as 3d, or the time of an ISO 8601 date or time.

    A time without a time zone is a local time.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        pass
    try:
        return duration(text)
    except click.BadParameter:
        raise click.BadParameter(
            f"'{text}' is neither an age like 3d nor a date like 2026-11-22"
        ) from None
