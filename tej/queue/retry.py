"""When a program is sent again, and when the server's scripts are renewed first."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from tej.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    HostKeyRejected,
    RemoteCommandFailure,
)
from tej.queue.server_log import ServerLogger
from tej.server.scripts import Scripts
from tej.transport import Transport
from tej.wire import protocol
from tej.wire.protocol import Outdated, Program, Reply

logger = logging.getLogger("tej")

Result = TypeVar("Result")

LASTED = 60.0
"""Seconds after which a connection that is lost was a good one."""


@dataclass(frozen=True)
class Retries:
    """How often what the network broke off is tried again, and how long in between.

    The pauses double, from `first` seconds to at most `longest`, each times a random
    number between a half and one, so that many clients do not come back together.
    """

    limit: int = 4
    first: float = 0.5
    longest: float = 30.0

    def pause(self, tries: int) -> None:
        """Wait before the next try, `tries` having failed."""
        seconds = min(self.longest, self.first * 2 ** (tries - 1))
        time.sleep(seconds * random.uniform(0.5, 1))


class Exchange:
    """Programs sent to one queue, and their replies."""

    def __init__(
        self,
        transport: Transport,
        queue: str,
        version: str,
        make_logger: Callable[[], ServerLogger],
        retries: Retries,
        scripts: Scripts,
        *,
        trust_queue: bool = False,
    ) -> None:
        self.trust_queue = trust_queue
        self.transport = transport
        self.queue = queue
        self.version = version
        self.retries = retries
        self._make_logger = make_logger
        self.scripts = scripts
        self.digest = scripts.digest
        """The scripts to be found on the server; "any" once newer ones were seen."""
        self.reached = False
        """Whether the server has ever answered: if so, its name is right."""

    def run(
        self,
        program: Program,
        stdin: Iterable[bytes] = (),
        take: Callable[[bytes], object] | None = None,
    ) -> Reply:
        """Send it once, and raise what its exit status means."""
        reply = Reply(program, take)
        log = self._make_logger()
        done = self.transport.run(program.line, stdin, reply)
        self.reached = True
        log.append(reply.words_on_stderr(done))
        log.done()
        protocol.check(program, reply, done)
        return reply

    def run_verb(
        self,
        make: Callable[[str], Program],
        take: Callable[[bytes], object] | None = None,
        stdin: Iterable[bytes] = (),
    ) -> Reply:
        """Send it, renewing the server's scripts first if they are older than ours.

        `make(digest)` gives the program for the scripts that are to be found there.
        """
        try:
            return self.run(make(self.digest), stdin, take)
        except Outdated as found:
            if self.prefer_ours(found.digest, found.version):
                self._renew(found.digest)
            return self.run(make(self.digest), stdin, take)

    def _renew(self, digest: str) -> None:
        """Bring the scripts there up to ours; where nothing can be written, those that
        are there have to do."""
        try:
            self.run(
                protocol.renewal(
                    self.queue, self.scripts, self.version, trusted=self.trust_queue
                )
            )
        except RemoteCommandFailure as error:
            if digest == "none":
                raise
            why = str(error).splitlines()[-1]
            logger.warning("Using the scripts that the queue has: %s", why)
            self.digest = "any"

    def prefer_ours(self, digest: str, version: str) -> bool:
        """Whether our scripts replace those found; if not, we do with those."""
        if digest != "none" and _parts(version) > _parts(self.version):
            logger.info("The queue's scripts are newer (%s): using them", version)
            self.digest = "any"
            return False
        return True

    def settle(
        self,
        attempt: Callable[[int], Result],
        patient: Callable[[], bool] = lambda: False,
    ) -> Result:
        """`attempt(tries)` until it is done or refused: a lost connection is normal.

        Only for what may safely be done again, or can tell that it was done before.
        Gives up after `retries.limit` tries in a row, unless `patient()`.
        """
        tries = 0
        while True:
            begun = time.monotonic()
            try:
                return attempt(tries)
            except (AuthenticationFailed, HostKeyRejected):
                raise
            except ConnectionFailed as error:
                if time.monotonic() - begun > LASTED:
                    tries = 0
                tries += 1
                if tries >= self.retries.limit and not patient():
                    raise
                logger.info("%s; trying again", error)
                self.retries.pause(tries)


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
