"""Connection to one queue: sends requests, and upgrades the scripts on the server.

The modules that implement the requests take a `QueueConnection`, and do not import
`RemoteQueue`.
"""

from __future__ import annotations

import getpass
import logging
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tej.errors import (
    ConnectionFailed,
    Error,
    JobAlreadyExists,
    JobNotFound,
    RemoteCommandFailure,
)
from tej.job.status import check_job_reference
from tej.queue.retry import Retries, with_retries
from tej.queue.server_log import ServerLogger
from tej.server.scripts import Scripts
from tej.transport import Transport
from tej.version import __version__
from tej.wire import protocol
from tej.wire.protocol import Answer, Outdated, Program, Reply, parse_answer

DEFAULT_TEJ_DIR = "~/.tej"
DEFAULT_GRACE = 10
"""Seconds between SIGTERM and SIGKILL."""

logger = logging.getLogger("tej")

Result = TypeVar("Result")


@dataclass(eq=False)
class QueueConnection:
    """Transport, path and options of one queue; sends the requests to it.

    Threads may share an instance without a lock: the transport has its own locks, and a
    request changes only `digest` (to "any") and `reached` (to True), never back.
    """

    transport: Transport
    path: str
    """Path of the queue on the server, as the user wrote it."""
    destination: str
    """Destination without a password, for messages."""
    user: str
    """User name on the server, for the ids of new jobs."""
    runtime: str
    """Runtime for a new queue."""
    scripts: Scripts
    """Server scripts of this version of tej."""
    needed: list[str] = field(default_factory=list)
    """Runtimes that are accepted in an existing queue; empty for any."""
    trust_queue: bool = False
    """Whether to use a queue that other users can write to."""
    retries: Retries = field(default_factory=Retries)
    make_logger: Callable[[], ServerLogger] = ServerLogger
    version: str = __version__
    digest: str = ""
    """Digest of the scripts that the server must have.

    It becomes "any" if the server has newer scripts, or older ones that cannot be
    replaced."""
    reached: bool = False
    """Whether the server has ever replied, so that its name and port are right."""

    def __post_init__(self) -> None:
        self.digest = self.digest or self.scripts.digest

    def use_runtime(self, runtime: str, scripts: Scripts) -> None:
        """Change the runtime for new queues."""
        self.runtime = runtime
        self.scripts = scripts
        self.digest = scripts.digest

    def run(
        self,
        program: Program,
        stdin: Iterable[bytes] = (),
        take: Callable[[bytes], object] | None = None,
    ) -> Reply:
        """Run a program on the server once; raises the error for its exit status."""
        reply = Reply(program, take)
        log = self.make_logger()
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
            self.reached |= reply.begun
            raise
        self.reached = True
        log.append(reply.words_on_stderr(done))
        log.done()
        try:
            protocol.check(program, reply, done)
        except (JobNotFound, JobAlreadyExists) as error:
            raise self.explain(error) from None
        return reply

    def run_verb(
        self,
        verb: str,
        *arguments: str,
        take: Callable[[bytes], object] | None = None,
        stdin: Iterable[bytes] = (),
    ) -> Reply:
        """Send a verb once; if the server's scripts are outdated, upgrade and resend.

        `stdin` is passed to both requests: the server must not read from it before it
        has checked its scripts.
        """

        def program() -> Program:
            return protocol.verb(
                verb,
                self.path,
                *arguments,
                digest=self.digest,
                needed=self.needed,
                trusted=self.trust_queue,
            )

        try:
            return self.run(program(), stdin, take)
        except Outdated as found:
            if self.prefer_ours(found.digest, found.version):
                self._upgrade(found.digest)
            return self.run(program(), stdin, take)

    def ask(self, verb: str, *arguments: str) -> Answer:
        """Send a verb that may safely be repeated, with retries; returns its answer."""
        return self.with_retries(lambda _: self.ask_once(verb, *arguments))

    def ask_once(self, verb: str, *arguments: str) -> Answer:
        """Send a verb without retries; returns its answer, parsed."""
        return parse_answer(self.run_verb(verb, *arguments).data)

    def with_retries(
        self,
        attempt: Callable[[int], Result],
        patient: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Call `attempt` under this queue's retry policy."""
        return with_retries(self.retries, attempt, patient, lambda: self.reached)

    def _upgrade(self, digest: str) -> None:
        """Replace the server's scripts by ours; if that fails, use the old ones."""
        try:
            program = protocol.renewal(
                self.path, self.scripts, self.version, trusted=self.trust_queue
            )
            self.run(program)
        except RemoteCommandFailure as error:
            if digest == "none":
                raise
            why = str(error).splitlines()[-1]
            logger.warning("Using the older scripts of queue %s: %s", self.path, why)
            self.digest = "any"

    def prefer_ours(self, digest: str, version: str) -> bool:
        """Whether to replace the scripts on the server: they are missing or not newer.

        Newer scripts are accepted from then on.
        """
        if digest != "none" and _parts(version) > _parts(self.version):
            logger.info("Using the newer scripts (%s) of queue %s", version, self.path)
            self.digest = "any"
            return False
        return True

    def job_not_found(self, job_id: str) -> JobNotFound:
        """Return the error for an id that is not in the queue.

        The first line of its message is that of tej 0.6.
        """
        return JobNotFound(f"No job '{job_id}'\n{self._where_to_look()}")

    def explain(self, error: Error) -> Error:
        """Add the queue, and how to resolve it, to a server's error about one job."""
        message = str(error)
        if "\n" in message:
            return error
        if isinstance(error, JobNotFound):
            return JobNotFound(f"{message}\n{self._where_to_look()}")
        if isinstance(error, JobAlreadyExists):
            return JobAlreadyExists(
                f"{message}\nIt is in queue {self.path} on {self.destination}; choose "
                "another id, use --reuse (`ensure`) to get that job, or delete it"
            )
        return error

    def _where_to_look(self) -> str:
        queue = "" if self.path == DEFAULT_TEJ_DIR else f" --queue {self.path}"
        return (
            f"It is not in queue {self.path} on {self.destination}; "
            f"`tej list {self.destination}{queue}` shows the jobs there"
        )


def log_warning(answer: Answer) -> None:
    """Log the warning that an answer of the server contains, if any."""
    if "warning" in answer.head:
        logger.warning("%s", answer.head["warning"])


def submitter() -> str:
    """Return user@host of this client; jobs and kills are recorded with it."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def check_job_ids(job_ids: Iterable[str]) -> list[str]:
    """Return the ids without duplicates; raises InvalidJobId for an invalid one.

    `ID#N`, an archived attempt, is valid.
    """
    return [*dict.fromkeys(check_job_reference(job_id) for job_id in job_ids)]


def run_script(
    connection: QueueConnection,
    script: str,
    arguments: Iterable[str],
    stdin: Callable[[], Iterable[bytes]],
    take: Callable[[], Callable[[bytes], object]] | None,
    again: bool,
) -> bytes:
    """Run a shell script on the server; see `RemoteQueue.shell`."""

    def attempt(_: int) -> bytes:
        words = protocol.command(*arguments)
        program = protocol.program("shell", f"set -- {words}\n{script}")
        reply = connection.run(program, stdin(), take and take())
        return b"" if take else reply.data

    return connection.with_retries(attempt) if again else attempt(0)


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
