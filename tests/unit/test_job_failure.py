"""Error of a job that failed: the bounded end of its stderr."""

from __future__ import annotations

from tej.queue.job_failure import last_lines


def test_last_lines_are_bounded() -> None:
    data = b"".join(b"line %d\n" % number for number in range(100))
    assert last_lines(data, 2, whole=True) == "line 98\nline 99"


def test_cut_line_is_dropped() -> None:
    assert last_lines(b"lf a line\nwhole\n", 5, whole=False) == "whole"


def test_progress_bar_is_shown_as_a_terminal_would() -> None:
    assert last_lines(b"10%\r20%\r30%\r\nfailed\r\n", 5, whole=True) == "30%\nfailed"
