"""Mutation testing: make small behaviour-breaking changes, and count those noticed.

Python is mutated by cosmic-ray's operators and by dropping statements, the shell by a
mutator of its own.  A sample is drawn by line, so that a line with many possible
changes counts once.  Each mutant is run against the tests that exercise its file; the
first failure kills the mutant.  `scripts/mutants` starts this with its libraries.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

TIMEOUT = 540
"""Seconds that the tests of one mutant may take; one that takes longer is killed."""

TESTS = {
    "tej/server/runtimes/slurm/*": "tests/schedulers/test_slurm.py",
    "tej/server/runtimes/pbs/*": "tests/schedulers/test_pbs.py",
    "tej/server/runtimes/sge/*": "tests/schedulers/test_sge.py",
    "tej/server/lib/scheduler*": "tests/schedulers/test_pbs.py tests/schedulers/test_slurm.py",
    "tej/server/run_in_scheduler.sh": "tests/schedulers/test_pbs.py tests/schedulers/test_slurm.py",
    "tej/server/lib/resources.sh": "tests/queue/test_resources.py tests/schedulers/test_pbs.py",
    "tej/server/install.sh": "tests/queue/test_installation.py tests/queue/test_places.py",
    "tej/server/setup.sh": "tests/queue/test_places.py tests/security",
    "tej/server/bootstrap.sh": "tests/queue/test_places.py tests/security tests/shells",
    "tej/server/lib/content_store.sh": "tests/queue/test_store.py tests/queue/test_upload.py",
    "tej/server/lib/queue_removal.sh": "tests/queue/test_places.py tests/faults",
    "tej/server/*": "tests/queue tests/faults tests/shells",
    "tej/transport/*": "tests/transport tests/unit",
    "tej/cli/*": "tests/cli tests/following",
    "tej/job/signature.py": "tests/signature tests/unit",
    "tej/job/*": "tests/unit tests/signature tests/queue",
    "tej/wire/*": "tests/unit tests/queue",
    "tej/queue/*": "tests/following tests/queue",
    "tej/*": "tests/unit tests/cli tests/queue tests/test_compat.py",
    "integrations/luigi/*": "tests/adapters_luigi",
    "integrations/prefect/*": "tests/adapters_prefect",
    "integrations/vistrails/*": "tests/adapters_vistrails",
}
"""The tests that exercise a file, by the first pattern that matches its path."""

AREAS = {
    "shell": "tej/server/*",
    "python": "tej/*.py",
    "adapters": "integrations/*.py",
}

PYTHON_OPERATORS = re.compile(
    r"core/(ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|In_NotIn"
    r"|NotIn_In|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt)$"
    r"|NumberReplacer|AddNot|ReplaceTrue|ReplaceFalse|ReplaceAnd|ReplaceOr"
    r"|ReplaceBreak|ReplaceContinue|ZeroIteration|ReplaceUnaryOperator_Delete_Not"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add)$)"
)


@dataclass(frozen=True)
class Mutant:
    """One change to one file."""

    path: Path
    line: int
    what: str
    text: str

    def diff(self) -> str:
        """The change as a unified diff."""
        lines = difflib.unified_diff(
            self.path.read_text().splitlines(True),
            self.text.splitlines(True),
            str(self.path),
            self.what,
            n=1,
        )
        return "".join(lines)


def shell_mutants(path: Path, source: str) -> Iterator[Mutant]:
    """Changes to a shell script: a line, a test, a branch, a number, an operator."""
    lines = source.splitlines()
    for index, line in enumerate(lines):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        changes = {
            "negate a test": re.sub(r"(^|[\s;&|!])\[ (?!!)", r"\1[ ! ", line, count=1),
            "drop a negation": re.sub(r"(^|\s)! ", r"\1", line, count=1),
            "swap branches": _swapped(line, "&&", "||"),
            "swap a comparison": re.sub(
                r"-(ge|gt|le|lt|eq|ne)\b", lambda m: "-" + _OTHER[m[1]], line, count=1
            ),
            "change a number": re.sub(
                r"(?<![\w$.-])(\d+)(?![\w.])",
                lambda m: str(int(m[1]) + 1),
                line,
                count=1,
            ),
        }
        if re.match(r"[a-z_]+( |$)|[a-z_]+=", bare) and not _STRUCTURE.match(bare):
            changes["drop a line"] = re.match(r"\s*", line)[0] + ":"  # type: ignore[index]
        for what, changed in changes.items():
            if changed != line:
                text = "\n".join([*lines[:index], changed, *lines[index + 1 :], ""])
                yield Mutant(path, index + 1, what, text)


_OTHER = {"ge": "lt", "gt": "ge", "le": "gt", "lt": "le", "eq": "ne", "ne": "eq"}
_STRUCTURE = re.compile(
    r"(if|then|else|elif|fi|for|while|until|do|done|case|esac|in)\b"
)


def _swapped(line: str, one: str, other: str) -> str:
    if one in line:
        return line.replace(one, other, 1)
    return line.replace(other, one, 1)


def python_mutants(path: Path, source: str) -> Iterator[Mutant]:
    """Changes to a module, without those that only touch annotations."""
    meaning = _meaning(source)
    for line, what, text in [*_by_operators(source), *_without_statements(source)]:
        try:
            changed = _meaning(text)
        except SyntaxError:
            continue
        if changed != meaning:
            yield Mutant(path, line, what, text)


def _by_operators(source: str) -> Iterator[tuple[int, str, str]]:
    tree = get_ast(source)
    for name in filter(PYTHON_OPERATORS.match, operator_names()):
        operator = get_operator(name)()
        lines = [
            start[0]
            for node in ast_nodes(tree)
            for start, _ in operator.mutation_positions(node)
        ]
        for occurrence, line in enumerate(lines):
            text = mutate_code(source, operator, occurrence)
            if text is not None:
                yield line, name.removeprefix("core/"), text


def _without_statements(source: str) -> Iterator[tuple[int, str, str]]:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if not is_call and not isinstance(node, ast.Raise | ast.AugAssign | ast.Delete):
            continue
        first, last = node.lineno, node.end_lineno or node.lineno
        indent = " " * node.col_offset
        if lines[first - 1].strip()[:1] and lines[first - 1].startswith(indent):
            kept = [*lines[: first - 1], indent + "pass", *lines[last:], ""]
            yield first, "drop a statement", "\n".join(kept)


class _NoAnnotations(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        node.annotation = ast.Constant(None)
        self.generic_visit(node)
        return node


def _meaning(source: str) -> str:
    return ast.dump(_NoAnnotations().visit(ast.parse(source)))


def tests_of(path: Path) -> list[str]:
    """The tests that exercise a file; raises LookupError if none is named."""
    for pattern, tests in TESTS.items():
        if fnmatch(path.as_posix(), pattern):
            return [test for test in tests.split() if Path(test).exists()]
    raise LookupError(f"No tests are named for {path}: add them to TESTS")


def is_killed(mutant: Mutant) -> bool:
    """Run the tests against the changed file, and restore it."""
    original = mutant.path.read_bytes()
    # Bytecode is matched by size and second: one change could be taken for another.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "2", "--timeout=120"]
    try:
        mutant.path.write_text(mutant.text)
        for cached in mutant.path.parent.glob(f"__pycache__/{mutant.path.stem}.*"):
            cached.unlink()
        done = subprocess.run(
            [*command, *tests_of(mutant.path)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return True
    else:
        return done.returncode != 0
    finally:
        mutant.path.write_bytes(original)


def files_of(area: str) -> list[Path]:
    """The files of an area that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "tej", "integrations"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [Path(name) for name in listed.stdout.split()]
    shell = [one for one in found if fnmatch(str(one), AREAS["shell"])]
    if area == "shell":
        return [one for one in shell if one.suffix in ("", ".sh")]
    return [one for one in found if fnmatch(str(one), AREAS[area])]


def sample(area: str, size: int, seed: int) -> list[Mutant]:
    """A random sample, one mutant a line."""
    by_line: dict[tuple[Path, int], list[Mutant]] = {}
    for path in files_of(area):
        source = path.read_text()
        make = shell_mutants if area == "shell" else python_mutants
        for mutant in make(path, source):
            by_line.setdefault((mutant.path, mutant.line), []).append(mutant)
    chance = random.Random(f"{area} {seed}")
    lines = chance.sample(sorted(by_line), min(size, len(by_line)))
    return [chance.choice(by_line[line]) for line in lines]


def main() -> None:
    """Draw a sample, run it, and print killed and survived."""
    parser = argparse.ArgumentParser(description="Mutation testing of tej.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=99, help="mutants in all")
    parser.add_argument("--area", choices=sorted(AREAS), action="append")
    parser.add_argument("--list", action="store_true", help="print, and run nothing")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if subprocess.run(["git", "diff", "--quiet", "HEAD"], check=False).returncode:
        sys.exit("The working tree has changes: commit them first")
    counts: Counter[tuple[str, bool]] = Counter()
    areas = options.area or sorted(AREAS)
    for area in areas:
        for mutant in sample(area, options.sample // len(areas), options.seed):
            if options.list:
                print(mutant.diff(), flush=True)
                continue
            killed = is_killed(mutant)
            counts[area, killed] += 1
            verdict = "killed" if killed else "SURVIVED"
            print(f"{verdict}: {mutant.path}:{mutant.line} {mutant.what}", flush=True)
            if not killed:
                print(mutant.diff(), flush=True)
    for area in areas:
        killed, lived = counts[area, True], counts[area, False]
        print(f"{area}: {killed} killed, {lived} survived")


if __name__ == "__main__":
    main()
