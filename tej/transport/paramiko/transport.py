"""paramiko transport: programs over connections that paramiko makes.

paramiko is imported when the first program is run, not before.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tej.transport.pool import PooledTransport

if TYPE_CHECKING:
    from tej.transport.paramiko.connection import ParamikoConnection


class ParamikoTransport(PooledTransport):
    """Runs programs on one server, as its login shell's user."""

    def _connect(self, number: int) -> ParamikoConnection:
        with _uninterrupted():
            from tej.transport.paramiko.connect import connect

        # A further connection must not ask the user a second time.
        settings = replace(self._settings, ask=None) if number else self._settings
        return connect(self._destination, settings)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C: a module interrupted during its import stays broken."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
