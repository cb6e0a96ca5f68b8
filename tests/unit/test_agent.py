"""Keys of the agent, with simulated replies of the agent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from tej.transport.paramiko.agent import SIGN_RESPONSE, AgentKey


@pytest.mark.parametrize("error", [paramiko.SSHException(), OSError(), EOFError()])
def test_only_a_key_that_cannot_sign_is_refused(error: Exception) -> None:
    replies: list[Any] = []

    def send(message: paramiko.Message) -> tuple[int, paramiko.Message]:
        kind = replies.pop(0)
        if isinstance(kind, Exception):
            raise kind
        answer = paramiko.Message()
        answer.add_string(b"signature")
        answer.rewind()
        return kind, answer

    blob = paramiko.ECDSAKey.generate().asbytes()
    key = AgentKey(SimpleNamespace(_send_message=send), blob, "mine")
    replies[:] = [SIGN_RESPONSE, SIGN_RESPONSE + 1, error]
    assert key.sign_ssh_data(b"data") == b"signature"
    assert not key.refused
    for _ in range(2):
        invalid = paramiko.Message(key.sign_ssh_data(b"data"))
        assert invalid.get_text() == "ecdsa-sha2-nistp256"
        assert len(invalid.get_binary()) == 64
        assert key.refused
        key.refused = False
