"""Cache of `RemoteQueue` objects: callers with equal arguments share a connection."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable, Mapping
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from tej.destination import Destination
from tej.queue.default_queue import DEFAULT_TEJ_DIR
from tej.queue.remote import RemoteQueue

_queues: dict[Hashable, RemoteQueue] = {}
_inherited: dict[Hashable, tuple[bool, float | None]] = {}
"""`reached` and `last_seen` of each connection that the parent process had when this
process was forked."""
_lock = threading.Lock()
_relay: ModuleType | None = None
"""The module tej.queue.fork_relay, or None if `share_with_children` was not called."""


def shared_queue(
    destination: str | Mapping[str, Any] | Destination,
    queue: str | PurePosixPath = DEFAULT_TEJ_DIR,
    **options: Any,  # noqa: ANN401 (the options of RemoteQueue)
) -> RemoteQueue:
    """Return the `RemoteQueue` for these arguments; the first call creates it.

    If several callers in a process pass equal arguments, they share one `RemoteQueue`,
    and therefore one connection.  If the password, the key or another option is
    different, another `RemoteQueue` is returned.  `options` are the options of
    `RemoteQueue`; each option must be hashable, or be a collection.  This function may
    be called from several threads, and in forked child processes.
    """
    identity = (_freeze(destination), str(queue), _freeze(options))
    with _lock:
        found = _queues.get(identity)
        if found is None:
            found = RemoteQueue(destination, queue, **options)
            connection = found.connection
            connection.reached, connection.last_seen = _inherited.get(
                identity, (False, None)
            )
            if _relay is not None and _relay.has_parent():
                found = _relay.relay_queue(found, (destination, queue, options))
            _queues[identity] = found
        return found


def share_with_children() -> None:
    """Let processes that are forked after this call use this process's connections.

    In a forked child process, `shared_queue` returns a `RemoteQueue` that sends its
    requests through the parent process.  In the child, the arguments of `shared_queue`
    must be picklable.
    """
    global _relay
    # `fork_relay` is imported here and not at the top of the file, because the import
    # is slow and few programs need `fork_relay`.
    from tej.queue import fork_relay

    _relay = fork_relay
    fork_relay.serve_children(
        lambda address: shared_queue(address[0], address[1], **address[2])
    )


def close_shared_queues() -> None:
    """Close the connections of all shared queues, and empty the cache."""
    with _lock:
        closing = list(_queues.values())
        _queues.clear()
    for one in closing:
        one.close()


def _freeze(value: object) -> Hashable:
    if isinstance(value, Mapping):
        return frozenset((key, _freeze(one)) for key, one in value.items())
    if isinstance(value, set | frozenset):
        return frozenset(value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return tuple(_freeze(one) for one in value)
    assert isinstance(value, Hashable)
    return value


def _after_fork_in_child() -> None:
    # Make a new lock: a thread of the parent may have locked `_lock` during the fork,
    # and that thread does not exist in the child process to release the lock.
    global _lock
    _lock = threading.Lock()
    # Empty the cache, because the inherited queues would open new connections.
    # `shared_queue` then creates queues that use the connections of the parent.
    for key, one in _queues.items():
        _inherited[key] = one.connection.reached, one.connection.last_seen
    _queues.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
