"""Quoting of expansions in the server scripts.

The shell splits and globs an unquoted expansion.  Unquoted expansions are therefore
allowed only after `set -f`, or for variables with harmless values.
"""

from __future__ import annotations

import re
from pathlib import Path

SERVER = Path(__file__).parents[2] / "tej" / "server"
SCRIPTS = sorted(
    path
    for path in SERVER.rglob("*")
    if path.is_file() and path.suffix not in {".py", ".pyc", ".md", ".awk"}
)

NUMBERS = {
    "pids",
    "strays",
    "session_pids",
    "sigterm_pids",
    "turn",
    "on_end_pids",
    "orphans",
    "wrappers",
} | {
    "children",
    "environs",
    "adopted",
    "new_orphans",
}
"""Process ids that tej's own awk program or the kernel has printed, and paths in /proc."""
JOB_IDS = {"dep_needs", "dep_ended", "unstarted", "claimed"}
"""Ids of jobs, which contain neither blanks nor wildcards."""
CONSTANTS = (
    {"proc", "logout_guard", "file_clock", "variables", "r_given", "tej_kept"}
    | {"tej_functions"}
    | {
        "signals",
        "clusters",
        "tej_session",
        "tej_signals",
        "closer",
    }
)
"""Fixed words of the scripts themselves, and names that were checked."""
PLACES = {
    ("commands/download", "pattern"),  # a user's own pattern, expanded on purpose
    ("lib/process_search.sh", "("),  # paths in /proc
    ("lib/scheduler_submit.sh", "("),  # names of variables
    ("run_detached.sh", "script_call"),  # words that can_start_directly has checked
    ("run_in_scheduler.sh", "pending"),  # names of signals
    ("run_in_scheduler.sh", "("),  # names of variables
}

# An expansion is checked in commands, for-lists and case patterns, but not in
# assignments, where the shell does not split it.
_EXPANSION = re.compile(r"\$(?:\{(\w+)|(\w+)|\()")


def unquoted(line: str, state: str = "") -> tuple[list[str], str]:
    """Return the variables that a line expands outside of quotes, "(" for $(...).

    Also returns the quotes and brackets that are still open at the end of the line.
    """
    found: list[str] = []
    index = 0
    while index < len(line):
        char, top = line[index], state[-1:]
        if top == "'":
            state = state[:-1] if char == "'" else state
        elif char == "\\":
            index += 1
        elif char == "'" and top != '"':
            state += "'"
        elif char == '"':
            state = state[:-1] if top == '"' else state + '"'
        elif char == ")" and top == "(":
            state = state[:-1]
        elif char == "#" and top != '"' and (index == 0 or line[index - 1] in " \t;"):
            break
        elif char == "$":
            words, end = _expansion(line, index, top == '"')
            # The expansion continues in the next lines, and has its own quotes.
            if end == index + 2 and line.startswith("$(", index):
                state += "("
            found, index = found + words, end
            continue
        index += 1
    return found, state


def _expansion(line: str, index: int, is_quoted: bool) -> tuple[list[str], int]:
    """Return the unquoted parts of the expansion at a position, and its end."""
    match = _EXPANSION.match(line, index)
    if line.startswith("$((", index):
        return [], _behind(line, index + 1)
    if match is None:
        return [], index + 1
    is_safe = is_quoted or _is_assigned(line[:index])
    if match[0] == "$(":
        end = _behind(line, index + 1)
        if line[end - 1] != ")" or line.count("(", index, end) != line.count(
            ")", index, end
        ):
            return ([] if is_safe else ["("]), index + 2
        inside, _ = unquoted(line[index + 2 : end - 1])
        return inside + ([] if is_safe else ["("]), end
    end = match.end()
    if match[1]:
        end = _behind(line, index + 1, "{}")
    name, rest = match[1] or match[2], line[match.end(1) : end - 1] if match[1] else ""
    # ${NAME:+"quoted"} and ${NAME:+word} expand to the text after the `+`.
    is_safe |= bool(re.match(r':?\+([^$]*$|.*")', rest)) or name.isdigit()
    return [] if is_safe else [name], end


def _behind(line: str, start: int, brackets: str = "()") -> int:
    """Return the index after the bracket that closes the bracket at `start`."""
    depth = 0
    for index in range(start, len(line)):
        depth += (line[index] == brackets[0]) - (line[index] == brackets[1])
        if depth == 0:
            return index + 1
    return len(line)


def _is_assigned(before: str) -> bool:
    """Return whether the text before is NAME= or `case`, where nothing is split."""
    word = re.split(r"[\s;|&]", before)[-1]
    return bool(
        re.match(r"[\"']?\w+=", word)
        or re.search(r"\bcase\s+\S*$", before)
        or re.search(r"[<>]&?$|[<>]\s*\S*$", before)
    )


def violations(path: Path) -> list[str]:
    name = path.relative_to(SERVER).as_posix()
    allowed = (
        NUMBERS | JOB_IDS | CONSTANTS | {word for file, word in PLACES if file == name}
    )
    found, globbing, state, document = [], True, "", ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if document or text.startswith("#"):
            document = "" if text == document else document
            continue
        if state in ("", "(") and re.search(r"\bset -f\b|^split_lines$", text):
            globbing = False
        elif state in ("", "(") and (
            re.search(r"\bset \+f\b|^end_split$", text)
            or re.match(r"\w+\(\) [({]", line)
        ):
            globbing = True
        variables, state = unquoted(line, state)
        here = re.search(r"<<(\w+)", line)
        document = here[1] if here else ""
        if globbing:
            wrong = [word for word in variables if word not in allowed]
            found += [f"{name}:{number}: ${word} in: {text}" for word in wrong]
    return found


def test_no_expansion_is_split_or_globbed() -> None:
    assert [line for path in SCRIPTS for line in violations(path)] == []


def test_check_finds_unquoted_expansions() -> None:
    assert unquoted('for link in $links; do rm -f "$link"; done') == (["links"], "")
    assert unquoted('a=$b "$c" ${d:+"$d"} "$(ls $e)" $(f)') == (["e", "("], "")
    assert unquoted("print $1 }' $b", "'") == (["b"], "")
