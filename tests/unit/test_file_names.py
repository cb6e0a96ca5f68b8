"""File names: control characters, Unicode forms, and names that Windows refuses."""

from __future__ import annotations

import os
import sys

import pytest

from tej.job.file_names import (
    from_local,
    is_allowed_on_windows,
    normalize,
    other_forms,
    printable,
    shorten_path,
    to_local,
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


@pytest.mark.parametrize(
    ("encoding", "local"),
    [("utf-8", "caf\u00e9\udcff"), ("latin-1", "caf\u00c3\u00a9\u00ff")],
)
def test_names_are_sent_as_utf_8(
    encoding: str, local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of the name are the same on both sides, whatever the locale is."""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
    for name in ("fsencode", "fsdecode"):
        # In UTF-8, names need no conversion.
        monkeypatch.setattr(os, name, None)
    if encoding != "utf-8":
        monkeypatch.setattr(os, "fsencode", lambda name: name.encode(encoding))
        monkeypatch.setattr(os, "fsdecode", lambda data: data.decode(encoding))
    assert from_local(local) == "caf\u00e9\udcff"
    assert to_local("caf\u00e9\udcff") == local
