"""Text out, values in: what goes over the wire, without a server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tej.wire.protocol import (
    Program,
    Reply,
    as_line,
    command,
    make_spec,
    parse_answer,
    parse_spec,
    parse_status,
)

import tej
from tej.job.status import JOB_ID_CHARS, JobState, check_job_id, make_job_id
from tej.transport.base import Completed
from tej.wire import protocol

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}

# Any bytes but NUL, as Python has them: what is not UTF-8 as surrogates.
texts = st.binary(max_size=200).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
slow = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, require: Callable[[str], None]) -> list[str]:
    words: list[str] = SHELLS[request.param]
    require(words[0])
    return words


# A program as a line


@slow
@given(text=texts)
def test_any_words_arrive_in_any_shell(shell: list[str], text: str) -> None:
    line = as_line(f"printf %s {command(text)}\n")
    assert "\n" not in line
    assert line.isascii()
    done = subprocess.run(
        [*shell, "-c", 'IFS= read -r tej; eval "$tej"'],
        input=as_bytes(line) + b"\nrest",
        capture_output=True,
    )
    assert (done.stdout, done.stderr) == (as_bytes(text), b"")


@slow
@given(words=st.lists(texts, max_size=6))
def test_words_stay_apart(shell: list[str], words: list[str]) -> None:
    line = as_line(
        f'set -- {command(*words)}\nfor w in "$@"; do printf \'%s\\0\' "$w"; done'
    )
    done = subprocess.run([*shell, "-c", line], capture_output=True)
    assert done.stdout == b"".join(as_bytes(word) + b"\0" for word in words)


# Its answer

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
def test_an_answer_is_found_wherever_it_is_cut(
    noise: bytes, answer: bytes, cuts: list[int]
) -> None:
    reply = Reply(PROGRAM)
    feed(reply, noise + MARKER + answer, cuts)
    assert reply.begun
    assert reply.data == answer
    assert reply.noise == b""


@given(answer=st.binary(max_size=100), cuts=st.lists(st.integers(0, 300), max_size=8))
def test_a_taker_gets_the_answer_and_one_end(answer: bytes, cuts: list[int]) -> None:
    taken: list[bytes] = []
    feed(Reply(PROGRAM, taken.append), b"motd" + MARKER + answer, cuts)
    assert b"".join(taken) == answer
    assert taken[-1] == b""
    assert taken.count(b"") == 1


@given(noise=st.binary(max_size=100), cut=st.integers(0, len(MARKER) - 1))
def test_half_a_marker_is_no_answer(noise: bytes, cut: int) -> None:
    reply = Reply(PROGRAM)
    feed(reply, noise + MARKER[:cut], [])
    if MARKER not in noise + MARKER[:cut]:
        assert not reply.begun
        assert reply.data == b""
        assert reply.noise == noise + MARKER[:cut]


def test_words_on_stderr_are_the_programs_own() -> None:
    reply = Reply(PROGRAM)
    done = Completed(3, b"", b"Quota: 99%\n" + MARKER + b"No job 'a'\n")
    assert reply.words_on_stderr(done) == b"No job 'a'\n"


def check(status: int, out: bytes = MARKER, err: bytes = b"") -> None:
    reply = Reply(PROGRAM)
    reply(out)
    protocol.check(PROGRAM, reply, Completed(status, b"", err))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (3, tej.JobNotFound),
        (4, tej.JobAlreadyExists),
        (5, tej.JobStillRunning),
        (10, tej.QueueDoesntExist),
        (11, tej.QueueLinkBroken),
        (12, tej.QueueExists),
        (13, tej.QueueExists),
        (20, tej.RemoteCommandFailure),
        (21, tej.ConnectionFailed),
        (22, tej.DownloadFailed),
        (127, tej.RemoteCommandFailure),
    ],
)
def test_an_exit_status_is_an_error_in_the_servers_words(
    status: int, kind: type[tej.Error]
) -> None:
    with pytest.raises(tej.Error, match="^the words$") as raised:
        check(status, err=MARKER + b"the words\n")
    assert type(raised.value) is kind


def test_what_did_not_run_is_told_with_what_came_instead() -> None:
    with pytest.raises(tej.RemoteCommandFailure, match="This account is disabled"):
        check(1, out=b"This account is disabled\n")
    with pytest.raises(tej.RemoteCommandFailure, match="said: nothing"):
        check(0, out=b"")


def test_no_error_is_none() -> None:
    check(0, err=b"noise")


@given(data=st.binary(max_size=300))
def test_any_bytes_can_be_parsed_as_an_answer(data: bytes) -> None:
    answer = parse_answer(data)
    assert isinstance(answer.jobs, list)


def test_records_begin_with_an_id_and_what_is_unknown_is_kept_aside() -> None:
    answer = parse_answer(b"queue=/q=1\0noise\0new=x\0id=a\0state=running\0k=\0id=b\0")
    assert answer.head == {"queue": "/q=1", "new": "x"}
    assert answer.jobs == [{"id": "a", "state": "running", "k": ""}, {"id": "b"}]


def test_a_status_is_what_the_record_says() -> None:
    head = {"queue": "/q", "runtime": "default", "now": "1100"}
    record = {
        "id": "a",
        "state": "running",
        "spec": make_spec("t", {"name": "é"}, {}),
        "started": "1000",
        "native": "pid host boot space 42 7",
        "where": "host",
        "surprise": "from a later tej",
    }
    status = parse_status(record, head)
    assert (status.state, status.duration, status.name) == (
        JobState.RUNNING,
        100.0,
        "é",
    )
    assert (status.native_id, str(status.directory)) == ("42", "/q/jobs/a/stage")
    # A clock that went back is no negative time.
    assert parse_status({**record, "started": "2000"}, head).duration == 0.0
    damaged = {**record, "started": "soon", "number": "-1", "left": "x"}
    assert parse_status(damaged, head).started is None


# What a client writes down

keys = texts.filter(bool)


@given(
    facts=st.dictionaries(st.sampled_from(["name", "script", "submitter"]), texts),
    labels=st.dictionaries(texts, texts, max_size=5),
)
def test_a_description_comes_back_as_it_was(
    facts: dict[str, str], labels: dict[str, str]
) -> None:
    spec = make_spec("0123", facts, labels)
    # The server's `read` takes one line, and knows by its last word that it is whole.
    assert spec.endswith(" end\n")
    assert spec.count("\n") == 1
    assert spec.isascii()
    assert spec.isprintable() or spec[:-1].isprintable()
    assert spec.startswith("token=0123 ")
    found, found_labels = parse_spec(spec)
    assert found == {"token": "0123", **{k: v for k, v in facts.items() if v}}
    assert found_labels == labels


# Ids


@given(st.text(alphabet=sorted(JOB_ID_CHARS), min_size=1, max_size=200))
def test_an_id_of_legal_characters_is_legal_unless_it_begins_oddly(job_id: str) -> None:
    if job_id[0] in "-.":
        with pytest.raises(tej.InvalidJobId):
            check_job_id(job_id)
    else:
        assert check_job_id(job_id) == job_id


@given(st.text(max_size=250))
def test_a_legal_id_is_one_word_in_a_path(job_id: str) -> None:
    try:
        check_job_id(job_id)
    except tej.InvalidJobId as error:
        assert "Invalid job identifier" in str(error)  # noqa: PT017
        return
    assert job_id not in ("", ".", "..")
    assert not set("/ \n\t*?[]'\"$`\\~;&|<>(){}") & set(job_id)
    assert not job_id.startswith("-")
    assert command(job_id).strip("'") == job_id


@given(name=texts, user=texts)
def test_a_made_up_id_is_always_legal(name: str, user: str) -> None:
    assert check_job_id(make_job_id(name, user))
    assert make_job_id(name, user) != make_job_id(name, user)


def test_an_id_that_is_no_text_is_refused() -> None:
    for wrong in (None, 7, b"a"):
        with pytest.raises(tej.InvalidJobId, match="is a string"):
            check_job_id(wrong)  # type: ignore[arg-type]


def test_shells_are_here_for_these_tests() -> None:
    assert shutil.which("sh")


def test_no_word_of_a_long_program_is_too_long_for_an_argument() -> None:
    line = as_line("a\\b'é\n" * 60_000)
    assert len(line) > 1_000_000
    # MAX_ARG_STRLEN of Linux: mksh's `printf` is a program.
    assert max(map(len, line.split("'"))) < 131_072
