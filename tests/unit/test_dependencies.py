"""Dependencies of a job: canonical order, the file on the server, invalid paths."""

from __future__ import annotations

import pytest

from tej.errors import InvalidJobDirectory, InvalidJobId
from tej.job.dependencies import make_dependencies, parse_dependencies, split_input


def test_order_and_duplicates_do_not_matter() -> None:
    one = make_dependencies(
        ["b", "a", "b", "c"], {"./y/": ("c", "./out//f"), "x": ("d", ".")}
    )
    other = make_dependencies(("a", "b"), {"x": ("d", "./"), "y": ("c", "out/f")})
    assert one == other
    assert one.ids == ("a", "b", "c", "d")
    assert one.after == ("a", "b")


def test_file_on_the_server_can_be_parsed() -> None:
    needs = make_dependencies(
        ["a:b"], {"in/ x": ("c=d", "out/é \x0b y"), "z": ("e", ".")}
    )
    assert parse_dependencies(needs.text()) == needs
    assert parse_dependencies("") == make_dependencies([], {})


@pytest.mark.parametrize(
    "path", ["", "/etc/x", "../x", "a/../b", "a\nb", "a\0b", "\ud800"]
)
def test_path_outside_of_the_directory_is_refused(path: str) -> None:
    with pytest.raises(InvalidJobDirectory):
        make_dependencies([], {"x": ("a", path)})
    with pytest.raises(InvalidJobDirectory):
        make_dependencies([], {path: ("a", "x")})


@pytest.mark.parametrize("path", [".", "./", "_stdout", "_stderr"])
def test_input_replaces_neither_directory_nor_output(path: str) -> None:
    with pytest.raises(InvalidJobDirectory, match="cannot have the path"):
        make_dependencies([], {path: ("a", "x")})


def test_invalid_ids_and_inputs_are_refused() -> None:
    with pytest.raises(InvalidJobId):
        make_dependencies(["a/b"], {})
    assert split_input("a:b:c") == ("a", "b:c")
    for text in ("a", ":b", "a:"):
        with pytest.raises(InvalidJobDirectory, match="JOB:PATH"):
            split_input(text)
