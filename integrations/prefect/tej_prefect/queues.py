"""One queue, and so one connection, for each destination in a process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import tej

_queues: dict[tuple[object, ...], tej.RemoteQueue] = {}
_lock = threading.Lock()


def shared_queue(
    parts: Mapping[str, Any],
    *,
    key: str | None,
    password: str | None,
    passphrase: str | None,
    queue: str,
    runtime: str | None,
    accept_new_host_key: bool,
    known_hosts: str,
    timeout: float,
) -> tej.RemoteQueue:
    """The queue that was made with all of these before, or a new one.

    Raises tej.Error for a runtime that is unknown.
    """
    options = (key, password, passphrase, runtime, accept_new_host_key, known_hosts)
    identity = (*sorted(parts.items()), queue, *options, timeout)
    with _lock:
        if identity not in _queues:
            try:
                _queues[identity] = tej.RemoteQueue(
                    {**parts, "password": password},
                    queue,
                    runtime,
                    ask=None if passphrase is None else _answer(passphrase),
                    accept_new_host_key=accept_new_host_key,
                    timeout=timeout,
                    key=key,
                    known_hosts=known_hosts,
                )
            except ValueError as error:
                raise tej.InvalidDestination(str(error)) from error
        return _queues[identity]


def _answer(passphrase: str) -> Callable[[str], str]:
    def answer(prompt: str) -> str:
        if prompt.startswith("Passphrase for "):
            return passphrase
        raise tej.AuthenticationFailed(
            f"The server asks {prompt.strip()!r}, and nobody can answer in a flow"
        )

    return answer
