"""Configuration of tej_luigi: the section `[tej]` of luigi.cfg, and the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility

from tej import DEFAULT_TEJ_DIR, Destination, Error, InvalidDestination

URL_FIELDS = ("job_id", "native_id", "host", "queue")
"""Names that the setting `tracking_url` may contain in braces."""


class TejConfig(luigi.Config):
    """Settings from the section `[tej]` of luigi.cfg or luigi.toml.

    Each setting is also a command-line option, such as `--tej-queue`.  The attributes
    of a task override the settings, and the settings override environment variables.
    """

    destination: Any = luigi.OptionalParameter(
        default=None,
        # The parameter is private, because the destination may contain a password.
        significant=False,
        visibility=ParameterVisibility.PRIVATE,
        description="[user@]host[:port] or local:; default $TEJ_DESTINATION",
    )
    queue: Any = luigi.OptionalParameter(
        default=None,
        description="path of the queue on the server; "
        f"default $TEJ_QUEUE or {DEFAULT_TEJ_DIR}",
    )
    runtime: Any = luigi.OptionalParameter(
        default=None,
        description="runtime for the queue, if the queue does not exist yet; "
        "default $TEJ_RUNTIME or detected",
    )
    poll: Any = luigi.FloatParameter(
        default=10.0,
        description="seconds between two updates of a running task's status message",
    )
    retry: Any = luigi.IntParameter(
        default=0, description="maximum number of restarts of a failed or lost job"
    )
    fresh: Any = luigi.FloatParameter(
        default=30.0,
        description="seconds for which the status of a successful job is cached",
    )
    results_directory: Any = luigi.Parameter(
        default="results", description="local directory for fetched results"
    )
    tracking_url: Any = luigi.OptionalParameter(
        default=None,
        description="URL shown with a running task; {job_id}, {native_id}, {host} and "
        "{queue} are replaced",
    )
    accept_new_host_key: Any = luigi.BoolParameter(
        default=False, description="accept the host key of an unknown server"
    )

    @classmethod
    def get_task_family(cls) -> str:
        """Return the name of the section, which is also the prefix of the options."""
        return "tej"


@dataclass(frozen=True)
class QueueAddress:
    """Destination, path and runtime of a queue; `repr` does not show a password."""

    destination: str = field(repr=False)
    queue: str
    runtime: str | None = None

    @property
    def shown(self) -> str:
        """The destination without its password."""
        return str(Destination.parse(self.destination))

    @property
    def key(self) -> tuple[str, str]:
        """Values that identify the queue: destination without password, and path."""
        return self.shown, self.queue


def find_address(
    destination: str | None = None,
    queue: str | None = None,
    runtime: str | None = None,
) -> QueueAddress:
    """Return the address of a queue.

    If an argument is None, its value is read from the configuration, or else from an
    environment variable.  Raises InvalidDestination if no destination is set.
    """
    config = TejConfig()
    where = destination or config.destination or os.environ.get("TEJ_DESTINATION")
    if not where:
        raise InvalidDestination(
            "No destination: set it in section [tej] of luigi.cfg, in "
            "$TEJ_DESTINATION, or as the task's attribute `destination`"
        )
    Destination.parse(where)
    return QueueAddress(
        where,
        str(queue or config.queue or os.environ.get("TEJ_QUEUE") or DEFAULT_TEJ_DIR),
        runtime or config.runtime or os.environ.get("TEJ_RUNTIME") or None,
    )


def check_tracking_url(template: str | None) -> None:
    """Raise Error if a tracking URL template is malformed or has unknown names."""
    if template is None:
        return
    known = ", ".join(f"{{{name}}}" for name in URL_FIELDS)
    try:
        template.format_map(dict.fromkeys(URL_FIELDS, ""))
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise Error(
            f"Cannot fill in tracking_url {template!r} ({error!r}): it may contain "
            f"{known}; write {{{{ and }}}} for literal braces"
        ) from error
