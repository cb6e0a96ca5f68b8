"""File names: control characters, Unicode forms, and names that Windows refuses."""

from __future__ import annotations

import pytest

from tej.job.file_names import (
    is_allowed_on_windows,
    normalize,
    other_forms,
    printable,
    shorten_path,
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("caf\u00e9", "caf\u00e9"),
        ("a\nb\x1b[1m", r"a\x0ab\x1b[1m"),
        ("\udce9", r"\xe9"),
        ("\u202e", r"\xe2\x80\xae"),
    ],
)
def test_unprintable_characters_are_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_unicode_forms_of_a_name() -> None:
    assert other_forms("plain") == []
    assert other_forms("\u00e9") == ["e\u0301"]
    assert other_forms("e\u0301") == ["\u00e9"]
    assert normalize("e\u0301") == "\u00e9"


@pytest.mark.parametrize("name", ["NUL", "com1.txt", "a.", "b ", "a:b", "x?", "\x01"])
def test_names_that_windows_refuses(name: str) -> None:
    assert not is_allowed_on_windows(name)


@pytest.mark.parametrize("name", ["null", "com10", ".a", "b c", "common.txt"])
def test_names_that_windows_allows(name: str) -> None:
    assert is_allowed_on_windows(name)


def test_long_path_is_shortened_in_the_middle() -> None:
    path = "a" * 200 + "b" * 200
    assert shorten_path(path) == "a" * 140 + "..." + "b" * 140
    assert shorten_path("short") == "short"
