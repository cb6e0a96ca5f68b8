"""VisTrails modules that run jobs with tej; a job's id contains its module's signature.

The package runs in VisTrails 2.2.4 (Python 2.7) and in its own engine (Python 3).  A
Python program without VisTrails imports the engine like this:

    from tej_vistrails import Pipeline

`identifier` and `version` are the same as in the package that VisTrails includes.
`identifier` and `version` are part of every signature with the scheme `vistrails`, so
another `identifier` or `version` would change the ids of all jobs.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
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
    """Import the engine at its first use, since VisTrails does not need the engine."""
    if wanted in _ENGINE:
        import importlib

        module = importlib.import_module("%s.engine.%s" % (__name__, _ENGINE[wanted]))
        return getattr(module, wanted)
    raise AttributeError("module '%s' has no attribute '%s'" % (__name__, wanted))
