"""VisTrails modules that run jobs with tej: a module's signature is its job's id.

Loads in VisTrails 2.2.4 (Python 2.7), and in the engine beside it (Python 3):

    from tej_vistrails import Pipeline

`identifier` and `version` are those of the package that came with VisTrails: both are
part of every signature, and so of the id of every job there is.

Part of what VisTrails loads: Python 2.7 and 3.
"""

from __future__ import absolute_import, division

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .engine import Execution as Execution
    from .engine import JobMonitor as JobMonitor
    from .engine import Pipeline as Pipeline
    from .engine import PipelineError as PipelineError

identifier = "org.vistrails.extra.tej"
name = "tej"
version = "0.2"

_ENGINE = ("Execution", "JobMonitor", "Pipeline", "PipelineError")


def __getattr__(wanted):
    # type: (str) -> Any
    """The engine, on first use: VisTrails reads this file and has its own."""
    if wanted in _ENGINE:
        from . import engine

        return getattr(engine, wanted)
    raise AttributeError("module '%s' has no attribute '%s'" % (__name__, wanted))
