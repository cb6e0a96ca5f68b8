"""Replies: the marker, exit statuses, and records of jobs."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tej
from tej.queue.connection import log_warning
from tej.transport.base import Completed
from tej.wire import replies
from tej.wire.replies import Reply, is_missing, parse_reply
from tej.wire.requests import Program

PROGRAM = Program("line", b"tej-0123456789abcdef", "status")
MARKER = b"\ntej-0123456789abcdef\n"


def feed(reply: Reply, data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in zip(edges, edges[1:], strict=False):
        if begin != end:
            reply(data[begin:end])
    reply(b"")


@given(
    noise=st.binary(max_size=100),
    answer=st.binary(max_size=100),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_reply_is_found_in_pieces_of_any_size(
    noise: bytes, answer: bytes, cuts: list[int]
) -> None:
    reply = Reply(PROGRAM)
    feed(reply, noise + MARKER + answer, cuts)
    assert reply.begun
    assert reply.data == answer
    assert reply.startup_output == b""


@given(answer=st.binary(max_size=100), cuts=st.lists(st.integers(0, 300), max_size=8))
def test_sink_gets_the_reply_and_one_end(answer: bytes, cuts: list[int]) -> None:
    taken: list[bytes] = []
    feed(Reply(PROGRAM, taken.append), b"motd" + MARKER + answer, cuts)
    assert b"".join(taken) == answer
    assert taken[-1] == b""
    assert taken.count(b"") == 1


@given(noise=st.binary(max_size=100), cut=st.integers(0, len(MARKER) - 1))
def test_incomplete_marker_begins_no_reply(noise: bytes, cut: int) -> None:
    reply = Reply(PROGRAM)
    feed(reply, noise + MARKER[:cut], [])
    if MARKER not in noise + MARKER[:cut]:
        assert not reply.begun
        assert reply.data == b""
        assert reply.startup_output == noise + MARKER[:cut]


def test_stderr_before_the_marker_is_dropped() -> None:
    reply = Reply(PROGRAM)
    done = Completed(3, b"", b"Quota: 99%\n" + MARKER + b"No job 'a'\n")
    assert reply.stderr_of(done) == b"No job 'a'\n"


def check(status: int, out: bytes = MARKER, err: bytes = b"") -> None:
    reply = Reply(PROGRAM)
    reply(out)
    replies.check(PROGRAM, reply, Completed(status, b"", err))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (3, tej.JobNotFound),
        (4, tej.JobAlreadyExists),
        (5, tej.JobStillRunning),
        (10, tej.QueueNotFound),
        (11, tej.QueueLinkBroken),
        (12, tej.QueueExists),
        (13, tej.QueueExists),
        (20, tej.RemoteCommandFailure),
        (21, tej.ConnectionFailed),
        (22, tej.DownloadFailed),
        (127, tej.RemoteCommandFailure),
    ],
)
def test_exit_status_selects_the_class_of_error(
    status: int, kind: type[tej.Error]
) -> None:
    with pytest.raises(tej.Error, match="^the words$") as raised:
        check(status, err=MARKER + b"the words\n")
    assert type(raised.value) is kind


def test_error_after_a_signal_names_request_and_status() -> None:
    with pytest.raises(tej.RemoteCommandFailure) as raised:
        check(137, err=MARKER + b"Killed\n")
    assert str(raised.value) == "'status' failed on the server with status 137: Killed"
    with pytest.raises(tej.RemoteCommandFailure, match=r"'status' .* status 20$"):
        check(20)


def test_output_without_a_marker_is_in_the_error() -> None:
    with pytest.raises(tej.RemoteCommandFailure, match="This account is disabled"):
        check(1, out=b"This account is disabled\n")
    with pytest.raises(tej.RemoteCommandFailure, match="replied: nothing"):
        check(0, out=b"")
    # `exec 1>&2` in a start-up file: the program has run, so a retry is no remedy.
    with pytest.raises(tej.RemoteCommandFailure, match=r"redirects stdout .* 'status'"):
        check(0, out=b"", err=MARKER)


def test_status_0_raises_no_error() -> None:
    check(0, err=b"noise")


def test_digest_of_other_scripts_may_arrive_in_pieces() -> None:
    reply = Reply(PROGRAM, lambda _: None)
    for piece in (MARKER, b"0a1", b"b 1.2", b".3\n", b""):
        reply(piece)
    with pytest.raises(replies.Outdated) as raised:
        replies.check(PROGRAM, reply, Completed(14, b"", b""))
    assert (raised.value.digest, raised.value.version) == ("0a1b", "1.2.3")


@given(data=st.binary(max_size=300))
def test_any_bytes_can_be_parsed(data: bytes) -> None:
    with contextlib.suppress(tej.RemoteCommandFailure):
        assert isinstance(parse_reply(data).jobs, list)


def test_error_of_a_missing_value_names_the_request() -> None:
    answer = parse_reply(b"queue=/q\0id=a\0", "wait")
    for record, key in ((answer.head, "runtime"), (answer.jobs[0], "state")):
        with pytest.raises(tej.RemoteCommandFailure, match=f"'wait'.*'{key}'"):
            record[key]
    with pytest.raises(
        tej.RemoteCommandFailure, match="'status'.*of job 'a' is missing$"
    ):
        parse_reply(b"id=a\0").jobs[0]["state"]
    # A server that hides exit statuses sends an empty reply if a request fails.
    with pytest.raises(tej.RemoteCommandFailure, match="exit status 0 for every"):
        parse_reply(b"", "queue").head["queue"]


def test_warning_of_concurrent_requests_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "tej")
    connection: Any = SimpleNamespace(warnings=set())
    answer = parse_reply(b"notice=using Slurm\0warning=no squeue\0")
    for _ in range(2):
        log_warning(connection, answer)
    assert caplog.messages == ["no squeue", "using Slurm"]


def test_key_id_begins_a_record() -> None:
    answer = parse_reply(b"queue=/q=1\0noise\0new=x\0id=a\0state=running\0k=\0id=b\0")
    assert answer.head == {"queue": "/q=1", "new": "x"}
    assert answer.jobs == [{"id": "a", "state": "running", "k": ""}, {"id": "b"}]


def test_lines_of_other_programs_do_not_merge_records() -> None:
    answer = parse_reply(b"queue=/q\0id=a\0state=finished\0bye\nid=b\0state=lost\0")
    assert [*map(dict, answer.jobs)] == [
        {"id": "a", "state": "finished"},
        {"id": "b", "state": "lost"},
    ]
    with pytest.raises(tej.RemoteCommandFailure, match="two states follow 'a'"):
        parse_reply(b"id=a\0state=finished\0x=y\nid=b\0state=lost\0")
    with pytest.raises(tej.RemoteCommandFailure, match="a state follows no id"):
        parse_reply(b"queue=/q\0x=y\nid=a\0state=lost\0id=b\0state=lost\0")
    for noise in (b"\r", b"\xef\xbb\xbf", b"\x1b[2J", b"0", b" "):
        with pytest.raises(tej.RemoteCommandFailure, match="is not a key"):
            parse_reply(b"id=a\0" + noise + b"state=lost\0")
    # Text after the reply does not belong to it.
    assert parse_reply(b"id=a\0time of logout=1").jobs == [{"id": "a"}]


def test_record_that_lost_its_state_is_no_missing_job() -> None:
    assert is_missing({"id": "a", "end": "1"})
    assert not is_missing({"id": "a", "state": "lost"})
    with pytest.raises(tej.RemoteCommandFailure, match="'a' has no state"):
        is_missing({"id": "a", "spec": "token=1 end"})
