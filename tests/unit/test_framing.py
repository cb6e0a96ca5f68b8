"""Framing of replies: words and markers are found in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tej import RemoteCommandFailure
from tej.wire import framing
from tej.wire.framing import MarkerSplitter, RecordSplitter, WordSplitter
from tej.wire.requests import make_marker

sizes = st.integers(1, 40)
contents = st.binary(max_size=60).map(lambda data: data.replace(b"M", b"m"))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@given(words=st.lists(st.binary().map(lambda w: w.replace(b"\0", b""))), size=sizes)
def test_words_are_split(words: list[bytes], size: int) -> None:
    splitter = WordSplitter("submit")
    data = b"".join(word + b"\0" for word in words) + b"incomplete"
    found = [word for piece in pieces(data, size) for word in splitter.feed(piece)]
    assert found == words


@given(noise=contents, parts=st.lists(contents, max_size=4), size=sizes)
def test_content_is_split_at_markers(
    noise: bytes, parts: list[bytes], size: int
) -> None:
    found: list[tuple[str, bytearray]] = []
    splitter = MarkerSplitter(
        "logs",
        "MARK",
        lambda header: found.append((header, bytearray())),
        lambda data: found[-1][1].extend(data),
    )
    data = noise
    for number, part in enumerate(parts):
        data += b"MARK %d\n" % number + part
    for piece in pieces(data + b"MARK incomplete", size):
        splitter(piece)
    assert found == [(str(n), bytearray(part)) for n, part in enumerate(parts)]


def test_endless_word_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "WORD_LIMIT", 10)
    splitter = WordSplitter("submit")
    assert splitter.feed(b"123456789\0") == [b"123456789"]
    with pytest.raises(RemoteCommandFailure, match="'submit' .* word is too long"):
        splitter.feed(b"12345678901")


def test_markers_differ() -> None:
    assert make_marker() != make_marker()


@given(st.integers(1, 40))
def test_records_are_never_cut(size: int) -> None:
    records = [b"id=a\0state=finished\0number=0", b"id=gone", b"id=c\0state=lost"]
    stream = b"now=1\0" + b"\0".join(records) + b"\0"
    splitter = RecordSplitter("wait")
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    found = b"\0".join(filter(None, map(splitter.feed, pieces)))
    assert found == b"now=1\0" + b"\0".join(records[:2])
    # The last record is complete as soon as an empty word follows it.
    assert splitter.feed(b"\0") == records[2] + b"\0"
    assert splitter.close() == b""


def test_last_record_may_end_with_the_stream() -> None:
    splitter = RecordSplitter("wait")
    assert splitter.feed(b"id=a\0state=lost\0") == b""
    assert splitter.close() == b"id=a\0state=lost"
