"""Requests to the server: encode each request as one line for the server's shell.

A request consists of the bootstrap script, a verb and the arguments of the verb.  Since
start-up files may print text before the request runs, the reply begins after a random
marker.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath

from tej.server.scripts import Scripts, sent_script


@dataclass(frozen=True)
class Program:
    """A program for the server's shell, which carries out one request."""

    line: str = field(repr=False)
    marker: bytes
    """Random text that the program prints before its reply."""
    verb: str


def make_marker() -> str:
    """Return a marker so random that no other output contains it by chance."""
    return f"tej-{os.urandom(16).hex()}"


def program(verb: str, script: str, *, trusted: bool = False) -> Program:
    """Return a program that prints a random marker and then runs a script.

    If `trusted` is true, the server may use a queue that other users can write to.
    """
    marker = make_marker()
    text = "\n".join([_preamble(), f"begin {marker} {int(trusted)}", script, ""])
    return Program(as_line(text), marker.encode(), verb)


@lru_cache(maxsize=1)
def _preamble() -> str:
    return "\n".join(
        map(sent_script, ("lib/user_environment.sh", "trust.sh", "bootstrap.sh"))
    )


def verb(
    name: str,
    queue: str,
    *arguments: str,
    digest: str,
    needed: Iterable[str] = (),
    trusted: bool = False,
) -> Program:
    """Return the request for a verb that needs an existing queue."""
    script = f'"$here/commands/{name}"'
    # Most shells keep a sourced file open.  On NFS, the directory of an open file
    # cannot be removed, and `cleanup` removes the directory of its own script.
    # Therefore the script of `cleanup` is read as a whole, and not sourced.  `quit 20`
    # makes the request fail if another client has just removed the script.
    run = (
        f'eval "$(cat {script} || echo quit 20)"'
        if name == "cleanup"
        else f". {script}"
    )
    return program(
        name,
        f"{_END_OF_INPUT if name == 'wait' else ''}"
        f"verb={name}\n"
        f"open_queue {command(queue, digest)}\n"
        f"need {command(*needed)}\n"
        f"set -- {command(*arguments)}\n"
        f"{run}",
        trusted=trusted,
    )


NO_INPUT = b"ask=nothing\0"
"""Words of a reply after which the client ends its input."""

# A forced command such as `tee log | sh` ends only when the client ends its input, even
# if this shell quits before it uses the input.
_END_OF_INPUT = (
    'input_end=\'printf "%s\\0" ask=nothing 2>/dev/null\'; trap "$input_end" EXIT\n'
)


def submission(
    mode: str,
    queue: str,
    jobs: Iterable[tuple[str, str]],
    *,
    digest: str,
    needed: Iterable[str] = (),
    ask_sparse: bool = False,
    features: Iterable[str] = (),
    trusted: bool = False,
) -> Program:
    """Return the request `submit` for jobs, given as pairs of an id and a token.

    The request creates the queue if it does not exist.  If `ask_sparse` is true, the
    reply contains `sparse=1` if the server's tar can extract GNU sparse files.  The
    request fails if older scripts on the server do not support one of `features`.
    """
    words = [word for job in jobs for word in job]
    return program(
        "submit",
        f"{_END_OF_INPUT}verb=submit\n"
        f"open_or_install {command(queue, digest)}\n"
        f"need {command(*needed)}\n"
        f"{_ASK_SPARSE if ask_sparse else ''}"
        f"{''.join(map(_check_feature, sorted(features)))}"
        f"set -- {command(mode, *words)}\n"
        '. "$here/commands/submit"',
        trusted=trusted,
    )


FEATURES: Mapping[str, str] = {
    "dependencies": "jobs that need other jobs",
    "on_end": "an --on-end command",
    "shared_input": "files that jobs share",
}
"""Features of jobs that older scripts on the server would ignore.

A feature is the name of a file in `lib/` that the scripts must have, so these files
cannot be renamed."""


def _check_feature(name: str) -> str:
    return (
        f'[ -f "$here/lib/{name}.sh" ] || quit 12 '
        f"\"The scripts of queue '$queue' are too old for {FEATURES[name]}\"\n"
    )


# GNU tar and bsdtar extract sparse files with their holes; tar of busybox fails.
_ASK_SPARSE = """\
case $(tar --version 2>/dev/null) in
*'GNU tar'* | *bsdtar*) printf '%s\\0' sparse=1 ;;
esac
"""


def setup(
    queue: str,
    wanted: str,
    links: Sequence[str],
    *,
    scripts: Scripts,
    force: int,
    only_links: bool,
    version: str,
    trusted: bool = False,
) -> Program:
    """Return the request that creates a queue and the links to it.

    If `only_links` is true, the queue must exist, and only the links are created.
    """
    action = (
        f"locate {command(queue)}"
        if only_links
        else f"setup {command(queue, wanted, scripts.digest, version, str(force))}"
    )
    text = [_installer_functions(scripts), sent_script("setup_command.sh")]
    # Check all links first, so that nothing is created if one of them is impossible.
    text += [f"check_link {command(link)}" for link in links if link != queue]
    text.append(action)
    text += [f"link {command(link)}" for link in links]
    text.append('printf \'%s\\0\' "queue=$queue" "runtime=$runtime"')
    return program("setup", "\n".join(text), trusted=trusted)


def installation(wanted: str, scripts: Scripts, version: str) -> str:
    """Return the reply to "ask=install" that makes the server install `scripts`."""
    return as_line(
        f"{_installer_functions(scripts)}\n"
        f"install {command(wanted, scripts.digest, version)}\n"
    )


KEEP_INSTALLED_SCRIPTS = ":"
"""Reply to "ask=install" that keeps the installed scripts, because they are newer."""


def renewal(
    verb: str, queue: str, scripts: Scripts, version: str, *, trusted: bool = False
) -> Program:
    """Return the request that replaces the scripts of a queue with `scripts`.

    Nothing is replaced if the queue uses `scripts`, and the script of `verb` exists.
    """
    return program(
        "setup",
        f"{_installer_functions(scripts)}\n"
        f"verb={verb}\n"
        f"find_queue {command(queue)} && read_version || quit 10\n"
        # Install the scripts only if no other client has installed them meanwhile.
        f"load_queue {command(scripts.digest)} || "
        f"install {command('auto', scripts.digest, version)}",
        trusted=trusted,
    )


def _installer_functions(scripts: Scripts) -> str:
    lines = ["unpack() {"]
    folders: set[str] = set()
    for path, text in scripts.files.items():
        folder = str(PurePosixPath(path).parent)
        if folder != "." and folder not in folders:
            folders.add(folder)
            lines.append(f'mkdir -p "$1"/{shlex.quote(folder)} || return 1')
        line = f'printf %s {shlex.quote(text)} >"$1"/{shlex.quote(path)} || return 1'
        lines.append(line)
    return "\n".join([*lines, "}", sent_script("install_queue.sh")])


def command(*words: str) -> str:
    """Quote each word for the shell, and join the words with spaces."""
    return " ".join(shlex.quote(word) for word in words)


_PIECE = 15_000
"""Maximum number of bytes of a script in one argument of `printf`.

Encoding turns each byte into at most five characters.  If `printf` is an external
program (mksh), Linux accepts no argument longer than 128 KiB (MAX_ARG_STRLEN)."""

_ESCAPES = {
    **{byte: f"\\0{byte:03o}" for byte in [0, *range(0x7F, 0x100), *b"'\r"]},
    ord("\\"): "\\\\",
    ord("\n"): "\\n",
}


def as_line(script: str) -> str:
    """Encode a script as one line of ASCII that evaluates the script.

    The line has only ASCII, because the server reads it with the shell's `read`, which
    changes other bytes in some shells.  The script is assigned to a variable, because
    bash 3.2 expands braces inside `"$(...)"`, but never in an assignment.  The variable
    is unset first, because a user may export a variable of this name.
    """
    data = script.encode("utf-8", "surrogateescape").decode("latin-1")
    words = (
        data[start : start + _PIECE].translate(_ESCAPES)
        for start in range(0, len(data), _PIECE)
    )
    joined = "'; printf %b '".join(words)
    return f"unset tej; tej=$(printf %b '{joined}'); eval \"unset tej; $tej\""
