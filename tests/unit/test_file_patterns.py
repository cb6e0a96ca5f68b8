"""File patterns of a download: which names match, and which names are refused."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from tej import DownloadFailed
from tej.queue.file_patterns import FilePattern, check_name


@pytest.mark.parametrize(
    ("pattern", "name", "part"),
    [
        ("results.csv", "results.csv", "results.csv"),
        ("plots", "plots/a/b.png", "plots"),
        ("plots/*.png", "plots/b.png", "plots/b.png"),
        ("*", "plots/b.png", "plots"),
        ("?.tx[st]", "a.txt", "a.txt"),
        ("[!a]", "b", "b"),
        ("[[:digit:]]", "7", "7"),
        # The server's name has a combining accent, and the requested name has a single
        # letter.
        ("caf\u00e9", "cafe\u0301", "cafe\u0301"),
        # In a single-byte locale, `?` matches one byte.
        ("caf??", "caf\u00e9", "caf\u00e9"),
        (r"a\*", "a*", "a*"),
        ("[a", "[a", "[a"),
    ],
)
def test_pattern_matches_a_path(pattern: str, name: str, part: str) -> None:
    assert FilePattern(pattern).matched_part(PurePosixPath(name)) == PurePosixPath(part)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("results.csv", ".bashrc"),
        ("*", ".ssh/authorized_keys"),
        ("plots/*", "plots"),
        ("*.png", "plots/b.png"),
        ("[!a]", "a"),
        ("[[:digit:]]", "x"),
        ("a*", "b"),
        ("[]", "a"),
    ],
)
def test_pattern_does_not_match(pattern: str, name: str) -> None:
    assert FilePattern(pattern).matched_part(PurePosixPath(name)) is None


def test_each_unicode_form_is_tried_once() -> None:
    second = FilePattern("\u00e9").respell()
    assert second is not None
    assert second.text == "e\u0301"
    assert second.respell() is None
    assert FilePattern("plain").respell() is None


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "a/../../b", "a\0b"])
def test_name_outside_of_the_job_is_refused(name: str) -> None:
    with pytest.raises(DownloadFailed):
        check_name(name)


def test_dots_inside_a_name_are_removed() -> None:
    assert check_name("./a/../b//c") == "b/c"
