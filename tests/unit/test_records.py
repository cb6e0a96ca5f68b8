"""Records: the status of a job, and the file `spec`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tej.errors import RemoteCommandFailure
from tej.job.status import JobState
from tej.wire.records import make_spec, parse_spec, parse_status

# Any bytes but NUL, as Python decodes them: bytes that are not UTF-8 are surrogates.
texts = st.binary(max_size=200).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)


def test_status_is_parsed_from_its_record() -> None:
    head = {"queue": "/q", "runtime": "default", "now": "1100"}
    record = {
        "id": "a",
        "state": "running",
        "spec": make_spec("t", {"name": "é", "resource:cpus": "4"}, {}),
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
    assert status.resources == {"cpus": "4"}
    assert (status.native_id, str(status.directory)) == ("42", "/q/jobs/a/stage")
    # A clock that was set back causes no negative time.
    assert parse_status({**record, "started": "2000"}, head).duration == 0.0
    damaged = {**record, "started": "soon", "number": "-1", "left": "x"}
    assert parse_status(damaged, head).started is None


@pytest.mark.parametrize(
    ("how", "number", "end"),
    [
        ("exit", "0", (0, None)),
        ("exit", "255", (255, None)),
        ("signal", "127", (None, 127)),
        ("exit", "256", None),
        ("signal", "128", None),
        ("exit", "", None),
        ("exit", "0x", None),
        ("cut", "9", (None, None)),
    ],
)
def test_end_is_an_exit_code_or_a_signal(
    how: str, number: str, end: tuple[int | None, int | None] | None
) -> None:
    head = {"queue": "/q", "runtime": "default", "now": "1100"}
    record = {"id": "a", "state": "finished", "how": how, "number": number}
    if end is None:
        with pytest.raises(RemoteCommandFailure, match=f"end with {how} '{number}'"):
            parse_status(record, head)
        return
    status = parse_status(record, head)
    assert (status.exit_code, status.signal) == end


keys = texts.filter(bool)


@given(
    facts=st.dictionaries(st.sampled_from(["name", "script", "submitter"]), texts),
    labels=st.dictionaries(texts, texts, max_size=5),
)
def test_spec_is_parsed_as_it_was_written(
    facts: dict[str, str], labels: dict[str, str]
) -> None:
    spec = make_spec("0123", facts, labels)
    # The server reads one line, and the last word shows that the line is complete.
    assert spec.endswith(" end\n")
    assert spec.count("\n") == 1
    assert spec.isascii()
    assert spec.isprintable() or spec[:-1].isprintable()
    assert spec.startswith("token=0123 ")
    found, found_labels = parse_spec(spec)
    assert found == {"token": "0123", **{k: v for k, v in facts.items() if v}}
    assert found_labels == labels
