"""Stored options of existing jobs: read command, environment and resources of each job.

`tej retry` uses these values to submit a job again without the original options.  The
values are read from the job's files on the server, which all versions of tej 1 write.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tej.errors import RemoteCommandFailure
from tej.job.dependencies import NO_DEPENDENCIES, Dependencies, parse_dependencies
from tej.job.status import JobStatus
from tej.queue.connection import QueueConnection, run_script
from tej.wire.records import SCRIPT_SHOWN, parse_spec

FILES = ("command", "resources", "spec", "dependencies", "on_end")

_SCRIPT = """\
for stage in "$@"; do
    for file in command resources spec dependencies on_end; do
        cat "${stage%/stage}/$file" 2>/dev/null
        printf '\\0'
    done
done
"""

# `shlex.quote` writes a value as is, or in single quotes with '"'"' for a quote.
_EXPORT = re.compile(
    r"""export ([A-Za-z_][A-Za-z0-9_]*)=((?:[^\s'"]|'[^']*'|"'")*)\n"""
)
_NUMBERS = {
    *("nodes", "tasks", "tasks_per_node", "cpus", "priority", "walltime"),
    *("memory", "memory_per_cpu"),
}
_WORDS = {"partition", "account", "qos", "constraint", "reservation", "name", "mail"}
_LISTS = {"module": "modules", "option": "options"}


@dataclass(frozen=True)
class JobParameters:
    """The options with which a job was submitted."""

    script: str
    environment: Mapping[str, str]
    resources: Mapping[str, Any]
    """Keyword arguments of `Resources`, without `begin`, because that time has
    passed."""
    login: bool
    needs: Dependencies = NO_DEPENDENCIES
    on_end: str | None = None
    shared: tuple[str, ...] = ()


def read_parameters(
    connection: QueueConnection, jobs: Iterable[JobStatus]
) -> dict[str, JobParameters]:
    """Return the `JobParameters` of each job, by job id, in one round trip.

    Raises RemoteCommandFailure if the files of a job are missing or damaged.
    """
    listed = list(jobs)
    if not listed:
        return {}
    stages = [str(job.directory) for job in listed]
    reply = run_script(connection, _SCRIPT, stages, tuple, None, True)
    texts = reply.decode("utf-8", "surrogateescape").split("\0")
    found = {}
    for number, job in enumerate(listed):
        files = texts[number * len(FILES) : (number + 1) * len(FILES)]
        found[job.job_id] = _parse(job, dict(zip(FILES, files, strict=False)))
    return found


def _parse(job: JobStatus, files: Mapping[str, str]) -> JobParameters:
    command = parse_command(files.get("command", ""), job.script)
    if command is None:
        raise RemoteCommandFailure(
            f"The command of job '{job.job_id}' cannot be read from the queue: submit "
            "the job again with `tej submit` or `tej run`"
        )
    environment, script = command
    facts, _ = parse_spec(files.get("spec", ""))
    resources = parse_resources(files.get("resources", ""))
    needs = parse_dependencies(files.get("dependencies", ""))
    login = bool(facts.get("login"))
    on_end = files.get("on_end", "").removesuffix("\n") or None
    shared = tuple(facts["shared"].split("\n")) if facts.get("shared") else ()
    return JobParameters(script, environment, resources, login, needs, on_end, shared)


def parse_command(text: str, shown: str) -> tuple[dict[str, str], str] | None:
    """Return the environment and the script in a job's file `command`.

    The file begins with tej's own lines `export NAME=VALUE`.  The command may begin
    with such lines, too.  Therefore `shown`, the beginning of the command as stored in
    the job's file `spec`, determines where the command begins.  Returns None if no part
    of the text begins like `shown`.
    """
    environment: dict[str, str] = {}
    rest = text
    while True:
        for script in _scripts(rest.removesuffix("\n")):
            if shown and script[:SCRIPT_SHOWN] == shown:
                return environment, script
        found = _EXPORT.match(rest)
        if found is None:
            return None
        environment[found[1]] = "".join(shlex.split(found[2]))
        rest = rest[found.end() :]


def _scripts(text: str) -> Iterator[str]:
    """Yield the values of `--script` for which tej writes the command `text`."""
    yield text.strip()
    if text.startswith("tej_run "):
        name = text.removeprefix("tej_run ")
        yield name.removeprefix("./")
        try:
            words = shlex.split(name)
        except ValueError:
            return
        if len(words) == 1:
            yield words[0].removeprefix("./")
    elif text.startswith("./"):
        yield text.removeprefix("./")


def parse_resources(text: str) -> dict[str, Any]:
    """Return keyword arguments of `Resources` for the lines of the file `resources`."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key in _NUMBERS:
            found[key] = int(value)
        elif key in _WORDS:
            found[key] = value
        elif key in _LISTS:
            found.setdefault(_LISTS[key], []).append(value)
        elif key == "gpus":
            found[key] = int(value)
        elif key == "gpu_type":
            found["gpus"] = f"{value}:{found.get('gpus', 1)}"
        elif key == "mail_on":
            found[key] = value.split(",")
        elif key in ("exclusive", "requeue"):
            found[key] = value == "1"
    return found
