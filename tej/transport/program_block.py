"""Blocks: long lines of shell code, sent in a form that the server's shell reads fast.

The shell's `read` reads only one byte in each system call, because it must not consume
the input after the line.  `dd` reads a block of known size in a few system calls.
"""

from __future__ import annotations

_WORTHWHILE = 2000
"""Minimum size in bytes of a line that `dd` reads faster than the builtin `read`."""

_BUFFER = 8192
"""Minimum number of bytes that `dd` reads at a time.

For fewer bytes, the `dd` of uutils up to 0.0.17 (Debian 12) fills a buffer of this
size, and would consume the program's own input."""

# `dd` makes one system call, which may return only a part of the block, so `dd` is
# repeated.  `read` then reads the rest of the line: only the newline, fewer than
# _BUFFER bytes of the block, or the whole line if the server has no `dd`.  If the input
# ends before the newline, nothing is evaluated.  The variable `tej` is unset, because a
# user may export a variable of this name, and all child processes would get the text.
# `set --` removes the text from the positional parameters.  The NUL after each part
# shows the client that a slow connection makes progress.
_READ = (
    "unset -f dd; tej=; while [ $(({size} - ${{#tej}})) -ge {buffer} ]; do "
    '[ -z "$tej" ] || printf "\\0"; '
    'set -- "$(dd bs=$(({size} - ${{#tej}})) count=1 2>/dev/null)"; '
    '[ "$1" ] || break; tej=$tej$1; done; set -- "$tej"; '
    'if IFS= read -r tej; then set -- "$1$tej"; unset tej; eval "set --; $1"; '
    "else exit 121; fi"
)


def in_block(program: str) -> str:
    """Return text that has the effect of `program` in a shell that reads from stdin.

    Most shells read a program from stdin byte by byte, which is slow.  If `program`
    is long, the first line of the text reads the second line, which is `program`.
    A short program is returned unchanged, because starting `dd` would take longer
    than the time it saves.  A program that is not ASCII is returned unchanged,
    because the shell counts characters, and `dd` counts bytes.
    """
    if len(program) < _WORTHWHILE or not program.isascii():
        return program
    program = program.ljust(_BUFFER)
    return f"{_READ.format(size=len(program), buffer=_BUFFER)}\n{program}"
