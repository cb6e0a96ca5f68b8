"""The graph of a pipeline: modules, the values set on their ports, and connections."""

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
"""Ports whose text VisTrails percent-encodes."""
_CONSTANTS = {str: "String", int: "Integer", float: "Float", bool: "Boolean"}
"""Types of values set on a port that accepts any type."""


class Output:
    """An output port of a module."""

    def __init__(self, node: Node, port: str) -> None:
        self.node = node
        self.port = port


class Node:
    """A module in a pipeline."""

    def __init__(self, name: str, package: str, type_: type[Module]) -> None:
        self.name = name
        self.package = package
        self.type = type_
        self.functions: list[tuple[str, tuple[str, ...]]] = []
        """Ports and the values set on them, in VisTrails' notation."""
        self.extra: list[ExtraPort] = []

    def __repr__(self) -> str:
        return f"<{self.type.__name__} '{self.name}'>"

    def __getitem__(self, port: str) -> Output:
        if port not in self.type.output_ports():
            raise PipelineError(f"{self!r} has no output port '{port}'")
        return Output(self, port)

    def port(self, name: str) -> Port:
        """Return an input port; raises PipelineError if there is none of that name."""
        for extra in self.extra:
            if extra.name == name and extra.type == "input":
                return Port(extra.name, extra.signature)
        found = self.type.input_ports().get(name)
        if found is None:
            known = ", ".join(sorted(self.type.input_ports()))
            raise PipelineError(f"{self!r} has no input port '{name}'; it has {known}")
        return found

    def set(self, port: str, *values: str) -> None:
        """Set a port to values in VisTrails' notation; raises PipelineError."""
        types.read(self.port(port).types, values, f"'{port}' of {self!r}")
        self.functions.append((port, values))

    def described(self) -> Described:
        """Return the module as plain data."""
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
    """Return an extra port's signature: Directory if its source is one, else File."""
    types_ = (
        () if source is None else source.node.type.output_ports()[source.port].types
    )
    return f"({BASIC}:{'Directory' if types_ == ('Directory',) else 'File'})"


def _placeholders(node: Node, inputs: Mapping[str, object]) -> list[ExtraPort]:
    """Return the extra ports of a StringFormat, one per placeholder of its format.

    If the format comes from a connection it is unknown here, and there is a port for
    each given input instead."""
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
    """Modules and connections, checked as they are added.

    `signatures` is the scheme for job ids: `vistrails`, as VisTrails computes them, or
    `content`.  It is set on each Queue.
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
        """Add a module: `SubmitJob`, `tej:SubmitJob`, `basic:String`.

        An input is a value, a list of values for a port that takes several, or an
        output of another module.  `files` adds input ports named like files, with
        their sources.  A StringFormat has one port per placeholder, `_0` for the first
        `{}`.  Raises PipelineError.
        """
        return self.add_module(type_, name, files, inputs)

    def add_module(
        self,
        type_: str,
        name: str | None,
        files: Mapping[str, Output] | Sequence[str],
        inputs: Mapping[str, object],
    ) -> Node:
        """Add a module as `add` does; inputs may have any names."""
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
                        # As Python 2 does; the encoded text enters the signature.
                        text = quote(text).replace("~", "%7E")
                    node.set(port, text)
        return node

    def insert(self, name: str, package: str, type_: type[Module]) -> Node:
        """Add a module without values; raises PipelineError if the name is taken."""
        if name in self.nodes:
            raise PipelineError(f"There are two modules called '{name}'")
        node = self.nodes[name] = Node(name, package, type_)
        return node

    def connect(self, output: Output, node: Node, port: str) -> None:
        """Connect an output to an input.  Raises PipelineError for a wrong type or a
        cycle."""
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
        """Return the graph as plain data, modules numbered in the order of addition."""
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
        """Return the numbers of the modules by name."""
        return {name: number for number, name in enumerate(self.nodes)}

    def signature(self, node: Node, scheme: str = "vistrails") -> str:
        """Return the signature of a module, upstream included, in hexadecimal.

        Raises PipelineError if the scheme cannot sign the pipeline."""
        sign = content_signature if scheme == "content" else vistrails_signature
        try:
            return sign(self.description(), self.numbers()[node.name])
        except CannotSign as error:
            raise PipelineError(str(error)) from error

    def job_ids(self) -> dict[str, str]:
        """Return the job ids by module name."""
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
        """Return the modules without outgoing connections."""
        sources = {id(output.node) for output, _, _ in self.connections}
        return [node for node in self.nodes.values() if id(node) not in sources]

    def _free_name(self, word: str) -> str:
        names = (f"{word}{i}" if i > 1 else word for i in range(1, len(self.nodes) + 2))
        return next(name for name in names if name not in self.nodes)

    def _leads(self, source: Node, target: Node) -> bool:
        """Whether a path of connections leads from one module to another."""
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
