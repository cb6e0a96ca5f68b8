"""Modules that assemble a job directory from a base directory and files on ports.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import os
import shutil

from .vistrails_api import Module, PathObject, fail, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence

    from .queues import Port


_Mixed = object  # type: Any


class AssembleDirectoryMixin(_Mixed):
    """Mixin for modules with an extra input port per file, named like the file.

    The mixin does not inherit from `Module`, because VisTrails requires that a module
    class has exactly one base class that is a module."""

    input_ports_order = ()  # type: Sequence[str]
    """Names of the extra ports of this module."""

    def transfer_attrs(self, module):
        # type: (Any) -> None
        """Store the names of this module's extra ports.

        `module` is the description of this module in the pipeline.
        VisTrails calls this method before it executes the module."""
        super(AssembleDirectoryMixin, self).transfer_attrs(module)
        self.input_ports_order = [port.name for port in module.input_port_specs]

    def assemble_directory(self, base=None):
        # type: (Optional[Any]) -> str
        """Return the path of a directory with the files of `base` and the extra ports.

        If the module has no extra ports, return the path of `base` itself.  Otherwise,
        copy all files to a temporary directory and return its path."""
        if base is not None and not self.input_ports_order:
            return str(base.name)
        pool = self.interpreter.filePool.create_directory(
            prefix="vt_tmp_makedirectory_"
        )
        # `tej list` shows the name of this directory as the name of the job.
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
            raise fail(
                self, "'%s', the file for port '%s', does not exist" % (source, name)
            )


class MakeDirectory(AssembleDirectoryMixin, Module):
    """Create a temporary directory that contains the files on the module's ports."""

    _settings = settings()
    _output_ports = [("directory", "(basic:Directory)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        self.set_output("directory", PathObject(self.assemble_directory()))
