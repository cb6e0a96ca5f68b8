"""File modes: only its owner has access to a queue, under every umask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from servers.users import Users

from tests.security.conftest import QueueOf, directory_of

Make = Callable[..., Path]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_jobs_are_private_under_every_umask(
    users: Users, queue_of: QueueOf, job: Make, umask: str
) -> None:
    user = users.add()
    path = directory_of(user, users.folder / "q", 0o755)
    # Earlier versions of tej created the directories with modes from the umask.
    for part in ("jobs", "incoming", "scripts"):
        directory_of(user, path / part, 0o755)
    queue = queue_of(user, path, umask)
    directory = job("umask; : >made; exit 1", {"input": bytes(4_000_000)})
    (directory / "input").chmod(0o640)
    for _ in range(2):
        ran = queue.ensure(directory, retry=True, environment={"TOKEN": "secret"})
        ran.wait()
    for part in ("jobs", "incoming", "attempts", "objects"):
        assert mode(path / part) == 0o700
    made = path / "jobs" / ran.id
    assert mode(made / "command") == mode(made / "spec") == 0o600
    # The job itself runs with the user's umask.
    assert int(b"".join(ran.logs()).split()[0], 8) == int(umask, 8)
    assert mode(made / "stage/made") == 0o666 & ~int(umask, 8)


def test_limit_and_link_work_under_umask_000(
    users: Users, queue_of: QueueOf, job: Make
) -> None:
    user = users.add()
    path = directory_of(user, users.folder / "q", 0o755)
    links = directory_of(user, users.folder / "links", 0o755)
    queue_of(user, path, "000").setup([links / "new/link"], max_running=1)
    queue = queue_of(user, links / "new/link", "000")
    # The second job waits, which creates the directories of the job limit.
    ids = [queue.submit(None, job("echo ran")) for _ in range(2)]
    queue.limit(2)
    assert all(status.succeeded for status in queue.wait(ids).values())
    assert mode(links / "new") & 0o002 == 0
    assert [one.name for one in path.iterdir() if mode(one) & 0o022] == []
