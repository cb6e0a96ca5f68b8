"""Mutation testing: make small changes that break tej, and count the changes that tests
detect.

Python is mutated by cosmic-ray's operators and by dropping statements, the shell by a
mutator of its own.  A sample is drawn by line, so that a line with many possible
changes counts once.  Each mutant is run against the tests that exercise its file; the
first failure kills the mutant.  `scripts/mutants` installs the required libraries and
starts this script.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import functools
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from itertools import islice
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

TIMEOUT = 540
"""Seconds that the tests of one mutant may take; a mutant whose tests take longer is
reported as timed out."""

ANSWERS = (
    "unit/test_scheduler_options_script.py"
    " unit/test_scheduler_answers.py unit/test_scheduler_evidence.py"
    " unit/test_scheduler_state.py unit/test_scheduler_submission_script.py"
)
SUBMIT = "unit/test_submit_script.py"
WRAPPER = "unit/test_wrapper_script.py"
COMMANDS = "unit/test_commands_script.py"
BOOTSTRAP = "unit/test_bootstrap_script.py"
SETUP = "unit/test_setup_script.py"
START = "unit/test_start_of_job_script.py"
ENVIRONMENT = "unit/test_environment_script.py"
SIGNS = "unit/test_signs_of_life_script.py"
STATE = "unit/test_job_state.py unit/test_job_facts.py"
STATE_FILES = ("state", "start_claim", "damaged_job", "job_existence", "job_record")
PROCESSES = "unit/test_job_processes_script.py"
REMOVAL = "unit/test_removal_script.py"
OUTPUT = "unit/test_output_script.py"
STORE = "unit/test_content_store_script.py"
TESTS = {
    "tej/server/runtimes/slurm/*": f"{ANSWERS} schedulers/test_slurm.py",
    "tej/server/runtimes/pbs/*": f"{ANSWERS} schedulers/test_pbs.py",
    "tej/server/runtimes/sge/*": f"{ANSWERS} schedulers/test_sge.py",
    "tej/server/lib/scheduler*": f"{ANSWERS} schedulers/test_pbs.py schedulers/test_slurm.py",
    "tej/server/run_in_scheduler.sh": "unit/test_scheduler_wrapper_script.py "
    "unit/test_scheduler_evidence.py schedulers/test_pbs.py schedulers/test_slurm.py",
    "tej/server/lib/resources.sh": f"{ANSWERS} queue/test_resources.py schedulers/test_pbs.py",
    "tej/server/install_queue.sh": f"{SETUP} queue/test_installation.py queue/test_queue_paths.py",
    "tej/server/setup_command.sh": f"{SETUP} {SUBMIT} queue/test_queue_paths.py security",
    "tej/server/bootstrap.sh": f"{BOOTSTRAP} queue/test_queue_paths.py security shells",
    "tej/server/trust.sh": f"{SETUP} security queue/test_queue_paths.py",
    "tej/server/doctor.sh": "unit/test_doctor_script.py cli",
    "tej/server/plan_job.sh": "unit/test_doctor_script.py batches/test_graphs.py cli",
    "tej/server/commands/cleanup": f"{REMOVAL} queue/test_job_lifecycle.py faults/test_reused_ids.py cli",
    "tej/server/commands/delete": f"{STATE} {REMOVAL} queue/test_job_lifecycle.py batches/test_many_jobs.py faults",
    "tej/server/commands/download": f"{COMMANDS} queue/test_download.py batches/test_many_jobs.py",
    "tej/server/commands/kill": f"{STATE} unit/test_kill_script.py queue/test_kill.py batches/test_many_jobs.py faults",
    "tej/server/commands/l[is]*": f"{COMMANDS} batches/test_job_limit.py queue/test_download.py cli",
    "tej/server/commands/logs": f"{OUTPUT} batches/test_logs.py queue/test_job_lifecycle.py",
    "tej/server/*/wait*": f"{STATE} {OUTPUT} batches/test_wait.py batches/test_graphs.py",
    "tej/server/lib/job_processes.sh": f"{PROCESSES} {STATE} queue faults",
    "tej/server/lib/limit_kill.sh": f"{PROCESSES} schedulers",
    "tej/server/runtimes/default/*": f"{PROCESSES} {STATE} queue faults",
    "tej/server/lib/process_search.sh": "unit/test_process_search_script.py queue faults",
    "tej/server/commands/submit": f"{STATE} {SUBMIT} queue batches/test_many_jobs.py faults",
    **dict.fromkeys(
        (f"tej/server/lib/{name}.sh" for name in STATE_FILES),
        f"{STATE} queue/test_kill.py faults/test_lost_jobs.py "
        "faults/test_damaged_queues.py faults/test_clocks.py queue/test_job_lifecycle.py",
    ),
    "tej/server/lib/file_age.sh": f"{SIGNS} {STATE} faults/test_clocks.py",
    "tej/server/lib/signs_of_life.sh": f"{SIGNS} {STATE} queue faults",
    "tej/server/lib/shared_input.sh": f"{SIGNS} {STORE} queue",
    "tej/server/lib/*heartbeat.sh": f"unit/test_heartbeat_script.py {STATE} queue/test_signs_of_life.py faults/test_clocks.py",
    "tej/server/lib/*ed_jobs.sh": f"{STATE} queue/test_ended_jobs.py batches/test_many_jobs.py",
    "tej/server/exec_job.sh": f"{START} {WRAPPER} queue/test_environment.py queue/test_job_script.py",
    "tej/server/lib/facts.sh": f"{STATE} {WRAPPER} queue faults shells",
    "tej/server/lib/run_script.sh": f"{WRAPPER} {START} queue/test_job_script.py faults",
    "tej/server/lib/direct_start.sh": f"{WRAPPER} queue/test_job_script.py shells",
    "tej/server/run_detached.sh": f"{STATE} {WRAPPER} {START} queue/test_several_wrappers.py faults",
    "tej/server/lib/attempts.sh": f"{STATE} {SUBMIT} cli batches faults",
    "tej/server/lib/*removal.sh": f"{STATE} {REMOVAL} queue/test_queue_paths.py faults",
    "tej/server/lib/on_end.sh": f"{OUTPUT} queue/test_on_end.py",
    "tej/server/lib/garbage_collection.sh": f"{STORE} queue faults",
    "tej/server/lib/content_store.sh": f"{STORE} queue/test_content_store.py queue/test_upload.py",
    "tej/server/lib/dependencies.sh": f"{STATE} unit/test_dependency_script.py "
    "batches/test_graphs.py faults/test_graph_races.py",
    "tej/server/run_on_end.sh": f"{ENVIRONMENT} queue/test_on_end.py",
    "tej/server/lib/*_environment.sh": f"{ENVIRONMENT} queue/test_environment.py queue/test_job_script.py",
    "tej/server/lib/stage_path.sh": f"{COMMANDS} queue/test_download.py shells",
    "tej/server/lib/job_limit.sh": "unit/test_job_limit_script.py batches/test_job_limit.py batches/test_wait.py faults",
    "tej/server/commands/*": f"{COMMANDS} {STATE} queue cli",
    "tej/server/*": f"{STATE} queue faults shells",
    "tej/transport/*": "unit transport",
    "tej/cli/*": "unit cli batches",
    "tej/job/signature.py": "signature unit",
    "tej/job/*": "unit signature queue",
    "tej/wire/*": "unit queue",
    "tej/queue/*": "unit batches queue",
    "tej/*": "unit cli queue test_compat.py",
    "integrations/luigi/*": "adapters_luigi",
    "integrations/prefect/*": "adapters_prefect",
    "integrations/vistrails/*": "adapters_vistrails",
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


Make = Callable[[], "str | None"]
Change = tuple[int, str, Make]
"""A possible change: its line, its name, and a function that returns the changed
text."""


@dataclass(frozen=True)
class Candidate:
    """One change to one file; the changed text is computed only for the sample."""

    path: Path
    line: int
    what: str
    make: Make

    def mutant(self) -> Mutant | None:
        """Return the mutant, or None if the change has no effect or is invalid."""
        text = self.make()
        if text is None or not _is_changed(self.path, text):
            return None
        return Mutant(self.path, self.line, self.what, text)


def _is_changed(path: Path, text: str) -> bool:
    """Return whether `text` is valid and, in Python, differs from the original."""
    if path.suffix != ".py":
        words = ["sh", "-n"]
        done = subprocess.run(words, input=text.encode(), stderr=subprocess.DEVNULL)
        return done.returncode == 0
    try:
        return _meaning(text) != _meaning(path.read_text())
    except SyntaxError:
        return False


@dataclass(frozen=True)
class Mutant:
    """One change to one file."""

    path: Path
    line: int
    what: str
    text: str

    def diff(self) -> str:
        """Return the change as a unified diff."""
        lines = difflib.unified_diff(
            self.path.read_text().splitlines(True),
            self.text.splitlines(True),
            str(self.path),
            self.what,
            n=1,
        )
        return "".join(lines)


def shell_mutants(path: Path, source: str) -> Iterator[Candidate]:
    """Yield changes to a shell script:

    a line, a test, a branch, a number, an operator.
    """
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
                yield Candidate(path, index + 1, what, partial(str, text))


_OTHER = {"ge": "lt", "gt": "ge", "le": "gt", "lt": "le", "eq": "ne", "ne": "eq"}
_STRUCTURE = re.compile(
    r"(if|then|else|elif|fi|for|while|until|do|done|case|esac|in)\b"
)


def _swapped(line: str, one: str, other: str) -> str:
    if one in line:
        return line.replace(one, other, 1)
    return line.replace(other, one, 1)


def python_mutants(path: Path, source: str) -> Iterator[Candidate]:
    """Yield changes to a Python module."""
    changes = [*_by_operators(source), *_without_statements(source)]
    for line, what, make in changes:
        yield Candidate(path, line, what, make)


def _by_operators(source: str) -> Iterator[Change]:
    tree = get_ast(source)
    for name in filter(PYTHON_OPERATORS.match, operator_names()):
        operator = get_operator(name)()
        lines = [
            start[0]
            for node in ast_nodes(tree)
            for start, _ in operator.mutation_positions(node)
        ]
        for occurrence, line in enumerate(lines):
            make = partial(mutate_code, source, operator, occurrence)
            yield line, name.removeprefix("core/"), make


def _without_statements(source: str) -> Iterator[Change]:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if not is_call and not isinstance(node, ast.Raise | ast.AugAssign | ast.Delete):
            continue
        first, last = node.lineno, node.end_lineno or node.lineno
        indent = " " * node.col_offset
        if lines[first - 1].strip()[:1] and lines[first - 1].startswith(indent):
            kept = [*lines[: first - 1], indent + "pass", *lines[last:], ""]
            yield first, "drop a statement", partial("\n".join, kept)


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
    """Return the tests that exercise a file; raises LookupError if TESTS has none.

    If TESTS contains a folder, and files in the folder contain the name of the changed
    file as a word, or have it in their own names, only these files are run.  A mutant that another test would kill is
    reported as a survivor, so that the true rate can only be higher.
    """
    for pattern, tests in TESTS.items():
        if fnmatch(path.as_posix(), pattern):
            found = [Path("tests", test) for test in tests.split()]
            break
    else:
        raise LookupError(f"No tests are named for {path}: add them to TESTS")
    missing = [test for test in found if not test.exists()]
    if missing:
        raise LookupError(f"TESTS names tests of {path} that are absent: {missing}")
    files = [
        file
        for test in found
        for file in ([test] if test.is_file() else sorted(test.glob("test_*.py")))
    ]
    word = re.compile(rf"\b{path.stem}\b|{path.stem}\.py\b", re.IGNORECASE)
    near = [
        file
        for file in files
        if file in found
        or f"_{path.stem}_" in f"{file.stem}_"
        or word.search(file.read_text())
    ]
    return [str(file) for file in near or files]


def test_mutant(mutant: Mutant) -> str:
    """Run the tests against the changed file, and restore the file.

    The unit tests run first: they take seconds, and kill most mutants.  Returns
    "survived", "timed out", or "killed by" and the test that failed.  A mutant that makes
    a test hang is killed by the time limit of that test (`--timeout`).
    """
    original = mutant.path.read_bytes()
    tests = tests_of(mutant.path)
    unit = [test for test in tests if test.startswith("tests/unit/")]
    others = [test for test in tests if test not in unit]
    try:
        mutant.path.write_text(mutant.text)
        for cached in mutant.path.parent.glob(f"__pycache__/{mutant.path.stem}.*"):
            cached.unlink()
        result = "survived"
        # The start of workers takes longer than most unit tests.
        for selected, workers in ((unit, "0"), (others, "2")):
            if selected and result == "survived":
                result = run_tests(selected, workers)
        return result
    finally:
        mutant.path.write_bytes(original)


def run_tests(tests: Sequence[str], workers: str) -> str:
    """Run tests up to the first failure, and return the result (`test_mutant`)."""
    # Python compares bytecode by the size and the second of the source, so it could use
    # the bytecode of another change. Therefore write no bytecode.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", workers]
    process = subprocess.Popen(
        [*command, "--timeout=120", *tests],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        # After Ctrl-C, pytest ends the servers and jobs of the tests.
        process.send_signal(signal.SIGINT)
        process.communicate()
        return "timed out"
    status = process.returncode
    # The exit status 2 means that a module could not be imported.
    if status not in (0, 1, 2):
        raise RuntimeError(f"pytest ended with status {status}: {output[-2000:]}")
    failed = re.search(r"^(?:FAILED|ERROR) (.{1,200})", output, re.MULTILINE)
    return f"killed by {failed[1] if failed else status}" if status else "survived"


@functools.cache
def fails_unchanged(test: str) -> bool:
    """Return whether a test fails although no file is changed."""
    return run_tests([test], "0") != "survived"


def files_of(area: str, patterns: Sequence[str] = ("*",)) -> list[Path]:
    """Return the files of an area that git tracks, and that match one of `patterns`."""
    listed = subprocess.run(
        ["git", "ls-files", "tej", "integrations"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = listed.stdout.split()
    found = [
        Path(name)
        for name in names
        if any(fnmatch(name, pattern) for pattern in patterns)
    ]
    shell = [one for one in found if fnmatch(str(one), AREAS["shell"])]
    if area == "shell":
        return [one for one in shell if one.suffix in ("", ".sh")]
    return [one for one in found if fnmatch(str(one), AREAS[area])]


def sample(
    area: str, size: int, seed: int, patterns: Sequence[str] = ("*",)
) -> Iterator[Mutant]:
    """Return a random sample, with at most one mutant per line."""
    by_line: dict[tuple[Path, int], list[Candidate]] = {}
    for path in files_of(area, patterns):
        make = shell_mutants if area == "shell" else python_mutants
        for candidate in make(path, path.read_text()):
            by_line.setdefault((path, candidate.line), []).append(candidate)
    chance = random.Random(f"{area} {seed}")
    lines = sorted(by_line)
    chance.shuffle(lines)
    mutants = (chance.choice(by_line[line]).mutant() for line in lines)
    return islice(filter(None, mutants), size)


def main() -> None:
    """Draw a sample, run it, and print killed and survived."""
    parser = argparse.ArgumentParser(description="Mutation testing of tej.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=99, help="mutants in all")
    parser.add_argument("--area", choices=sorted(AREAS), action="append")
    parser.add_argument(
        "--files", action="append", help="a pattern of paths, such as 'tej/wire/*'"
    )
    parser.add_argument("--list", action="store_true", help="print, and run nothing")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if subprocess.run(["git", "diff", "--quiet", "HEAD"], check=False).returncode:
        sys.exit("The working tree has changes: commit them first")
    counts: Counter[tuple[str, str]] = Counter()
    areas = options.area or sorted(AREAS)
    for area in areas:
        size = options.sample // len(areas)
        for mutant in sample(area, size, options.seed, options.files or ["*"]):
            if options.list:
                print(mutant.diff(), flush=True)
                continue
            result = test_mutant(mutant)
            killer = re.match(r"killed by (\S+::.+?)( - |$)", result)
            if killer and fails_unchanged(killer[1]):
                sys.exit(f"{killer[1]} also fails without a change: repair it first")
            short = "killed" if result.startswith("killed") else result
            counts[area, short] += 1
            print(f"{mutant.path}:{mutant.line} {mutant.what}: {result}", flush=True)
            if short != "killed":
                print(mutant.diff(), flush=True)
    for area in areas:
        verdicts = ("killed", "survived", "timed out")
        print(f"{area}:", ", ".join(f"{counts[area, one]} {one}" for one in verdicts))


if __name__ == "__main__":
    main()
