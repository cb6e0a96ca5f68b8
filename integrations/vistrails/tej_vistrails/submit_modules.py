"""Modules that submit a directory or a shell script as a job.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import io
import os

from .file_modules import AssembleDirectoryMixin
from .job_modules import BaseSubmitJob
from .vistrails_api import ModuleSettings, PathObject, fail

try:
    from urllib import unquote as unquote_to_bytes  # type: ignore[attr-defined]
except ImportError:
    from urllib.parse import unquote_to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

    from .queue_module import Port


class SubmitJob(AssembleDirectoryMixin, BaseSubmitJob):
    """Module that submits a directory and the files on its extra ports as a job.

    Each extra port has the name of its file in the job.  `script` is the file to run,
    or a command.
    """

    _settings = ModuleSettings()
    _input_ports = [
        ("job", "(basic:Directory)", {"optional": True}),
        ("script", "(basic:String)", {"optional": True, "defaults": "['start.sh']"}),
    ]  # type: List[Port]

    def work(self):
        # type: () -> Tuple[str, List[str]]
        base = self.force_get_input("job")
        if base is None and not self.input_ports_order:
            raise fail(
                self, "A job needs a directory on the port 'job', or ports with files"
            )
        if base is not None and not os.path.isdir(base.name):
            raise fail(self, "'%s' is not a directory" % base.name)
        return self.assemble_directory(base), ["--script", self.get_input("script")]


class SubmitShellJob(BaseSubmitJob):
    """Module that submits a shell script as a job.

    `source` is the percent-encoded text of the script.
    """

    _settings = ModuleSettings()
    _input_ports = [("source", "(basic:String)")]  # type: List[Port]
    _output_ports = [
        ("stderr", "(basic:File)"),
        ("stdout", "(basic:File)"),
    ]  # type: List[Port]

    def work(self):
        # type: () -> Tuple[str, List[str]]
        pool = self.interpreter.filePool.create_directory(prefix="vt_tmp_shelljob_")
        directory = os.path.join(pool.name, "SubmitShellJob")
        os.mkdir(directory)
        with io.open(os.path.join(directory, "start.sh"), "wb") as script:
            script.write(unquote_to_bytes(self.get_input("source")))
        return directory, []

    def set_results(self):
        # type: () -> None
        super(SubmitShellJob, self).set_results()
        job = self.job
        assert job is not None
        pool = self.interpreter.filePool.create_directory(prefix="vt_tmp_shelljobout_")
        job.client.download(job.job_id, ["_stdout", "_stderr"], pool.name)
        for port in ("stdout", "stderr"):
            self.set_output(port, PathObject(os.path.join(pool.name, "_" + port)))
