"""Error messages of `ssh`, translated to ConnectionFailed with advice for the user."""

from __future__ import annotations

import re
import shlex

from tej.errors import AuthenticationFailed, ConnectionFailed, HostKeyRejected
from tej.transport.openssh_config import SshConfig, ssh_words

OFFERED = re.compile(r"^debug1: (?:Offering public key|Trying private key): (.*)")
CONTINUE = re.compile(r"^debug1: Authentications that can continue: (.*)")
DENIED = re.compile(r"Permission denied \(([^)]*)\)")
HOST_KEY = re.compile(r"^debug1: Server host key: (\S+) (\S+)")
AUTHENTICATING = re.compile(r"^debug1: Authenticating to (\S+):(\d+) as '(.*)'")
OFFENDING = re.compile(r"Offending .*key in (.*)")


def connection_error(
    config: SshConfig, timeout: float, status: int, stderr: bytes
) -> ConnectionFailed:
    """Return the error for a failed login, from ssh's exit status and stderr."""
    text = stderr.decode("utf-8", "replace").replace("\r", "")
    words = ssh_words(stderr) or f"ssh ended with status {status}"
    if "Host key verification failed" in text or "REVOKED HOST KEY" in text:
        return HostKeyRejected(_host_key(config, text, words))
    if DENIED.search(text) or "Too many authentication failures" in text:
        return AuthenticationFailed(_login(config, text, words))
    reason = _reason(config, timeout, status, text)
    if config.first("proxycommand") not in ("", "none"):
        # For a ControlMaster, ssh connects the stderr of the ProxyCommand to /dev/null,
        # so the message of the ProxyCommand is lost.
        host = shlex.quote(config.command[-1])
        reason += f" Its ProxyCommand may say more: ssh {host} true"
    error = ConnectionFailed(f"{reason} ssh: {words}")
    error.permanent = any(
        sign in text
        for sign in ("Could not resolve", "Connection refused", "unix_listener")
    )
    error.__cause__ = OSError(words)
    return error


def _reason(config: SshConfig, timeout: float, status: int, text: str) -> str:
    where = config.where
    if "stdio forwarding failed" in text:
        jump = config.first("proxyjump")
        return f"The connection to {where}, through {jump}, failed."
    if "Could not resolve hostname" in text:
        return (
            f"{where} cannot be found; is the name right, or the host in ~/.ssh/config?"
        )
    if "Connection refused" in text:
        return f"{where} refuses connections; is sshd running there, on that port?"
    if "unix_listener" in text:
        return (
            f"ssh logged in to {where}, but cannot create the socket at its "
            "ControlPath: the directory must exist and be writable."
        )
    if status == -1 or "timed out" in text:
        return f"{where} does not answer in time ({timeout:g} s); is it up?"
    if "banner" in text or "Protocol mismatch" in text:
        return f"{where} does not answer as an SSH server; is the port right?"
    return f"The connection to {where} failed."


def _login(config: SshConfig, text: str, words: str) -> str:
    lines = text.splitlines()
    offered = [found[1] for line in lines if (found := OFFERED.match(line))]
    wanted = [found[1] for line in lines if (found := CONTINUE.match(line))]
    denied = DENIED.search(text)
    accepts = denied[1] if denied else (wanted[-1] if wanted else "")
    parts = [f"{config.where} did not accept the login."]
    if any(line.startswith("debug1:") for line in lines):
        keys = [" ".join(offer.split()[:4]) for offer in dict.fromkeys(offered)]
        parts.append(f"Tried: {', '.join(keys) or 'nothing'}.")
    if accepts:
        parts.append(f"The server accepts: {accepts}.")
    if "Too many authentication failures" in text:
        parts.append(
            "It disconnected after too many keys: set IdentityFile and IdentitiesOnly "
            "yes for this host in ~/.ssh/config."
        )
    elif "agent refused operation" in text or "sign_and_send_pubkey" in text:
        parts.append("The agent refused to sign: is the hardware key plugged in?")
    host = shlex.quote(config.command[-1])
    if {"password", "keyboard-interactive"} & set(accepts.split(",")):
        parts.append(
            f"To type a password or a code, run `tej connect {_address(config)}` at a "
            "terminal, then repeat the command."
        )
    else:
        parts.append(f"To see the cause, run: ssh -v {host} true")
    return " ".join([*parts, f"ssh: {words}"])


def _address(config: SshConfig) -> str:
    """Return the destination as user@host:port, with the parts that the user gave."""
    words = list(config.command)
    host = words[-1]
    user = f"{words[words.index('-l') + 1]}@" if "-l" in words else ""
    port = f":{words[words.index('-p') + 1]}" if "-p" in words else ""
    return shlex.quote(f"{user}{f'[{host}]' if ':' in host else host}{port}")


def _host_key(config: SshConfig, text: str, words: str) -> str:
    where = config.where
    name = config.first("hostname").lower()
    port = config.first("port")
    theirs = "shown by ssh"
    # The `ssh` processes for jump hosts write to the same stderr. The rejected key
    # belongs to the last server that stderr mentions before the failure.
    for line in text.partition("Host key verification failed")[0].splitlines():
        if server := AUTHENTICATING.match(line):
            name, port = server[1], server[2]
            where = f"{server[3]}@{f'[{name}]' if ':' in name else name}:{port}"
        elif key := HOST_KEY.match(line):
            theirs = f"{key[1]} {key[2]}"
    known = name if port == "22" else f"[{name}]:{port}"
    if "REVOKED HOST KEY" in text:
        return (
            f"{where} has a revoked host key, {theirs}. Do not connect; ask the "
            f"server's administrator. ssh: {words}"
        )
    if "IDENTIFICATION HAS CHANGED" in text or "DIFFERS" in text:
        offending = OFFENDING.search(text)
        path, _, _ = (offending[1] if offending else "").rpartition(":")
        file = f"-f {shlex.quote(path)} " if path else ""
        line = f" ({offending[1]})" if offending else ""
        return (
            f"THE HOST KEY OF {where} HAS CHANGED{line}. Somebody may be intercepting "
            f"the connection, or the server may have been reinstalled. Got: {theirs}. "
            "If you know that the new key is right: "
            f"ssh-keygen {file}-R {shlex.quote(known)}"
        )
    return (
        f"The host key of {where} is not known: {theirs}. Compare it with the key from "
        "the server's administrator, then accept it: --accept-new-host-key, or "
        f"`tej connect {_address(config)}` at a terminal. ssh: {words}"
    )
