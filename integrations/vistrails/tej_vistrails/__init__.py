"""VisTrails modules that run jobs with tej: a module's signature is its job's id.

The package loads in VisTrails 2.2.4 (Python 2.7) and in its own engine (Python 3):

    from tej_vistrails import Pipeline

`identifier` and `version` are the same as in the package that came with VisTrails.
Both enter every signature, so changing them would change the id of every job.

VisTrails loads this file: Python 2.7 and 3.
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
