"""Base classes of modules: ports, values, order of execution, and failures.

The names are the same as in VisTrails' `vistrails_module`, so that the same modules run
in VisTrails and in the engine.  The engine only has the names that modules use.
"""

from __future__ import annotations

import ast
import logging
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import tej
from tej_vistrails.description import Description

logger = logging.getLogger("tej.vistrails")


class ModuleError(tej.Error):
    """The module `module` failed for the reason in `msg`."""

    default = "A module failed"

    def __init__(self, module: Module, errormsg: str) -> None:
        super().__init__(errormsg)
        self.module = module
        self.msg = errormsg


class ModuleSuspended(ModuleError):
    """A module is suspended: its job is running, or the job's server is unreachable.

    Execute the pipeline again later.  `handle.finished()` returns True if the job has
    ended.
    """

    def __init__(self, module: Module, errormsg: str, handle: Any = None) -> None:
        super().__init__(module, errormsg)
        self.handle = handle


class ModuleHadError(ModuleError):
    """`module`, whose output another module needs, failed or was suspended earlier."""


class JobRecords(Protocol):
    """Methods of a job monitor that modules call; `JobMonitor` implements them."""

    def getJob(self, id: str) -> Any: ...

    def addJob(
        self, id: str, params: Any = None, name: str = "", finished: bool = False
    ) -> None: ...

    def deleteJob(self, id: str) -> None: ...

    def checkJob(self, module: Module, id: str, handle: Any) -> None: ...


class ModuleSettings:
    """Settings of a module type; the engine only uses the setting `abstract`."""

    def __init__(self, *, abstract: bool = False) -> None:
        self.abstract = abstract


class PathObject:
    """Value of a port that is a file or a directory on this machine."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"PathObject({self.name!r})"


class FilePool:
    """Directory for the temporary files of one execution."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def create_file(self, suffix: str = "", prefix: str = "vt_tmp") -> PathObject:
        """Create an empty temporary file, and return it."""
        with tempfile.NamedTemporaryFile(
            suffix=suffix, prefix=prefix, dir=self.directory, delete=False
        ) as file:
            return PathObject(file.name)

    def create_directory(self, suffix: str = "", prefix: str = "vt_tmp") -> PathObject:
        """Create an empty temporary directory, and return it."""
        return PathObject(tempfile.mkdtemp(suffix, prefix, self.directory))


class Interpreter:
    """Attributes of VisTrails' interpreter that modules use."""

    def __init__(self, directory: str, monitor: JobRecords) -> None:
        self.filePool = FilePool(directory)
        self.monitor = monitor


class Port:
    """Port that a module declares as `(name, signature)`, optionally with options."""

    def __init__(self, name: str, signature: object, options: Any = None) -> None:
        self.name = name
        if isinstance(signature, type):
            self.types: tuple[str, ...] = (signature.__name__,)
        else:
            inner = str(signature).strip("()")
            self.types = tuple(one.rpartition(":")[2] for one in inner.split(","))
        text = (options or {}).get("defaults")
        self.default: tuple[str, ...] | None = (
            tuple(ast.literal_eval(text)) if text else None
        )


class Connector:
    """Input that is connected to an output port of another module."""

    def __init__(self, obj: Module, port: str) -> None:
        self.obj = obj
        self.port = port

    def value(self) -> Any:
        return self.obj.get_output(self.port)


class SetValue:
    """Input whose value is set in the pipeline."""

    obj = None

    def __init__(self, value: object) -> None:
        self._value = value

    def value(self) -> Any:
        return self._value


class Module:
    """Base class of all modules."""

    _settings = ModuleSettings(abstract=True)
    _input_ports: Any = []
    _output_ports: Any = []

    is_while = False
    list_depth = 0
    """Depth of loops around the module; always 0, since the engine has no loops."""

    def __init__(self) -> None:
        self.inputPorts: dict[str, list[Connector | SetValue]] = {}
        self.outputPorts: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        self.moduleInfo: dict[str, Any] = {}
        self.signature: Any = ""
        self.interpreter: Any = None
        self.display_name = type(self).__name__
        self.computed = False
        self.failure: ModuleError | None = None

    @classmethod
    def input_ports(cls) -> dict[str, Port]:
        """Return the input ports of this module type, inherited ports first."""
        return {port.name: port for port in cls._ports("_input_ports")}

    @classmethod
    def output_ports(cls) -> dict[str, Port]:
        """Return the output ports of this module type, inherited ports first."""
        return {port.name: port for port in cls._ports("_output_ports")}

    @classmethod
    def _ports(cls, attribute: str) -> Iterator[Port]:
        for base in reversed(cls.__mro__):
            for declared in base.__dict__.get(attribute, ()):
                yield Port(*declared)

    def compute(self) -> None:
        """Compute the outputs of the module from its inputs."""

    def transfer_attrs(self, module: Any) -> None:
        """Read attributes from `module`, the pipeline's description of this module.

        VisTrails and the engine call this method before they execute the module."""

    def is_cacheable(self) -> bool:
        """Return True if the outputs may be cached.  The engine caches no outputs."""
        return True

    def update(self) -> None:
        """Execute all upstream modules and then this module, if not done before."""
        if self.failure is not None:
            raise ModuleHadError(self, self.failure.msg)
        if self.computed:
            return
        try:
            self.update_upstream()
            self.compute()
        except ModuleError as error:
            self.failure = error
            raise
        except (OSError, LookupError, ValueError) as error:
            # Invalid values and missing files raise one of these exceptions.
            self.failure = ModuleError(self, str(error))
            raise self.failure from error
        self.computed = True

    def update_upstream(self) -> None:
        """Execute all upstream modules.

        If one upstream module is suspended, the other upstream modules are executed
        before the error is raised."""
        stopped: ModuleError | None = None
        for port in list(self.inputPorts):
            try:
                self.update_upstream_port(port)
            except (ModuleSuspended, ModuleHadError) as error:
                if stopped is None or isinstance(stopped, ModuleHadError):
                    stopped = error
        if stopped is not None:
            raise stopped

    def update_upstream_port(self, port_name: str) -> None:
        """Execute all modules upstream of one input port."""
        for connector in self.inputPorts.get(port_name, ()):
            if connector.obj is not None:
                connector.obj.update()

    def has_input(self, port_name: str) -> bool:
        """Return True if the port is set or connected.  Defaults are ignored."""
        return port_name in self.inputPorts

    def get_input(self, port_name: str, allow_default: bool = True) -> Any:
        """Return the value or the default value of a port.

        Raises ModuleError if the port has neither."""
        if port_name in self.inputPorts:
            return self.inputPorts[port_name][0].value()
        if allow_default and port_name in self.defaults:
            return self.defaults[port_name]
        raise ModuleError(self, f"Missing value from port {port_name}")

    def force_get_input(self, port_name: str, default_value: Any = None) -> Any:
        """Return the value of a port, or `default_value` if no value is given."""
        if not self.has_input(port_name):
            return default_value
        return self.get_input(port_name)

    def get_input_list(self, port_name: str) -> list[Any]:
        """Return all values of a port.  Raises ModuleError if the port has no value."""
        if port_name not in self.inputPorts:
            raise ModuleError(self, f"Missing value from port {port_name}")
        return [connector.value() for connector in self.inputPorts[port_name]]

    def force_get_input_list(self, port_name: str) -> list[Any]:
        """Return all values of a port; an empty list if the port has no value."""
        return self.get_input_list(port_name) if self.has_input(port_name) else []

    def set_output(self, port_name: str, value: object) -> None:
        """Set the value of an output port."""
        self.outputPorts[port_name] = value

    def get_output(self, port_name: str) -> Any:
        """Return the value of an output port.

        Raises ModuleError if the port has no value."""
        if port_name not in self.outputPorts:
            raise ModuleError(self, f"output port '{port_name}' not found")
        return self.outputPorts[port_name]

    def job_monitor(self) -> JobRecords:
        """Return the monitor that stores the job records."""
        monitor: JobRecords = self.interpreter.monitor
        return monitor


class NotCacheable:
    """Mixin that marks a module whose outputs must not be cached."""


if TYPE_CHECKING:
    _Mixed = Module
else:
    _Mixed = object


class JobMixin(_Mixed):
    """Mixin that VisTrails requires in modules that may be suspended."""

    def job_name(self) -> str:
        """Return the name of the job that is shown to the user."""
        return str(self.display_name)


def describe(module: Module) -> tuple[Description, int]:
    """Return a description of the module's pipeline, and the module's number."""
    return module.moduleInfo["description"], module.moduleInfo["moduleId"]


def warn(message: str) -> None:
    """Log a warning for the user who executes the pipeline."""
    logger.warning("%s", message)
