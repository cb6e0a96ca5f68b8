"""Format of a job's fact files: the only place in the tests that knows the format.

`facts` is always the job's directory in the queue, `QUEUE/jobs/ID`.
"""

from __future__ import annotations

from pathlib import Path


def words_of(facts: Path, fact: str) -> list[str]:
    """Return the words of a fact."""
    return (facts / fact).read_text().split()


def set_word(facts: Path, fact: str, index: int, word: str) -> None:
    """Replace one word of a fact."""
    words = words_of(facts, fact)
    words[index] = word
    (facts / fact).write_text(" ".join(words) + "\n")


def wrapper_of(facts: Path) -> int:
    """Return the pid of the job's wrapper, in the default runtime."""
    return int(words_of(facts, "native_id")[4])


def script_of(facts: Path) -> int:
    """Return the pid of the job's script."""
    return int(words_of(facts, "started")[2])


def scheduler_id_of(facts: Path) -> str:
    """Return the id that the scheduler gave to the job."""
    return words_of(facts, "native_id")[1]


def beat_of(facts: Path) -> int:
    """Return the time of the last heartbeat, by the clock of the job's host."""
    return int((facts / "heartbeat").read_text() or 0)


def time_of(facts: Path, fact: str) -> int:
    """Return the time at which the fact `lost`, `finished` or `started` was recorded."""
    return int(words_of(facts, fact)[0])


def who_ended(facts: Path) -> str:
    """Return the cause of the end from the fact `finished`: "own", "ask" or a limit."""
    return words_of(facts, "finished")[3]
