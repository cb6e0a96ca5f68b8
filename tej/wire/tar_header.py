"""Tar headers in the GNU format, with the segments of sparse files."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from functools import lru_cache

_FIRST_SEGMENTS = 4
_MORE_SEGMENTS = 21
"""Number of segments in a sparse header, and number of segments in each block after the
header."""


def to_bytes(member: tarfile.TarInfo) -> bytes:
    """Return the header of a member in the GNU format.

    For most members, only the name and the checksum are computed: most members of an
    upload differ only in their names, and `TarInfo.tobuf` takes much longer.
    """
    name = member.name.encode("utf-8", "surrogateescape")
    if member.isdir():
        name += b"/"
    if len(name) > tarfile.LENGTH_NAME or member.linkname or name.endswith(b"//"):
        return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    fields, rest, checksum = _unnamed_header(
        member.type, member.mode, member.size, member.mtime
    )
    padded = name.ljust(tarfile.LENGTH_NAME, b"\0")
    return b"%b%b%06o\0%b" % (padded, fields, checksum + sum(name), rest)


@lru_cache(maxsize=1024)
def _unnamed_header(
    kind: bytes, mode: int, size: int, mtime: float
) -> tuple[bytes, bytes, int]:
    """Return the header of a member without a name.

    Returns the fields between the name and the checksum, the fields after the checksum,
    and the checksum of both.
    """
    member = tarfile.TarInfo("-")
    member.type, member.mode, member.size, member.mtime = kind, mode, size, mtime
    header = member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    name, fields = header[: tarfile.LENGTH_NAME], header[tarfile.LENGTH_NAME : 148]
    return fields, header[155:], int(header[148:154], 8) - sum(name)


def padding(size: int) -> bytes:
    """Return the zeros that fill the last tar block of a file of `size` bytes."""
    return bytes(-size % tarfile.BLOCKSIZE)


def saves_space(segments: Sequence[tuple[int, int]], size: int) -> bool:
    headers = len(segments) // _MORE_SEGMENTS * tarfile.BLOCKSIZE
    return sum(length for _, length in segments) + headers + tarfile.BLOCKSIZE < size


def sparse_header(
    member: tarfile.TarInfo, segments: Sequence[tuple[int, int]]
) -> bytes:
    """Return the tar header of a sparse file, in the old GNU format (type S).

    The section "Storing Sparse Files" in the manual of GNU tar describes the format.
    """
    real_size = member.size
    listed = [*segments]
    if sum(listed[-1] if listed else (0, 0)) < real_size:
        # If the file ends with a hole, an empty segment marks the end of that hole.
        listed.append((real_size, 0))
    member.size = sum(length for _, length in segments)
    member.type = tarfile.GNUTYPE_SPARSE
    blocks = bytearray(to_bytes(member))
    first, rest = listed[:_FIRST_SEGMENTS], listed[_FIRST_SEGMENTS:]
    base = len(blocks) - tarfile.BLOCKSIZE
    fields = _segment_fields(first, _FIRST_SEGMENTS) + bytes([bool(rest)])
    fields += _number(real_size)
    blocks[base + 386 : base + 386 + len(fields)] = fields
    # While the checksum is computed, the field for the checksum must contain spaces.
    blocks[base + 148 : base + 156] = b" " * 8
    blocks[base + 148 : base + 155] = b"%06o\0" % sum(blocks[base:])
    while rest:
        now, rest = rest[:_MORE_SEGMENTS], rest[_MORE_SEGMENTS:]
        fields = _segment_fields(now, _MORE_SEGMENTS) + bytes([bool(rest)])
        blocks += fields.ljust(tarfile.BLOCKSIZE, b"\0")
    return bytes(blocks)


def _segment_fields(segments: Sequence[tuple[int, int]], count: int) -> bytes:
    fields = b"".join(_number(start) + _number(size) for start, size in segments)
    return fields.ljust(count * 24, b"\0")


def _number(value: int) -> bytes:
    """Format a number as twelve bytes: octal below 8 GiB, GNU's binary form above."""
    if value < 8**11:
        return b"%011o\0" % value
    return b"\x80" + value.to_bytes(11, "big")
