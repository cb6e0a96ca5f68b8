"""A connection with simulated replies of the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from tej import JobNotFound, JobState, JobStatus
from tej.wire.replies import ParsedReply, parse_complete_reply

RUNS = JobStatus("a", JobState.RUNNING, PurePosixPath("/"), host="n1")


class Connection:
    """A connection whose server sends one reply to every request."""

    def __init__(self, *records: str, failures: int = 0) -> None:
        self.sent: list[tuple[str, ...]] = []
        self._reply = "\0".join(["queue=/q", *records]).replace(" ", "\0").encode()
        self._failures = failures

    def request(self, *words: str) -> ParsedReply:
        self.sent.append(words)
        return parse_complete_reply(self._reply)

    request_once = request
    job_not_found = staticmethod(JobNotFound)

    def with_retries(self, attempt: Callable[[int], Any]) -> object:
        return attempt(self._failures)


def connection(*records: str, failures: int = 0) -> Any:
    return Connection(*records, failures=failures)
