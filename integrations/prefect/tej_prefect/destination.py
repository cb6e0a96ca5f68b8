"""`TejDestination`: where jobs run, and what it takes to get in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, model_validator
from typing_extensions import Self

import tej
from tej_prefect.about import DOCUMENTATION, LOGO
from tej_prefect.queues import shared_queue


class TejDestination(CredentialsBlock):
    """
    A server that runs jobs, reached over SSH; nothing has to be installed there.

    Whatever is not given is left to `~/.ssh/config` and the SSH agent of the machine
    that the flow runs on.

    Example:
        Load a stored destination, and see what runs there:
        ```python
        from tej_prefect import TejDestination

        cluster = TejDestination.load("BLOCK_NAME")
        for job in cluster.get_client().jobs():
            print(job.job_id, job.describe())
        ```
    """

    # What is wrong may be a secret in the wrong place.
    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "tej Destination"
    _block_type_slug = "tej-destination"
    _documentation_url = HttpUrl(DOCUMENTATION)
    _logo_url = HttpUrl(LOGO)

    destination: str | None = Field(
        default=None,
        title="Destination",
        description=(
            "The server as `[user@]host[:port]`, an alias of `~/.ssh/config`, or "
            "`local:` for the machine that the flow runs on."
        ),
    )
    host: str | None = Field(
        default=None,
        description="The server's name or address, in place of a destination.",
    )
    user: str | None = Field(default=None, description="The user to log in as.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="The port of its SSH server."
    )
    key_file: Path | None = Field(
        default=None,
        title="Key file",
        description=(
            "A private key, as a file of the machine that the flow runs on; it is "
            "offered in place of all others."
        ),
    )
    private_key: SecretStr | None = Field(
        default=None,
        title="Private key",
        description="The text of a private key, in place of a key file.",
    )
    passphrase: SecretStr | None = Field(
        default=None, description="What opens the private key."
    )
    password: SecretStr | None = Field(
        default=None, description="A password, for servers that want one."
    )
    queue: str = Field(
        default=tej.DEFAULT_TEJ_DIR,
        min_length=1,
        description=(
            "The directory on the server that holds the jobs; made by the first job."
        ),
    )
    runtime: str | None = Field(
        default=None,
        description=(
            "How jobs are run: `slurm`, `pbs`, or `default` for without a scheduler; "
            "left empty, a new queue takes what fits the server."
        ),
    )
    host_key_policy: Literal["known", "accept-new"] = Field(
        default="known",
        title="Host key policy",
        description=(
            "Whether a server whose host key was never seen is refused (`known`) or "
            "accepted and remembered (`accept-new`); a changed key is always refused."
        ),
    )
    known_hosts: str = Field(
        default="",
        title="Known hosts",
        description=(
            "Host keys to trust, as lines of a `known_hosts` file, besides those of "
            "the machine that the flow runs on."
        ),
    )
    timeout: float = Field(
        default=30, gt=0, description="Seconds to wait for the server when connecting."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.destination is None) == (self.host is None):
            raise ValueError("give either `destination` or `host`")
        if self.destination is not None and (self.user or self.port):
            raise ValueError("`user` and `port` go with `host`, not with `destination`")
        if self.key_file is not None and self.private_key is not None:
            raise ValueError("give either `key_file` or `private_key`")
        try:
            parts = self._parts()
        except tej.InvalidDestination as error:
            raise ValueError(str(error)) from None
        if self.destination is not None and "password" in parts:
            raise ValueError(
                "a password has no place in `destination`, which anybody may read: "
                "use `password`"
            )
        return self

    def _parts(self) -> dict[str, Any]:
        if self.destination is None:
            parts = {"hostname": self.host, "username": self.user, "port": self.port}
            tej.destination_as_string(parts)
            return parts
        parts = dict(tej.parse_ssh_destination(self.destination))
        if "@" not in self.destination:
            # Left to ~/.ssh/config.
            parts["username"] = None
        return parts

    @property
    def address(self) -> str:
        """The server, as people know it: `ssh://user@host:port`."""
        return tej.destination_as_string(self._parts())

    @property
    def place(self) -> str:
        """The server and the queue: what tells two places of jobs apart."""
        return f"{self.address} {self.queue}"

    def get_client(self, *_: object, **__: object) -> tej.RemoteQueue:
        """The queue: one for each destination in a process, whose connection is shared.

        Nothing is contacted before its first use.  Raises tej.ConnectionFailed if the
        key file cannot be read.
        """
        return shared_queue(
            self._parts(),
            key=self._key(),
            password=_reveal(self.password),
            passphrase=_reveal(self.passphrase),
            queue=self.queue,
            runtime=self.runtime,
            accept_new_host_key=self.host_key_policy == "accept-new",
            known_hosts=self.known_hosts,
            timeout=self.timeout,
        )

    def _key(self) -> str | None:
        if self.key_file is None:
            return _reveal(self.private_key)
        path = self.key_file.expanduser()
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise tej.ConnectionFailed(
                f"The key file {path} cannot be read on this machine ({error}): "
                "correct `key_file`, or give the key's text as `private_key`"
            ) from error


def load_destination(name: str) -> TejDestination:
    """The stored block of that name; raises ValueError if there is none."""
    block = TejDestination.load(name, _sync=True)  # type: ignore[call-arg]
    assert isinstance(block, TejDestination)
    return block


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
