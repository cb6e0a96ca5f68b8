"""Reader of a tar stream from a server that is not trusted.

The memory and disk space that the client uses are limited by the number of bytes that
the server has sent, and not by the sizes that the headers contain.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO, cast

from tej.errors import DownloadFailed
from tej.job.file_names import printable

CHUNK = 256 * 1024

EXTENDED_HEADER_LIMIT = 1024 * 1024
"""Maximum size in bytes of one extended header: a long name, or pax records."""
HEADERS_LIMIT = 32 * 1024 * 1024
"""Maximum number of bytes of all headers between the contents of two members."""
GLOBAL_RECORDS_LIMIT = 1000
_EMPTY_READS = 100
"""Maximum number of times that tarfile may read after the end of the stream."""

_EXTENDED_HEADERS = frozenset(
    {
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
    }
)


class _Member(tarfile.TarInfo):
    """A member whose header is checked before tarfile uses the header."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        if not buf.strip(b"\0"):
            # No header follows: the stream has ended, or a block of zeros marks the end
            # of an archive.
            return super().frombuf(buf, encoding, errors)
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.TarError as error:
            # Raise DownloadFailed, because tarfile skips a block for which frombuf
            # raises TarError, and would accept random bytes as an empty archive.
            raise _invalid(error) from error
        if member.size < 0:
            raise _invalid("a size is negative")
        if member.type in _EXTENDED_HEADERS and member.size > EXTENDED_HEADER_LIMIT:
            raise _invalid("an extended header is too long")
        return member


class TarReader:
    """Reads the members of a tar stream; raises DownloadFailed if it is malformed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = HEADERS_LIMIT
        self._empty_reads = 0
        self._has_members = False
        self._archive: tarfile.TarFile | None = None

    def read(self, size: int) -> bytes:
        """Return the next bytes of the stream; tarfile calls this method.

        Raises DownloadFailed if the headers are too long.
        """
        data = self._stream.read(size)
        self._left -= len(data)
        if not data:
            # tarfile skips content by reading, and does not check for the end of the
            # stream: it would read forever if a member had a size of 2**60 bytes.
            self._empty_reads += 1
            if self._empty_reads > _EMPTY_READS:
                raise DownloadFailed("The server's archive is not complete")
        if self._left < 0:
            raise _invalid("a header is too long")
        return data

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member, or None at the end of the stream."""
        try:
            member = self._next()
        except DownloadFailed:
            raise
        except (tarfile.TarError, EOFError) as error:
            raise DownloadFailed(
                f"The server's archive is not complete: {error}"
            ) from error
        except Exception as error:
            # An invalid archive may cause any exception, because tarfile parses numbers
            # and records without checks; nested headers cause a RecursionError.
            raise _invalid(error) from error
        if member is None:
            if not self._has_members:
                raise _invalid("it has no members")
            return None
        self._has_members = True
        if member.size < 0:
            raise _invalid("a size is negative")
        size = member.size
        if member.sparse is not None:
            size = sum(length for _, length in _check_sparse(member))
        self._left = HEADERS_LIMIT + size
        return member

    def _next(self) -> tarfile.TarInfo | None:
        if self._archive is None:
            self._archive = tarfile.open(  # noqa: SIM115 (the stream is the caller's)
                fileobj=self,  # type: ignore[call-overload]
                mode="r|",
                bufsize=CHUNK,
                ignore_zeros=True,
                tarinfo=_Member,
                encoding="utf-8",
                errors="surrogateescape",
            )
        # tarfile stores all members and global records in memory: delete the stored
        # members, and limit the number of global records.
        self._archive.members = []  # type: ignore
        if len(self._archive.pax_headers) > GLOBAL_RECORDS_LIMIT:
            raise _invalid("too many global records")
        return self._archive.next()

    def copy_content(self, member: tarfile.TarInfo, fresh: Path) -> None:
        """Write the content of a member to a new file, with the holes of the member."""
        assert self._archive is not None
        segments = [(0, member.size)]
        if member.sparse is not None:
            segments = _check_sparse(member)
        # Do not use `extractfile`, which returns holes as zeros: to write a hole of a
        # terabyte as zeros would take hours.
        content = cast("IO[bytes]", self._archive.fileobj)
        content.seek(member.offset_data)
        with fresh.open("xb", buffering=0) as file:
            for start, length in segments:
                file.seek(start)
                while length:
                    try:
                        data = content.read(min(length, CHUNK))
                    except tarfile.TarError:
                        data = b""
                    if not data:
                        raise DownloadFailed(
                            "The server's archive is not complete: it ends within "
                            f"'{printable(member.name)}'"
                        )
                    file.write(data)
                    length -= len(data)
            file.truncate(member.size)


def _check_sparse(member: tarfile.TarInfo) -> list[tuple[int, int]]:
    """Return the segments of a sparse file, without the empty segments.

    Raises DownloadFailed if segments overlap or lie outside the file.
    """
    end = 0
    listed = cast("list[tuple[int, int]]", member.sparse or [])
    # Empty segments only fill the header, or mark the end of the last hole.
    segments = [(start, length) for start, length in listed if length]
    for start, length in segments:
        if start < end or length < 0 or start + length > member.size:
            raise _invalid(
                f"the segments of the sparse file '{printable(member.name)}' overlap, "
                "or exceed its size"
            )
        end = start + length
    return segments


def _invalid(why: object) -> DownloadFailed:
    return DownloadFailed(f"The server's archive is not valid: {why}")
