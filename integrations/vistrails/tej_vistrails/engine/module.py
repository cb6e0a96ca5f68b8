"""Base classes of modules: ports, values, order of execution, failures.

Names follow VisTrails' `vistrails_module`, so that one source runs in both.  Only the
part of that API that modules use is implemented.
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
    """A module failed: `module` is the module, `msg` the reason."""

    default = "A module failed"

    def __init__(self, module: Module, errormsg: str) -> None:
        super().__init__(errormsg)
        self.module = module
        self.msg = errormsg


class ModuleSuspended(ModuleError):
    """A module is not ready: its job runs, or its server cannot be reached.

    Execute the pipeline again later; `handle.finished()` says whether the job has
    ended.
    """

    def __init__(self, module: Module, errormsg: str, handle: Any = None) -> None:
        super().__init__(module, errormsg)
        self.handle = handle


class ModuleHadError(ModuleError):
    """A module failed or was suspended earlier, and another module needs its result."""


class JobRecords(Protocol):
    """The part of a job monitor that modules call (`JobMonitor` implements it)."""

    def getJob(self, id: str) -> Any: ...

    def addJob(
        self, id: str, params: Any = None, name: str = "", finished: bool = False
    ) -> None: ...

    def deleteJob(self, id: str) -> None: ...

    def checkJob(self, module: Module, id: str, handle: Any) -> None: ...


class ModuleSettings:
    """Settings of a module type; the engine reads `abstract` only."""

    def __init__(self, *, abstract: bool = False, configure_widget: str = "") -> None:
        self.abstract = abstract
        self.configure_widget = configure_widget


class PathObject:
    """A value that is a file or a directory on this machine."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"PathObject({self.name!r})"


class FilePool:
    """Temporary files of one execution."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def create_file(self, suffix: str = "", prefix: str = "vt_tmp") -> PathObject:
        """Create an empty file."""
        with tempfile.NamedTemporaryFile(
            suffix=suffix, prefix=prefix, dir=self.directory, delete=False
        ) as file:
            return PathObject(file.name)

    def create_directory(self, suffix: str = "", prefix: str = "vt_tmp") -> PathObject:
        """Create an empty directory."""
        return PathObject(tempfile.mkdtemp(suffix, prefix, self.directory))


class Interpreter:
    """The part of VisTrails' interpreter that modules use."""

    def __init__(self, directory: str, monitor: JobRecords) -> None:
        self.filePool = FilePool(directory)
        self.monitor = monitor


class Port:
    """A port, declared as `(name, signature)` or `(name, signature, options)`."""

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
    """An input connected to the output of another module."""

    def __init__(self, obj: Module, port: str) -> None:
        self.obj = obj
        self.port = port

    def value(self) -> Any:
        return self.obj.get_output(self.port)


class SetValue:
    """An input set to a value in the pipeline."""

    obj = None

    def __init__(self, value: object) -> None:
        self._value = value

    def value(self) -> Any:
        return self._value


class Module:
    """Base of all modules."""

    _settings = ModuleSettings(abstract=True)
    _input_ports: Any = []
    _output_ports: Any = []

    is_while = False
    list_depth = 0
    """The engine has no loops."""

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
        """Return the input ports of this type, inherited ones first."""
        return {port.name: port for port in cls._ports("_input_ports")}

    @classmethod
    def output_ports(cls) -> dict[str, Port]:
        """Return the output ports of this type, inherited ones first."""
        return {port.name: port for port in cls._ports("_output_ports")}

    @classmethod
    def _ports(cls, attribute: str) -> Iterator[Port]:
        for base in reversed(cls.__mro__):
            for declared in base.__dict__.get(attribute, ()):
                yield Port(*declared)

    def compute(self) -> None:
        """Do the module's work."""

    def transfer_attrs(self, module: Any) -> None:
        """Called before execution with the module as the pipeline describes it."""

    def is_cacheable(self) -> bool:
        """Whether results may be cached; the engine caches none."""
        return True

    def update(self) -> None:
        """Execute everything upstream, then the module itself; once."""
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
            # Invalid values and missing files end in one of these.
            self.failure = ModuleError(self, str(error))
            raise self.failure from error
        self.computed = True

    def update_upstream(self) -> None:
        """Execute everything upstream.  A suspended module does not stop the others."""
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
        """Execute everything upstream of one port."""
        for connector in self.inputPorts.get(port_name, ()):
            if connector.obj is not None:
                connector.obj.update()

    def has_input(self, port_name: str) -> bool:
        """Whether a value is set or connected; a default does not count."""
        return port_name in self.inputPorts

    def get_input(self, port_name: str, allow_default: bool = True) -> Any:
        """Return the value or default of a port; raises ModuleError if it has none."""
        if port_name in self.inputPorts:
            return self.inputPorts[port_name][0].value()
        if allow_default and port_name in self.defaults:
            return self.defaults[port_name]
        raise ModuleError(self, f"Missing value from port {port_name}")

    def force_get_input(self, port_name: str, default_value: Any = None) -> Any:
        """Return the value on a port, or `default_value`."""
        if not self.has_input(port_name):
            return default_value
        return self.get_input(port_name)

    def get_input_list(self, port_name: str) -> list[Any]:
        """Return all values on a port; raises ModuleError if there is none."""
        if port_name not in self.inputPorts:
            raise ModuleError(self, f"Missing value from port {port_name}")
        return [connector.value() for connector in self.inputPorts[port_name]]

    def force_get_input_list(self, port_name: str) -> list[Any]:
        """Return all values on a port, possibly none."""
        return self.get_input_list(port_name) if self.has_input(port_name) else []

    def set_output(self, port_name: str, value: object) -> None:
        """Set the value of an output port."""
        self.outputPorts[port_name] = value

    def get_output(self, port_name: str) -> Any:
        """Return the value of an output port; raises ModuleError if it was not set."""
        if port_name not in self.outputPorts:
            raise ModuleError(self, f"output port '{port_name}' not found")
        return self.outputPorts[port_name]

    def job_monitor(self) -> JobRecords:
        """Return the monitor that records jobs."""
        monitor: JobRecords = self.interpreter.monitor
        return monitor


class NotCacheable:
    """Marks modules whose results must not be cached."""


if TYPE_CHECKING:
    _Mixed = Module
else:
    _Mixed = object


class JobMixin(_Mixed):
    """Marks modules that may suspend, as VisTrails expects."""

    def job_name(self) -> str:
        """Return the name of the job for people to read."""
        return str(self.display_name)


def describe(module: Module) -> tuple[Description, int]:
    """Return the pipeline that a module belongs to, and its number in it."""
    return module.moduleInfo["description"], module.moduleInfo["moduleId"]


def warn(message: str) -> None:
    """Log a warning for the person who executes the pipeline."""
    logger.warning("%s", message)
