"""What all verbs of a queue are built on: where it is, and how it is asked."""

from __future__ import annotations

import contextlib
import getpass
import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar

from tej.destination import Destination, destination_as_string
from tej.errors import Error, JobNotFound, QueueDoesntExist, QueueExists
from tej.job.status import JobState, JobStatus, check_job_reference
from tej.queue.retry import Exchange, Retries
from tej.queue.server_log import ServerLogger
from tej.server.scripts import find_runtime
from tej.transport import Transport, open_transport
from tej.version import __version__
from tej.wire import protocol
from tej.wire.protocol import Answer, Program, parse_answer, parse_status

DEFAULT_TEJ_DIR = "~/.tej"
DEFAULT_GRACE = 10
"""Seconds that a job is given to end by itself after SIGTERM, before SIGKILL."""

Self = TypeVar("Self", bound="QueueBase")

logger = logging.getLogger("tej")


class QueueBase:
    """The queue itself: made, linked to, removed; its jobs are for its subclasses."""

    JOB_DONE = JobState.FINISHED.value
    JOB_RUNNING = JobState.RUNNING.value
    JOB_INCOMPLETE = "incomplete"
    JOB_CREATED = JobState.CREATED.value

    def __init__(
        self,
        destination: str | Mapping[str, Any] | Destination,
        queue: str | PurePosixPath = DEFAULT_TEJ_DIR,
        setup_runtime: str | None = None,
        need_runtime: Iterable[str] | None = None,
        *,
        ask: Callable[[str], str] | None = None,
        accept_new_host_key: bool = False,
        timeout: float = 30,
        silence: float = 120,
        key: str | None = None,
        known_hosts: str = "",
        retries: Retries | None = None,
        transport: Transport | None = None,
        trust_queue: bool = False,
    ) -> None:
        """Name a queue.

        `destination` is `[user[:password]@]host[:port]`, `local:` for this machine, or
        a dictionary as in tej 0.6.  `queue` is its path there; a relative one starts
        in the home directory, `~` and `~user` are understood.  `setup_runtime` is what
        the queue is made with, if there is none yet (by default what fits the
        server): the name of a runtime, or a folder that is one; `need_runtime` are
        those that are accepted if there is one.

        `ask(prompt)` is called for passwords and passphrases; without it nobody is
        asked.  `timeout` and `silence` are in seconds: for connecting, and for a server
        that says nothing while it should.  `key` is the text of a private key, offered
        in place of all others; `known_hosts` are lines as in the file of that name.

        A queue that other users can write to is refused with QueueNotTrusted: its
        scripts would run as you.  `trust_queue=True` uses it nevertheless, for a
        queue that a group shares.
        """
        if isinstance(destination, str):
            self._destination = Destination.parse(destination)
        elif isinstance(destination, Destination):
            self._destination = destination
        else:
            self._destination = Destination.from_mapping(destination)
        self._runtime, scripts = find_runtime(setup_runtime or "auto")
        self.queue = PurePosixPath(queue)
        self.setup_runtime = setup_runtime
        if isinstance(need_runtime, str):
            need_runtime = [need_runtime]
        self.need_runtime = None if need_runtime is None else set(need_runtime)
        self.transport = transport or open_transport(
            self._destination,
            ask=ask,
            accept_new_host_key=accept_new_host_key,
            timeout=timeout,
            io_timeout=silence,
            key=key,
            known_hosts=known_hosts,
        )
        self._exchange = Exchange(
            self.transport,
            str(queue),
            __version__,
            self.server_logger,
            retries or Retries(),
            scripts,
            trust_queue=trust_queue,
        )

    def __repr__(self) -> str:
        return f"<RemoteQueue {self.queue} on {self.destination_string}>"

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection.  The queue can be used again: it reconnects."""
        self.transport.close()

    @property
    def destination(self) -> dict[str, Any]:
        """The destination's parts, under the names of tej 0.6, without a password."""
        parts: dict[str, Any] = {
            "hostname": self._destination.host,
            "username": self._destination.user or getpass.getuser(),
        }
        if self._destination.port is not None:
            parts["port"] = self._destination.port
        return parts

    @property
    def destination_string(self) -> str:
        """The destination as one string, without its password."""
        return destination_as_string(self._destination)

    def server_logger(self) -> ServerLogger:
        """Takes what the server says beside its answers; made anew for every program.

        Override it to show that elsewhere than in the log `tej.server`.
        """
        return ServerLogger()

    def setup(
        self,
        links: Sequence[str | PurePosixPath] | None = None,
        force: bool | int = False,
        only_links: bool = False,
        *,
        max_running: int | None = None,
    ) -> PurePosixPath:
        """Make the queue, and links to it; returns its absolute path.

        What is there already is kept, and QueueExists is raised.  With `force` a link
        or a queue without jobs is replaced; with `force=2` also a queue with jobs, if
        all have ended.  `only_links` makes the links alone.  `max_running` is as for
        `limit`.
        """
        program = protocol.setup(
            str(self.queue),
            self._runtime,
            [str(link) for link in links or ()],
            scripts=self._exchange.scripts,
            force=int(force),
            only_links=only_links,
            version=__version__,
            trusted=self._exchange.trust_queue,
        )
        answer = parse_answer(self._exchange.run(program).data)
        warn(answer)
        logger.info("Queue at %s", answer.head["queue"])
        if max_running is not None:
            try:
                self.limit(max_running)
            except QueueExists:
                # Nothing is left of what could not be made as it was wanted.
                with contextlib.suppress(Error):
                    self.cleanup()
                raise
        return PurePosixPath(answer.head["queue"])

    def limit(self, max_running: int) -> None:
        """Let at most so many jobs run at once; 0 for as many as there are.

        Those above it wait as `queued`, and are started in the order they came as
        others end.  The queue has to be there.  Raises QueueExists if its runtime
        leaves that to a scheduler.
        """
        if max_running < 0:
            raise ValueError(f"max_running is 0 or more, not {max_running}")
        self._ask("limit", str(int(max_running)))

    def cleanup(self, kill: bool = False, *, grace: int = DEFAULT_GRACE) -> bool:
        """Remove the queue, all its jobs, and the links that led to it.

        Raises JobStillRunning, with nothing removed, if some jobs have not ended; with
        `kill` they are killed first.
        """

        def attempt(tries: int) -> bool:
            try:
                self._answer("cleanup", str(int(kill)), str(int(grace)), submitter())
            except QueueDoesntExist:
                if not tries:
                    raise
            return True

        return self._exchange.settle(attempt)

    def statuses(self, job_ids: Iterable[str]) -> dict[str, JobStatus | None]:
        """What the server knows of these jobs, in one round trip, in the order given;
        None for those not found."""
        ids = check_job_ids(job_ids)
        if not ids:
            return {}
        answer = self._ask("status", *ids)
        found = {
            record["id"]: parse_status(record, answer.head)
            for record in answer.jobs
            if "state" in record
        }
        return {job_id: found.get(job_id) for job_id in ids}

    def shell(
        self,
        script: str,
        *arguments: str,
        stdin: Callable[[], Iterable[bytes]] = tuple,
        take: Callable[[], Callable[[bytes], object]] | None = None,
        again: bool = False,
    ) -> bytes:
        """What a script of one's own prints, run by the server's `/bin/sh`.

        For what belongs beside a queue and is no verb: it needs no queue there.  The
        script is POSIX shell, starts in the home directory and finds `arguments` as
        $1, ...  `stdin()` gives its input, and `take()` what is called with its output
        in pieces instead of returning it: they are called anew for each try.  It is
        sent once, or with `again` as often as the other verbs if the connection is
        lost.

        Raises RemoteCommandFailure, with the status as `ret` and what it wrote to
        stderr, if it ends with one that is not 0; those from 64 on are free for it.
        """

        def attempt(_: int) -> bytes:
            words = protocol.command(*arguments)
            program = protocol.program("shell", f"set -- {words}\n{script}")
            reply = self._exchange.run(program, stdin(), take and take())
            return b"" if take else reply.data

        return self._exchange.settle(attempt) if again else attempt(0)

    def _ask(self, verb: str, *arguments: str) -> Answer:
        """A verb that may safely be sent again."""
        return self._exchange.settle(lambda _: self._answer(verb, *arguments))

    def _answer(self, verb: str, *arguments: str) -> Answer:
        reply = self._exchange.run_verb(
            lambda digest: self._program(verb, digest, *arguments)
        )
        return parse_answer(reply.data)

    def _program(self, verb: str, digest: str, *arguments: str) -> Program:
        return protocol.verb(
            verb,
            str(self.queue),
            *arguments,
            digest=digest,
            needed=self._needed(),
            trusted=self._exchange.trust_queue,
        )

    def _needed(self) -> list[str]:
        return sorted(self.need_runtime or ())


def warn(answer: Answer) -> None:
    """Log what the server says besides."""
    if "warning" in answer.head:
        logger.warning("%s", answer.head["warning"])


def submitter() -> str:
    """Who asks, for people to read: user@host of this machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def check_job_ids(job_ids: Iterable[str]) -> list[str]:
    """Legal ids, each once; ID#N is an attempt."""
    return [*dict.fromkeys(check_job_reference(job_id) for job_id in job_ids)]


def no_job(job_id: str) -> JobNotFound:
    """In the words of the original."""
    return JobNotFound(f"No job '{job_id}'")
