"""Queue module: a queue of jobs on a server.

VisTrails loads this file: Python 2.7 and 3.
"""

from __future__ import absolute_import, division

from .ports import SCHEMES
from .queue_address import QueueAddress, compose
from .vistrails_api import Module, fail, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple, Union

    Port = Union[Tuple[str, Any], Tuple[str, Any, Dict[str, Any]]]


class Queue(Module):
    """A queue of jobs on a server.

    `hostname` is a host, an alias of ~/.ssh/config, `local:`, or a full destination
    `[user@]host[:port]` whose parts `username` and `port` replace.  `queue` is the path
    on the server.  A missing queue is created with `setup_runtime`; an existing one
    must use one of the comma-separated `need_runtime`.

    `signatures` is the scheme for job ids: `vistrails` or `content`.
    """

    _settings = settings()
    _input_ports = [
        ("hostname", "(basic:String)"),
        ("username", "(basic:String)", {"optional": True}),
        ("port", "(basic:Integer)", {"optional": True, "defaults": "['22']"}),
        ("queue", "(basic:String)", {"optional": True, "defaults": "['~/.tej']"}),
        ("setup_runtime", "(basic:String)", {"optional": True}),
        ("need_runtime", "(basic:String)", {"optional": True}),
        (
            "signatures",
            "(basic:String)",
            {"optional": True, "defaults": "['vistrails']"},
        ),
    ]  # type: List[Port]
    _output_ports = [("queue", "(org.vistrails.extra.tej:Queue)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        scheme = self.get_input("signatures")
        if scheme not in SCHEMES:
            raise fail(
                self,
                "Signatures are '%s', not '%s'"
                % ("' or '".join(sorted(SCHEMES)), scheme),
            )
        needed = self.force_get_input("need_runtime", "").split(",")
        address = QueueAddress(
            compose(
                self.get_input("hostname"),
                self.force_get_input("username"),
                self.force_get_input("port"),
            ),
            self.get_input("queue"),
            self.force_get_input("setup_runtime") or None,
            tuple(sorted(name.strip() for name in needed if name.strip())),
        )
        self.set_output("queue", QueueReference(address, scheme))


class QueueReference(object):
    """The output of a Queue module: the address, and the scheme for job ids."""

    def __init__(self, address, scheme):
        # type: (QueueAddress, str) -> None
        self.address = address
        self.scheme = scheme

    def __repr__(self):
        # type: () -> str
        return repr(self.address)
