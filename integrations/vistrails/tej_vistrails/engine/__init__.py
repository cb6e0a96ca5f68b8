"""A small engine for pipelines of these modules, with VisTrails' API and signatures."""

from tej_vistrails.engine.errors import (
    ModuleError,
    ModuleSuspended,
    PipelineError,
)
from tej_vistrails.engine.execution import Execution
from tej_vistrails.engine.monitor import JobMonitor
from tej_vistrails.engine.pipeline import Node, Output, Pipeline

__all__ = [
    "Execution",
    "JobMonitor",
    "ModuleError",
    "ModuleSuspended",
    "Node",
    "Output",
    "Pipeline",
    "PipelineError",
]
