"""Order in which a login with paramiko tries the keys of the agent and of key files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tej.transport.paramiko.agent import AgentKey
from tej.transport.paramiko.identity_files import Identity
from tej.transport.ssh_config import HostConfig


def order_keys(
    files: Sequence[Identity], held: Iterable[AgentKey], config: HostConfig
) -> Iterator[AgentKey | Identity]:
    """Yield the keys in the order in which they are tried.

    `files` are the key files, and `held` are the keys of the agent.  Keys that the
    configuration selects come first, because sshd disconnects after six failed
    attempts.  Encrypted files come last, because the user must enter a passphrase.
    """
    ours = {identity.blob for identity in files}
    by_blob = {key.blob: key for key in held}
    for identity in files:
        if identity.blob is not None and identity.blob in by_blob:
            yield by_blob[identity.blob]
    loadable = [f for f in files if f.private and f.blob not in by_blob]
    ready = [f for f in loadable if not f.encrypted]
    if config.identities_chosen:
        yield from ready
    if not config.identities_only:
        yield from (key for blob, key in by_blob.items() if blob not in ours)
    if not config.identities_chosen:
        yield from ready
    yield from (f for f in loadable if f.encrypted)
