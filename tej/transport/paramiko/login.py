"""Logging in: every way that the server accepts and the user can provide."""

from __future__ import annotations

import io
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tej.errors import AuthenticationFailed, ConnectionFailed
from tej.transport.identities import Identity, is_encrypted, read_identities
from tej.transport.paramiko.failures import explained
from tej.transport.settings import Ask, Settings
from tej.transport.ssh_config import HostConfig

logger = logging.getLogger("tej")

TRIES = 3
"""How often a wrong password or passphrase may be typed again, as with ssh."""
TYPING = 600.0
"""Seconds for typing what keyboard-interactive asks for; the server sets its own."""
MAX_STEPS = 5
FEW = 3
"""A server that hangs up after so many tries has had enough; before, it is broken."""


@dataclass(frozen=True)
class _Way:
    """One thing to try.  `go` returns what is still wanted: nothing, if we are in."""

    method: str
    label: str
    go: Callable[[], Sequence[str]]


class _NotTried(Exception):
    """There is nothing to offer, after all."""


def log_in(
    transport: paramiko.Transport,
    config: HostConfig,
    settings: Settings,
    password: str | None,
    key: str | None = None,
) -> None:
    """Log in with the password given, the key given or else the agent's keys and key
    files, what `ask` answers.

    Raises AuthenticationFailed, saying what was tried and what the server accepts.
    """
    with explained(config.where):
        _Login(transport, config, settings, password, key).run()


class _Login:
    def __init__(
        self,
        transport: paramiko.Transport,
        config: HostConfig,
        settings: Settings,
        password: str | None,
        key: str | None,
    ) -> None:
        self.transport = transport
        self.config = config
        self.settings = settings
        self.password = password
        self.key = key
        self.where = config.where
        self.allowed: set[str] | None = None
        self.tried: list[str] = []
        self.remarks: list[str] = []

    def run(self) -> None:
        """Step by step, for servers that want, say, a key and then a code."""
        done: set[str] = set()
        agent = _agent()
        try:
            for _ in range(MAX_STEPS):
                method = self._step(agent, done)
                if method is None:
                    return
                done.add(method)
        finally:
            if agent is not None:
                agent.close()
        raise AuthenticationFailed(f"{self.where} wants ever more ways to log in")

    def _step(self, agent: paramiko.Agent | None, done: set[str]) -> str | None:
        """Try until a way works; returns its method if the server wants another one."""
        cause: Exception | None = None
        for way in self._ways(agent):
            if way.method in done or not self._accepted(way.method):
                continue
            try:
                wanted = self._try(way)
            except _NotTried as error:
                self.remarks.append(str(error))
                continue
            except paramiko.BadAuthenticationType as error:
                self.allowed, cause = set(error.allowed_types), error
                continue
            except paramiko.AuthenticationException as error:
                cause = error
                if not self.transport.is_active():
                    break
                if "timeout" in str(error):
                    raise TimeoutError from error
                continue
            if not wanted:
                logger.debug("%s: logged in with %s", self.where, way.label)
                return None
            self.allowed = set(wanted)
            return way.method
        raise self._failure() from cause

    def _try(self, way: _Way) -> Sequence[str]:
        self.transport.auth_timeout = self.settings.timeout
        wanted: Sequence[str] = ()
        try:
            wanted = way.go()
        except paramiko.BadAuthenticationType:
            raise
        except paramiko.AuthenticationException:
            self.tried.append(way.label)
            raise
        return wanted

    def _accepted(self, method: str) -> bool:
        return self.allowed is None or method in self.allowed or method == "none"

    def _ways(self, agent: paramiko.Agent | None) -> Iterator[_Way]:
        if self.password is not None:
            yield self._password_way(
                "the password given", lambda _: self.password or ""
            )
            yield self._interactive_way("the password given")
        yield from self._key_ways(agent)
        if self.settings.ask is not None:
            asked = len(self.tried)
            for _ in range(TRIES):
                yield self._interactive_way("answers typed")
            if "answers typed" not in self.tried[asked:]:
                for _ in range(TRIES):
                    yield self._password_way("a password typed", self.settings.ask)
        if self.allowed is None:
            yield _Way("none", "nothing", self._nothing)

    def _nothing(self) -> Sequence[str]:
        return self.transport.auth_none(self.config.user)

    def _password_way(self, label: str, ask: Ask) -> _Way:
        def go() -> Sequence[str]:
            password = ask(f"Password for {self.where}: ")
            if not password:
                raise _NotTried("no password was given")
            return self.transport.auth_password(
                self.config.user, password, fallback=False
            )

        return _Way("password", label, go)

    def _interactive_way(self, label: str) -> _Way:
        def go() -> Sequence[str]:
            answers = _Answers(self.where, self.password, self.settings.ask)
            if self.settings.ask is not None:
                self.transport.auth_timeout = TYPING
            try:
                return self.transport.auth_interactive(self.config.user, answers)
            finally:
                if answers.error is not None:
                    raise answers.error
                self.remarks += answers.unanswered

        return _Way("keyboard-interactive", label, go)

    def _key_ways(self, agent: paramiko.Agent | None) -> Iterator[_Way]:
        """The agent's and the files' keys, those asked for in the configuration first.

        The order matters: sshd hangs up after six that it does not know.
        """
        if self.key is not None:
            yield self._given_way(self.key)
            return
        files = read_identities(self.config.identity_files)
        ours = {identity.blob for identity in files}
        held = {key.asbytes(): key for key in agent.get_keys()} if agent else {}
        for identity in files:
            if identity.blob is not None and identity.blob in held:
                yield self._agent_way(held[identity.blob])
        loadable = [f for f in files if f.private and f.blob not in held]
        ready = [self._file_way(f) for f in loadable if not f.encrypted]
        if self.config.identities_chosen:
            yield from ready
        if not self.config.identities_only:
            for blob, key in held.items():
                if blob not in ours:
                    yield self._agent_way(key)
        if not self.config.identities_chosen:
            yield from ready
        yield from (self._file_way(f) for f in loadable if f.encrypted)

    def _given_way(self, key: str) -> _Way:
        def go() -> Sequence[str]:
            encrypted = is_encrypted(key)
            load = partial(_parse_key, f"{key.strip()}\n".encode())
            return self._offer(self._load("the key given", load, encrypted=encrypted))

        return _Way("publickey", "the key given", go)

    def _agent_way(self, key: paramiko.AgentKey) -> _Way:
        label = f"the agent's {key.get_name()} {getattr(key, 'comment', '')}".strip()
        return _Way("publickey", label, lambda: self._offer(key))

    def _file_way(self, identity: Identity) -> _Way:
        def go() -> Sequence[str]:
            path, encrypted = identity.path, identity.encrypted
            load = partial(_load_file, path)
            return self._offer(self._load(str(path), load, encrypted=encrypted))

        return _Way("publickey", str(identity.path), go)

    def _offer(self, key: paramiko.PKey) -> Sequence[str]:
        return self.transport.auth_publickey(self.config.user, key)

    def _load(
        self,
        name: str,
        load: Callable[[str | None], paramiko.PKey],
        *,
        encrypted: bool,
    ) -> paramiko.PKey:
        ask = self.settings.ask
        try:
            if not encrypted:
                return load(None)
            if ask is None:
                raise _NotTried(
                    f"{name} has a passphrase and nobody can be asked: use ssh-add"
                )
            for _ in range(TRIES):
                passphrase = ask(f"Passphrase for {name}: ")
                if not passphrase:
                    break
                try:
                    return load(passphrase)
                except ValueError:
                    logger.debug("%s: a wrong passphrase", name)
            raise _NotTried(f"no right passphrase for {name} was given")
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _NotTried(f"{name} cannot be used: {error}") from error
        except paramiko.SSHException as error:
            raise _NotTried(f"{name} cannot be used: {error}") from error

    def _failure(self) -> ConnectionFailed:
        tried = ", ".join(dict.fromkeys(self.tried)) or "nothing"
        lost = not self.transport.is_active()
        if lost and len(self.tried) < FEW:
            return ConnectionFailed(f"{self.where} hung up at the login (with {tried})")
        words = [f"{self.where} did not let us in. Tried: {tried}."]
        if self.allowed is not None:
            words.append(f"It accepts: {', '.join(sorted(self.allowed))}.")
        if lost:
            words.append(
                "It hung up; with many keys in the agent, set IdentityFile and "
                "IdentitiesOnly yes in ~/.ssh/config."
            )
        words += [remark + "." for remark in dict.fromkeys(self.remarks)]
        words.append(
            f"Does this work: ssh -v -p {self.config.port} "
            f"{self.config.user}@{self.config.host} true ?"
        )
        return AuthenticationFailed(" ".join(words))


class _Answers:
    """Answers the questions of keyboard-interactive; called in paramiko's thread."""

    def __init__(self, where: str, password: str | None, ask: Ask | None) -> None:
        self._where = where
        self._password = password
        self._ask = ask
        self.error: BaseException | None = None
        self.unanswered: list[str] = []

    def __call__(
        self, title: str, instructions: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str]:
        try:
            head = "".join(f"{t.strip()}\n" for t in (title, instructions) if t.strip())
            return [self._answer(head + text, echo) for text, echo in prompts]
        except BaseException as error:
            self.error = error
            return []

    def _answer(self, prompt: str, echo: bool) -> str:
        if self._password is not None and not echo:
            password, self._password = self._password, None
            return password
        if self._ask is None:
            self.unanswered.append(
                f"It asked {prompt.strip()!r}, and nobody can answer"
            )
            return ""
        return self._ask(f"({self._where}) {prompt}")


def _agent() -> paramiko.Agent | None:
    try:
        if hasattr(socket, "AF_UNIX") and os.name == "posix":
            # paramiko would leave a socket open if nobody listens.
            with socket.socket(socket.AF_UNIX) as attempt:
                attempt.connect(os.environ.get("SSH_AUTH_SOCK", ""))
        return paramiko.Agent()
    except (paramiko.SSHException, OSError, EOFError) as error:
        logger.debug("no ssh agent: %s", error)
        return None


def _load_file(path: Path, passphrase: str | None) -> paramiko.PKey:
    key = _parse_key(path.read_bytes(), passphrase)
    certificate = path.with_name(path.name + "-cert.pub")
    if certificate.exists():
        key.load_certificate(str(certificate))
    return key


def _parse_key(data: bytes, passphrase: str | None) -> paramiko.PKey:
    """A private key of any format that OpenSSH writes or reads."""
    secret = None if passphrase is None else passphrase.encode()
    if b"OPENSSH PRIVATE KEY" in data:
        private = serialization.load_ssh_private_key(data, secret)
    else:
        private = serialization.load_pem_private_key(data, secret)  # type: ignore[assignment]
    kinds: list[tuple[type, type[paramiko.PKey]]] = [
        (rsa.RSAPrivateKey, paramiko.RSAKey),
        (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
        (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
    ]
    for kind, make in kinds:
        if isinstance(private, kind):
            text = private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
            return make.from_private_key(io.StringIO(text.decode()))
    raise ValueError("not a type of key that tej can use")
