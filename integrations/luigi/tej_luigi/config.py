"""What the section `[tej]` of Luigi's configuration, and the environment, say."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility

from tej.destination import Destination
from tej.errors import InvalidDestination

WAITS = ("yield", "block", "raise")
QUEUE = "~/.tej"


class tej(luigi.Config):
    """Section `[tej]` of luigi.cfg or luigi.toml; as an option `--tej-queue`, ...

    What a task says itself goes before; the environment comes after.
    """

    destination: Any = luigi.OptionalParameter(
        default=None,
        # It may hold a password.
        significant=False,
        visibility=ParameterVisibility.PRIVATE,
        description="[user@]host[:port] or local:; otherwise $TEJ_DESTINATION",
    )
    queue: Any = luigi.OptionalParameter(
        default=None,
        description=f"the queue's path there; otherwise $TEJ_QUEUE, or {QUEUE}",
    )
    runtime: Any = luigi.OptionalParameter(
        default=None,
        description="what a queue is made with, if there is none; otherwise "
        "$TEJ_RUNTIME, or what fits the server",
    )
    wait: Any = luigi.ChoiceParameter(
        choices=WAITS,
        default="yield",
        description="what a task does while its job runs",
    )
    poll: Any = luigi.FloatParameter(
        default=10.0,
        description="seconds between two looks at what a running job prints",
    )
    retry: Any = luigi.IntParameter(
        default=0,
        description="how often a job that failed is started again; the server counts",
    )
    fresh: Any = luigi.FloatParameter(
        default=30.0,
        description="seconds for which it is believed that a finished job is finished",
    )
    results_directory: Any = luigi.Parameter(
        default="results", description="where results are fetched to"
    )
    tracking_url: Any = luigi.OptionalParameter(
        default=None,
        description="shown with a task: {job_id}, {native_id}, {host}, {queue} are "
        "replaced",
    )
    accept_new_host_key: Any = luigi.BoolParameter(
        default=False, description="accept the key of a server never seen before"
    )


@dataclass(frozen=True)
class Place:
    """A queue on a server: what is needed to open it, and what may be shown of it."""

    destination: str = field(repr=False)
    queue: str
    runtime: str | None = None
    is_bare: bool = False
    """Known from what is shown of it: without a password, if there is one."""

    @property
    def shown(self) -> str:
        """The destination without its password."""
        return str(Destination.parse(self.destination))

    @property
    def key(self) -> tuple[str, str]:
        """The same for all ways to name it; no secret is in it."""
        return self.shown, self.queue


def find_place(
    destination: str | None = None,
    queue: str | None = None,
    runtime: str | None = None,
) -> Place:
    """What is given, else what is configured, else what the environment says.

    Raises InvalidDestination if there is none.
    """
    config = tej()
    where = destination or config.destination or os.environ.get("TEJ_DESTINATION")
    if not where:
        raise InvalidDestination(
            "No destination: give one in the section [tej] of luigi.cfg, in "
            "TEJ_DESTINATION, or as the task's `destination`"
        )
    Destination.parse(where)
    return Place(
        where,
        str(queue or config.queue or os.environ.get("TEJ_QUEUE") or QUEUE),
        runtime or config.runtime or os.environ.get("TEJ_RUNTIME") or None,
    )
