"""The module Queue, which specifies a queue of jobs on a server.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

from .client import QueueAddress
from .vistrails_api import Module, ModuleSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple, Union

    Port = Union[Tuple[str, Any], Tuple[str, Any, Dict[str, Any]]]


class Queue(Module):
    """Module that specifies a queue of jobs on a server.

    `hostname` is a host, an alias of ~/.ssh/config, `local:`, or a full destination
    `[user@]host[:port]`.  The ports `username` and `port` are added to a host that does
    not contain these parts.  `queue` is the path of the queue on the server.  If the
    queue does not exist, the first job creates it with the runtime `setup_runtime`.  If
    the queue exists, its runtime must be one of the comma-separated names in
    `need_runtime`.
    """

    _settings = ModuleSettings()
    _input_ports = [
        ("hostname", "(basic:String)"),
        ("username", "(basic:String)", {"optional": True}),
        ("port", "(basic:Integer)", {"optional": True, "defaults": "['22']"}),
        ("queue", "(basic:String)", {"optional": True, "defaults": "['~/.tej']"}),
        ("setup_runtime", "(basic:String)", {"optional": True}),
        ("need_runtime", "(basic:String)", {"optional": True}),
    ]  # type: List[Port]
    _output_ports = [("queue", "(org.vistrails.extra.tej:Queue)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        destination = self.get_input("hostname")
        username, port = self.force_get_input("username"), self.force_get_input("port")
        if username:
            destination = "%s@%s" % (username, destination)
        if port is not None:
            destination = "%s:%s" % (destination, port)
        needed = self.force_get_input("need_runtime", "").split(",")
        address = QueueAddress(
            destination,
            self.get_input("queue"),
            self.force_get_input("setup_runtime") or None,
            tuple(sorted(name.strip() for name in needed if name.strip())),
        )
        self.set_output("queue", address)
