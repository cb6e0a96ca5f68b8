"""Class `Execution`: one execution of a pipeline."""

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
    """The argument of `transfer_attrs`: a module's extra input ports."""

    def __init__(self, node: Node) -> None:
        self.input_port_specs = [one for one in node.extra if one.type == "input"]


class Execution:
    """One execution of a pipeline: its modules, outputs and failures.

    Temporary files, including output files, exist until `close` is called.
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
        """Delete the temporary files of this execution."""
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def errors(self) -> dict[str, ModuleError]:
        """Return the errors of failed modules, by module name."""
        return {
            name: module.failure
            for name, module in self.modules.items()
            if module.failure is not None
            and not isinstance(module.failure, ModuleSuspended | ModuleHadError)
            and module.failure.module is module
        }

    @property
    def suspended(self) -> dict[str, ModuleSuspended]:
        """Return the errors that suspended modules, by module name.

        A module is usually suspended because its job is running."""
        return {
            name: module.failure
            for name, module in self.modules.items()
            if isinstance(module.failure, ModuleSuspended)
            and module.failure.module is module
        }

    @property
    def completed(self) -> bool:
        """Return True if no module failed and no module is suspended."""
        return not self.errors and not self.suspended

    def output(self, output: Output) -> Any:
        """Return the value of an output.

        Raises ModuleError if the module of the output failed or is suspended."""
        module = self.modules[output.node.name]
        if module.failure is not None:
            raise module.failure
        return module.get_output(output.port)

    def text(self, output: Output) -> str:
        """Return the text in the file that is the value of an output."""
        return Path(self.output(output).name).read_text("utf-8", "replace")

    def run(self) -> None:
        """Execute all modules that have neither succeeded nor failed.

        A failure in one branch of the pipeline does not stop the other branches."""
        for module in self.modules.values():
            if not isinstance(module.failure, ModuleError) or self._is_final(module):
                continue
            module.failure = None
        for node in self.pipeline.sinks():
            try:
                self.modules[node.name].update()
            except ModuleError:
                # The error is stored in the `failure` of the module.
                continue

    def wait(self, timeout: float | None = None) -> None:
        """Wait until no module is suspended; execute the pipeline whenever a job ends.

        If the connection to a server is lost, the wait for jobs on other servers goes
        on.  When only jobs on unreachable servers remain, the method returns and the
        modules of those jobs stay suspended.  Raises WaitTimeout after `timeout`
        seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        jobs = self._jobs()
        while jobs:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                next(iter(tej.as_completed(jobs, left)))
            except (tej.JobNotFound, tej.QueueDoesntExist):
                # When the module is executed again, the module handles the deleted job.
                pass
            except tej.ConnectionFailed:
                # `run` executes all suspended modules, which connect to their servers.
                self.run()
                jobs = self._jobs(reached=True)
                continue
            self.run()
            jobs = self._jobs()

    def _jobs(self, *, reached: bool = False) -> list[tej.Job]:
        """Return the jobs of suspended modules.

        If `reached` is True, omit the jobs whose server did not reply to the last
        request."""
        handles = [error.handle for error in self.suspended.values()]
        return [
            handle.client.queue.job(handle.job_id)
            for handle in handles
            if handle.last is not None or not reached
        ]

    def _is_final(self, module: Module) -> bool:
        """Return True if `module` or a module upstream failed and was not suspended."""
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
