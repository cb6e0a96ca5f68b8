"""Job directories assembled from a base directory and files on ports.

VisTrails loads this file: Python 2.7 and 3.
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
    """Mixin for modules with one extra input port per file, named like the file.

    It does not inherit from `Module`: VisTrails requires exactly one module base."""

    input_ports_order = ()  # type: Sequence[str]
    """Names of the extra ports."""

    def transfer_attrs(self, module):
        # type: (Any) -> None
        """Called by the host with the module as the pipeline describes it."""
        super(AssembleDirectoryMixin, self).transfer_attrs(module)
        self.input_ports_order = [port.name for port in module.input_port_specs]

    def assemble_directory(self, base=None):
        # type: (Optional[Any]) -> str
        """Return a directory with the files of `base` and of the extra ports.

        This is `base` itself if there are no extra ports, otherwise a copy."""
        if base is not None and not self.input_ports_order:
            return str(base.name)
        pool = self.interpreter.filePool.create_directory(
            prefix="vt_tmp_makedirectory_"
        )
        # The directory's name becomes the job's name in listings.
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
    """Create a temporary directory that holds the files on its ports."""

    _settings = settings(
        configure_widget="%s.widgets:FilesConfigurationWidget"
        % __name__.rpartition(".")[0]
    )
    _output_ports = [("directory", "(basic:Directory)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        self.set_output("directory", PathObject(self.assemble_directory()))
