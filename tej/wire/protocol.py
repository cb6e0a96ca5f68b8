"""What the server's programs take, print and return: text out, values in.

A program is one line: the bootstrap, then the verb with its arguments.  Its answer
begins behind a random marker, since start-up files may print what they like before.
Then come words, each ended by a NUL: `KEY=VALUE`, where `id` begins a job's record.
`download` alone answers with a tar stream.  The exit status says how it went.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from tej import errors
from tej.job.status import JobState, JobStatus, from_timestamp
from tej.server.scripts import Scripts, sent_script
from tej.transport.base import Completed

SCRIPT_SHOWN = 300
"""Characters of a command that are kept for people to read."""

ERRORS: Mapping[int, type[errors.Error]] = {
    3: errors.JobNotFound,
    4: errors.JobAlreadyExists,
    5: errors.JobStillRunning,
    10: errors.QueueDoesntExist,
    11: errors.QueueLinkBroken,
    12: errors.QueueExists,
    13: errors.QueueExists,
    15: errors.QueueNotTrusted,
    21: errors.ConnectionFailed,
    22: errors.DownloadFailed,
}
OUTDATED = 14
"""The queue's scripts are not those this tej brings, or not whole."""


class Outdated(Exception):
    """The scripts of the queue have to be renewed, or this tej has to do with them."""

    def __init__(self, digest: str, version: str) -> None:
        super().__init__(digest)
        self.digest = digest
        self.version = version


@dataclass(frozen=True)
class Program:
    """A line for the server's shell, and how to find its answer."""

    line: str
    marker: bytes
    verb: str


def program(verb: str, script: str, *, trusted: bool = False) -> Program:
    """One whose answer begins behind a marker of its own.

    With `trusted` the server uses a queue that other users can write to.
    """
    marker = f"tej-{secrets.token_hex(16)}"
    parts = [*map(sent_script, ("lib/environment.sh", "bootstrap.sh"))]
    text = "\n".join([*parts, f"begin {marker} {int(trusted)}", script, ""])
    return Program(as_line(text), marker.encode(), verb)


def verb(
    name: str,
    queue: str,
    *arguments: str,
    digest: str,
    needed: Iterable[str] = (),
    trusted: bool = False,
) -> Program:
    """A verb that expects a queue."""
    return program(
        name,
        f"open_queue {command(queue, digest)}\n"
        f"need {command(*needed)}\n"
        f"set -- {command(*arguments)}\n"
        f'. "$here/commands/{name}"',
        trusted=trusted,
    )


def submission(
    mode: str,
    queue: str,
    jobs: Iterable[tuple[str, str]],
    *,
    digest: str,
    needed: Iterable[str] = (),
    trusted: bool = False,
) -> Program:
    """Of jobs, each an id and a token; makes the queue first, where there is none."""
    words = [word for job in jobs for word in job]
    return program(
        "submit",
        f"open_or_install {command(queue, digest)}\n"
        f"need {command(*needed)}\n"
        f"set -- {command(mode, *words)}\n"
        '. "$here/commands/submit"',
        trusted=trusted,
    )


def setup(
    queue: str,
    wanted: str,
    links: Sequence[str],
    *,
    scripts: Scripts,
    force: int,
    only_links: bool,
    version: str,
    trusted: bool = False,
) -> Program:
    """Make a queue and links to it, or the links alone."""
    what = (
        f"locate {command(queue)}"
        if only_links
        else f"setup {command(queue, wanted, scripts.digest, version, str(force))}"
    )
    text = [_installer_functions(scripts), sent_script("setup.sh")]
    # Nothing is made if not all can be.
    text += [f"check_link {command(link)}" for link in links if link != queue]
    text.append(what)
    text += [f"link {command(link)}" for link in links]
    text.append('printf \'%s\\0\' "queue=$queue" "runtime=$runtime"')
    return program("setup", "\n".join(text), trusted=trusted)


def installation(wanted: str, scripts: Scripts, version: str) -> str:
    """The line that answers "ask=install"."""
    return as_line(
        f"{_installer_functions(scripts)}\n"
        f"install {command(wanted, scripts.digest, version)}\n"
    )


def renewal(
    queue: str, scripts: Scripts, version: str, *, trusted: bool = False
) -> Program:
    """Bring the scripts of a queue that is there up to this tej's."""
    return program(
        "setup",
        f"{_installer_functions(scripts)}\n"
        f"find_queue {command(queue)} && read_version || quit 10\n"
        # Another client may have done it meanwhile.
        f"load_queue {command(scripts.digest)} || "
        f"install {command('auto', scripts.digest, version)}",
        trusted=trusted,
    )


USE_WHAT_IS_THERE = ":"
"""The line that answers "ask=install" when the server's scripts are newer."""


def _installer_functions(scripts: Scripts) -> str:
    lines = ["unpack() {"]
    folders: set[str] = set()
    for path, text in scripts.files.items():
        folder = str(PurePosixPath(path).parent)
        if folder != "." and folder not in folders:
            folders.add(folder)
            lines.append(f'mkdir -p "$1"/{shlex.quote(folder)} || return 1')
        line = f'printf %s {shlex.quote(text)} >"$1"/{shlex.quote(path)} || return 1'
        lines.append(line)
    return "\n".join([*lines, "}", sent_script("install.sh")])


def command(*words: str) -> str:
    """Words as the shell's: the one place where they are quoted."""
    return " ".join(shlex.quote(word) for word in words)


ARGUMENT = 60_000
"""Bytes after which a word for `printf` ends, which in some shells (mksh) is a program:
Linux takes none above 128 KiB (MAX_ARG_STRLEN, execve(2))."""


def as_line(script: str) -> str:
    """A script as one line of ASCII that evaluates it: `read` takes a line, and not
    every shell reads other bytes as they are."""
    encoded, size = [], 0
    for byte in script.encode("utf-8", "surrogateescape"):
        character = chr(byte)
        if character == "\\":
            encoded.append("\\\\")
        elif character == "\n":
            encoded.append("\\n")
        elif byte == 0 or byte >= 0x7F or character in "'\r":
            encoded.append(f"\\0{byte:03o}")
        else:
            encoded.append(character)
        size += len(encoded[-1])
        if size > ARGUMENT:
            encoded.append("'; printf %b '")
            size = 0
    return f"eval \"$(printf %b '{''.join(encoded)}')\""


class Reply:
    """A program's answer, as it comes: drops what is not part of it.

    What follows the marker is given to `take`, if there is one, and is kept otherwise.
    """

    def __init__(
        self, program: Program, take: Callable[[bytes], object] | None = None
    ) -> None:
        self._marker = b"\n" + program.marker + b"\n"
        self._take = take
        self._noise: bytes | None = b""
        self.parts: list[bytes] = []

    @property
    def begun(self) -> bool:
        """Whether the program has answered at all."""
        return self._noise is None

    def __call__(self, data: bytes) -> None:
        """The transport's sink."""
        ended = not data
        if self._noise is not None:
            before, marker, data = (self._noise + data).partition(self._marker)
            self._noise = None if marker else before
        if self._take is None:
            self.parts.append(data)
        elif data and not self.parts:
            # Of what is taken, the beginning: it tells which scripts are outdated.
            self.parts.append(data[:200])
        if self._take is not None and (data or ended):
            self._take(data)

    @property
    def noise(self) -> bytes:
        """What came instead of an answer."""
        return self._noise or b""

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    def words_on_stderr(self, done: Completed) -> bytes:
        """What the program itself said, without what start-up files did."""
        _, marker, words = done.stderr.partition(self._marker)
        return words if marker else done.stderr


def check(program: Program, reply: Reply, done: Completed) -> None:
    """Raise what the exit status means, in the server's words."""
    words = reply.words_on_stderr(done).decode("utf-8", "replace").strip()
    if not reply.begun:
        shown = (reply.noise + done.stderr).decode("utf-8", "replace").strip()[
            -300:
        ] or "nothing"
        raise errors.RemoteCommandFailure(
            f"The server did not run tej's program, but said: {shown}",
            program.verb,
            done.status,
        )
    if done.status == 0:
        return
    if done.status == OUTDATED:
        digest, _, version = (
            reply.data.decode("ascii", "replace").strip().partition(" ")
        )
        raise Outdated(digest, version)
    raise error_of(done.status, words, program.verb)


def error_of(status: int, words: str, verb: str) -> errors.Error:
    """The error that an exit status stands for."""
    kind = ERRORS.get(status)
    if kind is not None:
        return kind(words or None)
    return errors.RemoteCommandFailure(
        words or f"'{verb}' failed on the server with status {status}", verb, status
    )


@dataclass
class Answer:
    """The words of a reply: what is true of all of it, and a record a job."""

    head: dict[str, str] = field(default_factory=dict)
    jobs: list[dict[str, str]] = field(default_factory=list)


def parse_answer(data: bytes) -> Answer:
    """Pure parsing; what is not KEY=VALUE is passed over."""
    answer = Answer()
    for word in data.split(b"\0"):
        key, equals, value = word.decode("utf-8", "surrogateescape").partition("=")
        if not equals:
            continue
        if key == "id":
            answer.jobs.append({})
        (answer.jobs[-1] if answer.jobs else answer.head)[key] = value
    return answer


def parse_status(record: Mapping[str, str], head: Mapping[str, str]) -> JobStatus:
    """A job's record, as the server's `print_job` writes it."""
    spec, labels = parse_spec(record.get("spec", ""))
    how, number = record.get("how"), _integer(record.get("number"))
    started, ended = _integer(record.get("started")), _integer(record.get("ended"))
    state = JobState(record["state"])
    last = ended if state.final else _integer(head.get("now"))
    duration = None
    if started is not None and last is not None and state is not JobState.LOST:
        duration = float(max(0, last - started))
    return JobStatus(
        job_id=record["id"],
        state=state,
        directory=PurePosixPath(
            record.get("job") or f"{head['queue']}/jobs/{record['id']}", "stage"
        ),
        exit_code=number if how == "exit" else None,
        signal=number if how == "signal" else None,
        submitted=from_timestamp(_integer(record.get("submitted"))),
        started=from_timestamp(started),
        ended=from_timestamp(ended),
        duration=duration,
        host=record.get("where"),
        native_id=_native_id(record.get("native", "")),
        runtime=head.get("runtime", ""),
        killed_by=record.get("by") if state is JobState.KILLED else None,
        evidence=record.get("evidence"),
        note=record.get("note"),
        seen=_integer(record.get("seen")),
        processes_left=_integer(record.get("left")) or 0,
        attempt=_integer(record["id"].partition("#")[2])
        or (_integer(record.get("attempts")) or 0) + 1,
        name=spec.get("name", ""),
        script=spec.get("script", ""),
        submitter=spec.get("submitter", ""),
        signature=spec.get("signature"),
        labels=labels,
    )


def _native_id(native: str) -> str | None:
    """`pid HOST BOOT SPACE PID START` of the default runtime; else `NAME ID`."""
    words = native.split()
    if len(words) >= 5 and words[0] == "pid":
        return words[4]
    return words[1] if len(words) > 1 else None


def _integer(word: str | None) -> int | None:
    return int(word) if word and word.isascii() and word.isdigit() else None


def make_spec(token: str, facts: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """A job's description: one line, whose last word tells that it is whole."""
    words = [f"token={token}"]
    words += [f"{key}={_encode(value)}" for key, value in facts.items() if value]
    words += [f"label:{_encode(key)}={_encode(value)}" for key, value in labels.items()]
    return " ".join([*words, "end"]) + "\n"


def parse_spec(spec: str) -> tuple[dict[str, str], dict[str, str]]:
    """The facts and the labels in a description; what is unknown is passed over."""
    facts, labels = {}, {}
    for word in spec.split():
        key, equals, value = word.partition("=")
        if equals and key.startswith("label:"):
            labels[_decode(key[6:])] = _decode(value)
        elif equals:
            facts[key] = _decode(value)
    return facts, labels


def _encode(value: str) -> str:
    return quote(value, safe="/:@+,", errors="surrogateescape")


def _decode(word: str) -> str:
    return unquote(word, errors="surrogateescape")
