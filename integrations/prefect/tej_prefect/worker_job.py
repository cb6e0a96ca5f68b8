"""A flow run as a job: its variables, and the directory that is sent."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prefect.workers.base import BaseJobConfiguration, BaseVariables
from pydantic import ConfigDict, Field, PrivateAttr

import tej

LOCAL_SETTINGS = (
    "PREFECT_HOME",
    "PREFECT_PROFILES_PATH",
    "PREFECT_LOCAL_STORAGE_PATH",
    "PREFECT_RESULTS_LOCAL_STORAGE_PATH",
    "PREFECT_MEMO_STORE_PATH",
    "PREFECT_LOGGING_SETTINGS_PATH",
    "PREFECT_LOGGING_CONFIG_PATH",
    "PREFECT_SERVER_",
    "PREFECT_UI_",
)
"""What is about the worker's own machine."""

SCRIPT = """\
#!/bin/sh
# Runs a flow run of Prefect's.  Its environment may hold secrets: it goes before
# anything else can end the job, or lead to another directory.
. ./environment
rm -f ./environment
# Told to end, it waits for the flow run, which was told, too.
trap 'exit 143' TERM
{setup}
{command}
"""


class TejWorkerVariables(BaseVariables):
    """The work pool's form."""

    # What is wrong may hold a secret.
    model_config = ConfigDict(hide_input_in_errors=True)

    destination: str = Field(
        default=...,
        description="The name of the tej Destination block where flow runs are jobs.",
    )
    setup: str = Field(
        default="",
        description=(
            "Lines of shell that make Prefect available there, such as `module load "
            "python` and `. ~/venv/bin/activate`."
        ),
    )
    login: bool = Field(
        default=False,
        description=(
            "Whether what a login shell reads there (its profile) is read first, as "
            "some sites need for `module`."
        ),
    )
    api_url: str | None = Field(
        default=None,
        title="API URL",
        description=(
            "Prefect's API as the jobs reach it, if it is not the worker's own."
        ),
    )
    tunnel_port: int | None = Field(
        default=None,
        title="Tunnel port",
        description=(
            "A free port of the server that the worker makes lead to Prefect's API, "
            "for servers that cannot reach it; `http` only. With an API URL such as "
            "`http://login1:PORT/api` it is for other nodes, too, if its sshd allows."
        ),
    )
    nodes: int | None = Field(default=None, description="Nodes for each flow run.")
    cpus: int | None = Field(default=None, description="CPUs of each node.")
    memory: str | None = Field(
        default=None, description="Memory of each node, such as `4G`."
    )
    gpus: int | None = Field(default=None, description="GPUs of each node.")
    walltime: str | None = Field(
        default=None, description="When it is ended at the latest, as `H:M:S`."
    )
    partition: str | None = Field(
        default=None, description="A partition or queue of the scheduler's."
    )
    account: str | None = Field(default=None, description="Whom it is charged to.")
    options: list[str] = Field(
        default_factory=list,
        description="Words for the scheduler's own submit command, as they are.",
    )
    delete_when_done: bool = Field(
        default=False,
        title="Delete when done",
        description="Whether the job of a flow run that ended well is deleted there.",
    )


class TejWorkerConfiguration(BaseJobConfiguration):
    """One flow run's, filled in from the form."""

    # The environment has the API's key in it.
    model_config = ConfigDict(hide_input_in_errors=True)

    destination: str
    setup: str = ""
    login: bool = False
    api_url: str | None = None
    tunnel_port: int | None = None
    nodes: int | None = None
    cpus: int | None = None
    memory: str | None = None
    gpus: int | None = None
    walltime: str | None = None
    partition: str | None = None
    account: str | None = None
    options: list[str] = Field(default_factory=list)
    delete_when_done: bool = False
    _target: tuple[str, int] | None = PrivateAttr(default=None)

    @property
    def tunnel(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """Where the server is to listen, and where that leads; None for no tunnel."""
        if self.tunnel_port is None or self._target is None:
            return None
        # All nodes may use it only if they were told of it.
        return ("" if self.api_url else "localhost", self.tunnel_port), self._target

    def prepare_for_flow_run(self, *arguments: Any, **named: Any) -> None:
        """As for all workers, without what is about the worker's own machine."""
        given = dict(self.env)
        super().prepare_for_flow_run(*arguments, **named)
        own = self.env.get("PREFECT_API_URL")
        if self.tunnel_port is not None and own:
            self._target = parse_target(own)
            path = urlsplit(own).path
            self.env["PREFECT_API_URL"] = f"http://127.0.0.1:{self.tunnel_port}{path}"
        if self.api_url:
            self.env["PREFECT_API_URL"] = self.api_url
        self.env = {
            name: value
            for name, value in self.env.items()
            if name in given or not name.startswith(LOCAL_SETTINGS)
        }

    @property
    def resources(self) -> tej.Resources:
        """Raises tej.InvalidJobDirectory for what cannot be meant."""
        return tej.Resources(
            nodes=self.nodes,
            cpus=self.cpus,
            memory=self.memory,
            gpus=self.gpus,
            walltime=self.walltime,
            partition=self.partition,
            account=self.account,
            options=self.options,
        )

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """What is sent.  The environment is in a file that only its owner may read,
        there as here: it is in neither the job's id nor its command."""
        with tempfile.TemporaryDirectory(prefix="tej-") as made:
            folder = Path(made)
            environment = folder / "environment"
            environment.touch(0o600)
            environment.write_text(_exports(self.env), encoding="utf-8")
            command = self.command or self._base_flow_run_command()
            (folder / "start.sh").write_text(
                SCRIPT.format(setup=self.setup, command=command), encoding="utf-8"
            )
            yield folder


def parse_target(url: str) -> tuple[str, int]:
    """The host and the port of an API; raises ValueError unless it is `http`."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ValueError(f"A tunnel leads to an API at http://HOST:PORT, not to {url}")
    return parts.hostname, parts.port or 80


def _exports(environment: Mapping[str, str | None]) -> str:
    return "".join(
        f"export {name}={shlex.quote(value)}\n"
        for name, value in environment.items()
        if value is not None
    )
