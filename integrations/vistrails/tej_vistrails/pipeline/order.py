"""Order of modules: each module after the modules upstream of it."""

from __future__ import annotations

from collections.abc import Iterable

from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.module import Module


def upstream_first(modules: Iterable[Module]) -> list[Module]:
    """Return the modules and all modules upstream of them.

    Raises PipelineError if the connections form a cycle.
    """
    ordered: list[Module] = []
    done: set[int] = set()
    for start in modules:
        path: list[tuple[Module, str]] = [(start, "")]
        # The depth-first search keeps its own stack, because a long chain of modules
        # would exceed the recursion limit.
        pending = [iter([*start.sources()])]
        if id(start) in done:
            continue
        while path:
            step = next(pending[-1], None)
            if step is None:
                module, _ = path.pop()
                pending.pop()
                done.add(id(module))
                ordered.append(module)
                continue
            port, source = step
            if id(source.module) in done:
                continue
            if any(source.module is one for one, _ in path):
                _refuse_cycle(path, port, source.module)
            path.append((source.module, port))
            pending.append(iter([*source.module.sources()]))
    return ordered


def _refuse_cycle(path: list[tuple[Module, str]], port: str, back: Module) -> None:
    names = [one.title for one, _ in path]
    start = next(i for i, (one, _) in enumerate(path) if one is back)
    cycle = " <- ".join([*names[start:], back.title])
    raise PipelineError(
        f"Module '{path[-1][0].title}', port '{port}': the connection forms a cycle "
        f"({cycle})"
    )
