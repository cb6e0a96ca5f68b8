"""What modules are made of: ports, values on them, and the order of execution.

The names are those of VisTrails (its `vistrails_module`), so that one source serves
both; only what a module calls is here.
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
    """What a host may want to know of a type of modules; of ours, if it is abstract."""

    def __init__(self, *, abstract: bool = False, configure_widget: str = "") -> None:
        self.abstract = abstract
        self.configure_widget = configure_widget


class PathObject:
    """A file or a directory on this machine, as a value."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"PathObject({self.name!r})"


class FilePool:
    """Temporary files of one execution."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def create_file(self, suffix: str = "", prefix: str = "vt_tmp") -> PathObject:
        """An empty file."""
        with tempfile.NamedTemporaryFile(
            suffix=suffix, prefix=prefix, dir=self.directory, delete=False
        ) as file:
            return PathObject(file.name)

    def create_directory(self, suffix: str = "", prefix: str = "vt_tmp") -> PathObject:
        """An empty directory."""
        return PathObject(tempfile.mkdtemp(suffix, prefix, self.directory))


class Interpreter:
    """What executes the modules, as far as they see it."""

    def __init__(self, directory: str, monitor: JobRecords) -> None:
        self.filePool = FilePool(directory)
        self.monitor = monitor


class Port:
    """A port as modules declare it: `(name, signature)`, or with options."""

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
    """Where a module's input comes from: another module's output."""

    def __init__(self, obj: Module, port: str) -> None:
        self.obj = obj
        self.port = port

    def value(self) -> Any:
        return self.obj.get_output(self.port)


class SetValue:
    """Where a module's input comes from: the pipeline itself."""

    obj = None

    def __init__(self, value: object) -> None:
        self._value = value

    def value(self) -> Any:
        return self._value


class Module:
    """The base of all modules."""

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
        """Those of all modules of this type, inherited ones first."""
        return {port.name: port for port in cls._ports("_input_ports")}

    @classmethod
    def output_ports(cls) -> dict[str, Port]:
        """The same for what it gives."""
        return {port.name: port for port in cls._ports("_output_ports")}

    @classmethod
    def _ports(cls, attribute: str) -> Iterator[Port]:
        for base in reversed(cls.__mro__):
            for declared in base.__dict__.get(attribute, ()):
                yield Port(*declared)

    def compute(self) -> None:
        """What it does."""

    def transfer_attrs(self, module: Any) -> None:
        """Called with the module as it is in the pipeline, before it is executed."""

    def is_cacheable(self) -> bool:
        """Whether its results may be kept; the engine keeps none."""
        return True

    def update(self) -> None:
        """Execute what leads to it, and then itself; once."""
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
            # What values and files that are not as they should be come to
            self.failure = ModuleError(self, str(error))
            raise self.failure from error
        self.computed = True

    def update_upstream(self) -> None:
        """Execute what leads to it: all of it, also if one is suspended."""
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
        """Execute what leads to one port."""
        for connector in self.inputPorts.get(port_name, ()):
            if connector.obj is not None:
                connector.obj.update()

    def has_input(self, port_name: str) -> bool:
        """Whether something is set or connected; a default is not."""
        return port_name in self.inputPorts

    def get_input(self, port_name: str, allow_default: bool = True) -> Any:
        """The value on a port, or its default; raises ModuleError."""
        if port_name in self.inputPorts:
            return self.inputPorts[port_name][0].value()
        if allow_default and port_name in self.defaults:
            return self.defaults[port_name]
        raise ModuleError(self, f"Missing value from port {port_name}")

    def force_get_input(self, port_name: str, default_value: Any = None) -> Any:
        """The value on a port, or this."""
        if not self.has_input(port_name):
            return default_value
        return self.get_input(port_name)

    def get_input_list(self, port_name: str) -> list[Any]:
        """All values on a port; raises ModuleError if there is none."""
        if port_name not in self.inputPorts:
            raise ModuleError(self, f"Missing value from port {port_name}")
        return [connector.value() for connector in self.inputPorts[port_name]]

    def force_get_input_list(self, port_name: str) -> list[Any]:
        """All values on a port."""
        return self.get_input_list(port_name) if self.has_input(port_name) else []

    def set_output(self, port_name: str, value: object) -> None:
        """Give a value to whatever is connected."""
        self.outputPorts[port_name] = value

    def get_output(self, port_name: str) -> Any:
        """What it gave; raises ModuleError if that is nothing."""
        if port_name not in self.outputPorts:
            raise ModuleError(self, f"output port '{port_name}' not found")
        return self.outputPorts[port_name]

    def job_monitor(self) -> JobRecords:
        """What keeps the records of jobs."""
        monitor: JobRecords = self.interpreter.monitor
        return monitor


class NotCacheable:
    """For modules whose results must not be kept."""


if TYPE_CHECKING:
    _Mixed = Module
else:
    _Mixed = object


class JobMixin(_Mixed):
    """For modules that suspend; here only so that they can be told."""

    def job_name(self) -> str:
        """For people to read."""
        return str(self.display_name)


def describe(module: Module) -> tuple[Description, int]:
    """The pipeline that a module is executed in, and the module's number there."""
    return module.moduleInfo["description"], module.moduleInfo["moduleId"]


def warn(message: str) -> None:
    """Tell whoever executes the pipeline."""
    logger.warning("%s", message)
