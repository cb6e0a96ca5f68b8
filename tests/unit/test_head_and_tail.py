"""Head and tail of a stream: the part of a program's stderr that is kept."""

from __future__ import annotations

import pytest

from tej.transport.head_and_tail import HeadAndTail


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_short_stream_is_kept_whole(size: int) -> None:
    kept = HeadAndTail(limit=10)
    data = bytes(range(20))
    for start in range(0, len(data), size):
        kept.add(data[start : start + size])
    assert kept.value == data


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_long_stream_keeps_both_ends(size: int) -> None:
    kept = HeadAndTail(limit=3)
    data = b"abc" + b"-" * 994 + b"xyz"
    for start in range(0, len(data), size):
        kept.add(data[start : start + size])
    assert kept.value == b"abc\n[... 994 bytes ...]\nxyz"
    assert kept.value == kept.value
