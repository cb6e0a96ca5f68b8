"""Clients in separate processes, which tests can stop, kill and start again.

    client = Client(where, "queue.submit('a', 'folder')")
    client.kill()                    # SIGKILL: no cleanup

The code of a client can use `tej`, `queue`, and `pause()`, which waits for `go_on`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from command_process import ForkedPython

PREAMBLE = """\
import sys
sys.path[:0] = {path!r}
import tej
from pathlib import Path
from tej.destination import Destination
from tej.transport import open_transport

def pause():
    print("paused", flush=True)
    sys.stdin.readline()

transport = open_transport(Destination.parse({destination!r}), config_file={config})
queue = tej.RemoteQueue({destination!r}, {queue!r}, "default", transport=transport)
"""

# The chunk of its upload before which a client pauses; negative numbers count from the
# end.
PAUSE_WHILE_UPLOADING = """\
from tej.wire import tar_writer
pack = tar_writer.pack

def pack_and_pause(*arguments):
    pieces = list(pack(*arguments))
    assert len(pieces) > 5
    at = {at}
    yield from pieces[:at]
    pause()
    yield from [] if at is None else pieces[at:]

tar_writer.pack = pack_and_pause
"""


@dataclass(frozen=True)
class Where:
    """The address of a queue, which can be passed to another process."""

    destination: str
    queue: Path
    config: Path | None = None


class Client:
    """A client in its own process, which is killed at the end of the block."""

    def __init__(
        self, where: Where, lines: str, environment: Mapping[str, str] | None = None
    ) -> None:
        config = f"Path({str(where.config)!r})" if where.config else None
        preamble = PREAMBLE.format(
            path=sys.path,
            destination=where.destination,
            queue=str(where.queue),
            config=config,
        )
        self.process = ForkedPython(
            preamble + lines, {**os.environ, **(environment or {})}
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):  # the client has closed its stdin
                stream.close()

    def wait_for_pause(self) -> None:
        """Wait until the client is at its next `pause()`."""
        line = self.process.stdout.readline()
        if line != "paused\n":
            _, words = self.process.communicate(timeout=60)
            raise AssertionError(f"it does not pause, but says: {line}{words}")

    def go_on(self) -> None:
        """Let the client continue after its `pause()`."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kill the client with SIGKILL, and wait for its end."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop the client with SIGSTOP, like a sleeping laptop."""
        self.process.send_signal(signal.SIGSTOP)

    def finish(self) -> str:
        """Return the output of the client, which must exit with 0."""
        out, words = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, words
        return out


def continue_together(clients: Iterable[Client]) -> None:
    """Let clients continue after their `pause()`, as soon as all of them have paused."""
    paused = [*clients]
    for one in paused:
        one.wait_for_pause()
    for one in paused:
        one.go_on()
