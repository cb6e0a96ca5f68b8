"""ssh-agent that lists keys and refuses to sign, like an unplugged hardware key."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

LIST_KEYS, KEYS, FAILURE = 11, 12, 5


class RefusingAgent:
    """Holds public keys; every request to sign fails."""

    def __init__(self, path: Path, public_keys: Sequence[Path]) -> None:
        self.path = path
        self.refused = 0
        """Number of requests to sign."""
        self._blobs = [
            base64.b64decode(key.read_text().split()[1]) for key in public_keys
        ]
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> RefusingAgent:
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        os.unlink(self.path)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream:
            while head := stream.read(4):
                request = stream.read(struct.unpack(">I", head)[0])
                reply = bytes([FAILURE])
                if request[0] == LIST_KEYS:
                    reply = bytes([KEYS]) + struct.pack(">I", len(self._blobs))
                    for blob in self._blobs:
                        reply += struct.pack(">I", len(blob)) + blob
                        reply += struct.pack(">I", 5) + b"token"
                else:
                    self.refused += 1
                client.sendall(struct.pack(">I", len(reply)) + reply)
