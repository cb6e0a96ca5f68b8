"""Login with paramiko: order of the attempts, and the error if all of them fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from tej.errors import AuthenticationFailed, ConnectionFailed
from tej.transport.paramiko import login
from tej.transport.settings import Settings
from tej.transport.ssh_config import HostConfig, look_up

REFUSED = paramiko.AuthenticationException("no")
METHODS = ("none", "password", "publickey", "keyboard-interactive")


class Server:
    """A paramiko transport whose server sends a list of replies, in this order.

    A reply is an exception, or the methods that are required in addition.
    """

    auth_timeout = 0.0

    def __init__(self, *replies: Any, prompts: bool = True, lost: bool = False) -> None:
        self.replies = [*replies]
        self.prompts = prompts
        self.lost = lost
        self.prompt = [("Code:", False)]
        self.methods: list[str] = []
        self.secrets: list[str] = []
        self.time_limits: list[float] = []

    def _reply(self, method: str) -> Sequence[str]:
        self.methods.append(method)
        self.time_limits.append(self.auth_timeout)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, list)
        return reply

    def is_active(self) -> bool:
        return not self.lost or bool(self.replies)

    def auth_none(self, user: str) -> Sequence[str]:
        return self._reply("none")

    def auth_password(self, user: str, password: str, fallback: bool) -> Sequence[str]:
        assert not fallback
        self.secrets.append(password)
        return self._reply("password")

    def auth_publickey(self, user: str, key: Any) -> Sequence[str]:
        return self._reply("publickey")

    def auth_interactive(self, user: str, answers: Any) -> Sequence[str]:
        if self.prompts:
            self.secrets += answers("", "", self.prompt)
        return self._reply("keyboard-interactive")


@pytest.fixture
def config(tmp_path: Path) -> HostConfig:
    file = tmp_path / "config"
    file.touch()
    return look_up("lab", "me", config_file=file)


class Run:
    """Function that logs in; the agent holds a number of keys."""

    def __init__(self, config: HostConfig) -> None:
        self.config = config
        self.keys = 1
        self.open_agents = 0

    def open_agent(self, _: object) -> Any:
        self.open_agents += 1
        return self

    def close(self) -> None:
        self.open_agents -= 1

    def agent_keys(self, agent: object) -> list[Any]:
        assert agent is self
        return [
            SimpleNamespace(
                blob=b"%d" % number, get_name=lambda: "rsa", comment="me", refused=False
            )
            for number in range(self.keys)
        ]

    def __call__(
        self,
        server: Any,
        *typed: str,
        password: str | None = None,
        **options: Any,
    ) -> list[str]:
        replies = [*typed]
        settings = Settings(ask=(lambda _: replies.pop(0)) if typed else None)
        config = replace(self.config, **options)
        try:
            login.log_in(server, config, settings, password)
        finally:
            assert self.open_agents == 0
        assert not replies
        assert not server.replies
        return list(server.methods)


@pytest.fixture
def run(config: HostConfig, monkeypatch: pytest.MonkeyPatch) -> Run:
    found = Run(replace(config, identity_files=()))
    monkeypatch.setattr(login, "open_agent", found.open_agent)
    monkeypatch.setattr(login, "agent_keys", found.agent_keys)
    return found


def bad_type(*methods: str) -> Exception:
    return paramiko.BadAuthenticationType("no", [*methods])


def test_given_password_precedes_keys(run: Run) -> None:
    server = Server(REFUSED, REFUSED, [])
    methods = ["password", "keyboard-interactive", "publickey"]
    assert run(server, password="s") == methods
    assert server.secrets == ["s", "s"]
    # Without prompts, the time limit is that of a connection.
    assert server.time_limits == [30, 30, 30]


def test_prompts_follow_keys_and_have_time(run: Run) -> None:
    server = Server(REFUSED, REFUSED, REFUSED, [])
    expected = ["publickey", *["keyboard-interactive"] * 3]
    assert run(server, "a", "b", "c") == expected
    assert server.time_limits == [30, 600, 600, 600]


def test_server_without_prompts_is_asked_once(run: Run) -> None:
    server = Server(REFUSED, REFUSED, REFUSED, [], prompts=False)
    expected = ["publickey", "keyboard-interactive", "password", "password"]
    assert run(server, "a", "b") == expected
    assert server.secrets == ["a", "b"]
    assert server.time_limits == [30, 600, 30, 30]


def test_empty_password_is_not_sent(run: Run) -> None:
    server = Server(bad_type("password"), REFUSED)
    with pytest.raises(AuthenticationFailed, match="no password was given") as caught:
        run(server, "", "x", "")
    assert server.methods == ["publickey", "password"]
    assert caught.value.sent_secret
    assert "Tried: a typed password. The server accepts: password." in str(caught.value)


def test_only_accepted_methods_are_tried(run: Run) -> None:
    """A method that the server does not offer is no failed attempt."""
    run.keys = 3
    server = Server(bad_type("password", "hostbased"))
    with pytest.raises(AuthenticationFailed) as caught:
        run(server)
    assert server.methods == ["publickey"]
    assert "Tried: nothing. The server accepts: hostbased, password." in str(
        caught.value
    )
    assert isinstance(caught.value.__cause__, paramiko.BadAuthenticationType)


def test_login_in_steps_repeats_no_method(run: Run) -> None:
    server = Server(["publickey", "password"], [])
    assert run(server, password="s") == ["password", "publickey"]
    server = Server(["password"])
    with pytest.raises(AuthenticationFailed, match="accepts: password"):
        run(server, password="s")
    assert server.methods == ["password"]


def test_number_of_login_steps_is_limited(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "MAX_STEPS", 2)
    with pytest.raises(AuthenticationFailed, match="more than 2 login methods"):
        run(Server(["publickey"], ["password"]), password="s")
    assert run(Server(["publickey"], []), password="s") == ["password", "publickey"]


def test_configuration_selects_and_orders_methods(run: Run) -> None:
    forbidden = frozenset(["password", "keyboard-interactive"])
    server = Server([])
    assert run(server, password="s", forbidden_authentications=forbidden) == [
        "publickey"
    ]
    server = Server(REFUSED, [])
    preferred = ("keyboard-interactive", "publickey")
    methods = run(server, password="s", preferred_authentications=preferred)
    assert methods == ["keyboard-interactive", "publickey"]


def test_login_without_secret_is_the_last_attempt(run: Run) -> None:
    run.keys = 0
    assert run(Server([])) == ["none"]
    assert run(Server([]), preferred_authentications=("password",)) == ["none"]
    run.keys = 1
    assert run(Server(REFUSED, [])) == ["publickey", "none"]


def test_timeout_of_the_server_is_no_refusal(run: Run) -> None:
    server = Server(paramiko.AuthenticationException("Authentication timeout."))
    with pytest.raises(ConnectionFailed, match="in time") as caught:
        run(server, password="s")
    assert not isinstance(caught.value, AuthenticationFailed)


@pytest.mark.parametrize("failures", [2, 3])
def test_lost_connection_is_a_refusal_after_three_failures(
    failures: int, run: Run
) -> None:
    run.keys = 5
    server = Server(*[REFUSED] * failures, lost=True)
    with pytest.raises(ConnectionFailed) as caught:
        run(server)
    assert server.methods == ["publickey"] * failures
    assert isinstance(caught.value, AuthenticationFailed) == (failures == 3)
    words = "IdentitiesOnly yes" if failures == 3 else "disconnected during the login"
    assert words in str(caught.value)
    assert str(caught.value).count("the agent's rsa me") == 1


def test_error_names_the_command_to_find_the_cause(run: Run) -> None:
    run.keys = 0
    with pytest.raises(AuthenticationFailed) as caught:
        run(Server(REFUSED), port=23)
    assert not caught.value.sent_secret
    assert str(caught.value) == (
        "me@lab:23 did not accept the login. Tried: nothing. "
        "To see the cause, run: ssh -v -p 23 me@lab true"
    )


def test_refused_signature_is_a_remark(run: Run, monkeypatch: Any) -> None:
    keys = run.agent_keys(run)
    keys[0].refused = True
    monkeypatch.setattr(login, "agent_keys", lambda _: keys)
    with pytest.raises(AuthenticationFailed, match=r"refused to sign .* rsa me\."):
        run(Server(REFUSED, REFUSED))


def test_prompt_that_cannot_be_answered_is_a_remark(run: Run) -> None:
    run.keys = 0
    server = Server(REFUSED, REFUSED, REFUSED)
    words = r"The server asked 'Code:', and tej cannot prompt here\."
    # The second prompt follows the prompt that the given password answers.
    server.prompt = [("Password:", False), ("Code:", False)]
    with pytest.raises(AuthenticationFailed, match=words):
        run(server, password="s")
    assert server.secrets == ["s", "s", ""]


def test_interrupted_prompt_ends_the_login(run: Run) -> None:
    run.keys = 0
    server = Server(REFUSED)

    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    settings = Settings(ask=interrupt)
    transport: Any = server
    with pytest.raises(KeyboardInterrupt):
        login.log_in(transport, run.config, settings, None)
    assert server.methods == ["keyboard-interactive"]
