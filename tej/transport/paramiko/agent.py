"""ssh-agent for paramiko: find the agent's socket, and use the agent's keys."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from dataclasses import dataclass
from typing import Any

import paramiko
from paramiko.agent import AgentSSH

from tej.destination import expand_home

logger = logging.getLogger("tej")

SIGN_REQUEST = bytes([13])
SIGN_RESPONSE = 14
FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}
CERTIFICATE = "-cert-v01@openssh.com"
AGENT_TIMEOUT = 10.0
"""Time limit in seconds for the agent to list its keys.

The socket of a forwarded agent may still accept connections after its owner is gone."""


class Agent(AgentSSH):
    """Client of an ssh agent that listens on the socket `path`."""

    _socket: socket.socket

    def __init__(self, path: str) -> None:
        if sys.platform == "win32":
            raise OSError("Windows has no sockets of ssh agents")
        super().__init__()
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(AGENT_TIMEOUT)
            sock.connect(path)
            connect: Any = getattr(self, "_connect")  # noqa: B009 (not in the types)
            connect(sock)
        except BaseException:
            # Close the socket here, because paramiko's own class would leave it open.
            sock.close()
            raise
        # Signing has no time limit, because the agent may have to wait for the user.
        sock.settimeout(None)
        self._socket = sock

    def close(self) -> None:
        """Close the socket to the agent."""
        with contextlib.suppress(OSError):
            # `shutdown` ends a request that still waits for the agent; `close` does
            # not.
            self._socket.shutdown(socket.SHUT_RDWR)
        close: Any = self._close  # type: ignore[attr-defined]
        close()


@dataclass(frozen=True)
class _Certificate:
    """A certificate, with the attributes that paramiko reads to send it."""

    key_type: str
    key_blob: bytes


class AgentKey(paramiko.AgentKey):
    """A key or certificate of the agent; the agent may refuse to sign with the key."""

    refused = False
    """Whether the agent has refused to sign, for example because a hardware key is
    unplugged."""

    def __init__(self, agent: Any, blob: bytes, comment: str) -> None:  # noqa: ANN401
        super().__init__(agent, blob, comment)
        if self.get_name().endswith(CERTIFICATE):
            # Without `public_blob`, paramiko would send the plain key with the type of
            # the certificate.
            certificate: Any = _Certificate(self.get_name(), blob)
            self.public_blob = certificate

    def sign_ssh_data(  # type: ignore[override]
        self, data: bytes, algorithm: str | None = None
    ) -> bytes:
        """Sign the data; if the agent refuses, return an invalid signature.

        The server rejects an invalid signature, and the next key is tried.  Raising an
        exception would end the whole login, because paramiko calls this method in the
        thread that serves the connection.
        """
        message = paramiko.Message()
        message.add_byte(SIGN_REQUEST)
        message.add_string(self.blob)
        message.add_string(data)
        message.add_int(FLAGS.get((algorithm or "").removesuffix(CERTIFICATE), 0))
        try:
            agent: Any = self.agent
            kind, answer = agent._send_message(message)
        except (paramiko.SSHException, OSError, EOFError) as error:
            logger.debug("the agent failed: %s", error)
            kind = None
        if kind == SIGN_RESPONSE:
            return bytes(answer.get_binary())
        self.refused = True
        nothing = paramiko.Message()
        nothing.add_string((algorithm or self.get_name()).removesuffix(CERTIFICATE))
        nothing.add_string(b"\0" * 64)
        return nothing.asbytes()


def open_agent(identity_agent: str | None) -> Agent | paramiko.Agent | None:
    """Return the agent that IdentityAgent or SSH_AUTH_SOCK selects.

    Returns None if IdentityAgent is "none", or if no agent can be reached.
    """
    if identity_agent is not None and identity_agent.lower() == "none":
        return None
    try:
        if not hasattr(socket, "AF_UNIX") or os.name != "posix":
            return paramiko.Agent()
        return Agent(_socket_path(identity_agent))
    except TimeoutError:
        logger.warning("The ssh agent does not reply, so its keys are not used")
        return None
    except (paramiko.SSHException, OSError, EOFError) as error:
        logger.debug("no ssh agent: %s", error)
        return None


def _socket_path(identity_agent: str | None) -> str:
    if identity_agent is None or identity_agent == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK", "")
    if identity_agent.startswith("$") and not identity_agent.startswith("${"):
        return os.environ.get(identity_agent[1:], "")
    return str(expand_home(identity_agent))


def agent_keys(agent: Agent | paramiko.Agent | None) -> list[AgentKey]:
    """Return all keys of the agent, with certificates before plain keys."""
    if agent is None:
        return []
    keys = [
        AgentKey(key.agent, key.blob, getattr(key, "comment", ""))
        for key in agent.get_keys()
    ]
    return sorted(keys, key=lambda key: not key.get_name().endswith(CERTIFICATE))
