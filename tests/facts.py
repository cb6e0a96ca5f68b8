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


def make_ended_job(queue: str | Path, job_id: str, **facts: str | None) -> Path:
    """Make a job that has ended with success, except for the given facts.

    The job has never run.  Returns the directory of the job.
    """
    folder = Path(queue, "jobs", job_id)
    (folder / "stage").mkdir(parents=True)
    usual: dict[str, str | None] = {
        "spec": f"token={token_of_ended(job_id)} name=x label:a=b%20c end\n",
        "submitted": "1700000001 host 0b7f1a2c-boot 4026531836 4000000 77\n",
        "native_id": "pid host 0b7f1a2c-boot 4026531836 4000000 77\n",
        "started": "1700000002 host 4000001 78\n",
        "finished": "1700000009 exit 0 own 0\n",
    }
    for fact, text in {**usual, **facts}.items():
        if text is not None:
            (folder / fact).write_text(text, encoding="utf-8")
    return folder


def token_of_ended(job_id: str) -> str:
    """The token of a job that `make_ended_job` has made."""
    return job_id.encode().hex().zfill(32)
