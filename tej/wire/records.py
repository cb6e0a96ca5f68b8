"""Status records of jobs, as the server sends them, and descriptions of jobs.

The description of a job is one line of words KEY=VALUE in the job's file `spec`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from tej.job.status import JobState, JobStatus, from_timestamp
from tej.wire.malformed_reply import malformed_reply
from tej.wire.replies import Record

SCRIPT_SHOWN = 300
"""Maximum number of characters of the command in a job's description."""
PARAMETER = "param:"
"""Prefix of the keys of a job's description that are parameters of a sweep."""
RESOURCE = "resource:"
"""Prefix of the keys of a job's description that are requested resources."""
_LEADING_DIGITS = re.compile(r"[0-9]{1,15}")


def parse_status(record: Mapping[str, str], head: Mapping[str, str]) -> JobStatus:
    """Parse the record of a job, as written by the server's function `print_job`.

    `head` contains the values of the reply that apply to all jobs.  Unknown keys are
    ignored.  Raises RemoteCommandFailure if the record is malformed.
    """
    # Avoid needless copies, because a list of 100,000 jobs must take only seconds.
    record = record if isinstance(record, Record) else Record(record)
    head = head if isinstance(head, Record) else Record(head)
    description = record.get("spec", "")
    spec, labels = parse_spec(description)
    now = parse_integer(head.get("now"))
    state = parse_state(record["state"])
    exit_code, signal = _parse_end(record)
    started, ended = (
        parse_integer(record.get("started")),
        parse_integer(record.get("ended")),
    )
    last = ended if state.final else _time_on_the_jobs_host(record, now)
    duration = None
    if started is not None and last is not None and state is not JobState.LOST:
        duration = float(max(0, last - started))
    job_id = record["id"]
    attempts = parse_integer(record.get("attempts")) or 0
    native_id, sequence = _parse_native(record.get("native", ""))
    return JobStatus(
        job_id=job_id,
        state=state,
        directory=PurePosixPath(
            record.get("job") or f"{_jobs_directory(head['queue'])}/{job_id}", "stage"
        ),
        exit_code=exit_code,
        signal=signal,
        submitted=from_timestamp(parse_integer(record.get("submitted"))),
        started=from_timestamp(started),
        ended=from_timestamp(ended),
        duration=duration,
        host=record.get("where"),
        native_id=native_id,
        sequence=sequence,
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
        token=spec.get("token", ""),
        submitter=spec.get("submitter", ""),
        signature=spec.get("signature"),
        labels=labels,
        # Search the text first, because a check of each key takes longer.
        parameters=_with_prefix(spec, PARAMETER) if PARAMETER in description else {},
        resources=_with_prefix(spec, RESOURCE) if RESOURCE in description else {},
        reported=from_timestamp(now),
        downloaded=from_timestamp(parse_integer(record.get("downloaded"))),
        after=tuple(spec["after"].split("/")) if "after" in spec else (),
    )


@functools.lru_cache(maxsize=16)
def _jobs_directory(queue: str) -> str:
    """Return the directory of a queue's jobs; cached, because lists may be long."""
    return str(PurePosixPath(queue, "jobs"))


def _time_on_the_jobs_host(record: Record, now: int | None) -> int | None:
    """Return the current time by the clock of the job's host.

    `now` is the time by the clock of the host that replied.  If the job runs on another
    host, its record contains two numbers: `beat`, the time of the last heartbeat by the
    clock of that host, and `seen`, the age of this heartbeat in seconds.
    """
    beat, age = parse_integer(record.get("beat")), parse_integer(record.get("seen"))
    if beat is not None and age is not None:
        return beat + age
    return now


def _with_prefix(spec: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        key.removeprefix(prefix): value
        for key, value in spec.items()
        if key.startswith(prefix)
    }


def parse_state(word: str) -> JobState:
    """Return the state called `word`; raises RemoteCommandFailure if it is unknown."""
    try:
        return JobState(word)
    except ValueError:
        raise malformed_reply("status", f"{word[:40]!r} is not a state") from None


def _parse_end(record: Record) -> tuple[int | None, int | None]:
    """Return the exit code and the signal of a job; at least one of the two is None."""
    how, number = record.get("how"), parse_integer(record.get("number"))
    if how not in ("exit", "signal"):
        return None, None
    if number is None or number > (255 if how == "exit" else 127):
        shown = record.get("number", "")[:40]
        raise malformed_reply("status", f"a job cannot end with {how} {shown!r}")
    return (number, None) if how == "exit" else (None, number)


def _parse_native(native: str) -> tuple[str | None, int | None]:
    """Return the id of a job in its runtime, and its `JobStatus.sequence`.

    `native` is `pid HOST BOOT SPACE PID START` in the default runtime, and `NAME ID`
    under a scheduler.  In the default runtime, the sequence consists of START (in clock
    ticks, see proc(5)) and PID.  PID alone does not determine the order, because Linux
    starts again from small pids.  Under a scheduler, the sequence is the number with
    which ID begins.
    """
    words = native.split()
    if len(words) < 2:
        return None, None
    if words[0] == "pid" and len(words) == 6:
        pid, start = parse_integer(words[4]), parse_integer(words[5])
        return words[4], None if pid is None or start is None else start << 22 | pid
    native_id = words[4] if words[0] == "pid" and len(words) > 4 else words[1]
    digits = _LEADING_DIGITS.match(native_id)
    return native_id, int(digits[0]) if digits else None


def parse_integer(word: str | None) -> int | None:
    """Parse a decimal number of at most 15 digits; return None for any other word."""
    if word and len(word) <= 15 and word.isascii() and word.isdigit():
        return int(word)
    return None


def make_spec(token: str, facts: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Return the description of a job as one line.

    The line ends with the word `end`, so that the server detects an incomplete line.
    """
    words = [f"token={token}"]
    words += [
        f"{key}={_encode(value)}"
        for key, value in facts.items()
        if value or key.startswith(PARAMETER)
    ]
    words += [f"label:{_encode(key)}={_encode(value)}" for key, value in labels.items()]
    return " ".join([*words, "end"]) + "\n"


def parameter_words(parameters: Mapping[str, str]) -> str:
    """Return the parameters of a sweep as words of a job's description."""
    return " ".join(
        f"{PARAMETER}{name}={_encode(value)}" for name, value in parameters.items()
    )


def parse_spec(spec: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values by key, and the labels, in a job's description.

    Words without an equals sign are skipped.
    """
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


@functools.lru_cache(maxsize=4096)
def _decode(word: str) -> str:
    """Decode a word; cached, because many jobs have the same names and labels."""
    return unquote(word, errors="surrogateescape") if "%" in word else word
