"""Errors of paramiko and of sockets, translated to ConnectionFailed."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import paramiko

from tej.errors import AuthenticationFailed, ConnectionFailed


def translate_error(error: BaseException, where: str) -> ConnectionFailed:
    """Translate an error of paramiko or of a socket to ConnectionFailed.

    The message contains the server `where` and advice for the user.
    """
    if isinstance(error, ConnectionFailed):
        return error
    if isinstance(error, paramiko.AuthenticationException):
        return AuthenticationFailed(f"{where} did not accept the login: {error}")
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return ConnectionFailed(f"{where} and tej have no algorithm in common: {error}")
    failed = ConnectionFailed(_words(error, where))
    # A permanent error usually means that the host name or port is wrong. If the server
    # has replied before, the cause is different; the caller must check this.
    failed.permanent = isinstance(
        error, (socket.gaierror, UnicodeError, ConnectionRefusedError)
    )
    return failed


def _words(error: BaseException, where: str) -> str:
    if "protocol banner" in str(error):
        if not isinstance(error.__context__, TimeoutError):
            return (
                f"{where} does not answer as an SSH server; is the port right? A "
                "server that has too many logins at the moment (MaxStartups), or that "
                "blocks this address, does not answer either."
            )
        error = error.__context__
    if isinstance(error, (socket.gaierror, UnicodeError)):
        reason = getattr(error, "strerror", "no host has this name")
        return (
            f"{where} cannot be found: {reason}; "
            "check the host name, or its entry in ~/.ssh/config"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"{where} refuses connections; is sshd running there, on that port?"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer in time; are the server and the network up?"
    if isinstance(error, EOFError):
        return f"The connection to {where} was lost"
    reason = error.strerror if isinstance(error, OSError) else None
    return f"The connection to {where} failed: {reason or error or repr(error)}"


@contextlib.contextmanager
def translating_errors(where: str) -> Iterator[None]:
    """Translate errors of paramiko and sockets that are raised in the `with` block."""
    try:
        yield
    except ConnectionFailed:
        raise
    except (paramiko.SSHException, OSError, EOFError, UnicodeError) as error:
        raise translate_error(error, where) from error
