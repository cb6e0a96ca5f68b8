"""Connection to one queue: sends requests, and repeats them after a lost connection.

The functions in `tej.queue` that send requests take a `QueueConnection` as an argument,
so that their modules do not import `RemoteQueue`.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tej.destination import local_user
from tej.errors import (
    ConnectionFailed,
    Error,
    JobAlreadyExists,
    JobNotFound,
    QueueNotFound,
    RemoteCommandFailure,
)
from tej.job.job_id import check_job_reference
from tej.queue import error_messages
from tej.queue.retry_policy import Retries, with_retries
from tej.queue.script_upgrade import prefer_own_scripts, upgrade_scripts
from tej.queue.server_log import NOTICE, ServerLogger
from tej.server.scripts import Scripts
from tej.transport import Transport
from tej.version import __version__
from tej.wire import replies, requests
from tej.wire.replies import Outdated, ParsedReply, Reply, parse_complete_reply
from tej.wire.requests import Program

logger = logging.getLogger("tej")

Result = TypeVar("Result")


@dataclass(eq=False)
class QueueConnection:
    """Transport, path and options of one queue; sends requests to the queue.

    Several threads may use one `QueueConnection` without a lock, because the transport
    has its own locks.  A request changes only `digest` (to "any"), `reached`,
    `warnings`, `last_seen`, `removed`, `removals` and `downloaded_tokens`.
    """

    transport: Transport
    path: str
    """Path of the queue on the server, as the user wrote it."""
    destination: str
    """Destination without the password, for use in messages."""
    user: str
    """User name on the server, for use in the ids of new jobs."""
    runtime: str
    """Runtime with which a new queue is created."""
    scripts: Scripts
    """Server scripts of this version of tej."""
    needed: list[str] = field(default_factory=list)
    """Runtimes that are accepted in an existing queue; if the list is empty, every
    runtime is accepted."""
    trust_queue: bool = False
    """Whether to use a queue that other users can write to."""
    retries: Retries = field(default_factory=Retries)
    make_logger: Callable[[], ServerLogger] = ServerLogger
    version: str = __version__
    digest: str = ""
    """Required digest of the scripts on the server.

    `digest` becomes "any" if the server has newer scripts, or has older scripts that
    cannot be replaced."""
    reached: bool = False
    """Whether a login has succeeded at least once, which proves that the host name and
    port are right."""
    warnings: set[str] = field(default_factory=set)
    """Warnings and notices of the server that were logged; each is logged once."""
    last_seen: float | None = None
    """Time of the last reply from the queue, in seconds since 1970; None if the queue
    has not replied yet, or if this client has removed the queue since."""
    removed: bool = False
    """Whether this client has removed the queue since the queue last replied."""
    removals: int = 0
    """Number of times that this client has removed the queue."""
    downloaded_tokens: dict[str, str] = field(default_factory=dict)
    """For each job id, the token of the job whose files were downloaded last."""

    def __post_init__(self) -> None:
        self.digest = self.digest or self.scripts.digest

    def use_runtime(self, runtime: str, scripts: Scripts) -> None:
        """Change the runtime and the scripts with which a new queue is created."""
        self.runtime = runtime
        self.scripts = scripts
        self.digest = scripts.digest

    def run(
        self,
        program: Program,
        stdin: Iterable[bytes] = (),
        take: Callable[[bytes], object] | None = None,
    ) -> Reply:
        """Run a program on the server once, and return its reply.

        Raises the error that corresponds to the program's exit status, if the status is
        not 0.
        """
        reply = Reply(program, take)
        log = self.make_logger()
        last_seen, removals = self.last_seen, self.removals
        begun = last = time.monotonic()

        def receive(data: bytes) -> None:
            nonlocal last
            last = time.monotonic()
            reply(data)

        def send() -> Iterator[bytes]:
            nonlocal last
            for data in stdin:
                yield data
                last = time.monotonic()

        try:
            done = self.transport.run(program.line, send(), receive)
        except ConnectionFailed as error:
            error.lasted = last - begun
            self.reached |= reply.begun or error.cut
            raise
        self.reached = True
        log.append(reply.stderr_of(done))
        log.done()
        try:
            replies.check(program, reply, done)
        except (JobNotFound, JobAlreadyExists, QueueNotFound) as error:
            if isinstance(error, QueueNotFound):
                self.check_missing_queue(last_seen)
            raise self.explain(error) from None
        if removals == self.removals:
            self.removed = False
        return reply

    def note_seen(self, removals: int) -> None:
        """Note the time of a reply from the queue.

        `removals` is the value of `self.removals` before the request.  If this client
        has removed the queue since, the reply is not noted.  Otherwise the queue would
        seem to have vanished, and the next submission would be refused.
        """
        if removals == self.removals:
            self.last_seen = time.time()

    def note_removed(self) -> None:
        """Note that this client has removed the queue."""
        self.removals += 1
        self.removed, self.last_seen = True, None

    def check_missing_queue(self, last_seen: float | None) -> None:
        """Raise RemoteCommandFailure if this process has used the queue before.

        Call this method if the server reports that there is no queue.  The file system
        of the queue may be unmounted for a while, so that its jobs still exist.
        `last_seen` is the value of `self.last_seen` before the request, because another
        thread may have created the queue since.
        """
        if last_seen is None or self.last_seen is None:
            return
        raise error_messages.missing_queue(last_seen, self.path, self.destination)

    def run_verb(
        self,
        verb: str,
        *arguments: str,
        take: Callable[[bytes], object] | None = None,
        stdin: Iterable[bytes] = (),
    ) -> Reply:
        """Send a request without retries, and return the reply.

        If the server reports outdated scripts, tej upgrades the scripts and sends the
        request again.  `stdin` is passed to the repeated request, too, so the program
        must not read its standard input before it has checked the scripts.
        """

        def program() -> Program:
            return requests.verb(
                verb,
                self.path,
                *arguments,
                digest=self.digest,
                needed=self.needed,
                trusted=self.trust_queue,
            )

        try:
            return self._run_in_queue(program(), stdin, take)
        except Outdated as found:
            if prefer_own_scripts(self, found.digest, found.version):
                upgrade_scripts(self, verb, found.digest)
        try:
            return self._run_in_queue(program(), stdin, take)
        except Outdated as found:
            raise RemoteCommandFailure(
                f"The scripts of queue {self.path} are damaged, or another client "
                "has just replaced them: repeat the command",
                verb,
            ) from found

    def _run_in_queue(
        self,
        program: Program,
        stdin: Iterable[bytes],
        take: Callable[[bytes], object] | None,
    ) -> Reply:
        removals = self.removals
        reply = self.run(program, stdin, take)
        self.note_seen(removals)
        return reply

    def request(self, verb: str, *arguments: str) -> ParsedReply:
        """Send a request, with retries, and return the parsed reply.

        Use this method only for a verb that can safely be repeated.
        """
        return self.with_retries(lambda _: self.request_once(verb, *arguments))

    def request_once(self, verb: str, *arguments: str) -> ParsedReply:
        """Send a request without retries, and return the parsed reply."""
        return parse_complete_reply(self.run_verb(verb, *arguments).data, verb)

    def with_retries(
        self,
        attempt: Callable[[int], Result],
        patient: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Call `attempt` until it succeeds; see `retry_policy.with_retries`."""
        return with_retries(self.retries, attempt, patient, lambda: self.reached)

    def job_not_found(self, job_id: str) -> JobNotFound:
        """Return the error for a job id that is not in the queue."""
        return error_messages.job_not_found(job_id, self.path, self.destination)

    def explain(self, error: Error) -> Error:
        """Return `error` with the queue's path and advice added to its message.

        Only JobNotFound, JobAlreadyExists and QueueNotFound are extended; any other
        error is returned unchanged.
        """
        return error_messages.explain(error, self.path, self.destination)


def log_warning(connection: QueueConnection, answer: ParsedReply) -> None:
    """Log the warning and the notice of the server, if the reply contains them.

    Each text is logged once per connection: if several threads create a queue at the
    same time, the replies to all threads contain the same text.
    """
    for key, level in (("warning", logging.WARNING), ("notice", NOTICE)):
        words = answer.head.get(key)
        if words is not None and words not in connection.warnings:
            connection.warnings.add(words)
            logger.log(level, "%s", words)


def submitter() -> str:
    """Return user@host of this client; the server stores it with each job and kill."""
    return f"{local_user()}@{socket.gethostname()}"


def check_job_ids(job_ids: Iterable[str]) -> list[str]:
    """Return the job ids without duplicates; raise InvalidJobId if an id is invalid.

    The id of an archived attempt, `ID#N`, is valid.  If `job_ids` is a string, it is
    one id: each of its characters could be the id of another job.
    """
    if isinstance(job_ids, str):
        job_ids = [job_ids]
    return [*dict.fromkeys(check_job_reference(job_id) for job_id in job_ids)]


def run_script(
    connection: QueueConnection,
    script: str,
    arguments: Iterable[str],
    stdin: Callable[[], Iterable[bytes]],
    take: Callable[[], Callable[[bytes], object]] | None,
    again: bool,
) -> bytes:
    """Run a shell script on the server, and return its output; see `RemoteQueue.shell`.

    If `again` is true, the script is run again after a lost connection.
    """

    def attempt(_: int) -> bytes:
        words = requests.command(*arguments)
        program = requests.program("shell", f"set -- {words}\n{script}")
        reply = connection.run(program, stdin(), take and take())
        return b"" if take else reply.data

    return connection.with_retries(attempt) if again else attempt(0)
