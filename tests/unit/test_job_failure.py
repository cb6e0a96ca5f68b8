"""Error of a job that failed: the bounded end of its stderr."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import cast

import pytest

from tej.job.status import JobState, JobStatus
from tej.queue import job_failure
from tej.queue.connection import QueueConnection
from tej.queue.job_failure import last_lines


def test_last_lines_are_bounded() -> None:
    data = b"".join(b"line %d\n" % number for number in range(100))
    assert last_lines(data, 2, whole=True) == "line 98\nline 99"


def test_cut_line_is_dropped() -> None:
    assert last_lines(b"lf a line\nwhole\n", 5, whole=False) == "whole"


def test_progress_bar_is_shown_as_a_terminal_would() -> None:
    assert last_lines(b"10%\r20%\r30%\r\nfailed\r\n", 5, whole=True) == "30%\nfailed"


@pytest.mark.parametrize(
    ("stderr", "last"),
    [
        ("pip: not found", "Hint: did you mean python3 -m pip?"),
        ("failed", "failed"),
        ("", "Job 'a': Job is finished with exit code 1"),
    ],
)
def test_error_ends_with_hint_or_stderr(
    monkeypatch: pytest.MonkeyPatch, stderr: str, last: str
) -> None:
    monkeypatch.setattr(job_failure, "_last_words", lambda *_: (stderr, ""))
    status = JobStatus("a", JobState.FINISHED, PurePosixPath("/"), exit_code=1)
    error = job_failure.job_failure(cast("QueueConnection", None), status)
    assert str(error).splitlines()[-1].startswith(last)
