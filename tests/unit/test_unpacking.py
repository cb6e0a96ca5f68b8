"""An archive from a server that means no good writes nothing where it should not."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tej
from tej.queue.download import Download, check_name
from tej.wire.archive import Unpacker

Member = tuple[str, str, str]
"""Its kind, its name, and its content or target."""

KINDS = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
}


def archive(*members: Member) -> io.BytesIO:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for kind, name, content in members:
            member = tarfile.TarInfo(name)
            member.type = KINDS[kind]
            if kind == "file":
                member.size = len(content)
            else:
                member.linkname = content
            tar.addfile(member, io.BytesIO(content.encode()))
    data.seek(0)
    return data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "outer" / "root"
    path.mkdir(parents=True)
    return path


def unpack(root: Path, *members: Member) -> None:
    Unpacker(root, lambda name: root / name).unpack(archive(*members))


def outside(root: Path) -> list[Path]:
    return [path for path in root.parent.rglob("*") if not path.is_relative_to(root)]


@pytest.mark.parametrize(
    "members",
    [
        [("file", "../evil", "x")],
        [("file", "/tmp/evil", "x")],
        [("file", "a/../../evil", "x")],
        [("directory", "../evil", "")],
        [("link", "a", "..")],
        [("link", "a", "/etc")],
        [("link", "a", "../root2")],
        [("link", "a", "b/../../x")],
        [("link", "d/l", "../../x")],
        [("link", "a", ".."), ("file", "a/evil", "x")],
        # Links that are harmless each, and not together.
        [
            ("directory", "a/b", ""),
            ("link", "a/b/up", "../.."),
            ("link", "a/b/out", "up/.."),
        ],
        [("link", "x", "y/.."), ("link", "y", ".")],
        [("pipe", "a", "")],
        [("device", "a", "")],
        [("hard link", "a", "../outside")],
        [("hard link", "a", "/etc/passwd")],
        [("hard link", "a", "never sent")],
    ],
)
def test_what_leads_out_is_refused(root: Path, members: list[Member]) -> None:
    with pytest.raises(tej.DownloadFailed):
        unpack(root, *members)
    assert outside(root) == []
    for path in root.rglob("*"):
        assert path.resolve().is_relative_to(root)


names = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=4)
paths = st.tuples(st.sampled_from(["", "/"]), names).map(
    lambda p: p[0] + "/".join(p[1])
)


@settings(max_examples=200, deadline=None)
@given(
    members=st.lists(
        st.tuples(
            st.sampled_from(["file", "directory", "link", "hard link"]), paths, paths
        ),
        max_size=6,
    )
)
def test_no_archive_whatever_writes_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[Member]
) -> None:
    root = tmp_path_factory.mktemp("outer") / "root"
    root.mkdir()
    try:
        unpack(root, *members)
    except tej.DownloadFailed:
        pass
    assert outside(root) == []
    for path in root.rglob("*"):
        if path.is_symlink():
            end = Path(os.path.realpath(path))
            assert end.is_relative_to(root), (path, path.readlink())
    assert list(root.rglob(".tej-*")) == []


def test_an_archive_that_is_cut_leaves_no_half_file(root: Path) -> None:
    whole = archive(("file", "first", "x" * 700), ("file", "second", "y" * 5000))
    cut = io.BytesIO(whole.getvalue()[:4000])
    with pytest.raises((tarfile.TarError, EOFError)):
        Unpacker(root, lambda name: root / name).unpack(cut)
    assert [path.name for path in root.iterdir()] == ["first"]


def test_several_archives_in_a_row_are_one(root: Path) -> None:
    data = (
        archive(("file", "a", "1")).getvalue() + archive(("file", "b", "2")).getvalue()
    )
    Unpacker(root, lambda name: root / name).unpack(io.BytesIO(data))
    assert sorted(path.name for path in root.iterdir()) == ["a", "b"]


def test_a_hard_link_to_a_link_is_a_link(root: Path) -> None:
    unpack(
        root,
        ("file", "file", "x"),
        ("link", "one", "file"),
        ("hard link", "two", "one"),
    )
    assert (root / "two").readlink() == Path("file")


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "漢" * 85])
def test_a_name_may_be_as_long_as_the_disk_takes(root: Path, name: str) -> None:
    unpack(root, ("file", name, "x"))
    assert (root / name).read_text() == "x"


@given(st.text(max_size=40))
def test_a_name_asked_for_is_inside_or_refused(name: str) -> None:
    try:
        path = PurePosixPath(check_name(name))
    except tej.DownloadFailed:
        return
    assert not path.is_absolute()
    assert ".." not in path.parts


@pytest.mark.parametrize(
    ("patterns", "name", "flat"),
    [
        (["a/b/c"], "a/b/c", "c"),
        (["a/b"], "a/b/c", "b/c"),
        (["a/*"], "a/b/c", "b/c"),
        (["*/*/c"], "a/b/c", "c"),
        (["."], "a/b/c", "a/b/c"),
        (["x", "a/b"], "a/b/c", "b/c"),
        (["[a]"], "[a]", "[a]"),
    ],
)
def test_flatten_drops_what_is_above_what_was_asked_for(
    patterns: list[str], name: str, flat: str
) -> None:
    download = Download(patterns, None, "out", recursive=True, flatten=True)
    assert download.place(PurePosixPath(name)) == Path("out") / flat
