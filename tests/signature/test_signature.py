"""The signature, compared with a second implementation of its definition."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs import job_directory

import tej
from tej.job.signature import make_id

DOCS = Path(tej.__file__).parents[1] / "docs" / "signature.md"


def defined(
    folder: Path,
    command: bytes = b"start.sh",
    environment: Mapping[bytes, bytes] | None = None,
    needs: Sequence[bytes] = (),
) -> str:
    """Return the signature, computed by `find` and `sha256sum` as documented.

    The command must be a script of the directory.
    """
    version = b"tej-signature-2" if needs else b"tej-signature-1"
    fields = [version, b"command", command]
    for name in sorted(environment or {}):
        fields += [b"environment", name, (environment or {})[name]]
    fields += needs
    found = subprocess.check_output(
        ["find", ".", "-mindepth", "1", "-printf", r"%P\0%y\0%l\0%m\0"], cwd=folder
    ).split(b"\0")[:-1]
    script = command.split(b" ")[0]
    for path, kind, target, mode in sorted(zip(*[iter(found)] * 4, strict=True)):
        if kind == b"d":
            fields += [b"directory", path, b""]
        elif kind == b"l":
            fields += [b"link", path, target]
        else:
            executable = int(mode, 8) & 0o111 or path == script
            said = subprocess.check_output(["sha256sum", b"./" + path], cwd=folder)
            digest = said.lstrip(b"\\")[:64]
            fields += [b"executable" if executable else b"file", path, digest]
    netstrings = b"".join(
        str(len(field)).encode() + b":" + field + b"," for field in fields
    )
    return subprocess.check_output(["sha256sum"], input=netstrings)[:64].decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory with files of all kinds."""
    directory = job_directory(
        tmp_path,
        "echo out",
        {
            "data": bytes(range(256)) * 5000,
            "empty": "",
            "sub/a": "1",
            "sub.b": "sorts between sub and sub/a",
            "two words\n": "x",
            "café": "é",
            os.fsdecode(b"latin\xe9"): "y",
            "tool": "#!/bin/sh\n",
        },
    )
    (directory / "tool").chmod(0o755)
    (directory / "nothing/in here").mkdir(parents=True)
    (directory / "link").symlink_to("sub/a")
    (directory / "broken").symlink_to(os.fsdecode(b"/nowh\xe9re"))
    return directory


# Definition


def test_signature_equals_its_definition(folder: Path) -> None:
    assert tej.signature(folder) == defined(folder)


@pytest.mark.parametrize("script", ["tool", "./tool", "sub/a", "tool  --option 'x y'"])
def test_command_is_script_and_arguments(folder: Path, script: str) -> None:
    expected = defined(folder, script.removeprefix("./").encode())
    assert tej.signature(folder, script) == expected


def test_server_command_is_signed_as_text(folder: Path) -> None:
    command = "cat data | wc -c"
    assert tej.signature(folder, f"  {command}\n") == defined(folder, command.encode())


def test_environment_is_signed_in_name_order(folder: Path) -> None:
    environment = {"B": "2", "A": "é\n", "C": ""}
    expected = defined(
        folder,
        environment={
            key.encode(): value.encode() for key, value in environment.items()
        },
    )
    assert tej.signature(folder, environment=environment) == expected
    backwards = dict(reversed(environment.items()))
    assert tej.signature(folder, environment=backwards) == expected
    assert tej.signature(folder, environment={}) == tej.signature(folder)


names = st.binary(min_size=1, max_size=12).filter(
    lambda name: (
        not {0, ord("/")} & set(name)
        and name not in (b".", b"..", b"start.sh", b".tejignore")
    )
)
aims = st.binary(min_size=1, max_size=20).filter(
    lambda aim: 0 not in aim and os.fsencode(Path(os.fsdecode(aim))) == aim
)
contents = st.none() | st.binary(max_size=200) | st.tuples(aims)


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(names, contents, max_size=6))
def test_signature_is_right_for_any_names(
    tmp_path: Path, things: dict[bytes, bytes | tuple[bytes] | None]
) -> None:
    directory = job_directory(tmp_path, name="any")
    for name, content in things.items():
        path = directory / os.fsdecode(name)
        if content is None:
            path.mkdir()
        elif isinstance(content, tuple):
            path.symlink_to(os.fsdecode(content[0]))
        else:
            path.write_bytes(content)
            path.chmod(0o755 if content[:1] > b"\x80" else 0o644)
    try:
        assert tej.signature(directory) == defined(directory)
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("aim", ["sub/", "./sub", "sub//a", "sub/./a"])
def test_link_target_is_signed_exactly(folder: Path, aim: str) -> None:
    os.symlink(aim, folder / "more")
    assert tej.signature(folder) == defined(folder)


# Changes of the work

CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte of a file": lambda d: (d / "sub/a").write_bytes(b"2"),
    "a file's name": lambda d: (d / "sub/a").rename(d / "sub/b"),
    "a file moved up": lambda d: (d / "sub/a").rename(d / "a"),
    "a file more": lambda d: (d / "more").touch(),
    "a file less": lambda d: (d / "empty").unlink(),
    "an empty directory more": lambda d: (d / "more").mkdir(),
    "an empty directory less": lambda d: (d / "nothing/in here").rmdir(),
    "an executable bit": lambda d: (d / "data").chmod(0o744),
    "no executable bit": lambda d: (d / "tool").chmod(0o644),
    "a link's target": lambda d: (
        (d / "link").unlink(),
        (d / "link").symlink_to("sub"),
    ),
    "a link replaced by the file it leads to": lambda d: (
        (d / "link").unlink(),
        (d / "link").write_text("1"),
    ),
    "content moved between files": lambda d: (
        (d / "sub/a").write_bytes(b""),
        (d / "empty").write_bytes(b"1"),
    ),
    "a .tejignore": lambda d: (d / ".tejignore").write_text("# nothing\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_different_files_change_the_signature(
    folder: Path, change: Callable[[Path], object]
) -> None:
    before = tej.signature(folder)
    change(folder)
    assert tej.signature(folder) != before
    assert tej.signature(folder) == defined(folder)


def test_command_and_environment_change_the_signature(folder: Path) -> None:
    seen = {
        tej.signature(folder),
        tej.signature(folder, "tool"),
        tej.signature(folder, "tool x"),
        tej.signature(folder, "true"),
        tej.signature(folder, environment={"A": "B"}),
        tej.signature(folder, environment={"A": ""}),
        tej.signature(folder, environment={"AB": ""}),
    }
    assert len(seen) == 7


SAME: dict[str, Callable[[Path], object]] = {
    "times": lambda d: os.utime(d / "data", (1, 1)),
    "permissions to read and write": lambda d: (d / "data").chmod(0o600),
    "who may execute": lambda d: (d / "tool").chmod(0o700),
    "the script's executable bit": lambda d: (d / "start.sh").chmod(0o755),
    "hard links": lambda d: (
        (d / "empty").unlink(),
        (d / "spare").touch(),
        os.link(d / "spare", d / "empty"),
        (d / "spare").unlink(),
    ),
    "a file made anew": lambda d: (
        (d / "data").rename(d / "old"),
        shutil.copyfile(d / "old", d / "data"),
        (d / "old").unlink(),
    ),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_equal_work_has_equal_signature(
    folder: Path, change: Callable[[Path], object]
) -> None:
    before = tej.signature(folder)
    change(folder)
    assert tej.signature(folder) == before


def test_directory_name_and_path_do_not_matter(folder: Path, tmp_path: Path) -> None:
    before = tej.signature(folder)
    elsewhere = tmp_path / "else where" / "é"
    elsewhere.parent.mkdir()
    shutil.copytree(folder, elsewhere, symlinks=True)
    assert tej.signature(elsewhere) == before
    (tmp_path / "by link").symlink_to(elsewhere)
    assert tej.signature(tmp_path / "by link") == before
    assert tej.signature(str(elsewhere) + "/") == before


def test_spelling_of_script_path_does_not_matter(folder: Path) -> None:
    same = {
        tej.signature(folder, script) for script in (None, "start.sh", "./start.sh")
    }
    assert len(same) == 1


def test_ignored_files_are_not_signed(folder: Path, tmp_path: Path) -> None:
    (folder / ".tejignore").write_text("*.log\n/sub/\n!keep.log\n")
    before = tej.signature(folder)
    (folder / "more.log").write_text("x")
    (folder / "sub/a").write_text("other")
    (folder / "nothing/deep.log").write_text("x")
    assert tej.signature(folder) == before
    (folder / "keep.log").write_text("x")
    assert tej.signature(folder) != before
    # A copy without the ignored files has the same signature.
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns("more.log", "deep.log", "sub")
    shutil.copytree(folder, copy, symlinks=True, ignore=left_out)
    assert tej.signature(folder) == defined(copy)


def test_large_file_is_read_in_chunks(tmp_path: Path) -> None:
    directory = job_directory(tmp_path, files={"large": os.urandom(3_500_001)})
    assert tej.signature(directory) == defined(directory)


def test_invalid_directory_has_no_signature(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(tej.InvalidJobDirectory):
        tej.signature(tmp_path / "absent")
    with pytest.raises(tej.InvalidJobDirectory):
        tej.signature(folder, "absent.sh")
    os.mkfifo(folder / "pipe")
    with pytest.raises(tej.InvalidJobDirectory, match="named pipe"):
        tej.signature(folder)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"A": 1}, "variable 'A' must be text, not a value of type int"),
        ({"A": "\ud800"}, "variable 'A' contains characters that cannot"),
        ({"A b": "1"}, "'A b' is not a valid environment variable"),
    ],
)
def test_invalid_environment_has_no_signature(
    folder: Path, environment: dict[str, str], words: str
) -> None:
    with pytest.raises(tej.InvalidJobDirectory, match=words):
        tej.signature(folder, environment=environment)


def test_id_has_first_digits_of_signature(folder: Path) -> None:
    digest = tej.signature(folder)
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert make_id(digest) == f"sig-{digest[:20]}"


# Vectors in the documentation


def vector(name: str) -> tuple[str, str]:
    """Return the shell commands of one vector, and its signature."""
    text = DOCS.read_text()
    section = text.split(f"### {name}\n", 1)[1].split("\n### ", 1)[0]
    (commands,) = re.findall(r"```sh\n(.*?)```", section, re.S)
    (digest,) = re.findall(r"^`([0-9a-f]{64})`$", section, re.M)
    return commands, digest


@pytest.mark.parametrize(
    ("name", "script", "environment"),
    [
        ("1. One script", None, {}),
        ("2. Files, directories and links", "./run.sh --fast", {}),
        (
            "3. A command and an environment",
            "wc -l < numbers",
            {"LC_ALL": "C", "N": "3"},
        ),
        ("4. Letters of several bytes", "été.sh --à", {"NOM": "é"}),
    ],
)
def test_documented_vectors_are_right(
    tmp_path: Path, name: str, script: str | None, environment: dict[str, str]
) -> None:
    commands, digest = vector(name)
    directory = tmp_path / "vector"
    directory.mkdir()
    subprocess.run(["sh", "-euc", commands], cwd=directory, check=True)
    assert tej.signature(directory, script, environment) == digest
    # The text lists these files as excluded by .tejignore.
    (directory / "scratch").unlink(missing_ok=True)
    command = (script or "start.sh").removeprefix("./").encode()
    encoded = {key.encode(): value.encode() for key, value in environment.items()}
    assert defined(directory, command, encoded) == digest


def test_documented_vector_with_dependencies_is_right(tmp_path: Path) -> None:
    commands, digest = vector("5. Dependencies")
    subprocess.run(["sh", "-euc", commands], cwd=tmp_path, check=True)
    inputs = {"mesh": "mesh-1:out/mesh", "./data/log/": ("mesh-1", "./_stdout")}
    after = ["mesh-1", "check-1", "check-1"]
    assert tej.signature(tmp_path, after=after, inputs=inputs) == digest
    words = "after check-1 input data/log mesh-1 _stdout input mesh mesh-1 out/mesh"
    assert defined(tmp_path, needs=words.encode().split()) == digest


def test_documented_fields_are_those_of_first_vector(
    tmp_path: Path,
) -> None:
    section = DOCS.read_text().split("### 1. One script\n", 1)[1]
    (written,) = re.findall(r"```text\n(.*?)\n```", section.split("\n### ", 1)[0], re.S)
    said = subprocess.check_output(
        ["sha256sum"], input=written.replace("\n", "").encode()
    )
    assert said[:64].decode() == vector("1. One script")[1]


def test_documented_id_is_right() -> None:
    (shown,) = re.findall(r"^    (sig-[0-9a-f]{20})$", DOCS.read_text(), re.M)
    assert shown == make_id(tej.signature(DOCS.parents[1] / "examples" / "primes"))
