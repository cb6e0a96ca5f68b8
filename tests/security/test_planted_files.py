"""Names and links planted by other users cause no access to other files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from servers.users import Users

import tej
from tests.security.conftest import QueueOf, directory_of

Make = Callable[..., Path]


def test_links_are_made_beside_planted_ones(users: Users, queue_of: QueueOf) -> None:
    alice, mallory = users.add(), users.add()
    queue = queue_of(alice, users.folder / "hers" / "queue")
    directory_of(alice, users.folder / "hers", 0o700)
    shared = directory_of(mallory, users.folder / "shared", 0o1777)
    os.chown(shared, 0, 0)
    victim = users.folder / "hers/victim"
    victim.write_text("precious")
    shutil.chown(victim, alice.name)
    (shared / "dangling").symlink_to(users.folder / "hers/new")
    (shared / "followed").symlink_to(victim)
    (shared / "folder").mkdir(mode=0o777)
    (shared / "theirs").write_text("tejdir: /elsewhere\n")
    for planted in shared.iterdir():
        os.lchown(planted, mallory_id := planted.lstat().st_uid, mallory_id)
        shutil.chown(planted, mallory.name) if not planted.is_symlink() else None
    # These names contain process ids, and the next process ids are easy to guess.
    last = int(subprocess.check_output(["sh", "-c", "echo $$"]))
    for pid in range(last, last + 5000):
        (shared / f"link.{pid}").symlink_to(victim)
    for name in ("dangling", "followed", "folder", "theirs"):
        with pytest.raises((tej.QueueExists, tej.QueueNotTrusted)):
            queue.setup(links=[shared / name], only_links=True)
    queue.setup(links=[shared / "link"])
    assert (shared / "link").read_text() == f"tejdir: {users.folder}/hers/queue\n"
    assert (shared / "link").owner() == alice.name
    assert victim.read_text() == "precious"
    assert sorted(os.listdir(users.folder / "hers")) == ["queue", "victim"]
    assert not list(shared.glob(".tej*"))
    assert queue_of(alice, shared / "link").cleanup()
    assert not (shared / "link").exists()


@pytest.mark.parametrize("name", ["data*", "new\nline", "newline\n", "[a]?", " x "])
def test_cleanup_removes_the_link_alone(
    tmp_path: Path, users: Users, name: str
) -> None:
    innocent = [tmp_path / "links" / one for one in ("data1", "new", "line", "a", "x")]
    innocent[0].parent.mkdir()
    for path in innocent:
        path.write_text("precious")
    link = tmp_path / "links" / name
    tej.RemoteQueue("local:", str(tmp_path / "queue"), "default").setup(links=[link])
    assert tej.RemoteQueue("local:", str(link)).cleanup()
    assert not (tmp_path / "queue").exists()
    assert sorted(innocent[0].parent.iterdir()) == sorted(innocent)


def test_queue_name_may_end_in_newlines(tmp_path: Path, job: Make) -> None:
    path = tmp_path / "queue\n\n"
    queue = tej.RemoteQueue("local:", str(path), "default")
    queue.setup(links=[tmp_path / "link"])
    through = tej.RemoteQueue("local:", str(tmp_path / "link"))
    through.submit("a", job("true"))
    assert through.wait(["a"])["a"].succeeded
    assert through.cleanup()
    assert not path.exists()


NAMES = ["run\\new.csv", "x\\101.csv", "\\056\\056\\057up.csv", "it's.csv"]


def test_names_with_backslashes_and_newlines_are_fetched(
    tmp_path: Path, job: Make
) -> None:
    queue = tej.RemoteQueue("local:", str(tmp_path / "queue"), "default")
    queue.submit("a", job("true", {name: name for name in NAMES}))
    queue.wait(["a"])
    stage = Path(queue.status("a").directory)
    (stage / "ends\n").mkdir()
    (stage / "ends\n" / "file\n").write_text("inside")
    (stage / "via\n").symlink_to("ends\n/file\n")
    out = tmp_path / "out"
    queue.download("a", ["*.csv", "ends\n/file\n", "via\n"], directory=out)
    assert sorted(os.listdir(out)) == sorted([*NAMES, "ends\n", "via\n"])
    assert {(out / name).read_text() for name in NAMES} == set(NAMES)
    assert (out / "ends\n/file\n").read_text() == "inside"
    assert (out / "via\n").read_text() == "inside"
    assert queue.cleanup()
