"""Trust in a queue: files that another user could have written are never executed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs import wait_until, wait_until_ended
from servers.users import Users

import tej
from tests.security.conftest import QueueOf, add_to_group, directory_of

if TYPE_CHECKING:
    from servers.users import User

Make = Callable[..., Path]


def scripts_of(queue: Path) -> Path:
    (scripts,) = (queue / "scripts").iterdir()
    return scripts


@pytest.fixture
def two(users: Users) -> tuple[User, User]:
    return users.add(), users.add()


@pytest.fixture
def shared_by(
    users: Users, two: tuple[User, User], queue_of: QueueOf, group: str
) -> Callable[[str], list[tej.RemoteQueue]]:
    """Return a function that opens a queue of a group for each of its two users.

    The argument of the function is the umask of the users.
    """
    for user in two:
        add_to_group(user, group)
    path = directory_of(two[0], users.folder / "q", 0o2775, group)
    return lambda umask: [queue_of(one, path, umask, trust_queue=True) for one in two]


def test_queue_of_another_user_is_not_executed(
    users: Users, two: tuple[User, User], queue_of: QueueOf, job: Make, tmp_path: Path
) -> None:
    alice, mallory = two
    path = directory_of(mallory, users.folder / "q", 0o755)
    queue_of(mallory, path).setup()
    trap = directory_of(alice, users.folder / "trap", 0o777)
    load = scripts_of(path) / "lib/load.sh"
    load.write_text(f": >'{trap}/sprung'\n{load.read_text()}")
    for part in (path, *path.rglob("*")):
        part.chmod(0o755)
    queue = queue_of(alice, path)
    for verb in (
        queue.jobs,
        lambda: queue.status("a"),
        lambda: queue.submit("a", job("true")),
        lambda: queue.kill("a"),
        lambda: queue.delete("a"),
        lambda: list(queue.logs("a")),
        lambda: queue.download("a", "b", directory=tmp_path),
        lambda: queue.setup(force=2),
        queue.cleanup,
    ):
        with pytest.raises(tej.QueueNotTrusted, match=f"owner {mallory.name}"):
            verb()
    assert list(trap.iterdir()) == []
    assert queue_of(alice, path, trust_queue=True).jobs() == []
    assert list(trap.iterdir()) == [trap / "sprung"]


STRANGER = 54321
"""A user and a group without a name."""

PARTS = ["", "version", "profile", "scripts", "jobs", "SCRIPTS", "SCRIPTS/lib/load.sh"]


@pytest.mark.parametrize("how", ["owner", "group", "others"])
def test_every_part_must_be_the_accounts_alone(
    root_queue: tej.RemoteQueue, how: str
) -> None:
    queue = Path(root_queue.queue)
    (queue / "profile").touch()
    queue.chmod(0o755)
    trusting = tej.RemoteQueue("local:", root_queue.queue, trust_queue=True)
    for part in PARTS:
        path = queue / part.replace("SCRIPTS", f"scripts/{scripts_of(queue).name}")
        assert root_queue.jobs() == []
        before = path.stat()
        if how == "owner":
            os.chown(path, STRANGER, -1)
        else:
            os.chown(path, -1, STRANGER)
            path.chmod(before.st_mode | (0o020 if how == "group" else 0o002))
        with pytest.raises(tej.QueueNotTrusted, match="--trust-queue") as caught:
            root_queue.jobs()
        assert str(path) in str(caught.value).replace("/'", "'")
        assert trusting.jobs() == []
        os.chown(path, before.st_uid, before.st_gid)
        path.chmod(before.st_mode & 0o7777)


def test_path_that_vanishes_during_the_check_is_trusted(
    root_queue: tej.RemoteQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GNU find prints a path that another client removes between readdir and stat.
    folder = tmp_path / "commands"
    folder.mkdir()
    find = folder / "find"
    find.write_text(
        f"#!/bin/sh\n[ -e {folder}/done ] || {{ : >{folder}/done; echo scripts/gone; }}\n"
        f'exec {shutil.which("find")} "$@"\n'
    )
    find.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert root_queue.jobs() == []
    assert (folder / "done").exists()
    (folder / "done").unlink()
    queue = Path(root_queue.queue)
    queue.chmod(0o755)
    (queue / "jobs").chmod(0o777)
    with pytest.raises(tej.QueueNotTrusted, match=f"'{queue}/jobs'"):
        root_queue.jobs()


def test_modes_in_a_closed_queue_do_not_matter(root_queue: tej.RemoteQueue) -> None:
    for path in Path(root_queue.queue).rglob("*"):
        path.chmod(0o777)
    assert root_queue.jobs() == []


def test_profile_may_link_to_trusted_file(
    root_queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    queue, profile = Path(root_queue.queue), tmp_path / "profile"
    profile.touch()
    (queue / "profile").symlink_to(profile)
    queue.chmod(0o755)
    assert root_queue.jobs() == []
    profile.chmod(0o666)
    with pytest.raises(tej.QueueNotTrusted):
        root_queue.jobs()


def test_setup_warns_of_a_replaceable_queue(
    users: Users,
    two: tuple[User, User],
    queue_of: QueueOf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alice, mallory = two
    everybody = directory_of(mallory, users.folder / "everybody", 0o777)
    queue_of(alice, everybody / "deep" / "queue").setup()
    assert "everybody' is writable by all" in caplog.text
    caplog.clear()
    everybody.chmod(0o1777)
    queue_of(alice, everybody / "other").setup()
    assert caplog.text == ""


def test_damaged_version_leads_to_no_other_scripts(
    root_queue: tej.RemoteQueue,
) -> None:
    version = Path(root_queue.queue, "version")
    for line in ("scripts ../../evil 1", "runtime ../../../evil"):
        kind = line.split()[0]
        lines = version.read_text().splitlines()
        version.write_text(
            "\n".join([line if one.startswith(kind) else one for one in lines]) + "\n"
        )
        with pytest.raises(tej.QueueExists, match="damaged"):
            root_queue.jobs()
        version.write_text("\n".join(lines) + "\n")


# Groups


def test_own_private_group_may_write(
    users: Users, queue_of: QueueOf, job: Make
) -> None:
    alice = users.add()
    path = directory_of(alice, users.folder / "q", 0o775, alice.name)
    queue = queue_of(alice, path, "002")
    job_id = queue.submit(None, job("true"))
    assert queue.wait([job_id])[job_id].succeeded
    assert queue.cleanup()


def test_shared_group_is_refused_at_setup(
    users: Users, two: tuple[User, User], queue_of: QueueOf, group: str
) -> None:
    alice, _ = two
    add_to_group(alice, group)
    path = directory_of(alice, users.folder / "q", 0o775, group)
    with pytest.raises(tej.QueueNotTrusted, match=f"group {group}, mode drwxrwxr-x"):
        queue_of(alice, path, "002").setup()
    with pytest.raises(tej.QueueExists, match=r"chmod g\+s"):
        queue_of(alice, path, "002", trust_queue=True).setup()
    assert list(path.iterdir()) == []


@pytest.mark.parametrize("umask", ["002", "077"])
def test_trusted_group_queue_works_for_two_users(
    shared_by: Callable[[str], list[tej.RemoteQueue]],
    job: Make,
    tmp_path: Path,
    umask: str,
) -> None:
    hers, his = shared_by(umask)
    path = Path(hers.queue)
    hers.setup()
    files = {"folder/input": os.urandom(4_000_000)}
    script = "echo hello; mkdir made; : >made/file"
    for number, queue in enumerate((hers, his)):
        directory = job(f"{script}; : {number}", files, name=f"job{number}")
        queue.submit(f"job{number}", directory)
        assert queue.wait([f"job{number}"])[f"job{number}"].succeeded
    assert [one.succeeded for one in his.jobs()] == [True, True]
    assert b"".join(his.logs("job0")) == b"hello\n"
    his.download("job0", "_stdout", directory=tmp_path / "out")
    his.delete("job0")
    hers.delete("job1")
    assert hers.submit("job2", job("true"))
    hers.wait(["job2"])
    assert his.cleanup()
    assert list(path.parent.glob("q/*")) == []


def test_hidden_processes_of_another_user_are_not_lost(
    shared_by: Callable[[str], list[tej.RemoteQueue]], job: Make
) -> None:
    hers, his = shared_by("002")
    # Only its token identifies this process, and only root and Alice can read the token.
    escape = "setsid sh -c 'echo >../escaped; exec sleep 900' &\n"
    escape += "until [ -s ../escaped ]; do sleep 0.02; done\n"
    hers.submit("ended", job(escape, name="ended"))
    hers.submit("a", job(f"{escape}exec sleep 900"))
    facts = Path(hers.queue, "jobs", "a")
    wait_until((facts / "escaped").exists, "the process has started")
    for fact, word in (("native_id", 4), ("started", 2)):
        os.kill(int((facts / fact).read_text().split()[word]), signal.SIGKILL)
    assert his.status("a").state is tej.JobState.RUNNING
    with pytest.raises(tej.JobStillRunning):
        his.delete("a")
    assert hers.status("a").state is tej.JobState.RUNNING
    wait_until_ended(hers, "ended")
    status = his.status("ended")
    assert status.processes_left == 1
    assert "may have ended by now" in str(status.note)
    hers.kill_many(["a", "ended"], grace=0)
    assert his.status("a").state is tej.JobState.KILLED
    assert hers.cleanup()


# Links


def test_link_of_another_user_is_not_followed(
    users: Users, two: tuple[User, User], queue_of: QueueOf
) -> None:
    alice, mallory = two
    path = directory_of(alice, users.folder / "hers", 0o700)
    queue_of(alice, path).setup()
    shared = directory_of(alice, users.folder / "shared", 0o1777)
    link = shared / "link"
    link.write_text(f"tejdir: {path}\n")
    shutil.chown(link, alice.name)
    queue = queue_of(alice, link)
    assert queue.jobs() == []
    shutil.chown(link, mallory.name)
    with pytest.raises(tej.QueueNotTrusted, match=f"owner {mallory.name}"):
        queue.jobs()
    assert queue_of(alice, link, trust_queue=True).jobs() == []


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_link_that_others_can_replace_is_not_followed(
    users: Users, two: tuple[User, User], queue_of: QueueOf, mode: int
) -> None:
    alice, mallory = two
    path = directory_of(alice, users.folder / "hers", 0o700)
    shared = directory_of(alice, users.folder / "shared", mode, mallory.name)
    with pytest.raises(tej.QueueNotTrusted, match="a link to the queue"):
        queue_of(alice, path).setup(links=[shared / "link"])
    link = shared / "link"
    link.write_text(f"tejdir: {path}\n")
    shutil.chown(link, alice.name)
    with pytest.raises(tej.QueueNotTrusted, match="through the link"):
        queue_of(alice, link).jobs()
