"""`Pipeline`: a checked graph of modules; `Exploration`: a grid of parameter values."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.library import Constant, ValueModule
from tej_vistrails.pipeline.module import MISSING, Module, Source


class Pipeline:
    """Modules and their connections.

    The constructor takes the modules whose results are wanted; all modules upstream of
    these are part of the pipeline as well.  A module without a name gets the name of
    its class, in lower case.  Raises PipelineError if a required port has no value, if
    two modules have the same name, or if the connections form a cycle.
    """

    def __init__(
        self, modules: Module | Iterable[Module], *, name: str = "pipeline"
    ) -> None:
        wanted = [modules] if isinstance(modules, Module) else [*modules]
        if not wanted:
            raise PipelineError(f"Pipeline '{name}' has no modules")
        self.name = name
        self._wanted = wanted
        self.modules: list[Module] = []
        """All modules, each after the modules upstream of it."""
        self.check()

    def __getitem__(self, name: str) -> Module:
        for module in self.modules:
            if module.name == name:
                return module
        known = ", ".join(one.name for one in self.modules)
        raise PipelineError(
            f"Pipeline '{self.name}' has no module '{name}' (modules: {known})"
        )

    def __iter__(self) -> Iterator[Module]:
        return iter(self.modules)

    @property
    def jobs(self) -> list[Module]:
        """The modules that run on the server."""
        return [one for one in self.modules if one.is_job]

    @property
    def points(self) -> list[tuple[Mapping[str, object], Pipeline]]:
        """This pipeline as the only point, in the form of `Exploration.points`."""
        return [({}, self)]

    def check(self) -> None:
        """Raise PipelineError if a required port has no value, or if there is a cycle.

        `check` is called when a pipeline is made and before it is executed, because the
        ports of its modules can be changed in between.
        """
        self.modules = upstream_first(self._wanted)
        self._set_names()
        for module in self.modules:
            for port in module.inputs.values():
                if port.is_required and module.get(port.name) is MISSING:
                    raise PipelineError(
                        f"Module '{module.name}', port '{port.name}': no value and no "
                        f"connection (type {port.type})"
                    )
        if not self.jobs:
            raise PipelineError(f"Pipeline '{self.name}' has no job modules")

    def explore(
        self, values: Mapping[str, Iterable[Any]] | None = None, **more: Iterable[Any]
    ) -> Exploration:
        """Return a grid of pipelines: one for each combination of the given values.

        A port is given by its name, or as `"module.port"` if several modules have such
        a port.  A Constant is given by the name of the module.
        """
        return Exploration(self, {**(values or {}), **more})

    def find_port(self, text: str) -> tuple[Module, str]:
        """Return the module and port that `text` names.

        A Constant is found by the name of the module.  Connected ports are not found by
        their name alone.
        """
        module_name, dot, port = text.rpartition(".")
        if dot:
            module = self[module_name]
            if port not in module.inputs:
                raise PipelineError(f"Module '{module_name}' has no port '{port}'")
            return module, port
        found: list[tuple[Module, str]] = [
            (one, port)
            for one in self.modules
            if not isinstance(one, ValueModule)
            and port in one.inputs
            and port not in dict(one.sources())
        ]
        with contextlib.suppress(PipelineError):
            if isinstance(self[port], Constant):
                found.append((self[port], "value"))
        if len(found) != 1:
            names = ", ".join(f"{one.name}.{port}" for one, _ in found)
            reason = f"matches several ports: {names}" if found else "matches no port"
            raise PipelineError(f"Parameter '{text}' {reason}")
        return found[0]

    def with_values(self, values: Mapping[str, object]) -> Pipeline:
        """Return a copy of this pipeline with different values on some ports.

        Only the modules with changed ports, and the modules downstream of them, are
        copied; both pipelines share all other modules.
        """
        changes: dict[Module, dict[str, object]] = {}
        for text, value in values.items():
            module, port = self.find_port(text)
            changes.setdefault(module, {})[port] = value
        copies: dict[Module, Module] = {}
        for module in self.modules:
            new = {
                port: _replace(value, copies)
                for port, value in module.port_values.items()
                if _replace(value, copies) is not value
            }
            new.update(changes.get(module, {}))
            if new:
                copies[module] = module.with_values(new)
        return Pipeline([copies.get(one, one) for one in self._wanted], name=self.name)

    def _set_names(self) -> None:
        named = [one.name for one in self.modules if one.name]
        taken = set(named)
        if len(named) > len(taken):
            double = next(one for one in named if named.count(one) > 1)
            raise PipelineError(f"Pipeline '{self.name}' has two modules '{double}'")
        numbers: dict[str, Iterator[int]] = {}
        for module in self.modules:
            if not module.name:
                base = name = type(module).__name__.lower()
                while name in taken:
                    number = next(numbers.setdefault(base, itertools.count(2)))
                    name = f"{base}{number}"
                module.__dict__["name"] = name
                taken.add(name)


class Exploration:
    """A grid of pipelines: one for each combination of parameter values.

    Modules that do not depend on a parameter are shared by the pipelines.  Modules with
    equal signatures share one job.
    """

    def __init__(self, base: Pipeline, values: Mapping[str, Iterable[Any]]) -> None:
        self.base = base
        self.name = base.name
        self.parameters: dict[str, list[Any]] = {}
        names: dict[tuple[Module, str], str] = {}
        for name, options in values.items():
            other = names.setdefault(base.find_port(name), name)
            if other != name:
                raise PipelineError(
                    f"The parameters '{other}' and '{name}' name the same port"
                )
            # A set is refused because it has no order. A string is refused because it
            # would be read as a list of characters.
            if isinstance(options, str | bytes | Set) or not isinstance(
                options, Iterable
            ):
                raise PipelineError(
                    f"The values of parameter '{name}' must be a list, not {options!r}"
                )
            self.parameters[name] = [*options]
            if not self.parameters[name]:
                raise PipelineError(f"Parameter '{name}' has no values to explore")
        self.points: list[tuple[Mapping[str, object], Pipeline]] = []
        for combination in itertools.product(*self.parameters.values()):
            point = dict(zip(self.parameters, combination, strict=True))
            self.points.append((point, base.with_values(point)))

    def check(self) -> None:
        """Raise PipelineError if a pipeline of the grid is not valid."""
        for _, pipeline in self.points:
            pipeline.check()


def _replace(value: object, copies: Mapping[Module, Module]) -> object:
    """Return `value`, with connections to copied modules moved to the copies."""
    if isinstance(value, tuple):
        new = tuple(_replace(one, copies) for one in value)
        same = all(one is other for one, other in zip(new, value, strict=True))
        return value if same else new
    if isinstance(value, Source) and value.module in copies:
        return Source(copies[value.module], value.port, value.type)
    return value


def cycle_error(where: str, names: Sequence[str]) -> PipelineError:
    """Return the error for connections that form a cycle.

    `names` are the modules of the cycle, each before the module upstream of it, and
    `where` is the port whose connection closes the cycle.
    """
    cycle = " <- ".join([*names, names[0]])
    return PipelineError(f"{where}: the connection forms a cycle ({cycle})")


def upstream_first(modules: Iterable[Module]) -> list[Module]:
    """Return `modules` and all modules upstream, each after its upstream modules.

    Raises PipelineError if the connections form a cycle.
    """
    ordered: dict[Module, None] = {}
    for start in modules:
        # The depth-first search keeps its own stack, because a long chain of modules
        # would exceed the recursion limit.
        path = {} if start in ordered else {start: start.sources()}
        while path:
            module = next(reversed(path))
            port, source = next(path[module], ("", None))
            if source is None:
                path.popitem()
                ordered[module] = None
            elif source.module in path:
                where = f"Module '{module.title}', port '{port}'"
                first = [*path].index(source.module)
                raise cycle_error(where, [one.title for one in path][first:])
            elif source.module not in ordered:
                path[source.module] = source.module.sources()
    return [*ordered]
