"""Client of a queue: runs the `tej` command, because Python 2.7 cannot import tej.

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
    from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

    Document = Dict[str, Any]

_HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT_QUEUE = "~/.tej"
COMMAND_FILE = "command.json"
"""Name of the file in this directory to which `install` writes tej's command line."""
_NOT_THERE = ("JobNotFound", "QueueNotFound")
_seen = set()  # type: Set[Tuple[str, str]]
"""Destination and path of each queue that has replied to this process."""


class ClientError(Exception):
    """A request to tej failed; `kind` is the name of tej's error class."""

    def __init__(self, kind, message):
        # type: (str, str) -> None
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message

    @property
    def is_temporary(self):
        # type: () -> bool
        """Return True if the connection was lost: the same request may succeed later.

        Return False for all other errors, such as a refused login."""
        return self.kind == "ConnectionFailed"


class QueueAddress(object):
    """The destination, path and runtimes of a queue.

    `repr` and `shown` do not contain the password of the destination."""

    def __init__(
        self, destination, queue=DEFAULT_QUEUE, setup_runtime=None, need_runtime=()
    ):
        # type: (str, str, Optional[str], Tuple[str, ...]) -> None
        self.destination = destination
        self.queue = queue
        self.setup_runtime = setup_runtime
        self.need_runtime = need_runtime

    @property
    def shown(self):
        # type: () -> str
        """Return the destination without its password."""
        scheme = "ssh://" if self.destination.startswith("ssh://") else ""
        user, at, host = self.destination[len(scheme) :].rpartition("@")
        return scheme + user.partition(":")[0] + at + host

    def __repr__(self):
        # type: () -> str
        return "<queue %s on %s>" % (self.queue, self.shown)


class CommandClient(object):
    """Client of one queue that runs the `tej` command once per request.

    All users of the machine can see the arguments of a process.  The destination may
    contain a password, so the client passes the destination in the environment.
    """

    def __init__(self, address, command=None):
        # type: (QueueAddress, Optional[Sequence[str]]) -> None
        self.address = address
        self.command = list(command or find_command())

    def ensure(self, job_id, directory, options=()):
        # type: (str, str, Sequence[str]) -> bool
        """Start a job unless the job exists; return True if a job was started.

        `options` are command-line options of `tej submit`."""
        words = []
        if self.address.setup_runtime:
            words += ["--runtime", self.address.setup_runtime]
        # The last value of an option counts, so `options` cannot change the id.
        words += list(options) + ["--id", job_id, "--reuse"]
        # `--` is not used before the directory, because the arguments after `--` would
        # be the command of the job.
        answer = self._ask("submit", words + [os.path.abspath(directory)])
        return bool(answer.get("is_new"))

    def status(self, job_id):
        # type: (str) -> Optional[Document]
        """Return the status of a job, or None if the job does not exist.

        Raises ClientError if the queue is missing but has replied to this process
        before: its file system may be unmounted while the job runs."""
        place = (self.address.destination, self.address.queue)
        queue, shown = self.address.queue, self.address.shown
        try:
            return self._one(self._ask("status", ["--id", job_id]))
        except ClientError as error:
            if error.kind == "QueueNotFound" and place in _seen:
                raise ClientError(
                    error.kind,
                    "Queue '%s' on '%s' existed before, but is missing now: is its "
                    "file system mounted? If the queue was removed, create a new queue "
                    "with `tej setup %s --queue '%s'`" % (queue, shown, shown, queue),
                )
            if error.kind in _NOT_THERE:
                return None
            raise

    def wait(self, job_id):
        # type: (str) -> Document
        """Wait until a job has ended, and return its status."""
        return self._one(self._ask("wait", ["--id", job_id]))

    def download(self, job_id, names, directory):
        # type: (str, Sequence[str], str) -> List[str]
        """Download files of a job to `directory`; return the paths of the copies."""
        options = ["--id", job_id, "--directory", directory]
        words = [_as_file(name) for name in names]
        return list(self._ask("download", options, words)["files"])

    def output(self, job_id, stream):
        # type: (str, str) -> str
        """Return what a job has written to `stream`: "stdout" or "stderr"."""
        files = self._ask("logs", ["--id", job_id, "--" + stream])["files"]
        return "".join(files.values())

    def _one(self, answer):
        # type: (Document) -> Document
        (document,) = answer["jobs"]
        _raise(document.get("error"))
        return dict(document)

    def _ask(self, verb, options, words=()):
        # type: (str, Sequence[str], Sequence[str]) -> Document
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
        stdout, stderr = process.communicate()
        try:
            answer = _native(json.loads(stdout.decode("utf-8")))
        except ValueError:
            raise ClientError(
                "NoAnswer",
                "`tej %s` ended with exit status %s and printed no JSON: %s"
                % (verb, process.returncode, _text(stderr).strip()),
            )
        _raise(answer.get("error"))
        _seen.add((self.address.destination, self.address.queue))
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
    """Return a file name in a form that `tej` does not mistake for a destination."""
    return "./" + name if "@" in name or ":" in name else name


def find_command():
    # type: () -> List[str]
    """Return tej's command line.

    The command line is the value of TEJ_COMMAND, else the contents of COMMAND_FILE,
    else `tej`."""
    words = os.environ.get("TEJ_COMMAND")
    if words:
        return shlex.split(words)
    try:
        with io.open(os.path.join(_HERE, COMMAND_FILE), encoding="utf-8") as file:
            return list(_native(json.load(file)))
    except (IOError, OSError):
        return ["tej"]
