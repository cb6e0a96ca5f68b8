"""Option values: pairs, durations, points in time, and environment files."""

from __future__ import annotations

import io
from datetime import datetime, timedelta

import click
import pytest

from tej.cli.list import command as list_command
from tej.cli.option_values import (
    age_or_time,
    duration,
    parse_pairs,
    parse_parameters,
    read_variables,
    seconds,
)


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert parse_pairs(["a=1", "b=c=d", "e="], "label") == {
        "a": "1",
        "b": "c=d",
        "e": "",
    }
    for word in ("a", "=1"):
        with pytest.raises(click.UsageError, match="KEY=VALUE"):
            parse_pairs([word], "label")


def test_parameter_filter_accepts_ranges_lists_and_text() -> None:
    found = parse_parameters(["SEED=1..3", "SEED=7", "NAME=a,b"])
    assert {"1", "2", "3", "7"} <= set(found["SEED"])
    assert set(found["NAME"]) == {"a", "b", "a,b"}
    assert parse_parameters(["SEED"]) == {"SEED": None}
    with pytest.raises(click.UsageError, match="NAME=VALUES"):
        parse_parameters(["a b=1"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45s", timedelta(seconds=45)),
        ("1.5h", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
    ],
)
def test_durations_have_a_unit(text: str, expected: timedelta) -> None:
    assert duration(text) == expected


@pytest.mark.parametrize("text", ["", "5", "-1d", "d", "nand", "1e999w", "5y"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        duration(text)


def test_age_or_time() -> None:
    time = age_or_time("2026-11-22T10:00+00:00")
    assert isinstance(time, datetime)
    assert time.timestamp() == 1795341600
    assert age_or_time("2026-11-22") == datetime(2026, 11, 22).astimezone()
    assert age_or_time("3d") == timedelta(days=3)
    for text in ("soon", "9999999999w"):
        with pytest.raises(click.BadParameter):
            age_or_time(text)


def test_seconds_are_not_negative() -> None:
    assert seconds("0.5") == 0.5
    for text in ("-1", "nan", "x"):
        with pytest.raises(click.BadParameter):
            seconds(text)


def test_environment_file_is_an_object_of_strings() -> None:
    assert read_variables(io.StringIO('{"A": "1", "B_2": "x y"}')) == [
        "A=1",
        "B_2=x y",
    ]
    for text in ("{", "[]", '{"A": 1}', '{"1A": ""}', '{"A": "\\ud800"}'):
        file = io.StringIO(text)
        file.name = "env.json"
        with pytest.raises(click.UsageError, match="--env-file"):
            read_variables(file)


def test_filters_of_the_list_take_no_destination() -> None:
    words = ["--failed", "local:", "--running", "--all", "--tree", "q"]
    # The names are those that `tej` sets: click stores the help option of a command
    # when the option is first used, and test_help.py reads the stored option.
    names = {"help_option_names": ["-h", "--help"], "resilient_parsing": True}
    parsed = list_command.make_context("list", words, **names).params
    assert (parsed["failed"], parsed["running"], parsed["as_tree"]) == (True,) * 3
    assert parsed["words"] == ("local:", "q")
