"""paramiko transport: runs programs over connections made by paramiko.

paramiko is imported when the first program is run, since the import is slow.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tej.transport.pool import PooledTransport

if TYPE_CHECKING:
    from tej.transport.paramiko.connection import ParamikoConnection


class ParamikoTransport(PooledTransport):
    """Runs programs on one server over SSH, with paramiko."""

    def _connect(self, number: int) -> ParamikoConnection:
        with _uninterrupted():
            from tej.transport.paramiko.connect import connect

        # Only the first connection may prompt the user for a secret.
        settings = replace(self._settings, ask=None) if number else self._settings
        return connect(self._destination, settings)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C until the end of the `with` block.

    An import that Ctrl-C interrupted would leave a broken module behind.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
