"""VisTrails modules that make a job's directory from files, or download job files.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import os
import shutil

from .client import ClientError
from .remote_job import raise_module_error
from .vistrails_api import Module, ModuleSettings, PathObject, fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Tuple

    from .vistrails_api import Port

JOB = "(org.vistrails.extra.tej:Job)"


_Mixed = object  # type: Any


class AssembleDirectoryMixin(_Mixed):
    """Mixin for modules that copy the files on extra input ports to a directory.

    The user adds the extra ports.  The name of an extra port is the path of the port's
    file in the directory.

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
        """Return the path of a directory with the files of `base` and of extra ports.

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
            raise fail(
                self,
                "Input port '%s': rename the port to a relative path without empty "
                "parts, '.' or '..'" % name,
            )
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
    """Module that copies the files on its extra ports to a temporary directory."""

    _settings = ModuleSettings()
    _output_ports = [("directory", "(basic:Directory)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        self.set_output("directory", PathObject(self.assemble_directory()))


class Download(Module):
    """Base of the modules that download files from a job."""

    _settings = ModuleSettings(abstract=True)
    _input_ports = [("job", JOB)]  # type: List[Port]

    def fetch(self, names):
        # type: (Sequence[str]) -> Tuple[str, List[str]]
        """Download files of the job to a temporary directory.

        Returns the path of the directory and the paths of the files."""
        job = self.get_input("job")
        pool = self.interpreter.filePool.create_directory(prefix="vt_tmp_download_")
        try:
            return pool.name, job.client.download(job.job_id, names, pool.name)
        except ClientError as error:
            raise_module_error(self, error, job)


class DownloadFile(Download):
    """Module that downloads the file `filename` from a job's directory."""

    _settings = ModuleSettings()
    _input_ports = [("filename", "(basic:String)")]  # type: List[Port]
    _output_ports = [("file", "(basic:File)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        name = self.get_input("filename")
        files = self.fetch([name])[1]
        if len(files) != 1:
            raise fail(
                self,
                "'%s' matches %d files: use DownloadDirectory" % (name, len(files)),
            )
        self.set_output("file", PathObject(files[0]))


class DownloadDirectory(Download):
    """Module that downloads the directory `pathname` from a job's directory."""

    _settings = ModuleSettings()
    _input_ports = [("pathname", "(basic:String)")]  # type: List[Port]
    _output_ports = [("directory", "(basic:Directory)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        name = self.get_input("pathname")
        folder = os.path.normpath(os.path.join(self.fetch([name])[0], name))
        if not os.path.isdir(folder):
            raise fail(self, "'%s' is not a directory of the job" % name)
        self.set_output("directory", PathObject(folder))
