"""A pipeline as plain data: modules, values set on ports, and connections.

VisTrails loads this file: Python 2.7 and 3.
"""

from __future__ import absolute_import, division

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

BASIC = "org.vistrails.vistrails.basic"
TEJ = "org.vistrails.extra.tej"
TEJ_VERSION = "0.2"
"""Version of the package in every signature; not the version of tej."""


class Parameter(object):
    """A value as text, in VisTrails' notation, and its type."""

    def __init__(self, type_, value, package=BASIC, namespace="", name=""):
        # type: (str, str, str, str, str) -> None
        self.type = type_
        self.value = value
        self.package = package
        self.namespace = namespace
        self.name = name or "<no description>"

    @property
    def is_path(self):
        # type: () -> bool
        """Whether the value is a path on this machine."""
        return self.package == BASIC and self.type in ("File", "Directory")


class Function(object):
    """Values set on an input port: one, or several for a port with several types."""

    def __init__(self, port, parameters):
        # type: (str, Sequence[Parameter]) -> None
        self.port = port
        self.parameters = list(parameters)


class ExtraPort(object):
    """A port added to one module, beside the ports of its type."""

    def __init__(self, type_, name, signature, depth=0):
        # type: (str, str, str, int) -> None
        self.type = type_
        self.name = name
        self.signature = signature
        self.depth = depth


class Module(object):
    """One module of a pipeline."""

    def __init__(
        self, name, package, package_version="", namespace="", module_version=""
    ):
        # type: (str, str, str, str, str) -> None
        self.name = name
        self.package = package
        self.package_version = package_version
        self.namespace = namespace
        self.module_version = module_version
        self.functions = []  # type: List[Function]
        self.controls = []  # type: List[Tuple[str, str]]
        self.extra_ports = []  # type: List[ExtraPort]
        self.defaults = {}  # type: Dict[str, Sequence[str]]
        """Default values by port, in the same notation as values."""

    @property
    def kind(self):
        # type: () -> Tuple[str, str, str]
        return self.package, self.namespace, self.name


class Connection(object):
    """A connection from an output port to an input port."""

    def __init__(self, source, source_port, target, target_port):
        # type: (int, str, int, str) -> None
        self.source = source
        self.source_port = source_port
        self.target = target
        self.target_port = target_port


class Description(object):
    """The modules of a pipeline by number, and their connections."""

    def __init__(self):
        # type: () -> None
        self.modules = {}  # type: Dict[int, Module]
        self.connections = []  # type: List[Connection]

    def into(self, target):
        # type: (int) -> List[Connection]
        """Return the connections that lead to a module."""
        return [one for one in self.connections if one.target == target]
