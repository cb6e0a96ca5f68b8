"""One execution of a pipeline: module instances, failures and suspended jobs."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tej
from tej_vistrails.engine import types
from tej_vistrails.engine.module import (
    Connector,
    Interpreter,
    Module,
    ModuleError,
    ModuleHadError,
    ModuleSuspended,
    SetValue,
)
from tej_vistrails.signatures import vistrails_signature

if TYPE_CHECKING:
    from tej_vistrails.engine.graph import Graph, Node, Output
    from tej_vistrails.engine.monitor import JobMonitor


class _InPipeline:
    """The view of a module that `transfer_attrs` gets."""

    def __init__(self, node: Node) -> None:
        self.input_port_specs = [one for one in node.extra if one.type == "input"]


class Execution:
    """An execution with its `errors` and `suspended` modules, by module name.

    Temporary files, including outputs, exist until the execution is closed.
    """

    def __init__(self, pipeline: Graph, monitor: JobMonitor) -> None:
        self.pipeline = pipeline
        self.directory = tempfile.mkdtemp(prefix="tej_vistrails")
        self._interpreter = Interpreter(self.directory, monitor)
        self.modules = {name: self._make(node) for name, node in pipeline.nodes.items()}
        description = pipeline.description()
        for name, number in pipeline.numbers().items():
            module = self.modules[name]
            module.moduleInfo = {"description": description, "moduleId": number}
            module.signature = vistrails_signature(description, number)
        for output, node, port in pipeline.connections:
            connector = Connector(self.modules[output.node.name], output.port)
            inputs = self.modules[node.name].inputPorts
            inputs.setdefault(port, []).append(connector)

    def __enter__(self) -> Execution:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the temporary files."""
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def errors(self) -> dict[str, ModuleError]:
        """Failures by module name."""
        return {
            name: module.failure
            for name, module in self.modules.items()
            if module.failure is not None
            and not isinstance(module.failure, ModuleSuspended | ModuleHadError)
            and module.failure.module is module
        }

    @property
    def suspended(self) -> dict[str, ModuleSuspended]:
        """Suspended modules by name, usually because a job is running."""
        return {
            name: module.failure
            for name, module in self.modules.items()
            if isinstance(module.failure, ModuleSuspended)
            and module.failure.module is module
        }

    @property
    def completed(self) -> bool:
        """Whether no module failed or is suspended."""
        return not self.errors and not self.suspended

    def output(self, output: Output) -> Any:
        """Return the value of an output; raises ModuleError if its module failed."""
        module = self.modules[output.node.name]
        if module.failure is not None:
            raise module.failure
        return module.get_output(output.port)

    def text(self, output: Output) -> str:
        """Return the contents of an output file as text."""
        return Path(self.output(output).name).read_text("utf-8", "replace")

    def run(self) -> None:
        """Execute all modules that are not done, in every branch."""
        for module in self.modules.values():
            if not isinstance(module.failure, ModuleError) or self._is_final(module):
                continue
            module.failure = None
        for node in self.pipeline.sinks():
            try:
                self.modules[node.name].update()
            except ModuleError:
                # The module keeps its failure.
                continue

    def wait(self, timeout: float | None = None) -> None:
        """Execute again whenever a job has ended, until no module is suspended.

        Waiting survives lost connections.  Jobs on a server that cannot be reached do
        not delay the others; their modules stay suspended when no other is left.
        Raises WaitTimeout after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        jobs = self._jobs()
        while jobs:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                next(iter(tej.as_completed(jobs, left)))
            except (tej.JobNotFound, tej.QueueDoesntExist):
                # A deleted job is the module's affair: it may start the job again.
                pass
            except tej.ConnectionFailed:
                # Each module asks its own server and reports the error.
                self.run()
                jobs = self._jobs(reached=True)
                continue
            self.run()
            jobs = self._jobs()

    def _jobs(self, *, reached: bool = False) -> list[tej.Job]:
        """Return the jobs of suspended modules.

        With `reached`, only jobs whose server answered the last request."""
        handles = [error.handle for error in self.suspended.values()]
        return [
            handle.client.queue.job(handle.job_id)
            for handle in handles
            if handle.last is not None or not reached
        ]

    def _is_final(self, module: Module) -> bool:
        """Whether the module, or a module upstream of it, failed for good."""
        failure = module.failure
        while isinstance(failure, ModuleHadError) and failure.module is not module:
            module, failure = failure.module, failure.module.failure
        return failure is not None and not isinstance(failure, ModuleSuspended)

    def _make(self, node: Node) -> Module:
        module = node.type()
        module.display_name = node.name
        module.interpreter = self._interpreter
        module.transfer_attrs(_InPipeline(node))
        for name, port in node.type.input_ports().items():
            if port.default is not None:
                where = f"'{name}' of {node!r}"
                module.defaults[name] = types.read(port.types, port.default, where)
        for name, values in node.functions:
            where = f"'{name}' of {node!r}"
            value = types.read(node.port(name).types, values, where)
            module.inputPorts.setdefault(name, []).append(SetValue(value))
        return module
