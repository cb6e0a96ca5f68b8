"""A pipeline as data: modules, what is set on their ports, and what leads where.

Part of what VisTrails loads: Python 2.7 and 3.
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
    """A value as VisTrails writes it down, and the type it is read as."""

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
        """Whether it names something on this machine."""
        return self.package == BASIC and self.type in ("File", "Directory")


class Function(object):
    """An input port on which something is set: one value, or several for a port that
    takes several at once."""

    def __init__(self, port, parameters):
        # type: (str, Sequence[Parameter]) -> None
        self.port = port
        self.parameters = list(parameters)


class ExtraPort(object):
    """A port that this one module has and others of its type have not."""

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
        """Of its ports, as far as they have one; written as values are."""

    @property
    def kind(self):
        # type: () -> Tuple[str, str, str]
        return self.package, self.namespace, self.name


class Connection(object):
    """From an output port of one module to an input port of another."""

    def __init__(self, source, source_port, target, target_port):
        # type: (int, str, int, str) -> None
        self.source = source
        self.source_port = source_port
        self.target = target
        self.target_port = target_port


class Description(object):
    """The modules by their numbers, and the connections."""

    def __init__(self):
        # type: () -> None
        self.modules = {}  # type: Dict[int, Module]
        self.connections = []  # type: List[Connection]

    def into(self, target):
        # type: (int) -> List[Connection]
        """What leads to a module."""
        return [one for one in self.connections if one.target == target]
