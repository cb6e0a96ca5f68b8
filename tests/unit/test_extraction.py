"""Extraction of hostile archives: nothing is written outside of the target."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tej
from tej.queue.download_receiver import Download
from tej.queue.file_patterns import OptionalFile, check_name
from tej.wire.extraction import Unpacker
from tej.wire.tar_header import sparse_header
from tej.wire.tar_reader import CHUNK

Member = tuple[str, str, str]
"""Kind, name, and content or target of a member."""

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


def unpack(root: Path, *members: Member) -> list[str]:
    """Extract an archive, and return the members that were skipped."""
    unpacker = Unpacker(root, lambda name: root / name)
    unpacker.unpack(archive(*members))
    return unpacker.left_out


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
        # Each of these links is harmless alone, but not together with the others.
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
def test_member_outside_directory_is_refused(root: Path, members: list[Member]) -> None:
    with contextlib.suppress(tej.DownloadFailed):
        assert unpack(root, *members)
    assert outside(root) == []
    for path in root.rglob("*"):
        assert path.resolve().is_relative_to(root)


names = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=4)
paths = st.tuples(st.sampled_from(["", "/"]), names).map(
    lambda p: p[0] + "/".join(p[1])
)


@settings(max_examples=200)
@given(
    members=st.lists(
        st.tuples(
            st.sampled_from(["file", "directory", "link", "hard link"]), paths, paths
        ),
        max_size=6,
    )
)
def test_no_generated_archive_writes_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[Member]
) -> None:
    root = tmp_path_factory.mktemp("outer") / "root"
    root.mkdir()
    with contextlib.suppress(tej.DownloadFailed):
        unpack(root, *members)
    assert outside(root) == []
    for path in root.rglob("*"):
        if path.is_symlink():
            end = Path(os.path.realpath(path))
            assert end.is_relative_to(root), (path, path.readlink())
    assert list(root.rglob(".tej-*")) == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_link_of_the_user_does_not_lead_outside(root: Path, kind: str) -> None:
    (root / "link").symlink_to(root.parent)
    with pytest.raises(tej.DownloadFailed, match="outside"):
        unpack(root, (kind, "link/evil", ""))
    assert outside(root) == []


def test_error_of_the_disk_ends_the_extraction(root: Path) -> None:
    (root / "a").touch()
    with pytest.raises(tej.DownloadFailed, match="'a/b' cannot be written"):
        unpack(root, ("file", "a/b", "x"), ("file", "c", "x"))
    assert [path.name for path in root.iterdir()] == ["a"]


def test_truncated_archive_leaves_no_partial_file(root: Path) -> None:
    whole = archive(("file", "first", "x" * 700), ("file", "second", "y" * 5000))
    cut = io.BytesIO(whole.getvalue()[:4000])
    with pytest.raises(tej.DownloadFailed, match="not complete"):
        Unpacker(root, lambda name: root / name).unpack(cut)
    assert [path.name for path in root.iterdir()] == ["first"]


def test_concatenated_archives_are_extracted(root: Path) -> None:
    data = (
        archive(("file", "a", "1")).getvalue() + archive(("file", "b", "2")).getvalue()
    )
    Unpacker(root, lambda name: root / name).unpack(io.BytesIO(data))
    assert sorted(path.name for path in root.iterdir()) == ["a", "b"]


def test_hard_link_to_link_becomes_link(root: Path) -> None:
    unpack(
        root,
        ("file", "file", "x"),
        ("link", "one", "file"),
        ("hard link", "two", "one"),
    )
    assert (root / "two").readlink() == Path("file")


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "漢" * 85])
def test_longest_name_of_disk_is_extracted(root: Path, name: str) -> None:
    unpack(root, ("file", name, "x"))
    assert (root / name).read_text() == "x"


class Archive:
    """An archive whose members can have any headers."""

    def __init__(self) -> None:
        self.data = b""

    def add(self, member: tarfile.TarInfo, content: bytes = b"") -> Archive:
        self.data += member.tobuf(tarfile.GNU_FORMAT) + content
        self.data += bytes(-len(content) % 512)
        return self

    def raw(self, data: bytes) -> Archive:
        self.data += data
        return self

    def unpack(self, root: Path, **how: bool) -> Unpacker:
        unpacker = Unpacker(root, lambda name: root / name, **how)
        unpacker.unpack(io.BytesIO(self.data + bytes(10240)))
        return unpacker


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type = size, kind
    return made


def sparse(name: str, size: int, segments: list[tuple[int, int]]) -> bytes:
    return sparse_header(member(name, size), segments)


@pytest.mark.parametrize(
    "data",
    [
        b"this is not an archive" * 100,
        b"",
        bytes(10240),
        member("a", 10**15).tobuf(tarfile.GNU_FORMAT),
        member("a", 2**40, tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT),
        member("a", 2**40, tarfile.XHDTYPE).tobuf(tarfile.GNU_FORMAT),
        member("a", -512).tobuf(tarfile.GNU_FORMAT),
        sparse("a", 2**40, []),
        sparse("a", 100, [(50, 100)]),
        sparse("a", 1000, [(500, 10), (0, 10)]),
    ],
    ids=[
        "garbage",
        "nothing",
        "zeros",
        "petabyte",
        "long name",
        "pax",
        "negative",
        "terabyte of holes",
        "segment behind the end",
        "segments out of order",
    ],
)
def test_malformed_archive_is_an_error(root: Path, data: bytes) -> None:
    with pytest.raises(tej.DownloadFailed):
        Archive().raw(data).unpack(root)
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_size_of_a_complete_archive_has_no_limit(root: Path) -> None:
    size = 110 * CHUNK
    assert unpack(root, ("file", "a", "x" * size)) == []
    assert (root / "a").stat().st_size == size


def test_endless_headers_need_bounded_memory(root: Path) -> None:
    class Endless(io.RawIOBase):
        read_so_far = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            self.read_so_far += size
            return bytes(size)

    stream = Endless()
    with pytest.raises(tej.DownloadFailed):
        Unpacker(root, lambda name: root / name).unpack(stream)  # type: ignore[arg-type]
    assert stream.read_so_far < 100 * 1024 * 1024


@pytest.mark.parametrize("time", ["nan", "inf", "-1", "1e300", "x"])
def test_impossible_times_are_ignored(root: Path, time: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        made = member("a", 1)
        made.pax_headers = {"mtime": time}
        tar.addfile(made, io.BytesIO(b"x"))
    Archive().raw(data.getvalue()).unpack(root)
    assert (root / "a").read_text() == "x"


def test_sparse_file_keeps_its_holes(root: Path) -> None:
    size = 20_000_000
    data = sparse("a", size, [(512, 512), (10_000_000, 3)])
    Archive().raw(data + b"x" * 512 + b"end".ljust(512, b"\0")).unpack(root)
    content = (root / "a").read_bytes()
    assert len(content) == size
    assert content.strip(b"\0")[:3] == b"xxx"
    assert content[10_000_000:10_000_003] == b"end"
    assert (root / "a").stat().st_blocks * 512 < size / 2


def test_names_windows_cannot_have_are_named(root: Path) -> None:
    bad = ["aux", "q?.txt", "dot.", "com1.txt", "a:b", "back\\slash", "sub/nul"]
    made = Archive()
    for name in [*bad, "good"]:
        made.add(member(name, 1), b"x")
    with pytest.raises(
        tej.DownloadFailed, match=r"'aux'.*4 more.*all other files"
    ) as raised:
        made.unpack(root, windows=True)
    assert "q?.txt" in str(raised.value)
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["good"]


def test_link_that_windows_refuses_is_left_out(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "A required privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    link = member("link", kind=tarfile.SYMTYPE)
    link.linkname = "good"
    done = Archive().add(link).add(member("good")).unpack(root, windows=True)
    assert ["the link 'link'" in text for text in done.left_out] == [True]
    assert [path.name for path in root.iterdir()] == ["good"]


def test_too_long_name_affects_only_its_file(root: Path) -> None:
    link = member("link", kind=tarfile.LNKTYPE)
    link.linkname = "x" * 256
    made = Archive().add(member("x" * 256)).add(link).add(member("good"))
    with pytest.raises(
        tej.DownloadFailed, match="cannot be written.*'link' is.*all other files"
    ):
        made.unpack(root)
    assert [path.name for path in root.iterdir()] == ["good"]


@pytest.mark.parametrize("second_run", [False, True])
def test_names_differing_in_case_never_collide(
    root: Path, monkeypatch: pytest.MonkeyPatch, second_run: bool
) -> None:
    """A double of the name look-up simulates a file system that ignores case."""
    lstat = Path.lstat

    def lstat_without_case(self: Path) -> os.stat_result:
        for path in self.parent.iterdir() if self.parent.is_dir() else ():
            if path.name.lower() == self.name.lower():
                return lstat(path)
        return lstat(self)

    monkeypatch.setattr(Path, "lstat", lstat_without_case)
    if second_run:
        Archive().add(member("Result.txt", 1), b"R").unpack(root)
        made = Archive()
    else:
        made = Archive().add(member("Result.txt", 1), b"R")
    made.add(member("result.txt", 1), b"r").add(member("good"))
    with pytest.raises(
        tej.DownloadFailed, match="result.txt.*all other files were fetched"
    ):
        made.unpack(root)
    assert sorted(path.name for path in root.iterdir()) == ["Result.txt", "good"]
    assert (root / "Result.txt").read_text() == "R"


@given(st.text(max_size=40))
def test_requested_name_is_inside_or_refused(name: str) -> None:
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
def test_flatten_drops_parents_of_requested_path(
    patterns: list[str], name: str, flat: str
) -> None:
    download = Download(patterns, None, "out", recursive=True, flatten=True)
    assert download.place(PurePosixPath(name)) == Path("out") / flat


@pytest.mark.parametrize(
    ("patterns", "name"),
    [
        (["*"], ".bashrc"),
        (["results.csv"], ".ssh/authorized_keys"),
        (["results.csv"], "results.csv2"),
        (["plots/*.png"], "plots/x.sh"),
        (["plots/*.png"], "plots"),
        (["plots/*.png"], "other/x.png"),
        (["run[0-9]"], "runX"),
        (["run[!0-9]"], "run1"),
        (["run[[:digit:]]"], "runX"),
        (["a?c"], "a/c"),
    ],
)
@pytest.mark.parametrize("how", ["directory", "flatten", "destination"])
def test_unrequested_member_is_refused(
    patterns: list[str], name: str, how: str
) -> None:
    target = "new" if how == "destination" else None
    download = Download(
        patterns, target, None, recursive=True, flatten=how == "flatten"
    )
    with pytest.raises(tej.DownloadFailed, match="not requested"):
        download.place_checked(PurePosixPath(name))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("run[[:digit:]]*.csv", "run1-x.csv"),
        ("run[!0-9]", "runX"),
        ("run[^0-9]", "runX"),
        ("run[]]", "run]"),
        ("run[a-c-]", "run-"),
        ("run[", "run["),
        ("[x", "[x"),
        (r"a\*", "a*"),
        (r"back\slash", r"back\slash"),
        ("caf??", "café"),
        ("caf?", "café"),
        ("r\u00e9sultat", "re\u0301sultat"),
        ("*/deep", "a/deep"),
        ("**", "a"),
        (".h*", ".hidden/x"),
        (".", ".bashrc"),
    ],
)
def test_pattern_matches_as_shell_does(pattern: str, name: str) -> None:
    download = Download([pattern], None, "out", recursive=True, flatten=False)
    assert download.place(PurePosixPath(name)) == Path("out") / name


def test_name_is_requested_in_both_unicode_forms() -> None:
    download = Download(["x", "r\u00e9"], None, None, recursive=True, flatten=False)
    assert not download.change_missing("There is no 'x' in job 'a'")
    assert download.change_missing("There is no 'r\u00e9' in job 'a'")
    assert download.patterns == ["x", "re\u0301"]
    assert not download.change_missing("There is no 're\u0301' in job 'a'")


def test_missing_optional_names_are_not_requested_again() -> None:
    names = ["x", OptionalFile("y"), OptionalFile("e\u0301")]
    download = Download(names, None, None, recursive=True, flatten=False)
    lines = [f"There is no '{name}' in job 'a'\n" for name in names]
    assert not download.change_missing("".join(lines))
    assert not download.change_missing("There is no other file")
    assert download.change_missing("".join(lines[1:]))
    assert download.patterns == ["x", "\u00e9"]
    assert download.change_missing("There is no '\u00e9' in job 'a'")
    assert download.patterns == ["x"]
