"""`TejFileSystem`: Luigi file system of the server, over the queue's connection."""

from __future__ import annotations

import functools
import importlib.resources
import io
import os
import posixpath
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from luigi.target import (
    FileAlreadyExists,
    FileSystem,
    FileSystemException,
    MissingParentDirectory,
    NotADirectory,
)

from tej.errors import Error, RemoteCommandFailure
from tej_luigi.config import QueueAddress, find_address
from tej_luigi.connections import open_queue

CHUNK = 1 << 18


class PathNotFound(Error, FileSystemException):
    """The path does not exist on the server."""


class PathExists(Error, FileAlreadyExists):
    """The path exists already and was not replaced."""


class PathIsDirectory(Error, FileSystemException):
    """The path is a directory; a file was expected."""


class PathIsNotADirectory(Error, NotADirectory):
    """The path is a file; a directory was expected."""


class ParentNotFound(Error, MissingParentDirectory):
    """The parent directory does not exist."""


# Exit statuses of files.sh.
ERRORS: dict[int, type[Error]] = {
    64: PathNotFound,
    65: PathExists,
    66: PathIsDirectory,
    67: PathIsNotADirectory,
    68: ParentNotFound,
}


@functools.cache
def _script() -> str:
    return (
        importlib.resources.files("tej_luigi").joinpath("files.sh").read_text("utf-8")
    )


class TejFileSystem(FileSystem):
    """The files of a server, as seen by the user of the destination.

    A path is absolute or relative to the home directory; `~/` is expanded.  Methods
    raise tej.Error.  An unreachable server is ConnectionFailed, never "not found".
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
        """Whether the path exists; a broken symbolic link does not."""
        return self._run("exists", path) == b"yes\n"

    def isdir(self, path: str) -> bool:
        """Whether the path is a directory."""
        return self._run("isdir", path) == b"yes\n"

    def listdir(self, path: str) -> Iterator[str]:
        """The files below a directory, recursively; each begins with `path`.

        Raises PathNotFound.
        """
        for name in self._run("listdir", path).split(b"\0"):
            if name:
                text = name.decode("utf-8", "surrogateescape")
                yield posixpath.join(path, text.removeprefix("./"))

    def mkdir(
        self, path: str, parents: bool = True, raise_if_exists: bool = False
    ) -> None:
        """Create a directory, and by default its parents.

        Raises PathExists with `raise_if_exists`, PathIsNotADirectory if the path is a
        file, and ParentNotFound without `parents`.
        """
        self._run("mkdir", path, str(int(parents)), str(int(raise_if_exists)))

    def remove(
        self, path: str, recursive: bool = True, skip_trash: bool = True
    ) -> None:
        """Remove a file, or a directory with its content; there is no trash.

        Raises PathNotFound, and PathIsDirectory if not `recursive`.
        """
        self._run("remove", path, str(int(recursive)), again=False)

    def move(self, path: str, dest: str) -> None:
        """Rename, replacing a file at `dest`.

        Raises PathNotFound, and PathIsDirectory if `dest` is a directory.
        """
        self._run("move", path, dest, again=False)

    def rename_dont_move(self, path: str, dest: str) -> None:
        """Rename; raises PathExists if `dest` exists."""
        self._run("rename", path, dest, again=False)

    def copy(self, path: str, dest: str) -> None:
        """Copy a file or a directory; `dest` appears when it is complete."""
        self._run("copy", path, dest, _unique())

    def put(self, local_path: str | os.PathLike[str], path: str) -> None:
        """Upload a local file; it appears at `path` when it is complete."""
        with Path(local_path).open("rb") as file:
            self.upload(file, path)

    def get(self, path: str, local_path: str | os.PathLike[str]) -> None:
        """Download a file; it appears at `local_path` when it is complete."""
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
        """Write an open local file to the server, completely or not at all."""

        def chunks() -> Iterator[bytes]:
            file.seek(0)
            while chunk := file.read(CHUNK):
                yield chunk

        size = str(file.seek(0, io.SEEK_END))
        self._run("write", path, size, _unique(), stdin=chunks)

    def _run(
        self,
        name: str,
        *arguments: str,
        again: bool = True,
        **options: object,
    ) -> bytes:
        queue = open_queue(self.address).queue
        words = (name, *arguments)
        try:
            return queue.shell(_script(), *words, again=again, **options)  # type: ignore[arg-type]
        except RemoteCommandFailure as error:
            kind = ERRORS.get(error.ret or 0)
            if kind is None:
                raise
            raise kind(f"{error} ({self.address.shown})") from None


def _unique() -> str:
    return secrets.token_hex(5)
