"""What a job asks of the machines it runs on, in words that each runtime translates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tej.errors import InvalidJobDirectory

_NAME = re.compile(r"[A-Za-z0-9_.,:@+-]+\Z")
_SIZE = re.compile(r"(\d+)(?:([KMGTP])(?:i?B)?|B)?\Z", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+)\Z")


@dataclass(frozen=True)
class Resources:
    """What a job needs; what is not given is left to the scheduler.

    It is no part of the signature: the same work is the same job, however fast.
    Raises InvalidJobDirectory for what cannot be meant.
    """

    nodes: int | None = None
    cpus: int | None = None
    """Of each node."""
    memory: int | str | None = None
    """Of each node: bytes, or `500M`, `4G` (of 1024 each)."""
    gpus: int | None = None
    """Of each node."""
    walltime: int | str | None = None
    """After this the job is ended: seconds, or `H:M:S`."""
    partition: str | None = None
    """A queue or partition of the scheduler's."""
    account: str | None = None
    """Whom it is charged to."""
    options: Sequence[str] = ()
    """Words for the scheduler's own submit command, as they are."""

    def __post_init__(self) -> None:
        # Read for what is wrong with it.
        list(self.lines())

    def __bool__(self) -> bool:
        return self != Resources()

    def lines(self) -> Iterator[str]:
        """KEY=VALUE, as the server reads them (`lib/resources.sh`)."""
        numbers = {
            "nodes": self.nodes,
            "cpus": self.cpus,
            "memory": None if self.memory is None else parse_size(self.memory),
            "gpus": self.gpus,
            "walltime": None if self.walltime is None else parse_clock(self.walltime),
        }
        for key, number in numbers.items():
            if number is not None:
                if isinstance(number, bool) or number < 1:
                    raise InvalidJobDirectory(f"A job cannot have {number} as {key}")
                yield f"{key}={int(number)}"
        for key, name in (("partition", self.partition), ("account", self.account)):
            if name is not None:
                if not _NAME.match(name) or name.startswith("-"):
                    raise InvalidJobDirectory(f"{name!r} cannot be a {key}")
                yield f"{key}={name}"
        if isinstance(self.options, str):
            raise InvalidJobDirectory("`options` are words: give a list of them")
        for option in self.options:
            if not option or "\n" in option or "\0" in option:
                raise InvalidJobDirectory(f"{option!r} cannot be a scheduler's option")
            yield f"option={option}"


def parse_size(size: int | str) -> int:
    """Bytes: a number of them, or `500M`, `4G`."""
    if isinstance(size, int):
        return size
    match = _SIZE.match(size.strip())
    if match is None:
        raise InvalidJobDirectory(f"{size!r} is not a size like 500M or 4G")
    return int(match[1]) << 10 * " KMGTP".index((match[2] or " ").upper())


def parse_clock(time: int | str) -> int:
    """Seconds: a number of them, or `H:M:S`, `M:S`."""
    if isinstance(time, int):
        return time
    match = _CLOCK.match(time.strip())
    if match is None:
        raise InvalidJobDirectory(f"{time!r} is not a time like 1:30:00 or 90")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
