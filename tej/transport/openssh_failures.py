"""Error messages of `ssh`, translated to ConnectionFailed with advice for the user."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from tej.errors import AuthenticationFailed, ConnectionFailed, HostKeyRejected
from tej.transport.openssh_config import SshConfig, ssh_words
from tej.transport.putty_key import putty_key_problem

OFFERED = re.compile(r"^debug1: (?:Offering public key|Trying private key): (.*)")
CONTINUE = re.compile(r"^debug1: Authentications that can continue: (.*)")
DENIED = re.compile(r"Permission denied \(([^)]*)\)")
HOST_KEY = re.compile(r"^debug1: Server host key: (\S+) (\S+)", re.M)
AUTHENTICATING = re.compile(r"^debug1: Authenticating to (\S+):(\d+) as '(.*)'", re.M)
UNREACHED = re.compile(r"connect to host (\S+) port (\d+):")
UNRESOLVED = re.compile(r"Could not resolve hostname (\S+): ")
UNLOADED = re.compile(r'^Load key "(.*)": ', re.M)
OFFENDING = re.compile(r"Offending .*key in (.*)")
PROMPTS = {"password", "keyboard-interactive"}
"""Login methods for which `ssh` prompts the user."""


def connection_error(
    config: SshConfig,
    timeout: float,
    status: int,
    stderr: bytes,
    *,
    is_shown: bool = False,
) -> ConnectionFailed:
    """Return the error for a failed login, from ssh's exit status and stderr.

    If `is_shown` is true, the user has seen stderr, so the error does not quote it.
    """
    message = ssh_words(stderr)
    words = message or f"ssh ended with status {status}"
    quoted = "" if message and is_shown else f" ssh: {words}"
    text = stderr.decode("utf-8", "replace").replace("\r", "")
    error = _error(config, timeout, status, text, quoted)
    error.__cause__ = OSError(words)
    if isinstance(error, AuthenticationFailed):
        denied = DENIED.search(text)
        methods = set(denied[1].split(",")) if denied else PROMPTS
        # ssh can have sent a password or a code only if it could prompt at a terminal.
        error.sent_secret = is_shown and bool(PROMPTS & methods)
    return error


def _error(
    config: SshConfig, timeout: float, status: int, text: str, quoted: str
) -> ConnectionFailed:
    if "Host key verification failed" in text or "REVOKED HOST KEY" in text:
        return HostKeyRejected(_host_key(config, text, quoted))
    if DENIED.search(text) or "Too many authentication failures" in text:
        return AuthenticationFailed(_login(config, text) + quoted)
    reason = re.sub("^the ", "The ", _reason(config, timeout, status, text))
    if config.first("proxycommand") not in ("", "none"):
        # For a ControlMaster, ssh connects the stderr of the ProxyCommand to /dev/null,
        # so the message of the ProxyCommand is lost.
        host = shlex.quote(config.command[-1])
        reason += f" To see the output of its ProxyCommand, run `ssh {host} true`."
    error = ConnectionFailed(f"{reason}{quoted}")
    error.permanent = any(
        sign in text
        for sign in ("Could not resolve", "Connection refused", "unix_listener")
    )
    return error


def _reason(config: SshConfig, timeout: float, status: int, text: str) -> str:
    where = _unreached_server(config, text)
    if "stdio forwarding failed" in text:
        jump = config.first("proxyjump")
        return f"The connection to {where}, through {jump}, failed."
    if "Could not resolve hostname" in text:
        return (
            f"{where} cannot be found; check the host name, "
            "or its entry in ~/.ssh/config"
        )
    if "Connection refused" in text:
        return f"{where} refuses connections; is sshd running there, on that port?"
    if "too long for Unix domain socket" in text:
        return (
            f"ssh logged in to {where}, but the path of its ControlPath is too long "
            "for a socket: use %C instead of %r@%h:%p in ~/.ssh/config."
        )
    if "unix_listener" in text:
        return (
            f"ssh logged in to {where}, but cannot create the socket at its "
            "ControlPath: the directory must exist and be writable."
        )
    if status == -1 and "NEWKEYS received" in text and "attempt key" not in text:
        return (
            f"{where} answers, but ssh has not begun to log in within {timeout:g} s. "
            "Does the ssh agent (SSH_AUTH_SOCK or IdentityAgent) reply? Check with "
            "`ssh-add -l`."
        )
    if status == -1 or "timed out" in text:
        return (
            f"{where} does not answer in time ({timeout:g} s); are the server and the "
            "network up?"
        )
    # If a jump host or a ProxyCommand fails, ssh also reports that the connection was
    # closed, but with the address UNKNOWN.
    is_direct = "UNKNOWN port" not in text and "connect to host" not in text
    if (
        "banner" in text
        or "Protocol mismatch" in text
        or ("kex_exchange_identification" in text and is_direct)
    ):
        return f"{where} {_answer_before_login(text)}"
    return f"The connection to {where} failed."


def _answer_before_login(text: str) -> str:
    """Return the cause if a server sent no SSH version, with advice for the user."""
    if "Exceeded MaxStartups" in text:
        return "has too many logins at the moment (MaxStartups): repeat the command."
    if "Not allowed at this time" in text:
        return (
            "refuses connections from this address for a few minutes, because earlier "
            "logins failed (PerSourcePenalties)."
        )
    if "banner" in text or "Protocol mismatch" in text:
        return "does not answer as an SSH server; is the port right?"
    return (
        "closed the connection before the login: it has too many logins at the moment "
        "(MaxStartups), or blocks this address."
    )


def _unreached_server(config: SshConfig, text: str) -> str:
    """Return the server that `ssh` could not reach: the destination or a jump host."""
    own = config.first("hostname").lower()
    if config.first("proxyjump") in ("", "none"):
        return config.where
    if found := UNREACHED.search(text):
        host, port = found.groups()
        if (host.lower(), port) != (own, config.first("port")):
            return f"the jump host {_at(host, port)}"
    found = UNRESOLVED.search(text)
    if found is not None and found[1].lower() != own:
        return f"the jump host {found[1]}"
    return config.where


def _login_server(config: SshConfig, text: str) -> str:
    """Return the server of the last login in `text`: the destination or a jump host.

    `text` may contain several logins, because the `ssh` processes for jump hosts write
    to the same stderr.
    """
    found = AUTHENTICATING.findall(text)
    if not found:
        return config.where
    host, port, user = found[-1]
    return f"{user}@{_at(host, port)}"


def _at(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _login(config: SshConfig, text: str) -> str:
    lines = text.splitlines()
    offered = [found[1] for line in lines if (found := OFFERED.match(line))]
    wanted = [found[1] for line in lines if (found := CONTINUE.match(line))]
    denied = DENIED.search(text)
    accepts = denied[1] if denied else (wanted[-1] if wanted else "")
    server = _login_server(config, text[: denied.start()] if denied else text)
    parts = [f"{server} did not accept the login."]
    if any(line.startswith("debug1:") for line in lines):
        keys = [" ".join(offer.split()[:4]) for offer in dict.fromkeys(offered)]
        parts.append(f"Tried: {', '.join(keys) or 'nothing'}.")
    methods = accepts.split(",")
    if accepts:
        parts.append(f"The server accepts: {accepts}.")
    parts += _key_advice(config, text, methods)
    for path in dict.fromkeys(UNLOADED.findall(text)):
        if problem := putty_key_problem(Path(path)):
            parts.append(f"{path} cannot be used: {problem}.")
    if PROMPTS & set(methods):
        parts.append(
            f"To type a password or a code, run `tej connect {_address(config)}` at a "
            "terminal, then repeat the command."
        )
    else:
        words = [word for word in config.command[1:] if word != "--"]
        parts.append(f"To see the cause, run `ssh -v {shlex.join(words)} true`.")
    return " ".join(parts)


def _key_advice(config: SshConfig, text: str, methods: Sequence[str]) -> list[str]:
    """Return advice for a login whose keys failed, or [] if the reason is unknown."""
    if "Too many authentication failures" in text:
        return [
            "The server disconnected after too many keys: set IdentityFile and "
            "IdentitiesOnly yes for this host in ~/.ssh/config."
        ]
    if "agent refused operation" in text or "sign_and_send_pubkey" in text:
        return ["The agent refused to sign: is the hardware key plugged in?"]
    if "debug1: Server accepts key:" in text and "publickey" in methods:
        # In BatchMode, ssh cannot prompt for the passphrase of the accepted key, and
        # continues with the next key without a message.
        return [
            "The server accepts a key that ssh could not use here: if the key has a "
            f"passphrase, run ssh-add, or `tej connect {_address(config)}` at a "
            "terminal."
        ]
    return []


def _address(config: SshConfig) -> str:
    """Return the destination as user@host:port, with the parts that the user gave."""
    words = list(config.command)
    host = words[-1]
    user = f"{words[words.index('-l') + 1]}@" if "-l" in words else ""
    port = f":{words[words.index('-p') + 1]}" if "-p" in words else ""
    return shlex.quote(f"{user}{f'[{host}]' if ':' in host else host}{port}")


def _host_key(config: SshConfig, text: str, quoted: str) -> str:
    before = text.partition("Host key verification failed")[0]
    where = _login_server(config, before)
    name, port = config.first("hostname").lower(), config.first("port")
    for server in AUTHENTICATING.finditer(before):
        name, port = server[1], server[2]
    keys = [f"{key[1]} {key[2]}" for key in HOST_KEY.finditer(before)]
    theirs = keys[-1] if keys else "see the message of ssh"
    known = name if port == "22" else f"[{name}]:{port}"
    if "REVOKED HOST KEY" in text:
        return (
            f"{where} has a revoked host key, {theirs}. Do not connect; ask the "
            f"server's administrator.{quoted}"
        )
    if "IDENTIFICATION HAS CHANGED" in text or "DIFFERS" in text:
        offending = OFFENDING.search(text)
        path, _, _ = (offending[1] if offending else "").rpartition(":")
        file = f"-f {shlex.quote(path)} " if path else ""
        line = f" ({offending[1]})" if offending else ""
        return (
            f"THE HOST KEY OF {where} HAS CHANGED{line}. Somebody may be intercepting "
            "the connection, or the server may have been reinstalled. New key: "
            f"{theirs}. If you know that the new key is right: "
            f"ssh-keygen {file}-R {shlex.quote(known)}"
        )
    # For a jump host, do not suggest --accept-new-host-key: ssh does not pass the
    # option StrictHostKeyChecking to the `ssh` processes for jump hosts.
    is_jump_host = where.lower() != config.where.lower()
    option = "" if is_jump_host else "--accept-new-host-key, or "
    return (
        f"The host key of {where} is not known: {theirs}. Compare this key with the "
        f"key from the server's administrator, then accept the key: {option}"
        f"`tej connect {_address(config)}` at a terminal.{quoted}"
    )
