"""Resources that a job requests from the scheduler: nodes, tasks, memory, time limit.

The runtime on the server translates the resources into options of its scheduler.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tej.errors import InvalidJobDirectory
from tej.job.job_name import check_job_name

_NAME = re.compile(r"[A-Za-z0-9_.,:@+/-]+\Z")
_CONSTRAINT = re.compile(r"[A-Za-z0-9_.,:@+/&|*()\[\]-]+\Z")
_MODULE = re.compile(r"[A-Za-z0-9_.+/@-]+\Z")
_GPUS = re.compile(r"(?:([A-Za-z][A-Za-z0-9_.-]*)(?::(\d+))?|(\d+))\Z")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(?:([KMGTP])(?:i?B)?|(B))\Z", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+)\Z")
_DAYS = re.compile(r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?\Z")
_UNITS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?\Z", re.IGNORECASE)

MAIL_EVENTS = ("begin", "end", "fail")
PRIORITIES = range(-1024, 1024)
"""Allowed values of `priority`, as POSIX defines them for `qsub -p`."""


@dataclass(frozen=True)
class Resources:
    """The resources that a job requests from the scheduler.

    The scheduler's default applies to each resource that is None.  Resources are not
    part of the signature: two jobs that differ only in resources have the same id.  The
    constructor raises InvalidJobDirectory if no scheduler could accept a value.
    """

    nodes: int | None = None
    cpus: int | None = None
    """CPUs per task, or per node if neither `tasks` nor `tasks_per_node` is given."""
    memory: int | str | None = None
    """Memory per node: a number of bytes, or `500M`, `1.5G` (powers of 1024)."""
    gpus: int | str | None = None
    """GPUs per node: a number, or a type and a number (`a100:2`)."""
    walltime: int | str | None = None
    """Time limit: a number of seconds, or `H:M:S`, `1-12:00:00`, `2d`, `90m`."""
    partition: str | None = None
    """Queue or partition of the scheduler."""
    account: str | None = None
    """Account that the job is charged to."""
    options: Sequence[str] = ()
    """Further arguments for the scheduler's submit command."""
    tasks: int | None = None
    """Number of tasks (MPI ranks) in the job."""
    tasks_per_node: int | None = None
    memory_per_cpu: int | str | None = None
    """Memory per CPU, in the format of `memory`; only one of the two may be given."""
    qos: str | None = None
    constraint: str | None = None
    """Features that the nodes must have."""
    reservation: str | None = None
    exclusive: bool = False
    """Whether the nodes of this job must not run other jobs at the same time."""
    name: str | None = None
    """Name of the job in the scheduler; by default the name of the job in tej."""
    begin: datetime | str | None = None
    """Earliest start of the job: a time, or a delay such as `2h`.

    A time without a time zone is in the server's time zone."""
    priority: int | None = None
    """Priority, from -1024 to 1023; a job with a higher number starts sooner."""
    requeue: bool | None = None
    """Whether the scheduler restarts the job after a preemption or a node failure.

    By default the scheduler does not restart the job."""
    mail: str | None = None
    """Address that the scheduler sends mail to."""
    mail_on: Sequence[str] = ()
    """Events on which the scheduler sends mail: `begin`, `end`, `fail`; by default
    `end` and `fail`."""
    modules: Sequence[str] = ()
    """Environment modules to load before the job starts."""

    def __post_init__(self) -> None:
        # Check the values: `lines` raises InvalidJobDirectory for an invalid value.
        list(self.lines())

    def __bool__(self) -> bool:
        return self != Resources()

    def as_dict(self) -> dict[str, str]:
        """Return the requested resources, in the format of `JobStatus.resources`.

        The values of a resource that can be requested repeatedly are separated by
        spaces.
        """
        found: dict[str, str] = {}
        for line in self.lines():
            key, _, value = line.partition("=")
            found[key] = f"{found[key]} {value}" if key in found else value
        return found

    def lines(self) -> Iterator[str]:
        """Yield KEY=VALUE lines, as the server's `lib/resources.sh` reads them."""
        yield from self._numbers()
        yield from self._words()
        yield from self._mail()
        if self.begin is not None:
            yield f"begin={format_begin(self.begin)}"
        if self.exclusive:
            yield "exclusive=1"
        if self.requeue is not None:
            yield f"requeue={int(self.requeue)}"
        for module in _as_list("modules", self.modules):
            if not _MODULE.match(module) or module.startswith("-"):
                raise InvalidJobDirectory(f"{module!r} is not a valid module name")
            yield f"module={module}"
        for option in _as_list("options", self.options):
            if not option or "\n" in option or "\0" in option:
                raise InvalidJobDirectory(f"{option!r} is not a valid scheduler option")
            yield f"option={option}"

    def _numbers(self) -> Iterator[str]:
        if self.memory is not None and self.memory_per_cpu is not None:
            raise InvalidJobDirectory(
                "A job requests `memory` or `memory_per_cpu`, not both"
            )
        number, kind = parse_gpus(self.gpus)
        memory, per_cpu = self.memory, self.memory_per_cpu
        numbers = {
            "nodes": self.nodes,
            "tasks": self.tasks,
            "tasks_per_node": self.tasks_per_node,
            "cpus": self.cpus,
            "memory": None if memory is None else parse_size(memory),
            "memory_per_cpu": None if per_cpu is None else parse_size(per_cpu),
            "gpus": number,
            "walltime": None if self.walltime is None else parse_clock(self.walltime),
        }
        for key, value in numbers.items():
            if value is not None:
                # `__index__` is tested, so that integers of numpy are accepted as well.
                is_integer = hasattr(value, "__index__") and not isinstance(value, bool)
                if not is_integer or value < 1:
                    raise InvalidJobDirectory(
                        f"{value!r} is not a valid value of {key}: give an int above 0"
                    )
                yield f"{key}={int(value)}"
        if kind:
            yield f"gpu_type={kind}"
        if self.priority is not None:
            if self.priority not in PRIORITIES:
                raise InvalidJobDirectory(
                    f"The priority must be from -1024 to 1023, not {self.priority}"
                )
            yield f"priority={self.priority}"

    def _words(self) -> Iterator[str]:
        for key, word, form in (
            ("partition", self.partition, _NAME),
            ("account", self.account, _NAME),
            ("qos", self.qos, _NAME),
            ("constraint", self.constraint, _CONSTRAINT),
            ("reservation", self.reservation, _NAME),
        ):
            if word is not None:
                if not form.match(word) or word.startswith("-"):
                    raise InvalidJobDirectory(f"{word!r} is not a valid {key}")
                yield f"{key}={word}"
        if self.name is not None:
            check_job_name(self.name)
            yield f"name={self.name}"

    def _mail(self) -> Iterator[str]:
        events = _as_list("mail_on", self.mail_on)
        for event in events:
            if event not in MAIL_EVENTS:
                raise InvalidJobDirectory(
                    f"{event!r} is not a mail event: use one of "
                    f"{', '.join(MAIL_EVENTS)}"
                )
        if self.mail is None:
            if events:
                raise InvalidJobDirectory("`mail_on` needs an address in `mail`")
            return
        if not _NAME.match(self.mail) or self.mail.startswith("-"):
            raise InvalidJobDirectory(f"{self.mail!r} is not a valid mail address")
        yield f"mail={self.mail}"
        yield f"mail_on={','.join(events or ('end', 'fail'))}"


def _as_list(name: str, words: Sequence[str]) -> list[str]:
    if isinstance(words, str):
        raise InvalidJobDirectory(f"`{name}` must be a list of strings, not {words!r}")
    return list(words)


def parse_gpus(gpus: int | str | None) -> tuple[int | None, str | None]:
    """Return the number and the type of GPUs in `2`, `a100:2` or `a100`."""
    if gpus is None or isinstance(gpus, int):
        return gpus, None
    match = _GPUS.match(gpus.strip()) if isinstance(gpus, str) else None
    if match is None:
        raise InvalidJobDirectory(
            f"{gpus!r} is neither a number of GPUs nor a type with a number, like "
            "a100:2"
        )
    return int(match[2] or match[3] or 1), match[1]


def parse_size(size: int | str) -> int:
    """Convert a size to bytes: a number of bytes, or a string such as `500M` or `1.5G`.

    A string without a unit is refused, because Slurm would read the number as
    megabytes, and other programs as bytes.
    """
    if isinstance(size, int):
        return size
    text = size.strip() if isinstance(size, str) else ""
    match = _SIZE.match(text)
    if match is None:
        if text.isascii() and text.isdigit():
            raise InvalidJobDirectory(
                f"The size {text!r} has no unit: write {text}G for gigabytes, {text}M "
                f"for megabytes, or {text}B for bytes"
            )
        raise InvalidJobDirectory(f"{size!r} is not a size like 500M or 1.5G")
    return round(
        float(match[1]) * (1 << 10 * " KMGTP".index((match[2] or " ").upper()))
    )


def parse_clock(time: int | str) -> int:
    """Convert a time to seconds.

    The time is a number of seconds, or `H:M:S`, `M:S`, `1-12:00:00`, `2d`, `1h30m`.
    """
    if isinstance(time, int):
        return time
    text = time.strip() if isinstance(time, str) else ""
    if match := _CLOCK.match(text):
        days, (hours, minutes, seconds) = 0, (int(part or 0) for part in match.groups())
    elif text and (match := _DAYS.match(text) or _UNITS.match(text)):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    else:
        raise InvalidJobDirectory(
            f"{time!r} is not a time like 1:30:00, 1-12:00:00, 2d, 90m or 90 (seconds)"
        )
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def format_begin(begin: datetime | str) -> str:
    """Format the earliest start for the server.

    The result is `@` and seconds since 1970, `+` and seconds from the submission, or
    `YYYYMMDDhhmmss` by the server's clock.
    """
    if isinstance(begin, str):
        text = begin.strip()
        try:
            begin = datetime.fromisoformat(text)
        except ValueError:
            try:
                return f"+{parse_clock(text.removeprefix('+'))}"
            except InvalidJobDirectory:
                raise InvalidJobDirectory(
                    f"{text!r} is neither a time like 2026-11-26T08:00 nor a delay "
                    "like 2h"
                ) from None
    if begin.tzinfo is not None:
        return f"@{int(begin.timestamp())}"
    return f"{begin:%Y%m%d%H%M%S}"
