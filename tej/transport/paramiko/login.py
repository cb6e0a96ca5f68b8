"""Login with paramiko: by keys, the agent, a password, or keyboard-interactive."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import paramiko

from tej.errors import AuthenticationFailed, ConnectionFailed
from tej.transport.paramiko.agent import Agent, AgentKey, agent_keys, open_agent
from tej.transport.paramiko.failures import translating_errors
from tej.transport.paramiko.identity_files import (
    Identity,
    is_encrypted,
    read_identities,
)
from tej.transport.paramiko.key_loading import (
    KeyUnusable,
    load_file,
    load_with_passphrase,
    parse_key,
)
from tej.transport.paramiko.key_order import order_keys
from tej.transport.paramiko.keyboard_interactive import PromptReplies
from tej.transport.prompts import PROMPTS, Ask
from tej.transport.settings import Settings
from tej.transport.ssh_config import HostConfig

logger = logging.getLogger("tej")

REPLY_TIMEOUT = 600.0
"""Time limit in seconds for the user's reply to a keyboard-interactive prompt."""
MAX_STEPS = 5
MAX_AUTH_TRIES = 3
"""If sshd disconnects after this number of failed attempts, tej assumes that the cause
is MaxAuthTries."""


@dataclass(frozen=True)
class _Attempt:
    """One authentication attempt.

    `run` returns the methods that the server requires in addition, or an empty sequence
    if the login is complete.
    """

    method: str
    label: str
    run: Callable[[], Sequence[str]]


class _NotTried(Exception):
    """An attempt was skipped, because no password is available."""


def log_in(
    transport: paramiko.Transport,
    config: HostConfig,
    settings: Settings,
    password: str | None,
    key: str | None = None,
) -> None:
    """Log in with `password`, `key`, the agent's keys, key files, or replies of `ask`.

    Raises AuthenticationFailed if the login fails; the message lists the attempts and
    the methods that the server accepts.
    """
    with translating_errors(config.where):
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
        self.timeout = settings.connect_timeout(config.connect_timeout)
        self.allowed: set[str] | None = None
        self.tried: list[str] = []
        self.remarks: list[str] = []
        self.prompted = False
        """Whether a keyboard-interactive attempt has prompted the user."""

    def run(self) -> None:
        """Log in, in several steps if the server requires several login methods."""
        done: set[str] = set()
        agent = open_agent(self.config.identity_agent)
        try:
            for _ in range(MAX_STEPS):
                method = self._step(agent, done)
                if method is None:
                    return
                done.add(method)
        finally:
            if agent is not None:
                agent.close()
        raise AuthenticationFailed(
            f"{self.where} requires more than {MAX_STEPS} login methods in a row"
        )

    def _step(self, agent: Agent | paramiko.Agent | None, done: set[str]) -> str | None:
        """Run the authentication attempts until an attempt succeeds.

        Returns None if the login is then complete.  Returns the method of the attempt
        if the server requires another method in addition.
        """
        cause: Exception | None = None
        for attempt in self._in_order(self._attempts(agent)):
            # The methods are checked before each attempt, because an attempt can change
            # the methods that the server accepts.
            if attempt.method in done or not self._may_try(attempt.method):
                continue
            try:
                wanted = self._try(attempt)
            except (_NotTried, KeyUnusable) as error:
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
                logger.debug("%s: logged in with %s", self.where, attempt.label)
                return None
            self.allowed = set(wanted)
            return attempt.method
        raise self._failure() from cause

    def _try(self, attempt: _Attempt) -> Sequence[str]:
        self.transport.auth_timeout = self.timeout
        wanted: Sequence[str] = ()
        try:
            wanted = attempt.run()
        except paramiko.BadAuthenticationType:
            raise
        except paramiko.AuthenticationException:
            self.tried.append(attempt.label)
            raise
        return wanted

    def _may_try(self, method: str) -> bool:
        """Return whether the server and the configuration permit a login method."""
        if method in self.config.forbidden_authentications:
            return False
        return self._accepted(method)

    def _accepted(self, method: str) -> bool:
        return self.allowed is None or method in self.allowed or method == "none"

    def _in_order(self, attempts: Iterator[_Attempt]) -> Iterator[_Attempt]:
        """Sort the attempts by PreferredAuthentications, if that option is set."""
        preferred = self.config.preferred_authentications
        if not preferred:
            yield from attempts
            return
        listed = [
            attempt for attempt in attempts if attempt.method in (*preferred, "none")
        ]
        order = [*preferred, "none"]
        yield from sorted(listed, key=lambda attempt: order.index(attempt.method))

    def _attempts(self, agent: Agent | paramiko.Agent | None) -> Iterator[_Attempt]:
        if self.password is not None:
            yield self._password_attempt(
                "the given password", lambda _: self.password or ""
            )
            yield self._interactive_attempt("the given password")
        yield from self._key_attempts(agent)
        if self.settings.ask is not None:
            self.prompted = False
            for number in range(PROMPTS):
                # Some servers offer keyboard-interactive, but send no prompt.  The
                # attempt is then not repeated.
                if self.prompted or not number:
                    yield self._interactive_attempt("answers typed")
            if not self.prompted:
                for _ in range(PROMPTS):
                    yield self._password_attempt("a typed password", self.settings.ask)
        if self.allowed is None:
            yield _Attempt("none", "nothing", self._nothing)

    def _nothing(self) -> Sequence[str]:
        return self.transport.auth_none(self.config.user)

    def _password_attempt(self, label: str, ask: Ask) -> _Attempt:
        def run() -> Sequence[str]:
            password = ask(f"Password for {self.where}: ")
            if not password:
                raise _NotTried("no password was given")
            return self.transport.auth_password(
                self.config.user, password, fallback=False
            )

        return _Attempt("password", label, run)

    def _interactive_attempt(self, label: str) -> _Attempt:
        def run() -> Sequence[str]:
            answers = PromptReplies(self.where, self.password, self.settings.ask)
            if self.settings.ask is not None:
                self.transport.auth_timeout = REPLY_TIMEOUT
            try:
                return self.transport.auth_interactive(self.config.user, answers)
            finally:
                if answers.error is not None:
                    raise answers.error
                self.remarks += answers.unanswered
                self.prompted |= answers.prompted

        return _Attempt("keyboard-interactive", label, run)

    def _key_attempts(self, agent: Agent | paramiko.Agent | None) -> Iterator[_Attempt]:
        """Yield attempts with the keys of the agent and of key files."""
        if self.key is not None:
            yield self._given_attempt(self.key)
            return
        files = read_identities(self.config.identity_files)
        for key in order_keys(files, agent_keys(agent), self.config):
            if isinstance(key, Identity):
                yield self._file_attempt(key)
            else:
                yield self._agent_attempt(key)

    def _given_attempt(self, key: str) -> _Attempt:
        def run() -> Sequence[str]:
            encrypted = is_encrypted(key)
            load = partial(parse_key, f"{key.strip()}\n".encode())
            return self._offer(
                load_with_passphrase(
                    "the given key", load, self.settings.ask, encrypted=encrypted
                )
            )

        return _Attempt("publickey", "the given key", run)

    def _agent_attempt(self, key: AgentKey) -> _Attempt:
        label = f"the agent's {key.get_name()} {getattr(key, 'comment', '')}".strip()

        def run() -> Sequence[str]:
            try:
                return self._offer(key)
            finally:
                if key.refused:
                    self.remarks.append(f"The agent refused to sign with {label}")

        return _Attempt("publickey", label, run)

    def _file_attempt(self, identity: Identity) -> _Attempt:
        def run() -> Sequence[str]:
            path, encrypted = identity.path, identity.encrypted
            load = partial(load_file, path, self.config.certificate_files)
            return self._offer(
                load_with_passphrase(
                    str(path), load, self.settings.ask, encrypted=encrypted
                )
            )

        return _Attempt("publickey", str(identity.path), run)

    def _offer(self, key: paramiko.PKey) -> Sequence[str]:
        return self.transport.auth_publickey(self.config.user, key)

    def _failure(self) -> ConnectionFailed:
        tried = ", ".join(dict.fromkeys(self.tried)) or "nothing"
        lost = not self.transport.is_active()
        if lost and len(self.tried) < MAX_AUTH_TRIES:
            return ConnectionFailed(
                f"{self.where} disconnected during the login (tried: {tried})"
            )
        words = [f"{self.where} did not accept the login. Tried: {tried}."]
        if self.allowed is not None:
            words.append(f"The server accepts: {', '.join(sorted(self.allowed))}.")
        if lost:
            words.append(
                "The server disconnected; with many keys in the agent, set "
                "IdentityFile and IdentitiesOnly yes in ~/.ssh/config."
            )
        words += [remark + "." for remark in dict.fromkeys(self.remarks)]
        words.append(
            f"To see the cause, run: ssh -v -p {self.config.port} "
            f"{self.config.user}@{self.config.host} true"
        )
        error = AuthenticationFailed(" ".join(words))
        error.sent_secret = self.password is not None or self.settings.ask is not None
        return error
