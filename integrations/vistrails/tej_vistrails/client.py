"""Client of a queue that runs the `tej` command, because Python 2.7 cannot import tej.

The methods return the objects that `tej` prints with `--json` (`docs/commands.md`).

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import io
import json
import os
import shlex
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Sequence

    from .queue_address import QueueAddress

    Document = Dict[str, Any]

RESOURCES = (
    "nodes",
    "cpus",
    "memory",
    "gpus",
    "walltime",
    "partition",
    "account",
)
"""Names of the resource ports; `tej submit` and `tej.Resources` use the same names."""

NEW_BESIDE_THE_WORK = frozenset(
    RESOURCES + ("scheduler_options", "login", "labels", "retry", "fail_on_error")
)
"""Ports that do not affect a job's result and are not part of any signature.

The tej package that VisTrails includes does not have these ports."""
_HERE = os.path.dirname(os.path.abspath(__file__))
COMMAND_FILE = "command.json"
"""Name of the file in this directory to which `install` writes tej's command line."""
OUTPUT_LINES = 20
_OLD_QUEUE = "is a queue of tej 0."
_NOT_THERE = ("JobNotFound", "QueueDoesntExist")


class ClientError(Exception):
    """A request to tej failed; `kind` is the name of tej's error class."""

    def __init__(self, kind, message):
        # type: (str, str) -> None
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message

    @property
    def may_pass(self):
        # type: () -> bool
        """Return True if the connection was lost: the same request may succeed later.

        Return False for all other errors, such as a refused login."""
        return self.kind == "ConnectionFailed"


class Work(object):
    """The directory of a job to submit, and the job's options for `tej submit`."""

    def __init__(self, directory, options=()):
        # type: (str, Sequence[str]) -> None
        self.directory = directory
        self.options = list(options)
        self.environment = {}  # type: Dict[str, str]


class CommandClient(object):
    """Client of one queue that runs the `tej` command once per request.

    All users of the machine can see the arguments of a process.  The destination may
    contain a password, so the client passes the destination in the environment.  The
    client passes the job's environment variables on stdin.
    """

    def __init__(self, address, command=None):
        # type: (QueueAddress, Optional[Sequence[str]]) -> None
        self.address = address
        self.command = list(command or find_command())

    def ensure(self, job_id, work, retry=False):
        # type: (str, Work, bool) -> bool
        """Start a job unless the job exists; return True if a job was started."""
        words = ["--id", job_id, "--retry" if retry else "--reuse"]
        if self.address.setup_runtime:
            words += ["--runtime", self.address.setup_runtime]
        words += work.options
        stdin = ""
        if work.environment:
            words += ["--env-file", "-"]
            stdin = json.dumps(work.environment)
        # `--` is not used before the directory, because the words after `--` would be
        # the command of the job.
        directory = os.path.abspath(work.directory)
        answer = self._ask("submit", words + [directory], stdin=stdin)
        return bool(answer["is_new"])

    def status(self, job_id):
        # type: (str) -> Optional[Document]
        """Return the status of a job, or None if the job does not exist."""
        try:
            return self._one(self._ask("status", ["--id", job_id]))
        except ClientError as error:
            if error.kind in _NOT_THERE:
                return None
            raise

    def wait(self, job_id):
        # type: (str) -> Document
        """Wait until a job has ended, and return its status."""
        return self._one(self._ask("wait", ["--id", job_id]))

    def download(self, job_id, names, directory):
        # type: (str, Sequence[str], str) -> List[str]
        """Download files of a job below `directory`; return the paths written."""
        options = ["--id", job_id, "--directory", directory]
        words = [_as_file(name) for name in names]
        return list(self._ask("download", options, words)["files"])

    def output(self, job_id, stream, lines=OUTPUT_LINES):
        # type: (str, str, Optional[int]) -> str
        """Return the last `lines` lines of `stream`; all lines if `lines` is None.

        `stream` is "stdout" or "stderr"."""
        options = ["--id", job_id, "--" + stream]
        if lines is not None:
            options += ["--tail", "%d" % lines]
        files = self._ask("logs", options)["files"]
        return "".join(files.values())

    def _one(self, answer):
        # type: (Document) -> Document
        (document,) = answer["jobs"]
        _raise(document.get("error"))
        return dict(document)

    def _ask(self, verb, options, words=(), stdin=""):
        # type: (str, Sequence[str], Sequence[str], str) -> Document
        arguments = [verb, "--json", "--queue", self.address.queue]
        for name in self.address.need_runtime:
            arguments += ["--need-runtime", name]
        line = self.command + arguments + list(options)
        if words:
            line += ["--"] + list(words)
        environment = dict(os.environ, TEJ_DESTINATION=self.address.destination)
        try:
            process = subprocess.Popen(
                _native(line),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise ClientError(
                "NoCommand",
                "The command '%s' cannot be started (%s): install this package with "
                "`python3 -m tej_vistrails install`, or set TEJ_COMMAND"
                % (self.command[0], error),
            )
        stdout, stderr = process.communicate(stdin.encode("utf-8"))
        try:
            answer = _native(json.loads(stdout.decode("utf-8")))
        except ValueError:
            raise ClientError(
                "NoAnswer",
                "`tej %s` ended with status %s and no answer: %s"
                % (verb, process.returncode, _text(stderr).strip()),
            )
        failure = answer.get("error")
        if (
            failure
            and failure["kind"] == "QueueExists"
            and _OLD_QUEUE in failure["message"]
        ):
            # VisTrails users have such a queue at the default path, because the package
            # that VisTrails includes created it.
            failure["message"] += ".  To rename that queue, run: %s" % (
                self.address.move_command
            )
        _raise(failure)
        return dict(answer)


def _raise(error):
    # type: (Optional[Mapping[str, str]]) -> None
    if error:
        raise ClientError(error["kind"], error["message"])


def _native(value):
    # type: (Any) -> Any
    """Return `value` with all text converted to `str`, the type that modules expect.

    In Python 2, JSON text is `unicode`, and `str` is a byte string."""
    if isinstance(value, dict):
        return {_native(key): _native(value[key]) for key in value}
    if isinstance(value, list):
        return [_native(one) for one in value]
    if hasattr(value, "encode") and not isinstance(value, str):
        return value.encode("utf-8")
    return value


def _text(data):
    # type: (bytes) -> str
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def _as_file(name):
    # type: (str) -> str
    """Return a file name in a form that `tej` does not use as the destination."""
    return "./" + name if "@" in name or ":" in name else name


def find_command():
    # type: () -> List[str]
    """Return tej's command line.

    The command line is the value of TEJ_COMMAND, the contents of COMMAND_FILE, or
    `tej`."""
    words = os.environ.get("TEJ_COMMAND")
    if words:
        return shlex.split(words)
    try:
        with io.open(os.path.join(_HERE, COMMAND_FILE), encoding="utf-8") as file:
            return list(_native(json.load(file)))
    except (IOError, OSError):
        return ["tej"]
