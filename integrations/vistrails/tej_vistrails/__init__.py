"""VisTrails modules that run jobs with tej: a module's signature is its job's id.

Loads in VisTrails 2.2.4 (Python 2.7), and in the engine beside it (Python 3):

    from tej_vistrails import Pipeline

`identifier` and `version` are those of the package that came with VisTrails: both are
part of every signature, and so of the id of every job there is.

Part of what VisTrails loads: Python 2.7 and 3.
"""

from __future__ import absolute_import, division

from .description import TEJ as identifier
from .description import TEJ_VERSION as version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .engine.errors import PipelineError as PipelineError
    from .engine.execution import Execution as Execution
    from .engine.monitor import JobMonitor as JobMonitor
    from .engine.pipeline import Pipeline as Pipeline

name = "tej"

_ENGINE = {
    "Execution": "execution",
    "JobMonitor": "monitor",
    "Pipeline": "pipeline",
    "PipelineError": "errors",
}


def __getattr__(wanted):
    # type: (str) -> Any
    """Import the engine on first use: VisTrails reads this file and has its own."""
    if wanted in _ENGINE:
        import importlib

        module = importlib.import_module("%s.engine.%s" % (__name__, _ENGINE[wanted]))
        return getattr(module, wanted)
    raise AttributeError("module '%s' has no attribute '%s'" % (__name__, wanted))
