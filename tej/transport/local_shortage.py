"""Shortages: errors because this machine has no descriptors, threads or memory left.

After such an error, the connection still works, and the same step may succeed later.
If the server refuses a session (MaxSessions), `pool.py` handles the error instead.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator

from tej.errors import ConnectionFailed

SHORTAGES = frozenset(
    (
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN),
        # Too many descriptors were sent through sockets and not received yet.
        errno.ETOOMANYREFS,
    )
)


def is_shortage(error: OSError) -> bool:
    """Return whether the cause of an error is a limit of this process or machine."""
    return error.errno in SHORTAGES


@contextlib.contextmanager
def translating_local_errors(where: str) -> Iterator[None]:
    """Translate an OSError of this machine into ConnectionFailed."""
    try:
        yield
    except OSError as error:
        hint = ""
        if error.errno == errno.EMFILE:
            hint = "; raise the limit with `ulimit -n`, or close files"
        file = f": '{error.filename}'" if error.filename else ""
        raise ConnectionFailed(
            f"This machine cannot open a session on {where}: "
            f"{error.strerror or error}{file}{hint}"
        ) from error


def start_thread(thread: threading.Thread, where: str) -> None:
    """Start a thread; raise ConnectionFailed if this process may start no more."""
    try:
        thread.start()
    except RuntimeError as error:
        raise ConnectionFailed(
            f"{where}: this process cannot start another thread ({error}); the limit "
            "of processes (`ulimit -u`) or of memory is reached"
        ) from error
