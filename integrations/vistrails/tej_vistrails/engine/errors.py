"""`PipelineError`: the pipeline cannot be executed by this engine."""

from __future__ import annotations

import tej


class PipelineError(tej.Error):
    """The description of a pipeline is invalid, or names something unknown."""

    default = "Invalid pipeline"
