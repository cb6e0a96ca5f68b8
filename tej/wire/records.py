"""Records of jobs: their status as the server reports it, their description as sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from tej.job.status import JobState, JobStatus, from_timestamp
from tej.wire.replies import Record, garbled

SCRIPT_SHOWN = 300
"""Characters of a command that its description keeps."""


def parse_status(record: Mapping[str, str], head: Mapping[str, str]) -> JobStatus:
    """The status of a job from its record, as the server's `print_job` writes it.

    Raises RemoteCommandFailure if the record is malformed; unknown keys are ignored.
    """
    record, head = Record(record), Record(head)
    spec, labels = parse_spec(record.get("spec", ""))
    state = parse_state(record["state"])
    exit_code, signal = _parse_end(record)
    started, ended = (
        parse_integer(record.get("started")),
        parse_integer(record.get("ended")),
    )
    last = ended if state.final else parse_integer(head.get("now"))
    duration = None
    if started is not None and last is not None and state is not JobState.LOST:
        duration = float(max(0, last - started))
    job_id = record["id"]
    attempts = parse_integer(record.get("attempts")) or 0
    return JobStatus(
        job_id=job_id,
        state=state,
        directory=PurePosixPath(
            record.get("job") or f"{head['queue']}/jobs/{job_id}", "stage"
        ),
        exit_code=exit_code,
        signal=signal,
        submitted=from_timestamp(parse_integer(record.get("submitted"))),
        started=from_timestamp(started),
        ended=from_timestamp(ended),
        duration=duration,
        host=record.get("where"),
        native_id=_native_id(record.get("native", "")),
        runtime=head.get("runtime", ""),
        cut_off=record.get("cut_off") if state.final else None,
        killed_by=record.get("by") if state is JobState.KILLED else None,
        evidence=record.get("evidence"),
        note=record.get("note"),
        seen=parse_integer(record.get("seen")),
        processes_left=parse_integer(record.get("left")) or 0,
        attempt=parse_integer(job_id.partition("#")[2]) or attempts + 1,
        name=spec.get("name", ""),
        script=spec.get("script", ""),
        submitter=spec.get("submitter", ""),
        signature=spec.get("signature"),
        labels=labels,
    )


def parse_state(word: str) -> JobState:
    """A state by its name; raises RemoteCommandFailure if there is no such state."""
    try:
        return JobState(word)
    except ValueError:
        raise garbled("status", f"{word[:40]!r} is not a state") from None


def _parse_end(record: Record) -> tuple[int | None, int | None]:
    """The exit code and the signal; at most one of them is known."""
    how, number = record.get("how"), parse_integer(record.get("number"))
    if how not in ("exit", "signal") or number is None:
        return None, None
    if number > (255 if how == "exit" else 127):
        raise garbled("status", f"a job cannot end with {how} {number}")
    return (number, None) if how == "exit" else (None, number)


def _native_id(native: str) -> str | None:
    """The default runtime writes `pid HOST BOOT SPACE PID START`, others `NAME ID`."""
    words = native.split()
    if len(words) >= 5 and words[0] == "pid":
        return words[4]
    return words[1] if len(words) > 1 else None


def parse_integer(word: str | None) -> int | None:
    """A decimal number of at most 15 digits, else None."""
    if word and len(word) <= 15 and word.isascii() and word.isdigit():
        return int(word)
    return None


def make_spec(token: str, facts: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Write the description of a job: one line.

    Its last word, `end`, tells the server that the line is complete.
    """
    words = [f"token={token}"]
    words += [f"{key}={_encode(value)}" for key, value in facts.items() if value]
    words += [f"label:{_encode(key)}={_encode(value)}" for key, value in labels.items()]
    return " ".join([*words, "end"]) + "\n"


def parse_spec(spec: str) -> tuple[dict[str, str], dict[str, str]]:
    """The facts and the labels of a description; unknown words are skipped."""
    facts, labels = {}, {}
    for word in spec.split():
        key, equals, value = word.partition("=")
        if equals and key.startswith("label:"):
            labels[_decode(key[6:])] = _decode(value)
        elif equals:
            facts[key] = _decode(value)
    return facts, labels


def _encode(value: str) -> str:
    return quote(value, safe="/:@+,", errors="surrogateescape")


def _decode(word: str) -> str:
    return unquote(word, errors="surrogateescape")
