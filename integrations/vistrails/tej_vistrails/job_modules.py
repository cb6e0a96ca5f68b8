"""VisTrails modules for jobs: a queue, an existing job, and modules that start jobs.

`remote_job.py` waits for a job, or suspends the module while the job runs.

VisTrails' job records may be outdated.  Each execution therefore requests the status of
the job from the server.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import io
import os
import shlex
import sys

from .client import DEFAULT_QUEUE, ClientError, QueueAddress
from .file_modules import JOB, AssembleDirectoryMixin
from .remote_job import (
    RemoteJob,
    await_end,
    describe_failure,
    exit_code,
    raise_module_error,
)
from .vistrails_api import (
    JobMixin,
    Module,
    ModuleError,
    ModuleSettings,
    PathObject,
    fail,
    warn,
)

try:
    from urllib import unquote as unquote_to_bytes  # type: ignore[attr-defined]
except ImportError:
    from urllib.parse import unquote_to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Tuple

    from .client import Document
    from .vistrails_api import Port

ID_PREFIX = "vistrails_module_"
STDERR_LINES = 20
"""Maximum number of lines of a job's stderr in the error of its module."""


class Queue(Module):
    """Module that specifies a queue of jobs on a server.

    `hostname` is a host, an alias of ~/.ssh/config, `local:`, or a full destination
    `[user@]host[:port]`.  The ports `username` and `port` are added to a host that does
    not contain these parts.  `queue` is the path of the queue on the server.  If the
    queue does not exist, the first job creates it with the runtime `setup_runtime`.  If
    the queue exists, its runtime must be one of the comma-separated names in
    `need_runtime`.
    """

    _settings = ModuleSettings()
    _input_ports = [
        ("hostname", "(basic:String)"),
        ("username", "(basic:String)", {"optional": True}),
        ("port", "(basic:Integer)", {"optional": True, "defaults": "['22']"}),
        (
            "queue",
            "(basic:String)",
            {"optional": True, "defaults": "['%s']" % DEFAULT_QUEUE},
        ),
        ("setup_runtime", "(basic:String)", {"optional": True}),
        ("need_runtime", "(basic:String)", {"optional": True}),
    ]  # type: List[Port]
    _output_ports = [("queue", "(org.vistrails.extra.tej:Queue)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        destination = self.get_input("hostname")
        username, port = self.force_get_input("username"), self.force_get_input("port")
        if username:
            destination = "%s@%s" % (username, destination)
        if port is not None:
            destination = "%s:%s" % (destination, port)
        needed = self.force_get_input("need_runtime", "").split(",")
        address = QueueAddress(
            destination,
            self.get_input("queue"),
            self.force_get_input("setup_runtime") or None,
            tuple(sorted(name.strip() for name in needed if name.strip())),
        )
        self.set_output("queue", address)


class Job(Module):
    """Module that returns an existing job, given its id.

    While the job runs, the workflow waits or is suspended."""

    _settings = ModuleSettings()
    _input_ports = [("id", "(basic:String)"), ("queue", Queue)]  # type: List[Port]
    _output_ports = [("job", JOB), ("exitcode", "(basic:Integer)")]  # type: List[Port]

    def is_cacheable(self):
        # type: () -> bool
        """Return False, because the state of the job on the server may change."""
        return False

    def compute(self):
        # type: () -> None
        job = RemoteJob(self.get_input("queue"), self.get_input("id"))
        try:
            status = job.request_status()
            if status is None:
                raise fail(self, "No job '%s' in %r" % (job.job_id, job.queue))
            if not status["final"]:
                status = await_end(self, job)
        except ClientError as error:
            raise_module_error(self, error, job)
        check_ended(self, job, status)
        self.set_output("job", job)
        self.set_output("exitcode", exit_code(status))


class BaseSubmitJob(JobMixin, Module):
    """Base of the modules that start a job if the job does not exist.

    The job's id contains the signature of this module and of its upstream modules.
    While the job runs, the workflow waits or is suspended.  If the job exists, only the
    upstream modules on the ports `queue` and `print_error` are executed.
    """

    _settings = ModuleSettings(abstract=True)
    _input_ports = [
        ("queue", Queue),
        (
            "print_error",
            "(basic:Boolean)",
            {"optional": True, "defaults": "['False']"},
        ),
        ("options", "(basic:String)", {"optional": True}),
    ]  # type: List[Port]
    _output_ports = [("job", JOB), ("exitcode", "(basic:Integer)")]  # type: List[Port]

    job = None  # type: Optional[RemoteJob]
    status = None  # type: Optional[Document]
    trouble = None  # type: Optional[Exception]

    def is_cacheable(self):
        # type: () -> bool
        """Return False, because the state of the job on the server may change."""
        return False

    def make_id(self):
        # type: () -> str
        """Return the job's id: a prefix and the module's signature."""
        signature = self.signature
        if not signature:
            raise fail(self, "VisTrails gave this module no signature")
        return str(ID_PREFIX + signature)

    def update_upstream(self):
        # type: () -> None
        """Execute all upstream modules only if the job has to be started."""
        if self.list_depth > 0:
            # A module in a loop gets the values of the iteration from upstream, so
            # upstream modules must be executed.
            super(JobMixin, self).update_upstream()
            return
        # The record is marked before any statement that may raise an exception, because
        # VisTrails deletes records that are not marked.
        self._keep_record()
        for port in ("queue", "print_error"):
            self.update_upstream_port(port)
        self.job = self.status = self.trouble = None
        try:
            self.job = RemoteJob(self.get_input("queue"), self.make_id())
            self.status = self.job.request_status()
        except (ClientError, ModuleError) as error:
            # VisTrails handles errors of a module only in `compute`, so the error is
            # raised there.
            self.trouble = error
            return
        if self.status is None:
            super(JobMixin, self).update_upstream()

    def compute(self):
        # type: () -> None
        if getattr(self, "is_while", False):
            raise fail(
                self,
                "A job cannot run in a while-loop, because all iterations would be the "
                "same job",
            )
        try:
            if self.trouble is not None:
                raise self.trouble
            status = self._follow()
            self._conclude(status)
        except ClientError as error:
            raise_module_error(self, error, self.job)

    def work(self):
        # type: () -> Tuple[str, List[str]]
        """Return the directory of the job, and options for `tej submit`."""
        raise NotImplementedError

    def set_results(self):
        # type: () -> None
        """Set the output ports after the job has ended."""
        status = self.status
        if self.job is not None and status is not None:
            self.set_output("job", self.job)
            self.set_output("exitcode", exit_code(status))

    def _follow(self):
        # type: () -> Document
        """Start the job if necessary, wait until it ends, and return its status."""
        job = self.job
        assert job is not None
        status = self.status
        if status is None:
            directory, options = self.work()
            self._start(job, directory, options + self._read_options())
        self._record(finished=False)
        if status is None or not status["final"]:
            status = await_end(self, job)
        return status

    def _read_options(self):
        # type: () -> List[str]
        """Return the options of `tej submit` on the port `options`.

        Raises ModuleError if an option is invalid."""
        options = []  # type: List[str]
        for text in self.force_get_input_list("options"):
            try:
                options += shlex.split(text)
            except ValueError as error:
                raise fail(self, "Port 'options', value '%s': %s" % (text, error))
        if "--" in options:
            # The option `--id`, which is added last, would become a part of the command
            # after `--`.
            raise fail(self, "The port 'options' must not contain '--'")
        return options

    def _start(self, job, directory, options):
        # type: (RemoteJob, str, Sequence[str]) -> None
        monitor = self.job_monitor()
        known = monitor.getJob(self.signature) is not None
        # The record is written before the request, because the job may have started
        # even if the reply is lost.
        self._record(finished=False)
        try:
            job.client.ensure(job.job_id, directory, options)
        except ClientError as error:
            if error.kind == "JobAlreadyExists":
                # Another client has started a job with this id but different files.
                warn("tej: %s; the existing job is used" % error.message)
                return
            if not (known or error.is_temporary):
                monitor.deleteJob(self.signature)
            raise

    def _conclude(self, status):
        # type: (Document) -> None
        job = self.job
        assert job is not None
        self.status = status
        self._record(finished=True)
        check_ended(self, job, status)
        why = describe_failure(status)
        if why is not None:
            message = "Job '%s' %s" % (job.job_id, why)
            if self.get_input("print_error"):
                stderr = job.standard_error()
                sys.stderr.write(stderr)
                lines = stderr.rstrip().splitlines()[-STDERR_LINES:]
                raise fail(self, "\n".join([message] + lines))
            warn("tej: %s; the workflow continues" % message)
        self.set_results()

    def _record(self, finished):
        # type: (bool) -> None
        """Add or update the job record, which VisTrails shows and saves."""
        if self.job is None:
            return
        address = self.job.queue
        parameters = {
            "destination": address.shown,
            "queue": address.queue,
            "job_id": self.job.job_id,
        }  # type: Dict[str, Any]
        if finished and self.status is not None and self.status["state"] == "finished":
            parameters["exitcode"] = exit_code(self.status)
        monitor = self.job_monitor()
        monitor.addJob(self.signature, parameters, self.job_name(), finished)

    def _keep_record(self):
        # type: () -> None
        """Mark the record of a running job so that VisTrails keeps the record.

        VisTrails deletes unmarked records of all modules that are not suspended."""
        record = self.job_monitor().getJob(self.signature)
        if record is not None and not record.finished:
            record.mark()


class SubmitJob(AssembleDirectoryMixin, BaseSubmitJob):
    """Module that submits a directory and the files on its extra ports as a job.

    The name of an extra port is the path of its file in the job.  `script` is the file
    to run, or a command.
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
                self,
                "The job has no files: connect a directory to the port 'job', or add "
                "input ports for files",
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


def check_ended(module, job, status):
    # type: (Module, RemoteJob, Document) -> None
    """Raise ModuleError if the job was killed or is lost."""
    if status["state"] in ("lost", "killed"):
        raise fail(
            module,
            "Job '%s' %s: `tej retry` starts the job again"
            % (job.job_id, describe_failure(status)),
        )
