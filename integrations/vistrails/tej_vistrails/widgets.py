# mypy: ignore-errors
"""Configuration widgets for the window of VisTrails; the widgets need PyQt4.

VisTrails loads this file, so it must run in Python 2.7.
"""

from __future__ import absolute_import, division

from PyQt4 import QtCore, QtGui
from vistrails.gui.modules.module_configure import StandardModuleConfigurationWidget
from vistrails.gui.modules.source_configure import SourceConfigurationWidget
from vistrails.gui.modules.string_configure import TextEditor

FILE = "(org.vistrails.vistrails.basic:File)"


class ShellSourceConfigurationWidget(SourceConfigurationWidget):
    """Widget that edits the script of a SubmitShellJob module."""

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


class FilesConfigurationWidget(StandardModuleConfigurationWidget):
    """Widget that edits the names of a module's extra file ports, one per line."""

    def __init__(self, module, controller, parent=None):
        StandardModuleConfigurationWidget.__init__(self, module, controller, parent)
        self.setWindowTitle("Files")
        self._names = QtGui.QPlainTextEdit("\n".join(self._current()))
        save = QtGui.QPushButton("&Save")
        save.clicked.connect(self.saveTriggered)
        layout = QtGui.QVBoxLayout()
        layout.addWidget(QtGui.QLabel("Names of files, one on each line:"))
        layout.addWidget(self._names)
        layout.addWidget(save)
        self.setLayout(layout)

    def saveTriggered(self, checked=False):
        """Add and remove ports of the module to match the names in the widget."""
        lines = str(self._names.toPlainText()).splitlines()
        wanted = [line.strip() for line in lines if line.strip()]
        current = self._current()
        gone = [("input", name) for name in current if name not in wanted]
        new = [("input", name, FILE, -1) for name in wanted if name not in current]
        if gone or new:
            self.controller.update_ports(self.module.id, gone, new)
        self.state_changed = False
        self.emit(QtCore.SIGNAL("doneConfigure"), self.module.id)

    def _current(self):
        return [port.name for port in self.module.input_port_specs]
