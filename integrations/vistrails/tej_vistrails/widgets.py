# mypy: ignore-errors
"""What VisTrails' window shows to edit a module; needs PyQt4, and is only read there.

Part of what VisTrails loads: Python 2.7.
"""

from __future__ import absolute_import, division

from vistrails.gui.modules.source_configure import SourceConfigurationWidget
from vistrails.gui.modules.string_configure import TextEditor


class ShellSourceConfigurationWidget(SourceConfigurationWidget):
    """An editor for the script of a SubmitShellJob."""

    def __init__(self, module, controller, parent=None):
        SourceConfigurationWidget.__init__(
            self,
            module,
            controller,
            TextEditor,
            has_inputs=False,
            has_outputs=False,
            parent=parent,
        )
