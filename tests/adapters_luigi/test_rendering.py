"""Templates of tasks: which values are quoted, and which are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tej import InvalidJobDirectory
from tej_luigi.rendering import Recipe, render, render_shell


def test_position_without_quoting_names_the_way_out() -> None:
    assert render_shell("# {{v}}", {"v": "1.5"}, "`inline`") == "# 1.5"
    with pytest.raises(InvalidJobDirectory, match=r"`inline`: \{\{v\}\}.*\| raw"):
        render_shell("# {{v}}", {"v": "x\ny"}, "`inline`")


@pytest.mark.parametrize("fill", [render, render_shell])
def test_template_that_is_not_text_is_named(fill: Callable[..., str]) -> None:
    with pytest.raises(InvalidJobDirectory, match="`command` must be text.* type list"):
        fill(["ls", "-l"], {}, "`command`")


def test_raw_values_are_not_quoted() -> None:
    values = {"v": "a b; c"}
    assert render_shell("run {{v|raw}} {{v}}", values, "") == "run a b; c 'a b; c'"
    python = "#!/usr/bin/env python3\nprint('{{v}}')"
    assert "print('a b; c')" in render_shell(python, values, "")
    assert "echo 'a b; c'" in render_shell("#!/bin/bash\necho {{v}}", values, "")


@pytest.mark.parametrize("inline", ["echo x", "echo x\n", "#!/bin/sh\necho x\n"])
def test_inline_script_has_shebang_and_last_newline(inline: str) -> None:
    recipe = Recipe(None, (), inline, {}, None, {})
    with recipe.folder() as folder:
        assert (folder / "start.sh").read_bytes() == b"#!/bin/sh\necho x\n"
