"""Upgrade of the server's scripts, if they belong to another version of tej."""

from __future__ import annotations

import logging
from typing import Protocol

from tej.errors import RemoteCommandFailure
from tej.server.scripts import Scripts
from tej.version import version_key
from tej.wire import requests
from tej.wire.requests import Program

logger = logging.getLogger("tej")


class Connection(Protocol):
    """The attributes of `QueueConnection` that an upgrade uses."""

    path: str
    scripts: Scripts
    version: str
    trust_queue: bool
    digest: str

    def run(self, program: Program) -> object:
        """Run a program on the server."""


def prefer_own_scripts(connection: Connection, digest: str, version: str) -> bool:
    """Return whether to replace the scripts on the server.

    `digest` and `version` identify the scripts on the server.  The scripts are replaced
    if they are missing, or if they are not newer than this version of tej.  If the
    server's scripts are newer, `connection.digest` is set to "any", so that later
    requests accept the newer scripts.
    """
    if digest != "none" and version_key(version) > version_key(connection.version):
        logger.info(
            "Using the newer scripts (%s) of queue %s", version, connection.path
        )
        connection.digest = "any"
        return False
    return True


def upgrade_scripts(connection: Connection, verb: str, digest: str) -> None:
    """Replace the scripts on the server with the scripts of this version of tej.

    If older scripts on the server cannot be replaced, logs a warning, and sets
    `connection.digest` to "any", so that later requests use the older scripts.
    `digest` is the digest of the scripts on the server, or "none".  Scripts of this
    version are replaced, too, if the script of `verb` is missing.  Raises
    RemoteCommandFailure if there are no scripts and none can be written.
    """
    try:
        program = requests.renewal(
            verb,
            connection.path,
            connection.scripts,
            connection.version,
            trusted=connection.trust_queue,
        )
        connection.run(program)
    except RemoteCommandFailure as error:
        if digest == "none":
            raise
        why = str(error).splitlines()[-1]
        logger.warning(
            "The scripts of queue %s cannot be updated; the older scripts are used: %s",
            *(connection.path, why),
        )
        connection.digest = "any"
