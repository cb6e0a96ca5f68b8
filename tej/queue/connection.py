"""Connection to one queue: sends requests, and upgrades the server's scripts.

Every module that implements a verb takes a `QueueConnection`.  None of them knows
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
    """Transport, path and options of one queue, and the requests sent to it.

    Threads may share an instance: the transport serializes what has to be, and the two
    attributes that change (`digest`, `reached`) only ever move one way.
    """

    transport: Transport
    path: str
    """Path of the queue on the server, as the user wrote it."""
    destination: str
    """Destination without a password, for messages."""
    user: str
    """User name on the server, for the ids of new jobs."""
    runtime: str
    """Runtime of a queue that is created by a request."""
    scripts: Scripts
    """Server scripts of this version of tej."""
    needed: list[str] = field(default_factory=list)
    """Runtimes that an existing queue may have; empty for any."""
    trust_queue: bool = False
    """Use a queue that other users can write to."""
    retries: Retries = field(default_factory=Retries)
    make_logger: Callable[[], ServerLogger] = ServerLogger
    version: str = __version__
    digest: str = ""
    """Scripts expected on the server; "any" once newer scripts were found there."""
    reached: bool = False
    """Whether the server has ever answered, which proves that its name is right."""

    def __post_init__(self) -> None:
        self.digest = self.digest or self.scripts.digest

    def use_runtime(self, runtime: str, scripts: Scripts) -> None:
        """Create queues with another runtime from now on."""
        self.runtime = runtime
        self.scripts = scripts
        self.digest = scripts.digest

    def run(
        self,
        program: Program,
        stdin: Iterable[bytes] = (),
        take: Callable[[bytes], object] | None = None,
    ) -> Reply:
        """Send a program once; raises the error that its exit status stands for."""
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
        """Send a verb once, after an upgrade of the server's scripts if they are older.

        `stdin` must not be consumed by a server that finds its scripts outdated.
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
        """Send a verb that may be repeated safely, with retries; its parsed answer."""
        return self.with_retries(lambda _: self.ask_once(verb, *arguments))

    def ask_once(self, verb: str, *arguments: str) -> Answer:
        """Send a verb without retries; its parsed answer."""
        return parse_answer(self.run_verb(verb, *arguments).data)

    def with_retries(
        self,
        attempt: Callable[[int], Result],
        patient: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Call `attempt` under this queue's retry policy."""
        return with_retries(self.retries, attempt, patient, lambda: self.reached)

    def _upgrade(self, digest: str) -> None:
        """Replace the server's scripts by ours; use the old ones if that is denied."""
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
        """Whether our scripts replace those found on the server."""
        if digest != "none" and _parts(version) > _parts(self.version):
            logger.info("Using the newer scripts (%s) of queue %s", version, self.path)
            self.digest = "any"
            return False
        return True

    def job_not_found(self, job_id: str) -> JobNotFound:
        """The error for an id that is not in the queue; tej 0.6's words come first."""
        return JobNotFound(f"No job '{job_id}'\n{self._where_to_look()}")

    def explain(self, error: Error) -> Error:
        """A server's error about one job, with the queue, and how to resolve it."""
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
    """Log the warning in a server's answer, if there is one."""
    if "warning" in answer.head:
        logger.warning("%s", answer.head["warning"])


def submitter() -> str:
    """user@host of this machine, recorded with jobs and kills for people to read."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def check_job_ids(job_ids: Iterable[str]) -> list[str]:
    """The valid ids, without duplicates; `ID#N` is an attempt.  Raises InvalidJobId."""
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
