"""`TejFileTarget`: a file on the server, read and written as any of Luigi's."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from types import TracebackType
from typing import Any

from luigi.format import FileWrapper, Format, get_default_format
from luigi.target import FileSystemTarget

from tej_luigi.config import Place, find_place
from tej_luigi.file_system import TejFileSystem


class TejFileTarget(FileSystemTarget):
    """A file at a path of the server's: absolute, or from the home directory.

    Reading fetches it first; what is written goes there when it is closed, and appears
    at its path whole or not at all.  Raises tej.Error, as `TejFileSystem` does.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: Format | None = None,
        destination: str | None = None,
        queue: str | None = None,
        *,
        place: Place | None = None,
    ) -> None:
        super().__init__(path)
        self.format = get_default_format() if format is None else format
        self.place = place or find_place(destination, queue)

    def __repr__(self) -> str:
        return f"<TejFileTarget {self.path} on {self.place.shown}>"

    @property
    def fs(self) -> TejFileSystem:
        """The file system that it is in."""
        return TejFileSystem(place=self.place)

    def open(self, mode: str = "r") -> Any:
        """A file to be read ("r") or written ("w"), in the target's format.

        Raises PathNotFound if there is none to be read.
        """
        kind = mode.replace("b", "").replace("t", "")
        if kind == "w":
            return self.format.pipe_writer(_Upload(self.path, self.fs))
        if kind == "r":
            # A real file, since some formats read it in a process of its own.
            file = tempfile.TemporaryFile()  # noqa: SIM115 (who reads it closes it)
            try:
                self.fs.download(self.path, file)
                file.seek(0)
            except BaseException:
                file.close()
                raise
            return self.format.pipe_reader(FileWrapper(file))
        raise ValueError(f"mode must be 'r' or 'w', not {mode!r}")


class _Upload(io.BufferedWriter):
    """A file here, which goes to the server when it is closed.

    It has no name: whatever becomes of this process, nothing is left of it.
    """

    def __init__(self, path: str, file_system: TejFileSystem) -> None:
        self._path = path
        self._file_system = file_system
        raw = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with this)
        super().__init__(raw)

    def close(self) -> None:
        """Send it; a second call does nothing."""
        if self.closed:
            return
        try:
            self.flush()
            with os.fdopen(os.dup(self.fileno()), "rb") as file:
                self._file_system.upload(file, self._path)
        finally:
            super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def __del__(self) -> None:
        # Not closed, so not finished.
        self._abandon()

    def _abandon(self) -> None:
        if not self.closed:
            with contextlib.suppress(Exception):
                super().close()
