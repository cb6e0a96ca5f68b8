"""`RemoteQueue.shell`:

runs a program over the queue's connection, even without a queue.
"""

from __future__ import annotations

import pytest

import tej

ODD = 'it\'s $HOME "and" a\nnew line; \\ *'


def test_script_gets_arguments_and_input_unchanged(queue: tej.RemoteQueue) -> None:
    printed = queue.shell('printf "%s|" "$@"; cat', ODD, "", stdin=lambda: [b"\0x\n"])
    assert printed == f"{ODD}||".encode() + b"\0x\n"
    with pytest.raises(tej.QueueNotFound):
        queue.jobs()


def test_output_is_passed_to_sink_in_chunks(queue: tej.RemoteQueue) -> None:
    pieces: list[bytes] = []
    assert queue.shell("printf all", take=lambda: pieces.append) == b""
    assert b"".join(pieces) == b"all"


def test_failed_script_error_has_status_and_stderr(
    queue: tej.RemoteQueue,
) -> None:
    with pytest.raises(tej.RemoteCommandFailure, match="no such luck") as caught:
        queue.shell("echo no such luck >&2; exit 77")
    assert caught.value.ret == 77
