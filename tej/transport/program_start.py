"""Start of a program on the server: run COMMAND, and send the program on stdin.

COMMAND is always the same, and every login shell accepts it (sh, bash, zsh, mksh, tcsh,
fish).  COMMAND executes the first line of standard input that begins with "tej ".  This
line contains the program.  If the program is long, the program is in the next line, and
this line contains only the code that reads the next line (`program_block.py`).  The
rest of standard input is the input of the program.  COMMAND uses `read`, which must not
read beyond the end of a line (POSIX).  `sh -s` could also read a part of the program's
input, so tej does not use it.

Start-up files of the login shell run before COMMAND.  Since start-up files may print
text, tej drops all output before a random token, which the program prints first.  Since
start-up files may read from stdin, tej sends some empty lines first.  tej then sends
COMMAND as a line as well: if a start-up file replaces the login shell (`exec zsh`), the
new shell reads its commands from stdin.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator

from tej.errors import ConnectionFailed, RemoteCommandFailure
from tej.transport.program_block import in_block

READY = b"tej-ready "
COMMAND = (
    'exec /bin/sh -c \'unset -f read printf; printf "tej-%s " ready; '
    'while IFS= read -r tej; do case $tej in "tej "*) eval "${tej#tej }"; exit;; '
    "esac; done; exit 121'"
)
NO_PROGRAM = 121
"""Exit status of COMMAND if its standard input ended without a program."""
PRELUDE = b"\n" * 16 + COMMAND.encode() + b"\n"
"""Lines that tej sends before the program: empty lines for start-up files that read
standard input, and COMMAND for a shell that replaces the login shell."""

NOTICE = 5.0
"""Seconds from the login until a warning is logged if /bin/sh has not started."""
FIRST_OUTPUT_TIMEOUT = 5.0
"""Maximum number of seconds from the sending of the program to its first output, on a
fast connection."""
LATENCIES = 10
"""Number of times that the start of /bin/sh has taken, which are added to
FIRST_OUTPUT_TIMEOUT.  Other transfers and lost packets delay a slow connection."""
PACKET = 1 << 15
"""Size in bytes of a packet of SSH, which the server processes as a whole.  The block
of a longer program is sent only when the program's first output has arrived."""
MAX_STARTUP_OUTPUT = 1 << 22
"""Maximum number of bytes that start-up files may print before the program."""
SHOWN = 200
"""Number of bytes of the output of start-up files that an error message shows."""
HINT = (
    "the network may be slow or busy, or a start-up file there (.bashrc, .profile, "
    ".zshenv, .cshrc) or a forced command may be waiting for input or for a file system"
)


class Start:
    """The start of one program on the server; the threads of `serve` share it."""

    def __init__(self, program: str, *, careful: bool = False) -> None:
        if "\n" in program:
            raise ValueError("a program has to be one line")
        name = os.urandom(8).hex()
        self._token = f"tej-run-{name} "
        # The token is printed before the block is read, because a slow connection may
        # need minutes for the block. The text that tej sends contains neither READY nor
        # the token. Otherwise, a server that repeats its input or its command on stdout
        # would seem to run the program.
        text = f'tej printf "tej-%s " run-{name}; {in_block(program)}'
        # surrogateescape restores the bytes of file names that are not UTF-8.
        self._line = text.encode("utf-8", "surrogateescape") + b"\n"
        self._careful = careful
        self._unread = b""
        self._startup_bytes = 0
        self._ready = threading.Event()
        self._begun = threading.Event()
        """Set when the program has started to run, or the output has ended."""
        self._begun_at = self._ready_at = self._sent_at = float("inf")
        self.running = False
        """Whether the program has started to run."""

    @property
    def ready(self) -> bool:
        """Whether all start-up files have ended and /bin/sh reads its input."""
        return self._ready_at < float("inf")

    @property
    def startup_output(self) -> str:
        """The last output before the program, as one line of printable characters."""
        text = self._unread[-SHOWN:].decode("utf-8", "replace")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())

    def stdin(self, rest: Iterable[bytes] = ()) -> Iterator[bytes]:
        """Yield the prelude, the program, and the program's own input `rest`."""
        self._begun_at = time.monotonic()
        yield PRELUDE
        if self._careful:
            # A start-up file may read all input that is available, so the program is
            # sent only after the start-up files have ended.
            self._ready.wait()
        line, block = self._line, b""
        if len(self._line) > PACKET:
            line, newline, block = self._line.partition(b"\n")
            line += newline
        yield line
        self._sent_at = time.monotonic()
        if block:
            self._begun.wait()
            yield block
        yield from rest

    def strip(self, data: bytes) -> bytes:
        """Return `data` without the output of start-up files.

        Raises RemoteCommandFailure if they print more than MAX_STARTUP_OUTPUT bytes.
        """
        if self.running:
            return data
        self._unread += data
        self._startup_bytes += len(data)
        if READY in self._unread and not self.ready:
            self._ready_at = time.monotonic()
            self._ready.set()
        before, token, after = self._unread.partition(self._token.encode())
        if token:
            self.running = True
            self._begun.set()
            return after
        if self._startup_bytes > MAX_STARTUP_OUTPUT:
            raise RemoteCommandFailure(
                f"The start-up files on the server printed {self._startup_bytes} bytes "
                "before tej's program could begin; make them quiet for non-interactive "
                "shells"
            )
        self._unread = before[-2000:]
        return b""

    def end(self) -> bytes:
        """Wake the thread that waits to send the program, because the output has ended.

        Returns the last output of start-up files if the program has not started to run,
        else b"".
        """
        self._ready.set()
        self._begun.set()
        unread, self._unread = self._unread, b""
        return b"" if self.running else unread.replace(READY, b"", 1)

    def check(self, where: str) -> None:
        """Raise ConnectionFailed if a start-up file seems to have read the program."""
        if self.running or not self.ready:
            return
        latency = max(0.0, self._ready_at - self._begun_at)
        limit = FIRST_OUTPUT_TIMEOUT + LATENCIES * latency
        if time.monotonic() - max(self._ready_at, self._sent_at) > limit:
            raise self.consumed_error(where)

    def require(self, where: str) -> None:
        """Raise ConnectionFailed if /bin/sh has started, but the program has not.

        `serve` calls this method when COMMAND has exited with the status NO_PROGRAM.
        """
        if self.ready and not self.running:
            raise self.consumed_error(where)

    def consumed_error(self, where: str) -> ConnectionFailed:
        """Return the error for a program that a start-up file has read from stdin."""
        return ProgramConsumed(
            f"A start-up file on {where} reads standard input and consumed tej's "
            "program, which has not run. In start-up files, read only if the shell is "
            "interactive, or from </dev/null"
        )


class ProgramConsumed(ConnectionFailed):
    """A start-up file of the login shell has read tej's program from standard input.

    The program has therefore not run.  At the next attempt, the transport sends the
    program only after all start-up files have ended.
    """
