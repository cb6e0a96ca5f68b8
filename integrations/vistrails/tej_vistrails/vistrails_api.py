"""VisTrails' module API, imported from VisTrails if possible, else from the engine.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import logging
import sys

from .description import Connection, Description, ExtraPort, Function, Parameter
from .description import Module as Described
from .ports import NEW_BESIDE_THE_WORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Tuple

    from .engine.module import JobRecords

try:
    import vistrails.core.modules.vistrails_module  # type: ignore
except ImportError:
    if sys.version_info[0] < 3:
        raise ImportError(
            "VisTrails cannot be imported: this Python has to be the one that it runs "
            "with; without VisTrails, use Python 3 and `pip install tej[vistrails]`"
        )
    IN_VISTRAILS = False
else:
    IN_VISTRAILS = True

if TYPE_CHECKING or not IN_VISTRAILS:
    from .engine.module import (
        JobMixin,
        Module,
        ModuleError,
        ModuleSettings,
        ModuleSuspended,
        NotCacheable,
        PathObject,
        describe,
        warn,
    )

    def settings(**options):
        # type: (Any) -> ModuleSettings
        """Return the ModuleSettings of a module type of this package."""
        return ModuleSettings(**options)

    def fail(module, message):
        # type: (Module, str) -> ModuleError
        """Return the ModuleError to raise if `module` failed."""
        return ModuleError(module, message)

    def suspend(module, message, handle):
        # type: (Module, str, Any) -> ModuleSuspended
        """Return the error to raise to suspend `module` until `handle.finished()`."""
        return ModuleSuspended(module, message, handle=handle)

    def waits(monitor):
        # type: (JobRecords) -> bool
        """Return False: in the engine, a module never waits for its own job.

        `Execution.wait` waits for all jobs instead, so that the jobs run at once."""
        return False

else:
    from vistrails.core import debug
    from vistrails.core.cache.hasher import Hasher
    from vistrails.core.configuration import get_vistrails_configuration
    from vistrails.core.modules.basic_modules import PathObject
    from vistrails.core.modules.config import ModuleSettings
    from vistrails.core.modules.vistrails_module import (
        Module,
        ModuleError,
        ModuleSuspended,
        NotCacheable,
    )
    from vistrails.core.vistrail.job import JobMixin

    class _Signed(object):
        """A copy of a module that has only the functions that its signature covers."""

        def __init__(self, module):
            self.module_descriptor = module.module_descriptor
            self.control_parameters = module.control_parameters
            self.port_spec_list = module.port_spec_list
            self.functions = [
                one for one in module.functions if one.name not in NEW_BESIDE_THE_WORK
            ]

    def _signature(pipeline, module, constant_hashers):
        return Hasher.module_signature(_Signed(module), constant_hashers)

    def settings(**options):
        """Return the ModuleSettings of a module type of this package."""
        return ModuleSettings(signature=_signature, **options)

    def waits(monitor):
        """Return True if a module waits for its job, False if the job suspends it.

        The condition is the same as in VisTrails' `JobMonitor.checkJob`, but
        `checkJob` requests the status of a job only every ten minutes."""
        if monitor.currentWorkflow() is None or monitor.callback is not None:
            return False
        configuration = get_vistrails_configuration()
        return bool(configuration.jobCheckInterval and not configuration.jobAutorun)

    def fail(module, message):
        """Return the ModuleError to raise if `module` failed."""
        return ModuleError(module, _printable(message))

    def suspend(module, message, handle):
        """Return the error to raise to suspend `module` until `handle.finished()`."""
        return ModuleSuspended(module, _printable(message), handle=handle)

    def _printable(message):
        """Return the message in ASCII, because VisTrails cannot save non-ASCII text."""
        if isinstance(message, bytes):
            message = message.decode("utf-8", "replace")
        return message.encode("ascii", "backslashreplace")

    def warn(message):
        """Log a warning.  If VisTrails has no log handler, also print to stderr."""
        message = _printable(message)
        debug.warning(message)
        if not (logging.getLogger("vistrails").handlers or logging.root.handlers):
            sys.stderr.write("%s\n" % message)

    def describe(module):
        """Return a description of the module's pipeline, and the module's number."""
        pipeline = module.moduleInfo["pipeline"]
        return _described(pipeline), module.moduleInfo["moduleId"]

    def _described(pipeline):
        description = Description()
        for number, module in pipeline.modules.items():
            description.modules[number] = _described_module(module)
        for one in pipeline.connections.values():
            description.connections.append(
                Connection(
                    one.sourceId,
                    one.source.name,
                    one.destinationId,
                    one.destination.name,
                )
            )
        return description

    def _described_module(module):
        descriptor = module.module_descriptor
        described = Described(
            descriptor.name,
            descriptor.package,
            descriptor.package_version or "",
            descriptor.namespace or "",
            descriptor.version or "",
        )
        for function in module.functions:
            values = [
                Parameter(
                    one.type,
                    one.strValue,
                    one.identifier,
                    one.namespace or "",
                    one.name,
                )
                for one in function.params
            ]
            described.functions.append(Function(function.name, values))
        described.controls = [
            (one.name, one.value) for one in module.control_parameters
        ]
        described.extra_ports = [
            ExtraPort(one.type, one.name, one.sigstring, one.depth)
            for one in module.port_spec_list
        ]
        described.defaults = _defaults(module)
        return described

    def _defaults(module):
        defaults = {}  # type: Dict[str, Tuple[str, ...]]
        for port in module.destinationPorts():
            values = [item.default for item in port.port_spec_items]
            if values and None not in values:
                defaults[port.name] = tuple(values)
        return defaults


__all__ = [
    "IN_VISTRAILS",
    "JobMixin",
    "Module",
    "ModuleError",
    "NotCacheable",
    "PathObject",
    "describe",
    "fail",
    "settings",
    "suspend",
    "waits",
    "warn",
]
