"""`PipelineError`: a mistake in a pipeline or its document."""

from __future__ import annotations

import tej


class PipelineError(tej.Error):
    """A pipeline is not valid, or cannot be executed as requested.

    The message contains the name of the module and of the port, if there is one.
    """
