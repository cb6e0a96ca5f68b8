"""Shared by the tests of attacks on the server side: a victim, another user, a group."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import no_processes_left
from servers.users import User, Users

import tej
from tej.transport.local import LocalTransport
from tej.transport.program_start import COMMAND


class UserTransport(LocalTransport):
    """This machine, as another user with a umask of their own."""

    def __init__(self, user: User, umask: str) -> None:
        shell = f"umask {umask}; {COMMAND}"
        words = ["env", f"HOME={user.home}", "runuser", "-u", user.name, "--"]
        super().__init__([*words, "/bin/sh", "-c", shell])


QueueOf = Callable[..., tej.RemoteQueue]


@pytest.fixture
def queue_of(users: Users) -> Iterator[QueueOf]:
    """`queue_of(user, path)`: the queue at that path, as used by that user."""
    made: list[tej.RemoteQueue] = []

    def queue_of_(
        user: User, path: Path, umask: str = "022", **options: object
    ) -> tej.RemoteQueue:
        transport = UserTransport(user, umask)
        options["transport"] = transport
        queue = tej.RemoteQueue("local:", str(path), "default", **options)  # type: ignore[arg-type]
        made.append(queue)
        return queue

    yield queue_of_
    for queue in made:
        no_processes_left(str(queue.queue))


@pytest.fixture
def root_queue(tmp_path: Path, users: Users) -> Iterator[tej.RemoteQueue]:
    """A queue of root, set up, in a directory where parts of it can be given away."""
    queue = tej.RemoteQueue("local:", str(tmp_path / "queue"), "default")
    queue.setup()
    yield queue
    no_processes_left(str(queue.queue))


@pytest.fixture
def group(users: Users) -> Iterator[str]:
    """A new group without members."""
    name = f"tejgroup{os.getpid()}"
    subprocess.run(["groupadd", name], check=True)
    yield name
    subprocess.run(["groupdel", "-f", name], check=True)


def add_to_group(user: User, group: str) -> None:
    subprocess.run(["usermod", "-aG", group, user.name], check=True)


def directory_of(user: User, path: Path, mode: int, group: str | None = None) -> Path:
    """A new directory that belongs to a user."""
    path.mkdir()
    subprocess.run(["chown", f"{user.name}:{group or ''}", path], check=True)
    path.chmod(mode)
    return path
