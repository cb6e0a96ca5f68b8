"""Log of the command line."""

from __future__ import annotations

import io
import logging

import pytest

from tej.cli.log import log_to_stderr
from tej.queue.server_log import NOTICE


def test_closed_former_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    log_to_stderr(0)
    logger = logging.getLogger("tej")
    former, present = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    monkeypatch.setattr("sys.stderr", former)
    logger.error("first")
    monkeypatch.setattr("sys.stderr", present)
    former.close()
    logger.error("second")
    assert present.getvalue() == "ERROR: second\n"


@pytest.mark.parametrize(
    ("verbose", "seen"),
    [
        (0, "ERROR: e\nWARNING: w\\x1b\nn\n"),
        (1, "ERROR: e\nWARNING: w\\x1b\nn\nINFO: i\n"),
        (3, "ERROR: e\nWARNING: w\\x1b\nn\nINFO: i\nDEBUG: d\n"),
    ],
)
def test_log_has_levels_except_for_notices(
    monkeypatch: pytest.MonkeyPatch, verbose: int, seen: str
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    log_to_stderr(verbose)
    logger = logging.getLogger("tej")
    logger.error("e")
    logger.warning("w\x1b")
    logger.log(NOTICE, "n")
    logger.info("i")
    logger.debug("d")
    log_to_stderr(0)
    assert stderr.getvalue() == seen
