"""Files of a job given as a dictionary, in place of a directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tej
from tej.job.spec import Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a job directory with a script, an executable and a subdirectory."""
    made = tmp_path / "job"
    (made / "data/sub").mkdir(parents=True)
    (made / "data/sub/x y").write_text("é")
    (made / "start.sh").write_bytes(b"#!/bin/sh\ncat data/*\n")
    (made / "tool").write_bytes(b"\xff")
    (made / "tool").chmod(0o755)
    return made


@pytest.mark.parametrize(
    "script", [None, "./start.sh  1 $A; x", "sh start.sh", "./tool"]
)
def test_signature_equals_that_of_a_directory(folder: Path, script: str | None) -> None:
    files: Files = {
        "data": folder / "data",
        "start.sh": "#!/bin/sh\ncat data/*\n",
        "tool": folder / "tool",
    }
    parts: Files = {**files, "./data/sub/x y": "é".encode()}
    del parts["data"]  # type: ignore[attr-defined]
    expected = tej.signature(folder, script, {"A": "b"})
    for one in (files, parts):
        assert (
            tej.signature(script=script, environment={"A": "b"}, files=one) == expected
        )


def test_link_to_a_file_has_its_content(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder / "tool")
    by_link, direct = (
        tej.signature(script="true", files={"a": one})
        for one in (tmp_path / "link", folder / "tool")
    )
    assert by_link == direct


def test_script_cannot_be_a_link(folder: Path) -> None:
    (folder / "data/run").symlink_to("../start.sh")
    files: Files = {"data": folder / "data", "start.sh": folder / "start.sh"}
    with pytest.raises(tej.InvalidJobDirectory, match=r"is a link to '../start.sh'"):
        tej.signature(script="data/run x", files=files)


def test_content_of_files_is_not_logged() -> None:
    assert "secret" not in repr(tej.JobSpec(files={"key": "secret"}))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": "", "a/b": ""}, "'a/b' of the job is below 'a', which is a file"),
        ({"a": "", "./a": ""}, "'a' occurs twice"),
        ({"/a": ""}, "'/a' of a file is not a path below"),
        ({"b/../../a": ""}, "not a path below the job's directory"),
        ({".": ""}, "cannot have the path '.'"),
        ({"a": Path("/absent/file")}, "'/absent/file' cannot be read: No such file"),
        ({"a": Path(os.devnull)}, "is a device"),
        ({"run.sh": "#!/bin/sh\r\n"}, "'run.sh' has Windows line endings"),
        ({"a": ""}, "There is no script 'run.sh' in the files"),
        ({"run.sh/a": ""}, "The script 'run.sh' is a directory"),
        ({"a": "\udcff"}, "The text of the file 'a' cannot be written in UTF-8"),
        ({"a\ud800": ""}, r"'a\\ud800' of a file is not valid Unicode text"),
        ({"a": Path("a\ud800")}, r"local path 'a\\ud800' is not valid Unicode text"),
    ],
)
def test_invalid_file_is_named(files: Files, words: str) -> None:
    with pytest.raises(tej.InvalidJobDirectory, match=words):
        tej.signature(script="run.sh", files=files)


@pytest.mark.parametrize("spec", [tej.JobSpec(), tej.JobSpec("a", files={"a": ""})])
def test_job_has_either_a_directory_or_files(spec: tej.JobSpec, tmp_path: Path) -> None:
    queue = tej.RemoteQueue("local:", tmp_path / "queue", "default")
    (outcome,) = queue.ensure_many([spec])
    assert "either a directory or `files`" in str(outcome.error)
    assert not (tmp_path / "queue").exists()
