"""Addresses of queues, made from the values on the ports of Queue modules.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple

DEFAULT_QUEUE = "~/.tej"

_PARTS = re.compile(
    r"(?P<scheme>ssh://|)(?:(?P<user>.*)@)?(?P<host>\[[^]]*\]|[^:]*|.*:.*:.*)"
    r"(?::(?P<port>\d+))?/?$"
)


class QueueAddress(object):
    """The destination, path and runtimes of a queue.

    `repr` and `shown` do not contain the password of the destination."""

    def __init__(
        self, destination, queue=DEFAULT_QUEUE, setup_runtime=None, need_runtime=()
    ):
        # type: (str, str, Optional[str], Tuple[str, ...]) -> None
        self.destination = destination
        self.queue = queue
        self.setup_runtime = setup_runtime
        self.need_runtime = need_runtime

    @property
    def shown(self):
        # type: () -> str
        """Return the destination without its password."""
        parts = _PARTS.match(self.destination)
        if parts is None:
            return self.destination.rpartition("@")[2]
        user = (parts.group("user") or "").partition(":")[0]
        return parts.group("scheme") + _join(user, parts.group("host", "port"))

    def __repr__(self):
        # type: () -> str
        return "<queue %s on %s>" % (self.queue, self.shown)


def compose(hostname, username=None, port=None):
    # type: (str, Optional[str], Optional[int]) -> str
    """Return the destination for the values on the ports of a Queue module.

    `hostname` may be a full destination; `username` and `port` replace its parts."""
    if username is None and port is None:
        return hostname
    parts = _PARTS.match(hostname)
    if parts is None:
        return hostname
    user = username if username is not None else parts.group("user")
    number = port if port is not None else parts.group("port")
    return _join(user, (parts.group("host"), number))


def _join(user, place):
    # type: (Optional[str], Tuple[Any, ...]) -> str
    host, port = place
    return "%s%s%s" % (
        "" if not user else user + "@",
        host,
        "" if port is None else ":%s" % port,
    )
