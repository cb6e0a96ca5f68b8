"""Cache of queues: one connection per destination, queue and options in a process."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable, Mapping
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from tej.destination import Destination
from tej.queue.connection import DEFAULT_TEJ_DIR
from tej.queue.remote import RemoteQueue

_queues: dict[Hashable, RemoteQueue] = {}
_lock = threading.Lock()
_relay: ModuleType | None = None
"""tej.queue.relay, once `share_with_children` was called."""


def shared_queue(
    destination: str | Mapping[str, Any] | Destination,
    queue: str | PurePosixPath = DEFAULT_TEJ_DIR,
    **options: Any,  # noqa: ANN401 (those of RemoteQueue)
) -> RemoteQueue:
    """The `RemoteQueue` for these arguments: the existing one, or a new one.

    All callers with equal arguments share one queue, and so one connection; another
    password, key or option is another queue.  `options` are those of `RemoteQueue`;
    they have to be hashable, lists and dictionaries excepted.  Threads may call this at
    the same time, and forked children, too.
    """
    identity = (_freeze(destination), str(queue), _freeze(options))
    with _lock:
        found = _queues.get(identity)
        if found is None:
            found = RemoteQueue(destination, queue, **options)
            if _relay is not None and _relay.has_parent():
                found = _relay.relay_queue(found, (destination, queue, options))
            _queues[identity] = found
        return found


def share_with_children() -> None:
    """Let processes that are forked from now on use the shared queues of this one.

    In them, `shared_queue` returns queues without a connection of their own.  The
    arguments have to be picklable.
    """
    global _relay
    # Imported here: few programs fork, and it takes a while.
    from tej.queue import relay

    _relay = relay
    relay.serve_children(
        lambda address: shared_queue(address[0], address[1], **address[2])
    )


def close_shared_queues() -> None:
    """Close the connections of all shared queues, and forget the queues."""
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
    # Another thread of the parent may have held the lock, and does not exist here.
    global _lock
    _lock = threading.Lock()
    # The queues would connect by themselves; made again, they may use the parent's.
    _queues.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
