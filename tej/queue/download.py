"""Where downloaded files go, and how they get there while the stream comes in."""

from __future__ import annotations

import os
import posixpath
import tarfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from tej.archive import Unpacker
from tej.errors import DownloadFailed
from tej.protocol import Reply
from tej.stream import Feed


class Download:
    """One download: what is asked for, and the place of each file."""

    def __init__(
        self,
        names: Sequence[str],
        destination: str | os.PathLike[str] | None,
        directory: str | os.PathLike[str] | None,
        *,
        recursive: bool,
        flatten: bool,
    ) -> None:
        if destination is not None and directory is not None:
            raise TypeError("Only use one of 'destination' or 'directory'")
        if destination is not None and len(names) > 1:
            raise ValueError(
                "'destination' specified but multiple files given; did you mean to use "
                "'directory'?"
            )
        self.patterns = [check_name(name) for name in names]
        self.recursive = recursive
        self.flatten = flatten
        self.directory = Path("." if directory is None else directory)
        self.destination = None if destination is None else Path(destination)
        if self.destination is not None and self.destination.is_dir():
            # As cp does.
            self.directory, self.destination, self.flatten = (
                self.destination,
                None,
                True,
            )
        self._only: PurePosixPath | None = None

    @property
    def root(self) -> Path:
        """Nothing is written outside of it."""
        return self.directory if self.destination is None else self.destination.parent

    def place(self, name: PurePosixPath) -> Path:
        """Where a member of the archive goes."""
        if self.destination is not None:
            return self.destination / name.relative_to(self._the_only(name))
        if self.flatten:
            return self.directory / name.relative_to(self._named(name).parent)
        return self.directory / name

    def _the_only(self, name: PurePosixPath) -> PurePosixPath:
        if self._only is None:
            self._only = self._named(name)
        if not name.is_relative_to(self._only):
            raise DownloadFailed(
                f"'{self.patterns[0]}' is more than one file; use 'directory'"
            )
        return self._only

    def _named(self, name: PurePosixPath) -> PurePosixPath:
        """The file or directory asked for that this member is, or is in."""
        depths = {len(PurePosixPath(pattern).parts) for pattern in self.patterns}
        for above in [name, *name.parents]:
            literal = str(above) in self.patterns
            if literal or (
                len(above.parts) in depths
                and any(above.match(pattern) for pattern in self.patterns)
            ):
                return above
        return name

    def run(
        self,
        fetch: Callable[[Callable[[bytes], object]], Reply],
        progress: Callable[[int], object] | None,
    ) -> list[Path]:
        """Call `fetch(sink)` and unpack what it gives the sink."""
        feed = Feed()
        unpacker = Unpacker(self.root, self._place_checked)
        errors: list[BaseException] = []

        def unpack() -> None:
            try:
                unpacker.unpack(feed.as_file())
            except BaseException as error:
                errors.append(error)
            finally:
                feed.close()

        def take(data: bytes) -> None:
            feed.put(data)
            if progress is not None:
                progress(len(data))

        thread = threading.Thread(target=unpack, name="tej download", daemon=True)
        thread.start()
        try:
            fetch(take)
        finally:
            feed.put(b"")
            thread.join()
        if errors:
            if isinstance(errors[0], tarfile.TarError | EOFError):
                raise DownloadFailed(
                    f"What the server sent is not whole: {errors[0]}"
                ) from errors[0]
            raise errors[0]
        return list(unpacker.written.values())

    def _place_checked(self, name: PurePosixPath) -> Path:
        if not self.recursive and (named := self._named(name)) != name:
            raise DownloadFailed(f"'{named}' is a directory")
        return self.place(name)


def check_name(name: str) -> str:
    """A path in the job's directory, without `.` and `..`.

    Raises DownloadFailed for one that leads out of it.
    """
    if not name:
        raise DownloadFailed("'' is not the name of a file")
    path = posixpath.normpath(name)
    if path.startswith(("/", "../")) or path == ".." or "\0" in path:
        raise DownloadFailed(
            f"'{name}' leads out of the job's directory, and is not downloaded"
        )
    return path
