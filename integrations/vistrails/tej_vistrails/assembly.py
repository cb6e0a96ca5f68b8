"""A directory put together from another one and from files on ports.

Part of what VisTrails loads: Python 2.7 and 3.
"""

from __future__ import absolute_import, division

import os
import shutil

from .vistrails_api import Module, PathObject, fail, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence

    from .queues import Port


if TYPE_CHECKING:
    _Mixed = Module
else:
    _Mixed = object


class AssembleDirectoryMixin(_Mixed):
    """For modules that take files on ports of their own, named like the files.

    No module itself: VisTrails wants each to have one base that is one."""

    input_ports_order = ()  # type: Sequence[str]
    """The names of these ports."""

    def transfer_attrs(self, module):
        # type: (Any) -> None
        """Called by the host with the module as it is in the pipeline."""
        super(AssembleDirectoryMixin, self).transfer_attrs(module)
        self.input_ports_order = [port.name for port in module.input_port_specs]

    def assemble_directory(self, base=None):
        # type: (Optional[Any]) -> str
        """The path of `base` with the files of the ports; a copy, if there are any."""
        if base is not None and not self.input_ports_order:
            return str(base.name)
        pool = self.interpreter.filePool.create_directory(
            prefix="vt_tmp_makedirectory_"
        )
        # What people read in lists of jobs
        folder = os.path.join(pool.name, type(self).__name__)
        if base is None:
            os.mkdir(folder)
        else:
            shutil.copytree(base.name, folder, symlinks=True)
        for name in self.input_ports_order:
            self._add(self.get_input(name).name, name, folder)
        return folder

    def _add(self, source, name, folder):
        # type: (str, str, str) -> None
        parts = name.split("/")
        if not all(parts) or ".." in parts or "." in parts:
            raise fail(self, "A port cannot be a file called '%s'" % name)
        target = os.path.join(folder, *parts)
        if not os.path.isdir(os.path.dirname(target)):
            os.makedirs(os.path.dirname(target))
        if os.path.isdir(source):
            shutil.copytree(source, target, symlinks=True)
        elif os.path.isfile(source):
            shutil.copy(source, target)
        else:
            raise fail(self, "'%s', for '%s', is not there" % (source, name))


class MakeDirectory(AssembleDirectoryMixin, Module):
    """A temporary directory with the files of its ports in it."""

    _settings = settings(
        configure_widget="%s.widgets:FilesConfigurationWidget"
        % __name__.rpartition(".")[0]
    )
    _output_ports = [("directory", "(basic:Directory)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        self.set_output("directory", PathObject(self.assemble_directory()))
