"""Classes that describe a pipeline: modules, values set on ports, and connections.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

BASIC = "org.vistrails.vistrails.basic"
TEJ = "org.vistrails.extra.tej"
TEJ_VERSION = "0.2"
"""Version of the package in `vistrails` signatures; this is not the version of tej."""


class Parameter(object):
    """A value in VisTrails' text notation, and the type of the value."""

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
        """Return True if the value is a path on this machine."""
        return self.package == BASIC and self.type in ("File", "Directory")


class Function(object):
    """An input port, and one value for each of the types that the port takes."""

    def __init__(self, port, parameters):
        # type: (str, Sequence[Parameter]) -> None
        self.port = port
        self.parameters = list(parameters)


class ExtraPort(object):
    """A port that one module has in addition to the ports of its module type."""

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
        """Default values by port name, in VisTrails' text notation."""

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
        """Return the connections whose target is the module number `target`."""
        return [one for one in self.connections if one.target == target]
