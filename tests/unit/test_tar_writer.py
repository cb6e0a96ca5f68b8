"""Upload archive: extracted by the server's tar, with holes, modes and times."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tej.job.directory import scan
from tej.job.directory_entry import Entry
from tej.wire.content_store import _symbolic, plan
from tej.wire.tar_header import sparse_header, to_bytes
from tej.wire.tar_writer import PackedJob, TextMember, pack

SIZES = [0, 1, 511, 512, 513, 65536, 300_000]


def packed(folder: Path, sparse: bool) -> tuple[bytes, list[Entry]]:
    seen: list[Entry] = []

    def text_members(sent: list[Entry]) -> list[TextMember]:
        seen.extend(sent)
        return [TextMember("spec", "end\n")]

    job = PackedJob("job", [*scan(folder)], None, text_members)
    return b"".join(pack([job], (), sparse)), seen


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
@pytest.mark.parametrize("name", ["a", "\u00e9/" * 30, "b" * 98, "c" * 99, "d" * 200])
@pytest.mark.parametrize("size", [0, 513, 9 << 30])
def test_headers_are_those_of_tarfile(kind: bytes, name: str, size: int) -> None:
    member = tarfile.TarInfo(name + "z")
    member.type, member.mode, member.mtime = kind, 0o640, 1_500_000_000
    member.size = size if kind == tarfile.REGTYPE else 0
    member.linkname = "target" if kind == tarfile.SYMTYPE else ""
    expected = member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    assert to_bytes(member) == expected


@pytest.mark.parametrize("segments", [0, 1, 4, 5, 25, 26, 60])
def test_tar_recreates_holes(
    tmp_path: Path, require: Callable[[str], None], segments: int
) -> None:
    require("tar")
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with (source / "sparse").open("wb") as file:
        for number in range(segments):
            file.seek(number * 262_144 + 65_536)
            file.write(b"%05d" % number)
        file.truncate(segments * 262_144 + 1_000_001)
    os.utime(source / "sparse", (1_500_000_000, 1_500_000_000))
    (source / "sparse").chmod(0o640)
    data, sent = packed(source, sparse=True)
    subprocess.run(["tar", "-xf", "-"], input=data, cwd=target, check=True)
    made = target / "job/stage/sparse"
    assert made.read_bytes() == (source / "sparse").read_bytes()
    assert made.stat().st_mtime == 1_500_000_000
    assert made.stat().st_mode & 0o777 == 0o640
    assert len(data) < 8192 * (segments + 3)
    assert [entry.digest is not None for entry in sent] == [True]


def test_holes_are_zeros_for_other_servers(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1_000_000)
    data, _ = packed(tmp_path, sparse=False)
    assert len(data) > 1_000_000


def test_sparse_header_of_huge_offsets_is_binary() -> None:
    import tarfile

    member = tarfile.TarInfo("huge")
    member.size = 2**40
    blocks = sparse_header(member, [(2**39, 512)])
    read = tarfile.TarInfo.frombuf(blocks[:512], "utf-8", "strict")
    structs, extended, size = read._sparse_structs  # type: ignore[attr-defined]
    assert (structs[0], extended, size) == ((2**39, 512), False, 2**40)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o700, 0o640, 0o444, 0o777])
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_symbolic_mode_respects_the_umask(
    tmp_path: Path, mode: int, umask: int
) -> None:
    (tmp_path / "file").touch()
    words = _symbolic(mode)
    script = f"umask {umask:o}; chmod {words} file"
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode & ~umask


def test_plan_tells_modes_and_times_of_large_files(tmp_path: Path) -> None:
    from tej.job.file_content import read_files

    for name, mode in (("a", 0o600), ("b", 0o644), ("it's", 0o755)):
        (tmp_path / name).write_bytes(os.urandom(70_000))
        (tmp_path / name).chmod(mode)
        os.utime(tmp_path / name, (0, 1_577_836_800))
    for name in ("small", "tiny"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    found = plan(read_files(scan(tmp_path)), None)
    # The signature of the job is made from the entries in both lists.
    assert sorted(one.path for one in found.stored) == [
        "a",
        "b",
        "it's",
        "small",
        "tiny",
    ]
    assert [one.path for one in found.inline] == ["folder"]
    lines = found.assembly.splitlines()
    assert "mode 600 =rwx,u-x,g-rwx,o-rwx ./a" in lines
    assert """mode 755 =rwx,g-w,o-w './it'"'"'s'""" in lines
    assert """mtime 202001010000.00 ./a ./b './it'"'"'s'""" in lines
