"""`TejDestination`: a Prefect block with the address and credentials of a server.

A block is a configuration that Prefect stores under a name.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, model_validator
from typing_extensions import Self

import tej
from tej_prefect.context import stored_name

DOCUMENTATION_URL = "https://github.com/VisTrails/tej"
LOGO_URL = "https://github.com/VisTrails.png?size=200"
MODEL_CONFIG = ConfigDict(hide_input_in_errors=True, use_attribute_docstrings=True)
"""Settings of all models: errors do not contain the input, which may be a secret.  The
docstring of each field is shown in Prefect's forms."""
SECRETS = ("private_key", "passphrase", "password")


class TejDestination(CredentialsBlock):
    """
    A server that runs jobs and is reached over SSH. The server needs no installation.

    Missing values come from `~/.ssh/config` and the SSH agent of the machine that the
    flow runs on.

    Example:
        Load a stored destination and list its jobs:
        ```python
        from tej_prefect import TejDestination

        cluster = TejDestination.load("BLOCK_NAME")
        for job in cluster.get_client().jobs():
            print(job.job_id, job.describe())
        ```
    """

    model_config = MODEL_CONFIG

    _block_type_name = "tej Destination"
    _block_type_slug = "tej-destination"
    _documentation_url = HttpUrl(DOCUMENTATION_URL)
    _logo_url = HttpUrl(LOGO_URL)

    destination: str | None = None
    """The server as `[user@]host[:port]`, a host alias of `~/.ssh/config`, or `local:`
    for the machine that the flow runs on."""
    host: str | None = None
    """The server's name or address, if `destination` is empty."""
    user: str | None = None
    """The user to log in as."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """The port of the SSH server."""
    key_file: Path | None = None
    """A private key file on the machine that the flow runs on; no other key is
    offered."""
    private_key: SecretStr | None = None
    """The text of a private key, if `key_file` is empty."""
    passphrase: SecretStr | None = None
    """The passphrase of the private key."""
    password: SecretStr | None = None
    """The password, for servers that require one."""
    queue: str = Field(default=tej.DEFAULT_TEJ_DIR, min_length=1)
    """The directory of the jobs on the server; the first job creates it."""
    runtime: str | None = None
    """How jobs are started: `slurm`, `pbs`, or `default` without a scheduler. If empty,
    a new queue uses the server's scheduler if there is one."""
    host_key_policy: Literal["known", "accept-new"] = "known"
    """Whether an unknown host key is refused (`known`) or accepted and stored
    (`accept-new`). A changed host key is always refused."""
    known_hosts: str = ""
    """Additional trusted host keys, as lines of a `known_hosts` file."""
    timeout: float = Field(default=30, gt=0)
    """The connection timeout in seconds."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.destination is None) == (self.host is None):
            raise ValueError("set either `destination` or `host`")
        if self.destination is not None and (self.user or self.port):
            raise ValueError(
                "`user` and `port` can be set only with `host`, not with `destination`"
            )
        if self.key_file is not None and self.private_key is not None:
            raise ValueError("set either `key_file` or `private_key`")
        try:
            parts = self._parts()
        except tej.InvalidDestination as error:
            raise ValueError(str(error)) from None
        if self.destination is not None and "password" in parts:
            raise ValueError(
                "`destination` is stored as plain text and must not contain a "
                "password: use `password`"
            )
        return self

    def _parts(self) -> dict[str, Any]:
        if self.destination is None:
            parts = {"hostname": self.host, "username": self.user, "port": self.port}
            tej.destination_as_string(parts)
            return parts
        parts = dict(tej.parse_ssh_destination(self.destination))
        if "@" not in self.destination:
            # Without `user`, the user name comes from ~/.ssh/config.
            parts["username"] = None
        return parts

    @property
    def address(self) -> str:
        """The server's address: `ssh://user@host:port`."""
        return tej.destination_as_string(self._parts())

    @property
    def place(self) -> str:
        """The server's address and the queue's path, which identify the queue."""
        return f"{self.address} {self.queue}"

    def model_copy(self, **options: Any) -> Self:
        """Return a copy; a copy with different values is not a stored block."""
        copy = super().model_copy(**options)
        if options.get("update"):
            copy._block_document_name = None
        return copy

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle a stored block as its name, so that the pickle contains no secrets.

        Raises pickle.PicklingError for an unsaved block that contains a secret.
        """
        name = stored_name(self)
        if name is not None:
            return load_destination, (name,)
        secrets = [one for one in SECRETS if getattr(self, one) is not None]
        if secrets:
            raise pickle.PicklingError(
                f"The destination {self.place} contains secrets ({', '.join(secrets)}) "
                "and is not stored, so it cannot be pickled: call "
                "TejDestination(...).save(NAME), and then TejDestination.load(NAME)"
            )
        return super().__reduce__()

    def get_client(self, *_: object, **__: object) -> tej.RemoteQueue:
        """Return the queue; equal destinations of a process share one queue.

        No connection is made before the first request.  Raises tej.ConnectionFailed if
        the key file cannot be read.
        """
        passphrase = _reveal(self.passphrase)
        try:
            return tej.shared_queue(
                {**self._parts(), "password": _reveal(self.password)},
                self.queue,
                setup_runtime=self.runtime,
                ask=None if passphrase is None else _Passphrase(passphrase),
                accept_new_host_key=self.host_key_policy == "accept-new",
                timeout=self.timeout,
                key=self._key(),
                known_hosts=self.known_hosts,
            )
        except ValueError as error:
            raise tej.InvalidDestination(str(error)) from error

    def _key(self) -> str | None:
        if self.key_file is None:
            return _reveal(self.private_key)
        path = self.key_file.expanduser()
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise tej.ConnectionFailed(
                f"The key file {path} cannot be read on this machine ({error}): "
                "correct `key_file`, or set `private_key` to the text of the key"
            ) from error


def load_destination(name: str) -> TejDestination:
    """Load a stored block; raise ValueError if no block has this name."""
    block = TejDestination.load(name, _sync=True)  # type: ignore[call-arg]
    assert isinstance(block, TejDestination)
    return block


def as_destination(destination: TejDestination | str) -> TejDestination:
    """Return the destination; if a name is given, load the block with this name."""
    if isinstance(destination, TejDestination):
        return destination
    return load_destination(destination)


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


@dataclass(frozen=True)
class _Passphrase:
    """Callable that returns the passphrase of a private key when SSH prompts for it.

    Two instances with the same passphrase are equal, so that queues can be shared.
    """

    passphrase: str

    def __call__(self, prompt: str) -> str:
        if prompt.startswith("Passphrase for "):
            return self.passphrase
        raise tej.AuthenticationFailed(
            f"The server asks {prompt.strip()!r}, but a flow cannot reply: use a key "
            "or set `password`"
        )

    def __repr__(self) -> str:
        return "_Passphrase()"
