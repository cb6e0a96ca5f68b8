"""`TejFileSystem` and `TejFileTarget`: Luigi's access to the files of a server.

The file system shares the SSH connection of the queue.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import io
import os
import posixpath
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from luigi.format import FileWrapper, Format, get_default_format
from luigi.target import (
    FileAlreadyExists,
    FileSystem,
    FileSystemException,
    FileSystemTarget,
    MissingParentDirectory,
    NotADirectory,
)

from tej import Error, RemoteCommandFailure
from tej_luigi.config import QueueAddress, find_address
from tej_luigi.status_cache import open_queue

CHUNK = 1 << 18


class PathNotFound(Error, FileSystemException):
    """The path does not exist on the server."""


class PathExists(Error, FileAlreadyExists):
    """The target path exists already and was not replaced."""


class PathIsDirectory(Error, FileSystemException):
    """The path is a directory, but the operation needs a file."""


class PathIsNotADirectory(Error, NotADirectory):
    """The path is a file, but the operation needs a directory."""


class ParentNotFound(Error, MissingParentDirectory):
    """The parent directory of the path does not exist on the server."""


_ERRORS: dict[int, type[Error]] = {
    64: PathNotFound,
    65: PathExists,
    66: PathIsDirectory,
    67: PathIsNotADirectory,
    68: ParentNotFound,
}
"""Error classes by the exit statuses of files_on_server.sh."""


@functools.cache
def _script() -> str:
    return (
        importlib.resources.files("tej_luigi")
        .joinpath("files_on_server.sh")
        .read_text("utf-8")
    )


class TejFileSystem(FileSystem):
    """Accesses the files of a server with the permissions of the destination's user.

    A path is absolute or relative to the home directory, and may begin with `~/`.  If a
    method fails, it raises a tej.Error.  If the server cannot be reached, this error is
    a ConnectionFailed, so that an unreachable server is never reported as a missing
    file.
    """

    def __init__(
        self,
        destination: str | None = None,
        queue: str | None = None,
        *,
        address: QueueAddress | None = None,
    ) -> None:
        self.address = address or find_address(destination, queue)

    def __repr__(self) -> str:
        return f"<TejFileSystem on {self.address.shown}>"

    def exists(self, path: str) -> bool:
        """Return whether the path exists and is not a broken symbolic link."""
        return self._run("exists", path) == b"yes\n"

    def isdir(self, path: str) -> bool:
        """Return whether the path is a directory."""
        return self._run("isdir", path) == b"yes\n"

    def listdir(self, path: str) -> Iterator[str]:
        """Yield the paths of all files below a directory, each with the prefix `path`.

        Raises PathNotFound if the directory does not exist.
        """
        for name in self._run("listdir", path).split(b"\0"):
            if name:
                text = name.decode("utf-8", "surrogateescape")
                yield posixpath.join(path, text.removeprefix("./"))

    def mkdir(
        self, path: str, parents: bool = True, raise_if_exists: bool = False
    ) -> None:
        """Create a directory, and its parent directories if `parents` is true.

        Raises PathExists if the directory exists and `raise_if_exists` is true.  Raises
        PathIsNotADirectory if the path is a file.  Raises ParentNotFound if the parent
        directory does not exist and `parents` is false.
        """
        self._run("mkdir", path, str(int(parents)), str(int(raise_if_exists)))

    def remove(
        self, path: str, recursive: bool = True, skip_trash: bool = True
    ) -> None:
        """Remove a file, or a directory with its content.

        `skip_trash` has no effect, because there is no trash.  Raises PathNotFound if
        the path does not exist.  Raises PathIsDirectory if the path is a directory and
        `recursive` is false.
        """
        self._run("remove", path, str(int(recursive)), again=False)

    def move(self, path: str, dest: str) -> None:
        """Rename a file or a directory, and replace the file `dest` if it exists.

        Raises PathNotFound if `path` does not exist, and PathIsDirectory if `dest` is a
        directory.
        """
        self._run("move", path, dest, again=False)

    def rename_dont_move(self, path: str, dest: str) -> None:
        """Rename a file or a directory; raise PathExists if `dest` exists."""
        self._run("rename", path, dest, again=False)

    def copy(self, path: str, dest: str) -> None:
        """Copy a file or a directory; `dest` appears only when the copy is complete."""
        self._run("copy", path, dest, _unique())

    def put(self, local_path: str | os.PathLike[str], path: str) -> None:
        """Upload a local file; `path` appears only when the upload is complete."""
        with Path(local_path).open("rb") as file:
            self.upload(file, path)

    def get(self, path: str, local_path: str | os.PathLike[str]) -> None:
        """Download a file; `local_path` appears only when the download is complete."""
        target = Path(local_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}-luigi-tmp-{_unique()}")
        try:
            with part.open("w+b") as file:
                self.download(path, file)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def download(self, path: str, file: BinaryIO) -> None:
        """Write the content of a file on the server to an open local file."""

        def sink() -> Callable[[bytes], object]:
            file.seek(0)
            file.truncate()
            return file.write

        self._run("read", path, take=sink)

    def upload(self, file: BinaryIO, path: str) -> None:
        """Upload an open file; `path` appears only when the upload is complete."""

        def chunks() -> Iterator[bytes]:
            file.seek(0)
            while chunk := file.read(CHUNK):
                yield chunk

        size = str(file.seek(0, io.SEEK_END))
        self._run("write", path, size, _unique(), stdin=chunks)

    def _run(
        self, name: str, *arguments: str, again: bool = True, **options: Any
    ) -> bytes:
        queue = open_queue(self.address).queue
        words = (name, *arguments)
        try:
            return queue.shell(_script(), *words, again=again, **options)
        except RemoteCommandFailure as error:
            kind = _ERRORS.get(error.ret or 0)
            if kind is None:
                raise
            raise kind(f"{error} ({self.address.shown})") from None


class TejFileTarget(FileSystemTarget):
    """A file on the server; its path is absolute or relative to the home directory.

    A reader downloads the whole file when it is opened.  A writer uploads the file when
    the writer is closed, and the file appears on the server only when the upload is
    complete.  If a method fails, it raises a tej.Error, as in `TejFileSystem`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: Format | None = None,
        destination: str | None = None,
        queue: str | None = None,
        *,
        address: QueueAddress | None = None,
    ) -> None:
        super().__init__(path)
        self.format = get_default_format() if format is None else format
        self.address = address or find_address(destination, queue)

    def __repr__(self) -> str:
        return f"<TejFileTarget {self.path} on {self.address.shown}>"

    @property
    def fs(self) -> TejFileSystem:
        """The file system of the server."""
        return TejFileSystem(address=self.address)

    def open(self, mode: str = "r") -> Any:
        """Open the file for reading ("r") or writing ("w"), in the target's format.

        Raises PathNotFound if a file opened for reading does not exist.
        """
        kind = mode.replace("b", "").replace("t", "")
        if kind == "w":
            return self.format.pipe_writer(_Upload(self.path, self.fs))
        if kind == "r":
            # Formats such as Gzip start a process, which needs a real file with a file
            # descriptor.
            file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the reader)
            try:
                self.fs.download(self.path, file)
                file.seek(0)
            except BaseException:
                file.close()
                raise
            return self.format.pipe_reader(FileWrapper(file))
        raise ValueError(f"mode must be 'r' or 'w', not {mode!r}")

    def put(self, local_path: str | os.PathLike[str]) -> None:
        """Upload a local file to the path of the target."""
        self.fs.put(local_path, self.path)

    def get(self, local_path: str | os.PathLike[str]) -> None:
        """Download the target's file to a local path."""
        self.fs.get(self.path, local_path)


class _Upload(io.BufferedWriter):
    """A local temporary file that is uploaded when it is closed.

    The temporary file has no name, so no file is left if the process dies.
    """

    def __init__(self, path: str, file_system: TejFileSystem) -> None:
        self._path = path
        self._file_system = file_system
        raw = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with this)
        super().__init__(raw)

    def close(self) -> None:
        """Upload the file and close it; do nothing if the file is already closed."""
        if self.closed:
            return
        try:
            self.flush()
            with os.fdopen(os.dup(self.fileno()), "rb") as file:
                self._file_system.upload(file, self._path)
        finally:
            super().close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def __del__(self) -> None:
        # If the writer is garbage-collected without close(), nothing is uploaded,
        # because the content may be incomplete.
        self._discard()

    def _discard(self) -> None:
        if not self.closed:
            with contextlib.suppress(Exception):
                super().close()


def _unique() -> str:
    return secrets.token_hex(5)
