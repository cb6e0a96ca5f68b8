"""What can go wrong with a pipeline, under VisTrails' names where it has one.

tej.Error
├── PipelineError        the pipeline is not one that this engine can execute
└── ModuleError          a module could not do its part
    ├── ModuleSuspended  ... now; its job runs, or cannot be asked
    └── ModuleHadError   ... and has said so before
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tej

if TYPE_CHECKING:
    from tej_vistrails.engine.module import Module


class PipelineError(tej.Error):
    """What it says of itself makes no sense, or is not known here; it is named."""

    default = "Invalid pipeline"


class ModuleError(tej.Error):
    """A module could not do its part: `module`, and why."""

    default = "A module failed"

    def __init__(self, module: Module, errormsg: str) -> None:
        super().__init__(errormsg)
        self.module = module
        self.msg = errormsg


class ModuleSuspended(ModuleError):
    """A module is not ready; execute the pipeline again later.

    `handle.finished()` says whether that is worth while.
    """

    def __init__(self, module: Module, errormsg: str, handle: Any = None) -> None:
        super().__init__(module, errormsg)
        self.handle = handle


class ModuleHadError(ModuleError):
    """A module that failed or was suspended is asked for again, by another one."""
