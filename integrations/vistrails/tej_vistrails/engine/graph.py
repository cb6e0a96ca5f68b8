"""Class `Graph`: a pipeline's modules, the values of their ports, and connections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from tej_vistrails.description import (
    BASIC,
    TEJ,
    Connection,
    Description,
    ExtraPort,
    Function,
    Parameter,
)
from tej_vistrails.description import Module as Described
from tej_vistrails.engine import types
from tej_vistrails.engine.basic import StringFormat
from tej_vistrails.engine.errors import PipelineError
from tej_vistrails.engine.module import Module, Port
from tej_vistrails.ports import CONTENT_DIGITS, SCHEMES
from tej_vistrails.signatures import (
    CannotSign,
    content_signature,
    vistrails_signature,
)

_ENCODED = {("SubmitShellJob", "source")}
"""Pairs of a module type and a port whose text VisTrails percent-encodes."""
_CONSTANTS = {str: "String", int: "Integer", float: "Float", bool: "Boolean"}
"""Type of a StringFormat's port for each Python type of the port's value."""


class Output:
    """An output port of one module in a pipeline."""

    def __init__(self, node: Node, port: str) -> None:
        self.node = node
        self.port = port


class Node:
    """A module in a pipeline, with the values set on its ports."""

    def __init__(self, name: str, package: str, type_: type[Module]) -> None:
        self.name = name
        self.package = package
        self.type = type_
        self.functions: list[tuple[str, tuple[str, ...]]] = []
        """Pairs of a port and the values set on that port, in VisTrails' notation."""
        self.extra: list[ExtraPort] = []

    def __repr__(self) -> str:
        return f"<{self.type.__name__} '{self.name}'>"

    def __getitem__(self, port: str) -> Output:
        if port not in self.type.output_ports():
            raise PipelineError(f"{self!r} has no output port '{port}'")
        return Output(self, port)

    def port(self, name: str) -> Port:
        """Return the input port called `name`.

        Raises PipelineError if the module has no such input port."""
        for extra in self.extra:
            if extra.name == name and extra.type == "input":
                return Port(extra.name, extra.signature)
        found = self.type.input_ports().get(name)
        if found is None:
            known = ", ".join(sorted(self.type.input_ports()))
            raise PipelineError(f"{self!r} has no input port '{name}'; it has {known}")
        return found

    def set(self, port: str, *values: str) -> None:
        """Set a port to values in VisTrails' notation.

        Raises PipelineError if the values do not have the types of the port."""
        types.read(self.port(port).types, values, f"'{port}' of {self!r}")
        self.functions.append((port, values))

    def described(self) -> Described:
        """Return a description of the module for computing signatures."""
        module = Described(
            self.type.__name__, self.package, types.VERSIONS[self.package]
        )
        for port, values in self.functions:
            names = self.port(port).types
            pairs = zip(names, values, strict=True)
            parameters = [Parameter(name, value) for name, value in pairs]
            module.functions.append(Function(port, parameters))
        module.extra_ports = list(self.extra)
        module.defaults = {
            port.name: port.default
            for port in self.type.input_ports().values()
            if port.default is not None
        }
        return module


def _signature(source: Output | None) -> str:
    """Return the type of an extra port, in the notation of port signatures.

    The type is Directory if the source outputs a Directory, otherwise File."""
    types_ = (
        () if source is None else source.node.type.output_ports()[source.port].types
    )
    return f"({BASIC}:{'Directory' if types_ == ('Directory',) else 'File'})"


def _placeholders(node: Node, inputs: Mapping[str, object]) -> list[ExtraPort]:
    """Return the extra ports of a StringFormat, one per placeholder of its format.

    If the port `format` is connected, the placeholders are not known yet.  In that
    case, return a port for each of `inputs`."""
    names: Iterable[str] = inputs
    text = inputs.get("format")
    if isinstance(text, str):
        try:
            names = StringFormat.placeholders(text)
        except ValueError as error:
            raise PipelineError(f"'format' of {node!r}: {error}") from error
    ports = []
    for name in sorted(set(names) - set(node.type.input_ports())):
        value = inputs.get(name)
        type_ = _CONSTANTS.get(type(value), "Variant")
        ports.append(ExtraPort("input", name, f"({BASIC}:{type_})"))
    return ports


class Graph:
    """A pipeline's modules and connections, which are checked when they are added.

    `signatures` is the scheme for job ids, `vistrails` or `content`.  `add` sets the
    port `signatures` of each Queue to this scheme unless the port is set explicitly.
    """

    def __init__(self, signatures: str | None = None) -> None:
        if signatures is not None and signatures not in SCHEMES:
            names = "' or '".join(sorted(SCHEMES))
            raise PipelineError(f"Signatures are '{names}', not '{signatures}'")
        self.signatures = signatures
        self.nodes: dict[str, Node] = {}
        self.connections: list[tuple[Output, Node, str]] = []

    def add(
        self,
        type_: str,
        name: str | None = None,
        /,
        *,
        files: Mapping[str, Output] | Sequence[str] = (),
        **inputs: object,
    ) -> Node:
        """Add a module and return it.

        `type_` is a module type such as `SubmitJob`, `tej:SubmitJob` or `basic:String`.
        Each of `inputs` is a value, an output of another module, or a list of these if
        the port takes several values.  `files` adds an input port per file; the keys
        are the file names and the values are the outputs to connect.  A StringFormat
        has one port per placeholder, for example `_0` for the first `{}`.  Raises
        PipelineError if the module or one of its inputs is invalid.
        """
        return self.add_module(type_, name, files, inputs)

    def add_module(
        self,
        type_: str,
        name: str | None,
        files: Mapping[str, Output] | Sequence[str],
        inputs: Mapping[str, object],
    ) -> Node:
        """Add a module like `add`, but accept any text as the name of an input."""
        package, found = types.find_by_word(type_)
        node = self.insert(name or self._free_name(found.__name__), package, found)
        sources = dict(files) if isinstance(files, Mapping) else dict.fromkeys(files)
        for port, source in sources.items():
            node.extra.append(ExtraPort("input", port, _signature(source)))
        if found is StringFormat:
            node.extra += _placeholders(node, inputs)
        given: dict[str, object] = {
            port: one for port, one in sources.items() if one is not None
        }
        given |= inputs
        if found.__name__ == "Queue" and self.signatures is not None:
            given.setdefault("signatures", self.signatures)
        for port, value in given.items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, Output):
                    self.connect(one, node, port)
                else:
                    text = types.write(one, f"'{port}' of {node!r}")
                    if (found.__name__, port) in _ENCODED:
                        # The signature contains this text, encoded as in Python 2.
                        text = quote(text).replace("~", "%7E")
                    node.set(port, text)
        return node

    def insert(self, name: str, package: str, type_: type[Module]) -> Node:
        """Add a module without inputs.

        Raises PipelineError if another module has the same name."""
        if name in self.nodes:
            raise PipelineError(f"There are two modules called '{name}'")
        node = self.nodes[name] = Node(name, package, type_)
        return node

    def connect(self, output: Output, node: Node, port: str) -> None:
        """Connect an output to the input port `port` of a module.

        Raises PipelineError if the types differ or the connection closes a cycle."""
        given = output.node.type.output_ports()[output.port].types
        wanted = node.port(port).types
        if not types.fits(given, wanted):
            raise PipelineError(
                f"'{output.port}' of {output.node!r} is a {', '.join(given)}, '{port}' "
                f"of {node!r} takes a {', '.join(wanted)}"
            )
        if self._leads(node, output.node):
            raise PipelineError(
                f"{output.node!r} and {node!r} would wait for each other"
            )
        self.connections.append((output, node, port))

    def description(self) -> Description:
        """Return a description of the pipeline for computing signatures."""
        numbers = self.numbers()
        description = Description()
        for name, node in self.nodes.items():
            description.modules[numbers[name]] = node.described()
        for output, node, port in self.connections:
            description.connections.append(
                Connection(
                    numbers[output.node.name], output.port, numbers[node.name], port
                )
            )
        return description

    def numbers(self) -> dict[str, int]:
        """Return the modules' numbers by module name, in the order of addition."""
        return {name: number for number, name in enumerate(self.nodes)}

    def signature(self, node: Node, scheme: str = "vistrails") -> str:
        """Return the signature of a module and its upstream modules, in hexadecimal.

        Raises PipelineError if `scheme` cannot compute a signature."""
        sign = content_signature if scheme == "content" else vistrails_signature
        try:
            return sign(self.description(), self.numbers()[node.name])
        except CannotSign as error:
            raise PipelineError(str(error)) from error

    def job_ids(self) -> dict[str, str]:
        """Return the ids of the pipeline's jobs, by module name."""
        return {
            node.name: self._job_id(node)
            for node in self.nodes.values()
            if node.package == TEJ and node.type.__name__.startswith("Submit")
        }

    def _job_id(self, node: Node) -> str:
        scheme = "vistrails"
        for output, target, port in self.connections:
            if target is node and port == "queue":
                for name, values in output.node.functions:
                    scheme = values[0] if name == "signatures" else scheme
        signature = self.signature(node, scheme)
        digits = CONTENT_DIGITS if scheme == "content" else len(signature)
        return SCHEMES[scheme] + signature[:digits]

    def sinks(self) -> list[Node]:
        """Return the modules whose outputs are not connected to another module."""
        sources = {id(output.node) for output, _, _ in self.connections}
        return [node for node in self.nodes.values() if id(node) not in sources]

    def _free_name(self, word: str) -> str:
        names = (f"{word}{i}" if i > 1 else word for i in range(1, len(self.nodes) + 2))
        return next(name for name in names if name not in self.nodes)

    def _leads(self, source: Node, target: Node) -> bool:
        """Return True if a path of connections leads from `source` to `target`."""
        seen: set[str] = set()
        ahead = [source]
        while ahead:
            node = ahead.pop()
            if node is target:
                return True
            if node.name not in seen:
                seen.add(node.name)
                ahead += [
                    to for output, to, _ in self.connections if output.node is node
                ]
        return False
