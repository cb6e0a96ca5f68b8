"""The parts of VisTrails' module API that this package uses.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import logging
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Tuple, Union

    Port = Union[Tuple[str, Any], Tuple[str, Any, Dict[str, Any]]]

try:
    from vistrails.core import debug
    from vistrails.core.configuration import get_vistrails_configuration
    from vistrails.core.modules.basic_modules import PathObject
    from vistrails.core.modules.config import ModuleSettings
    from vistrails.core.modules.vistrails_module import (
        Module,
        ModuleError,
        ModuleSuspended,
    )
    from vistrails.core.vistrail.job import JobMixin
except ImportError as error:
    raise ImportError(
        "VisTrails cannot be imported (%s): these modules run in VisTrails 2.2.4.  "
        "For pipelines without VisTrails, use Python 3 and `pip install tej[vistrails]`"
        % error
    )


def waits(monitor):
    # type: (Any) -> bool
    """Return True if a module must wait for its job, False if it must be suspended.

    The condition is the same as in `JobMonitor.checkJob` of VisTrails.  The module
    waits by itself, because `checkJob` requests the status of a job only every ten
    minutes."""
    if monitor.currentWorkflow() is None or monitor.callback is not None:
        return False
    configuration = get_vistrails_configuration()
    return bool(configuration.jobCheckInterval and not configuration.jobAutorun)


def fail(module, message):
    # type: (Any, str) -> Any
    """Return the ModuleError to raise if `module` failed."""
    return ModuleError(module, _printable(message))


def suspend(module, message, handle):
    # type: (Any, str, Any) -> Any
    """Return the error to raise to suspend `module` until `handle.finished()`."""
    return ModuleSuspended(module, _printable(message), handle=handle)


def _printable(message):
    # type: (Any) -> Any
    """Return the message in ASCII, because VisTrails cannot save non-ASCII text."""
    if isinstance(message, bytes):
        message = message.decode("utf-8", "replace")
    return message.encode("ascii", "backslashreplace")


def warn(message):
    # type: (str) -> None
    """Log a warning.  If VisTrails has no log handler, also print to stderr."""
    message = _printable(message)
    debug.warning(message)
    if not (logging.getLogger("vistrails").handlers or logging.root.handlers):
        sys.stderr.write("%s\n" % message)


__all__ = [
    "JobMixin",
    "Module",
    "ModuleError",
    "ModuleSettings",
    "PathObject",
    "fail",
    "suspend",
    "waits",
    "warn",
]
