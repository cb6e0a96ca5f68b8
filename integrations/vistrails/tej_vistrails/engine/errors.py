"""Class `PipelineError`: the engine cannot load or execute a pipeline."""

from __future__ import annotations

import tej


class PipelineError(tej.Error):
    """A pipeline is invalid, or contains something that the engine does not support."""

    default = "Invalid pipeline"
