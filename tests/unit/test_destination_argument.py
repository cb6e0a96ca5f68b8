"""Destination argument: whether the first word of a command is the destination."""

from __future__ import annotations

import re

import click
import pytest

from tej.cli import destination_argument
from tej.cli.destination_argument import Context, explain_destination, split_words

JOBS, FILES, DIRECTORY = ("[jobs...]",), ("[files...]",), ("[directory]",)
NONE, WITH_DEFAULT = Context(False), Context(True, {"lab": {}})
SELECTED, SELECTED_WITH_DEFAULT = Context(False, (), True), Context(True, ["lab"], True)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Create the ssh host `alias`, and the directories `alias` and `sim`."""
    monkeypatch.setattr(
        destination_argument, "is_ssh_alias", lambda word: word == "alias"
    )
    monkeypatch.chdir(str(tmp_path))
    for name in ("alias", "sim"):
        (tmp_path / name).mkdir()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "context", "given", "expected"),
    [
        ((), NONE, "host", ("host", [])),
        ((), WITH_DEFAULT, "", (None, [])),
        (("n",), WITH_DEFAULT, "4", (None, ["4"])),
        (("n",), WITH_DEFAULT, "alias 4", ("alias", ["4"])),
        (JOBS, NONE, "host a b", ("host", ["a", "b"])),
        (JOBS, NONE, "host", ("host", [])),
        (JOBS, SELECTED, "host", ("host", [])),
        (JOBS, SELECTED_WITH_DEFAULT, "alias", ("alias", [])),
        (JOBS, SELECTED_WITH_DEFAULT, "", (None, [])),
        (JOBS, WITH_DEFAULT, "", (None, [])),
        (JOBS, WITH_DEFAULT, "@ @2 a", (None, ["@", "@2", "a"])),
        (JOBS, WITH_DEFAULT, "me@host a", ("me@host", ["a"])),
        (JOBS, WITH_DEFAULT, "local: a", ("local:", ["a"])),
        (JOBS, WITH_DEFAULT, "ssh://lab a", ("ssh://lab", ["a"])),
        (FILES, SELECTED, "host *.csv", ("host", ["*.csv"])),
        (FILES, SELECTED_WITH_DEFAULT, "a.csv b", (None, ["a.csv", "b"])),
        (FILES, SELECTED_WITH_DEFAULT, "me@host b", ("me@host", ["b"])),
        (FILES, WITH_DEFAULT, "train out", (None, ["train", "out"])),
        (DIRECTORY, NONE, "host sim", ("host", ["sim"])),
        (DIRECTORY, NONE, "host", ("host", [])),
        (DIRECTORY, WITH_DEFAULT, "", (None, [])),
        (DIRECTORY, WITH_DEFAULT, "sim", (None, ["sim"])),
        (DIRECTORY, WITH_DEFAULT, "absent", (None, ["absent"])),
        (DIRECTORY, WITH_DEFAULT, "lab", ("lab", [])),
        (DIRECTORY, WITH_DEFAULT, "local:", ("local:", [])),
    ],
)
def test_first_word_is_recognized_as_destination(
    arguments: tuple[str, ...],
    context: Context,
    given: str,
    expected: tuple[str | None, list[str]],
) -> None:
    assert split_words(tuple(given.split()), arguments, context) == expected


@pytest.mark.parametrize(
    ("arguments", "context", "given", "message"),
    [
        (JOBS, WITH_DEFAULT, "alias", "write ssh://alias .* or --id alias"),
        (JOBS, WITH_DEFAULT, "lab a", "write -p lab .* or --id lab for a job"),
        (FILES, SELECTED_WITH_DEFAULT, "alias b", r"or \./alias for a file"),
        (FILES, WITH_DEFAULT, "alias b", "or --id alias for a job"),
        (DIRECTORY, WITH_DEFAULT, "alias", "or DESTINATION alias for the directory"),
        (DIRECTORY, NONE, "sim", "'DESTINATION'.*'sim' is a directory"),
        (DIRECTORY, NONE, "host sim more", "Unexpected argument 'more': quote"),
        (DIRECTORY, WITH_DEFAULT, ". sim", r"'\.' is a path and not a destination"),
        (DIRECTORY, NONE, "runs/a host", "'runs/a' is a path and not a destination"),
        (JOBS, NONE, "./a", r"'\./a' is a path and not a destination"),
        (JOBS, SELECTED, "host a", "'a' cannot be combined with an option"),
        (JOBS, SELECTED_WITH_DEFAULT, "@", "'@' cannot be combined with an option"),
        (JOBS, NONE, "", "Missing argument 'DESTINATION'"),
        (JOBS, NONE, "@", "Missing argument 'DESTINATION'"),
        (("n",), NONE, "4", "Missing argument 'N'"),
        (("n",), WITH_DEFAULT, "", "Missing argument 'N'"),
        ((), NONE, "host more", "Unexpected argument 'more'"),
    ],
)
def test_ambiguous_first_word_is_an_error(
    arguments: tuple[str, ...], context: Context, given: str, message: str
) -> None:
    with pytest.raises(click.UsageError, match=message):
        split_words(tuple(given.split()), arguments, context)


@pytest.mark.parametrize(
    ("given", "rest", "message"),
    [
        ("first", "", "'first' was read as the destination, because neither"),
        ("sim host", "host", "'sim' was read .* because it is the first argument"),
    ],
)
def test_unknown_host_is_explained(given: str, rest: str, message: str) -> None:
    assert re.match(message, explain_destination(tuple(given.split()), rest.split()))


@pytest.mark.parametrize(
    ("given", "rest"),
    [("alias", ""), ("host.org", ""), ("me@host", ""), ("job", "job"), ("", "")],
)
def test_clear_destination_is_not_explained(given: str, rest: str) -> None:
    assert explain_destination(tuple(given.split()), rest.split()) == ""
