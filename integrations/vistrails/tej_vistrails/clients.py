"""Creation of clients: one client per process and queue address.

In VisTrails, clients run the `tej` command.  In the engine, clients use the library.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import os

from .client import CommandClient
from .vistrails_api import IN_VISTRAILS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Tuple

    from .queue_address import QueueAddress

_clients = {}  # type: Dict[Tuple[object, ...], Any]


def open_client(address):
    # type: (QueueAddress) -> Any
    """Return the client of this process for a queue.

    A forked process creates new clients, because two processes cannot share a
    connection."""
    key = (os.getpid(),) + address.key
    if key not in _clients:
        if IN_VISTRAILS:
            _clients[key] = CommandClient(address)
        else:
            # The tej library needs Python 3, so VisTrails' Python 2.7 cannot import it.
            from .library_client import LibraryClient

            _clients[key] = LibraryClient(address)
    return _clients[key]
