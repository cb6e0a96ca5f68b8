"""No import cycles between modules, deferred and type-only imports included."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import tej

CHECKOUT = Path(__file__).parents[2]
PACKAGES = [CHECKOUT / "tej", *CHECKOUT.glob("integrations/*/tej_*")]


def modules() -> dict[str, Path]:
    """Return the files of all packages by their module names."""
    found = {}
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            parts = [package.name, *path.relative_to(package).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            found[".".join(parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules that a file imports, at any position."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _base(name, path, node)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in known else base)
    return {one for one in found if one in known and one != name}


def _base(name: str, path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


def test_no_module_imports_itself_through_others() -> None:
    known = modules()
    graph = {name: imports(name, path, known) for name, path in known.items()}
    assert find_cycle(graph) == []


def test_check_finds_deferred_and_type_only_imports(tmp_path: Path) -> None:
    files = {
        "a": "def f():\n    from pkg import b\n",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from .c import C\n",
        "c": "import pkg.a\n",
    }
    known = {f"pkg.{name}": tmp_path / f"{name}.py" for name in files}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    graph = {name: imports(name, path, known) for name, path in known.items()}
    assert set(find_cycle(graph)) == {"pkg.a", "pkg.b", "pkg.c"}


def test_default_is_written_in_one_module() -> None:
    trees = {
        name: ast.parse(path.read_text("utf-8")) for name, path in modules().items()
    }
    defaults = {
        node.value.value: (name, node.targets[0].id)
        for name, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.startswith("DEFAULT_")
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and name.startswith("tej.")
    }
    assert defaults["~/.tej"] == ("tej.queue.default_queue", "DEFAULT_TEJ_DIR")
    repeated = {
        (name, default)
        for name, tree in trees.items()
        # Python 2.7 cannot import tej.
        if name != "tej_vistrails.client"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for default, (home, constant) in defaults.items()
        if name != home
        and (name.startswith("tej.") or hasattr(tej, constant))
        and (node.value == default or f"default: {default}]" in node.value)
    }
    assert repeated == set()


def test_adapters_import_only_the_public_names() -> None:
    inner = {name for name in modules() if name.startswith("tej.")}
    wrong = {
        name: found
        for name, path in modules().items()
        if not f"{name}.".startswith("tej.")
        and (found := imports(name, path, dict.fromkeys(inner, path)))
    }
    assert wrong == {}
