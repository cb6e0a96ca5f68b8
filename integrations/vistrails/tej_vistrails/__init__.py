"""Pipelines of jobs for Python 3, and a package for VisTrails 2.2.4.

The subpackage `pipeline` contains the pipelines for Python 3.  Its public names are
imported on first use:

    from tej_vistrails import Execution, File, Job, Output, Pipeline

The other files are the package with which VisTrails runs jobs.  `identifier` and
`version` are the same as in the tej package that VisTrails includes.  `identifier` and
`version` are part of every signature, so other values would change the ids of all jobs.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .pipeline.document import load as load
    from .pipeline.drawing import draw as draw
    from .pipeline.errors import PipelineError as PipelineError
    from .pipeline.execution import Execution as Execution
    from .pipeline.graph import Exploration as Exploration
    from .pipeline.graph import Pipeline as Pipeline
    from .pipeline.html_report import write_report as write_report
    from .pipeline.job import Job as Job
    from .pipeline.job import PythonScript as PythonScript
    from .pipeline.library import Constant as Constant
    from .pipeline.library import Directory as Directory
    from .pipeline.library import File as File
    from .pipeline.library import Gather as Gather
    from .pipeline.plan import Plan as Plan
    from .pipeline.port_types import Output as Output

name = "tej"
identifier = "org.vistrails.extra.tej"
version = "0.2"
"""Version of the package in VisTrails; this is not the version of tej."""

_HOMES = {
    "Constant": "library",
    "Directory": "library",
    "Execution": "execution",
    "Exploration": "graph",
    "File": "library",
    "Gather": "library",
    "Job": "job",
    "Output": "port_types",
    "Pipeline": "graph",
    "PipelineError": "errors",
    "Plan": "plan",
    "PythonScript": "job",
    "draw": "drawing",
    "load": "document",
    "write_report": "html_report",
}

__all__ = sorted(_HOMES)


def __getattr__(wanted):
    # type: (str) -> Any
    """Import a name at its first use, since VisTrails cannot import `pipeline`."""
    if wanted in _HOMES:
        import importlib

        home = "%s.pipeline.%s" % (__name__, _HOMES[wanted])
        return getattr(importlib.import_module(home), wanted)
    raise AttributeError("module '%s' has no attribute '%s'" % (__name__, wanted))
