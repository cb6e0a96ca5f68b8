"""Fixtures for attacks by other users: a victim, another user and a group."""

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
    """A transport to this machine, as another user with another umask."""

    def __init__(self, user: User, umask: str) -> None:
        shell = f"umask {umask}; {COMMAND}"
        words = ["env", f"HOME={user.home}", "runuser", "-u", user.name, "--"]
        super().__init__([*words, "/bin/sh", "-c", shell])


QueueOf = Callable[..., tej.RemoteQueue]


@pytest.fixture
def queue_of(users: Users) -> Iterator[QueueOf]:
    """Return a function that opens a queue as another user: `queue_of(user, path)`."""
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
    """Return a queue of root, in a directory whose parts can be given to other users."""
    queue = tej.RemoteQueue("local:", str(tmp_path / "queue"), "default")
    queue.setup()
    yield queue
    no_processes_left(str(queue.queue))


@pytest.fixture
def group(users: Users) -> Iterator[str]:
    """Return a new group without members."""
    name = f"tejgroup{os.getpid()}"
    subprocess.run(["groupadd", name], check=True)
    yield name
    subprocess.run(["groupdel", "-f", name], check=True)


def add_to_group(user: User, group: str) -> None:
    subprocess.run(["usermod", "-aG", group, user.name], check=True)


def directory_of(user: User, path: Path, mode: int, group: str | None = None) -> Path:
    """Return a new directory that belongs to a user."""
    path.mkdir()
    subprocess.run(["chown", f"{user.name}:{group or ''}", path], check=True)
    path.chmod(mode)
    return path
