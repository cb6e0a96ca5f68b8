"""One client per queue and process: the `tej` command in VisTrails, else the library.

Part of what VisTrails loads: Python 2.7 and 3.
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
    """The client for a queue.  A forked process gets clients of its own, since two
    processes cannot share a connection."""
    key = (os.getpid(),) + address.key
    if key not in _clients:
        if IN_VISTRAILS:
            _clients[key] = CommandClient(address)
        else:
            # Python 3 only: VisTrails' Python 2.7 cannot import the library.
            from .library_client import LibraryClient

            _clients[key] = LibraryClient(address)
    return _clients[key]
