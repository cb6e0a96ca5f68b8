"""`TejFileSystem`: files on the server, over the connection of a queue."""

from __future__ import annotations

import functools
import importlib.resources
import io
import posixpath
import secrets
from collections.abc import Callable, Iterator
from typing import BinaryIO

from luigi.target import (
    FileAlreadyExists,
    FileSystem,
    FileSystemException,
    MissingParentDirectory,
    NotADirectory,
)

from tej.errors import Error, RemoteCommandFailure
from tej_luigi.config import Place, find_place
from tej_luigi.queues import open_queue

PIECE = 1 << 18


class PathNotFound(Error, FileSystemException):
    """Nothing is there on the server."""


class PathExists(Error, FileAlreadyExists):
    """Something is there already, and stays."""


class PathIsDirectory(Error, FileSystemException):
    """A directory is where a file was expected."""


class PathIsNotADirectory(Error, NotADirectory):
    """A file is where a directory was expected."""


class ParentNotFound(Error, MissingParentDirectory):
    """The directory that it should be made in is not there."""


# The statuses of files.sh.
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
    """The files of a server, as the user that the destination names.

    A path is absolute, or starts in the home directory; `~/` is understood.  Raises
    tej.Error: ConnectionFailed if the server cannot be reached, which never means that
    something is not there.
    """

    def __init__(
        self,
        destination: str | None = None,
        queue: str | None = None,
        *,
        place: Place | None = None,
    ) -> None:
        self.place = place or find_place(destination, queue)

    def __repr__(self) -> str:
        return f"<TejFileSystem on {self.place.shown}>"

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory; a link counts for what it leads to."""
        return self._run("exists", path) == b"yes\n"

    def isdir(self, path: str) -> bool:
        """Whether there is a directory."""
        return self._run("isdir", path) == b"yes\n"

    def listdir(self, path: str) -> Iterator[str]:
        """The files below a directory, at any depth; each path begins with `path`.

        Raises PathNotFound.
        """
        for name in self._run("listdir", path).split(b"\0"):
            if name:
                text = name.decode("utf-8", "surrogateescape")
                yield posixpath.join(path, text.removeprefix("./"))

    def mkdir(
        self, path: str, parents: bool = True, raise_if_exists: bool = False
    ) -> None:
        """Make a directory, and by default those above it.

        Raises PathExists with `raise_if_exists`, PathIsNotADirectory if a file is
        there, ParentNotFound without `parents`.
        """
        self._run("mkdir", path, str(int(parents)), str(int(raise_if_exists)))

    def remove(
        self, path: str, recursive: bool = True, skip_trash: bool = True
    ) -> None:
        """Remove a file, or a directory with all that is in it; there is no trash.

        Raises PathNotFound, and PathIsDirectory if not `recursive`.
        """
        self._run("remove", path, str(int(recursive)), again=False)

    def move(self, path: str, dest: str) -> None:
        """Rename; a file that is at `dest` is replaced.  Raises PathNotFound, and
        PathIsDirectory if there is a directory."""
        self._run("move", path, dest, again=False)

    def rename_dont_move(self, path: str, dest: str) -> None:
        """Rename; what is at `dest` stays, and PathExists is raised."""
        self._run("rename", path, dest, again=False)

    def copy(self, path: str, dest: str) -> None:
        """Copy a file, or a directory with all that is in it; `dest` appears whole."""
        self._run("copy", path, dest, _unique())

    def download(self, path: str, file: BinaryIO) -> None:
        """Write what is in a file on the server to an open one here."""

        def take() -> Callable[[bytes], object]:
            file.seek(0)
            file.truncate()
            return file.write

        self._run("read", path, take=take)

    def upload(self, file: BinaryIO, path: str) -> None:
        """Make a file on the server of an open one here: whole, or not at all."""

        def pieces() -> Iterator[bytes]:
            file.seek(0)
            while piece := file.read(PIECE):
                yield piece

        size = str(file.seek(0, io.SEEK_END))
        self._run("write", path, size, _unique(), stdin=pieces)

    def _run(
        self,
        name: str,
        *arguments: str,
        again: bool = True,
        **options: object,
    ) -> bytes:
        queue = open_queue(self.place).queue
        words = (name, *arguments)
        try:
            return queue.shell(_script(), *words, again=again, **options)  # type: ignore[arg-type]
        except RemoteCommandFailure as error:
            kind = ERRORS.get(error.ret or 0)
            if kind is None:
                raise
            raise kind(f"{error} ({self.place.shown})") from None


def _unique() -> str:
    return secrets.token_hex(5)
