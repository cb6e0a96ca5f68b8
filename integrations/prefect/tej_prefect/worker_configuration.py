"""Worker configuration: variables of the work pool, and the job of a flow run."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefect.workers.base import BaseJobConfiguration, BaseVariables
from pydantic import BaseModel, Field, PrivateAttr

import tej
from tej_prefect.bundles import add_bundle
from tej_prefect.credentials import MODEL_CONFIG
from tej_prefect.storage import ADDRESS_VARIABLE

if TYPE_CHECKING:
    from prefect.logging.loggers import PrefectLogAdapter

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
"""Settings that describe the worker's own machine and are not passed to jobs."""

RESOURCES = {
    *("nodes", "cpus", "memory", "gpus", "walltime"),
    *("partition", "account", "options"),
}
"""The variables that are fields of `tej.Resources`."""
STARTED_TWICE = 75
"""Exit code of a job that the scheduler has started for the second time."""
STARTED_TWICE_MESSAGE = (
    "The job was started for the second time, for example after a requeue by the "
    "scheduler. A job can start its flow run only once, because the first start "
    "removes the environment of the flow run: remove --requeue from the scheduler "
    "options, and retry the flow run"
)
SCRIPT = """\
#!/bin/sh
# Runs a Prefect flow run.  The environment file may hold secrets: it is removed before
# the setup lines can end the job or change the directory.
if [ ! -e environment ]; then
    printf '%s\\n' '{started_twice_message}' >&2
    exit {started_twice}
fi
. ./environment
rm -f ./environment
tej_stage=$PWD
# SIGTERM reaches the whole process group.  With this trap, the shell does not end
# before the flow run.
trap 'exit 143' TERM
{setup}
{cd}
{command}
"""


class TejWorkerFields(BaseModel):
    """Fields that the work pool's variables and a flow run's configuration share."""

    # A validation error must not show its input, which may contain the API key.
    model_config = MODEL_CONFIG

    destination: str
    """The name of the tej Destination block whose server runs the jobs."""
    setup: str = ""
    """Shell commands that make Prefect available on the server, such as `module load
    python` and `. ~/venv/bin/activate`."""
    login: bool = False
    """Whether to source the login profile before `setup`, as some sites need for
    `module`."""
    api_url: str | None = Field(default=None, title="API URL")
    """The URL of Prefect's API as seen from the jobs; by default the URL that the
    worker uses."""
    tunnel_port: int | None = None
    """A free port on the server that the worker forwards to Prefect's API, for servers
    that cannot reach the API; `http` only. If the server's sshd accepts connections to
    the port from compute nodes, set an API URL such as `http://login1:PORT/api`."""
    nodes: int | None = None
    """Nodes for each flow run."""
    cpus: int | None = None
    """CPUs of each node."""
    memory: str | None = None
    """Memory of each node, such as `4G`."""
    gpus: int | None = None
    """GPUs of each node."""
    walltime: str | None = None
    """The time limit, as `H:M:S` or seconds."""
    partition: str | None = None
    """The scheduler's partition or queue."""
    account: str | None = None
    """The account to charge."""
    options: list[str] = Field(default_factory=list)
    """Additional options for the scheduler's submit command."""
    delete_when_done: bool = False
    """Whether to delete the jobs of flow runs that succeeded."""
    delete_after: float | None = Field(default=None, ge=0)
    """The number of days after which the ended jobs of flow runs are deleted; by
    default, jobs are kept."""
    working_dir: str | None = Field(default=None, title="Working directory")
    """The directory on the server in which flow runs start, such as `~/project`; by
    default the job's own directory."""
    stream_output: bool = False
    """Whether to copy the output of running jobs to the worker's log."""


class TejWorkerVariables(TejWorkerFields, BaseVariables):
    """Variables of the work pool's job template."""


class TejWorkerConfiguration(TejWorkerFields, BaseJobConfiguration):
    """The values of the work pool's variables for one flow run."""

    _spool: Path | None = PrivateAttr(default=None)
    _target: tuple[str, int] | None = PrivateAttr(default=None)

    @property
    def tunnel(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """The tunnel's address on the server, and the API's address; None without a
        tunnel."""
        if self.tunnel_port is None or self._target is None:
            return None
        # The tunnel accepts connections from other machines only if `api_url` is set.
        return ("" if self.api_url else "localhost", self.tunnel_port), self._target

    def prepare_for_flow_run(self, *arguments: Any, **named: Any) -> None:
        """Set the job's environment, without settings of the worker's own machine."""
        given, labels = dict(self.env), dict(self.labels)
        super().prepare_for_flow_run(*arguments, **named)
        # Remove the labels that the base class has added, such as Prefect's ids: the
        # job gets only the labels of the work pool or of the deployment.
        self.labels = labels
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

    def prepare_for_destination(self, address: str, spool: Path | None) -> None:
        """Set the server's address, and the directory with bundles to send."""
        self.env[ADDRESS_VARIABLE] = address
        self._spool = spool

    @property
    def resources(self) -> tej.Resources:
        """The requested resources; raises tej.InvalidJobDirectory if any is invalid.

        `tej/job/resources.py` checks and parses the values.
        """
        return tej.Resources(**self.model_dump(include=RESOURCES))

    def warn_if_unreachable(self, address: str, logger: PrefectLogAdapter) -> None:
        """Log a warning if the API's address is local and jobs run elsewhere."""
        url = self.env.get("PREFECT_API_URL") or ""
        if self.tunnel_port is None and _is_loopback(url) and not _is_loopback(address):
            logger.warning(
                "Jobs at %s probably cannot reach Prefect's API at %s: set the "
                "variable `api_url` or `tunnel_port`",
                address,
                url,
            )

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """Yield the directory to upload, which is removed when the context ends.

        The environment is in a file that only its owner can read, locally and on the
        server.  The environment is part of neither the job's id nor its command.
        """
        with tempfile.TemporaryDirectory(prefix="tej-") as made:
            folder = Path(made)
            environment = folder / "environment"
            environment.touch(0o600)
            environment.write_text(_exports(self.env), encoding="utf-8")
            command = self.command or self._base_flow_run_command()
            if self._spool is not None:
                command = add_bundle(command, self._spool, folder)
            script = SCRIPT.format(
                started_twice=STARTED_TWICE,
                started_twice_message=STARTED_TWICE_MESSAGE,
                setup=self.setup,
                cd=_change_directory(self.working_dir),
                command=command,
            )
            (folder / "start.sh").write_text(script, encoding="utf-8")
            yield folder


def parse_target(url: str) -> tuple[str, int]:
    """Return host and port of an API; raise ValueError if the URL is not `http`."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ValueError(
            f"A tunnel needs an API at http://HOST:PORT, but the API is at {url}: "
            "remove `tunnel_port` or use an `http` address"
        )
    return parts.hostname, parts.port or 80


def _is_loopback(url: str) -> bool:
    """Return whether an address belongs to the loopback interface, or is `local:`."""
    host = urlsplit(url).hostname or ("localhost" if url == "local:" else "")
    return host in ("localhost", "::1") or host.startswith("127.")


def _change_directory(path: str | None) -> str:
    """Return a shell command that changes to a directory, or an empty string."""
    if not path:
        return ""
    # `~` is replaced by $HOME, because the shell does not expand `~` in quotes.
    home, rest = ('"$HOME"', path[1:]) if path.startswith("~/") else ("", path)
    return f"cd -- {home}{shlex.quote(rest)} || exit"


def _exports(environment: Mapping[str, str | None]) -> str:
    return "".join(
        f"export {name}={shlex.quote(value)}\n"
        for name, value in environment.items()
        if value is not None
    )
