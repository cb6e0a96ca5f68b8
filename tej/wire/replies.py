"""Replies of the server: find and parse a reply, and map exit statuses to errors.

A reply begins after the marker of its request.  A reply consists of words `KEY=VALUE`,
each of which ends with a NUL; the key `id` begins the record of a job.  The replies to
`download` and `logs` consist of framed bytes instead (see `wire/framing.py`).  The exit
status shows whether the request succeeded.

The server is not trusted: all sizes are limited, and a malformed reply raises
RemoteCommandFailure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tej import errors
from tej.transport.base import Completed
from tej.transport.program_start import NO_PROGRAM
from tej.wire.malformed_reply import malformed_reply, shorten
from tej.wire.requests import Program
from tej.wire.startup_output import StartupOutput, redirection

NO_QUEUE = 10
"""Exit status of a request to a queue that does not exist."""
ERRORS: Mapping[int, type[errors.Error]] = {
    3: errors.JobNotFound,
    4: errors.JobAlreadyExists,
    5: errors.JobStillRunning,
    NO_QUEUE: errors.QueueNotFound,
    11: errors.QueueLinkBroken,
    12: errors.QueueExists,
    13: errors.QueueExists,
    15: errors.QueueNotTrusted,
    21: errors.ConnectionFailed,
    22: errors.DownloadFailed,
}
OUTDATED = 14
"""Exit status of a request if the queue's scripts are incomplete, or differ from the
scripts of this tej."""

Value = TypeVar("Value")

REPLY_LIMIT = 256 * 1024 * 1024
"""Maximum size in bytes of a reply that is collected in memory."""
_BEGINNING = 200
"""Number of bytes of a reply that are stored although the reply is passed to `take`."""


class Outdated(Exception):
    """The scripts of the queue differ from the client's.

    The client must replace or accept the scripts of the queue.
    """

    def __init__(self, digest: str, version: str) -> None:
        super().__init__(digest)
        self.digest = digest
        self.version = version


class Reply:
    """Sink for the output of a request; drops the output before the reply.

    If `take` is given, the reply is passed to `take`.  Without `take`, the reply is
    collected in memory.
    """

    def __init__(
        self, program: Program, take: Callable[[bytes], object] | None = None
    ) -> None:
        self._verb = program.verb
        self._marker = b"\n" + program.marker + b"\n"
        self._take = take
        self._startup = StartupOutput(program.verb, self._marker)
        self._parts: list[bytes] = []
        self._size = 0

    def __call__(self, data: bytes) -> None:
        """Process the next piece of output; b"" marks the end of the output."""
        ended = not data
        if not self.begun:
            data = self._startup.after_marker(data)
        if data.startswith(self._marker) and not any(self._parts):
            # The program writes one marker to stdout and one to stderr.  If both arrive
            # on stdout, a start-up file has redirected stderr to stdout.
            raise redirection("stderr to stdout (`exec 2>&1`)", self._verb)
        if self._take is None:
            self._keep(data)
        elif data and self._size < _BEGINNING:
            # If the exit status is OUTDATED, the first bytes are the digest and version
            # of the server's scripts.  Therefore store them even if `take` is given.
            self._keep(data[: _BEGINNING - self._size])
        if self._take is not None and (data or ended):
            self._take(data)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > REPLY_LIMIT:
            self._parts = []
            raise malformed_reply(
                self._verb, f"it is longer than {REPLY_LIMIT // 1024**2} MiB"
            )
        self._parts.append(data)

    @property
    def begun(self) -> bool:
        """Whether the reply has begun."""
        return self._startup.ended

    @property
    def startup_output(self) -> bytes:
        """The last part of the output before the reply; b"" if the reply has begun."""
        return self._startup.kept

    @property
    def data(self) -> bytes:
        """The reply, or only its beginning if the reply was passed to `take`."""
        return b"".join(self._parts)

    def went_to_stderr(self, done: Completed) -> bool:
        """Return whether a start-up file has redirected the reply to stderr.

        The marker of the reply has then arrived on stderr instead of stdout.
        """
        return not self.begun and self._marker in done.stderr

    def stderr_of(self, done: Completed) -> bytes:
        """Return the stderr of the request, without the output of start-up files."""
        _, marker, words = done.stderr.partition(self._marker)
        return words if marker else done.stderr


def check(program: Program, reply: Reply, done: Completed) -> None:
    """Raise the error for the exit status, with the server's message.

    Returns without an error if the exit status is 0 and the reply has begun.
    """
    if reply.went_to_stderr(done):
        raise redirection("stdout (`exec 1>&2`, `exec >/dev/null`)", program.verb)
    if not reply.begun:
        shown = shorten(reply.startup_output + done.stderr, 300) or "nothing"
        raise errors.RemoteCommandFailure(
            f"The server did not run tej's program, but replied: {shown}\n"
            "tej needs an account that may run /bin/sh, and start-up files that do not "
            "end the login shell or replace it with fish or a terminal program",
            program.verb,
            done.status,
        )
    if done.status == 0:
        return
    if done.status == NO_PROGRAM:
        raise errors.RemoteCommandFailure(
            "A start-up file on the server starts another shell, which ran tej's "
            f"program, so it is unknown whether '{program.verb}' succeeded. Write "
            "`exec` before the command that starts the shell (zsh, newgrp, scl enable)",
            program.verb,
            done.status,
        )
    if done.status == OUTDATED:
        line, _, _ = reply.data.partition(b"\n")
        digest, _, version = line.decode("ascii", "replace").partition(" ")
        raise Outdated(digest, version)
    message = shorten(reply.stderr_of(done))
    raise error_of(done.status, message, program.verb)


def error_of(status: int, words: str, verb: str) -> errors.Error:
    """Return the error for an exit status, with the server's message `words`."""
    kind = ERRORS.get(status)
    if kind is not None:
        return kind(words or None)
    # In requests of tej, a status above 128 means that a process was killed.  The
    # shell's message is then only a word such as "Killed".
    is_signal = status > 128 and verb != "shell"
    if not words or is_signal:
        words = f": {words}" if words else ""
        words = f"'{verb}' failed on the server with status {status}{words}"
    return errors.RemoteCommandFailure(words, verb, status)


class Record(dict[str, str]):
    """Values of one job, or of the whole reply; a missing key raises
    RemoteCommandFailure."""

    verb = "status"
    """Request of the reply, for the error message."""

    def __missing__(self, key: str) -> str:
        if "id" in self:
            why = f"'{key}' of job '{self['id']}' is missing"
        else:
            why = (
                f"'{key}' is missing. Perhaps the request failed, and the SSH server "
                "or a forced command reports the exit status 0 for every program"
            )
        raise malformed_reply(self.verb, why)


def is_missing(record: Mapping[str, str]) -> bool:
    """Return whether the job of a record does not exist.

    Raises RemoteCommandFailure if the record of an existing job has no state.
    """
    if "state" not in record and "spec" in record:
        raise malformed_reply("status", f"job '{record['id']}' has no state")
    return "state" not in record


def only_requested(
    found: Mapping[str, Value], ids: Collection[str]
) -> dict[str, Value]:
    """Return the results of the jobs in `ids`, in that order, and no other results.

    Raises RemoteCommandFailure if the result of a job is missing.
    """
    missing = [job_id for job_id in ids if job_id not in found]
    if missing:
        raise malformed_reply("status", f"job '{missing[0]}' is missing")
    return {job_id: found[job_id] for job_id in ids}


def require_end(head: Record, last: Record) -> None:
    """Raise RemoteCommandFailure if the reply has announced an end, and has none.

    `last` is the last record of the reply, or the head if the reply has no records.  A
    forced command of the SSH server may change the exit status of a failed request to
    0.  Without this check, a missing record or value would mean, for example, that a
    job does not exist.  Older server scripts announce no end.
    """
    if "has_end" in head and "end" not in last and "end" not in head:
        raise malformed_reply(head.verb, "it is not complete")


@dataclass
class ParsedReply:
    """A parsed reply: `head` with values for the whole reply, and a record per job."""

    head: Record = field(default_factory=Record)
    jobs: list[Record] = field(default_factory=list)

    def job(self, job_id: str) -> Record:
        """Return the record of a job; raises RemoteCommandFailure if it is missing."""
        for record in self.jobs:
            if record["id"] == job_id:
                return record
        raise malformed_reply("submit", f"job '{job_id}' is missing")


def parse_reply(data: bytes, verb: str = Record.verb) -> ParsedReply:
    """Parse the reply to a request; words that are not KEY=VALUE are skipped.

    Raises RemoteCommandFailure if the output of another program is between the words.
    """
    answer = ParsedReply()
    answer.head.verb = verb
    record = answer.head
    words = data.decode("utf-8", "surrogateescape").split("\0")
    for number, word in enumerate(words, 1):
        key, equals, value = word.partition("=")
        if not equals:
            continue
        if "\n" in key:
            # A program that a start-up file runs in the background has printed lines.
            key = key.rpartition("\n")[2]
        if not (key.isascii() and key.isidentifier()):
            # The server ends each of its words with a NUL.
            if number == len(words):
                break
            raise malformed_reply(verb, f"{key[:40]!r} is not a key")
        if key == "id":
            record = Record()
            if verb != Record.verb:
                record.verb = verb
            answer.jobs.append(record)
        elif key == "state" and "id" not in record:
            raise malformed_reply(verb, "a state follows no id")
        elif key == "state" and key in record:
            raise malformed_reply(verb, f"two states follow {record['id']!r}")
        record[key] = value
    return answer


def parse_complete_reply(data: bytes, verb: str = Record.verb) -> ParsedReply:
    """Like `parse_reply`, but refuse a reply without its end (see `require_end`)."""
    answer = parse_reply(data, verb)
    require_end(answer.head, answer.jobs[-1] if answer.jobs else answer.head)
    return answer
