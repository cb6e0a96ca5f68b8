"""Stream adapters between a transport that pushes data and code that reads."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from tej.wire.stream import Dialogue, Feed, LastReply


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=40),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=40),
)
def test_feed_returns_written_data(pieces: list[bytes], sizes: list[int]) -> None:
    feed = Feed(pieces=2)

    def put() -> None:
        for piece in [*pieces, b""]:
            feed.put(piece)

    thread = threading.Thread(target=put)
    thread.start()
    file, got, turn = feed.as_file(), b"", 0
    while data := file.read(sizes[turn % len(sizes)]):
        got += data
        turn += 1
    thread.join()
    assert got == b"".join(pieces)
    assert file.read(10) == b""


def test_writer_is_not_blocked_after_reader_left() -> None:
    feed = Feed(pieces=1)
    feed.put(b"a")

    def put() -> None:
        for _ in range(50):
            feed.put(b"more")
        feed.put(b"")

    thread = threading.Thread(target=put)
    thread.start()
    feed.close()
    thread.join(30)
    assert not thread.is_alive()


@given(st.lists(st.integers(0, 60), max_size=8))
def test_dialogue_replies_to_each_question(
    cuts: list[int],
) -> None:
    output = b"have=none 0\0ask=install\0queue=/q\0ask=upload\0id=a\0half"
    heard: list[tuple[str, list[bytes]]] = []

    def answer(question: str, words: list[bytes]) -> list[bytes]:
        heard.append((question, list(words)))
        return [question.encode()]

    dialogue = Dialogue(answer)
    sent: list[bytes] = []
    thread = threading.Thread(target=lambda: sent.extend(dialogue.answers()))
    thread.start()
    edges = [0, *sorted(cut % (len(output) + 1) for cut in cuts), len(output)]
    for begin, end in zip(edges, edges[1:], strict=False):
        if begin != end:
            dialogue.take(output[begin:end])
    dialogue.take(b"")
    thread.join()
    assert sent == [b"install", b"upload"]
    assert [question for question, _ in heard] == ["install", "upload"]
    assert heard[0][1][0] == b"have=none 0"
    assert dialogue.words == [b"have=none 0", b"queue=/q", b"id=a"]


def test_end_of_program_ends_the_replies() -> None:
    dialogue = Dialogue(lambda question, words: [b"never"])
    dialogue.take(b"id=a\0")
    dialogue.take(b"")
    assert list(dialogue.answers()) == []


def test_input_ends_with_the_last_reply() -> None:
    dialogue = Dialogue(lambda question, words: LastReply([b"one", b"two"]))
    dialogue.take(b"ask=upload\0ask=never\0")
    assert list(dialogue.answers()) == [b"one", b"two"]
