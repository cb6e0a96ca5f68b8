"""Extraction of a downloaded tar stream, safely inside one directory.

The server is not trusted.  The extraction refuses members that were not requested, have
a path outside the directory, or are malformed.  A member replaces an existing file.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from tej.errors import DownloadFailed
from tej.job.file_names import is_allowed_on_windows, normalize, printable, to_local
from tej.job.ignore import PARTIAL_DOWNLOAD
from tej.wire.tar_reader import TarReader

_FREE_CHECKED = 64 * 1024 * 1024
"""Minimum size in bytes of a file for which the free disk space is checked first."""

_INVALID_NAME = frozenset({errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ})


class _LeftOut(Exception):
    """Raised to skip a member, such as a pipe, or a link to a path outside `root`."""


class _NotWritten(Exception):
    """Raised to skip a file that cannot be stored under its name."""


class Unpacker:
    """Writes the members of a tar stream below `root`.

    `place(name)` returns the local path of a member, and raises DownloadFailed if the
    member was not requested.  A file appears under its name only when it is complete,
    and then replaces an existing file.

    Raises DownloadFailed if the archive is malformed, or if a path is outside
    `root`.  Also raises DownloadFailed if this machine cannot store the name of a file,
    but only after all other files have been written.  Links that point outside
    `root`, pipes and devices are skipped; for each of these members, `left_out`
    contains a message.
    """

    def __init__(
        self,
        root: Path,
        place: Callable[[PurePosixPath], Path],
        *,
        windows: bool = os.name == "nt",
    ) -> None:
        self.root = root
        self.place = place
        self.windows = windows
        self.written: dict[str, Path] = {}
        """Local paths of the files and links written so far, by name in the archive."""
        self.left_out: list[str] = []
        self._not_written: dict[str, str] = {}
        self._targets = _Targets()

    def unpack(self, stream: IO[bytes]) -> None:
        """Extract the stream to its end: one archive, or several in sequence."""
        reader = TarReader(stream)
        while member := reader.next():
            name = PurePosixPath(member.name)
            try:
                self._unpack_member(reader, member, name)
            except _LeftOut as error:
                self.left_out.append(str(error))
            except _NotWritten as error:
                self._not_written[str(name)] = str(error)
            except (OSError, ValueError) as error:
                problem = f"'{printable(name)}' cannot be written: {error}"
                if not _is_invalid_name(error):
                    raise DownloadFailed(problem) from error
                self._not_written[str(name)] = problem
        if self._not_written:
            problems = [*self._not_written.values()]
            more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
            raise DownloadFailed(
                f"{'; '.join(problems[:3])}{more}: all other files were fetched"
            )

    def _unpack_member(
        self, reader: TarReader, member: tarfile.TarInfo, name: PurePosixPath
    ) -> None:
        if ".." in name.parts or name.is_absolute() or "\0" in member.name:
            raise DownloadFailed(
                f"The server sent a file with the name '{printable(name)}', which is "
                "not a path inside the destination directory; the file was refused"
            )
        target = self.place(name)
        if self.windows and not all(map(is_allowed_on_windows, name.parts)):
            raise _NotWritten(f"Windows cannot store the name '{printable(name)}'")
        if member.isdir():
            self._check_inside(target, target)
            target.mkdir(parents=True, exist_ok=True)
            return
        self._check_inside(target, target.parent)
        self._targets.check(target, str(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(PARTIAL_DOWNLOAD.format(secrets.token_hex(8)))
        try:
            self._write(reader, member, fresh, target)
            fresh.replace(target)
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink()
        self._targets.add(target, str(name))
        self.written[str(name)] = target

    def _write(
        self, reader: TarReader, member: tarfile.TarInfo, fresh: Path, target: Path
    ) -> None:
        if member.issym():
            self._make_link(member.name, member.linkname, fresh, target)
        elif member.islnk():
            self._copy_link(member, fresh, target)
        elif member.isreg():
            _check_room(target, member.size)
            reader.copy_content(member, fresh)
            fresh.chmod(member.mode & 0o755 | 0o600)
            # Ignore a time that the local file system cannot store.
            with contextlib.suppress(OverflowError, ValueError, OSError):
                if math.isfinite(member.mtime):
                    os.utime(fresh, (member.mtime, member.mtime))
        else:
            raise _LeftOut(
                f"'{printable(member.name)}' is neither a file nor a directory"
            )

    def _copy_link(self, member: tarfile.TarInfo, fresh: Path, target: Path) -> None:
        """Copy the file that a hard link refers to.

        The server sends the content of hard-linked files only once.
        """
        first_name = str(PurePosixPath(member.linkname))
        if first_name in self._not_written:
            raise _NotWritten(
                f"'{printable(member.name)}' is a hard link to '{first_name}', which "
                "was not written"
            )
        first = self.written.get(first_name)
        if first is None:
            raise DownloadFailed(
                f"'{printable(member.name)}' is a hard link to a file that the server "
                "did not send"
            )
        if first.is_symlink():
            self._make_link(member.name, str(first.readlink()), fresh, target)
            return
        _check_room(target, first.stat().st_size)
        shutil.copy2(first, fresh)

    def _check_inside(self, target: Path, directory: Path) -> None:
        try:
            inside = directory.resolve().is_relative_to(self.root.resolve())
        except RuntimeError:
            # Before Python 3.13, resolve() raises this error for circular links.
            inside = False
        if not inside or target.name == "..":
            raise DownloadFailed(
                f"'{printable(target)}' would be outside '{self.root}'"
            )

    def _make_link(self, name: str, aim: str, fresh: Path, target: Path) -> None:
        parts = PurePosixPath(aim).parts
        ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
        local = to_local(aim)
        end = Path(os.path.normpath(target.parent.resolve() / local))
        # Refuse a ".." after a name: the name may itself be a link, so that the ".."
        # may lead outside `root`.
        if ".." in parts[ups:] or not end.is_relative_to(self.root.resolve()):
            raise _LeftOut(
                f"'{printable(name)}' is a link to '{printable(aim)}', which is "
                "outside the downloaded files"
            )
        try:
            fresh.symlink_to(Path(local))
        except OSError as error:
            # Windows creates links only for administrators and in developer mode.
            if not self.windows:
                raise
            raise _LeftOut(
                f"Windows did not create the link '{printable(name)}': {error}"
            ) from error


class _Targets:
    """The files written so far, to detect two members with the same local path.

    On some file systems, two names refer to the same file if they differ only in case,
    like `Result.txt` and `result.txt`, or in composed and decomposed letters.
    """

    def __init__(self) -> None:
        self._names: dict[Path, str] = {}
        self._identities: dict[tuple[int, int], str] = {}
        self._listings: dict[Path, set[str]] = {}

    def check(self, target: Path, name: str) -> None:
        """Raise _NotWritten if writing `target` would overwrite another file.

        The other file is an earlier member, or an older local file whose name the file
        system treats as equal.
        """
        other = self._names.get(target)
        if other is None:
            try:
                status = target.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return
            other = self._identities.get((status.st_dev, status.st_ino))
        if other is None and normalize(target.name) not in self._list(target.parent):
            raise _NotWritten(
                f"'{printable(name)}' would replace a file in '{target.parent}' whose "
                "name differs only in case"
            )
        if other not in (None, name):
            raise _NotWritten(
                f"'{printable(other)}' and '{printable(name)}' would both become "
                f"'{printable(target)}'"
            )

    def _list(self, directory: Path) -> set[str]:
        """Return the names in a directory in the form NFC.

        Each directory is read from the file system only once.
        """
        if directory not in self._listings:
            self._listings[directory] = {
                normalize(path.name) for path in directory.iterdir()
            }
        return self._listings[directory]

    def add(self, target: Path, name: str) -> None:
        """Record that the member `name` has been written to `target`."""
        status = target.lstat()
        self._names[target] = name
        self._identities[status.st_dev, status.st_ino] = name
        if target.parent in self._listings:
            self._listings[target.parent].add(normalize(target.name))


def _check_room(target: Path, size: int) -> None:
    """Raise DownloadFailed if the disk does not have enough free space for a file.

    `size` includes the holes of the file, because a copy of the file may have no holes.
    """
    if size >= _FREE_CHECKED and size > (free := shutil.disk_usage(target.parent).free):
        raise DownloadFailed(
            f"Not enough disk space for '{printable(target)}': the file has {size} "
            f"bytes, and {free} bytes are free"
        )


def _is_invalid_name(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _INVALID_NAME
    return isinstance(error, UnicodeEncodeError)
