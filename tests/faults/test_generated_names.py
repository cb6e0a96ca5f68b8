"""Generated ids, file names and contents are transferred unchanged.

TEJ_EXAMPLES is the number of examples of each kind; the default is small.
"""

from __future__ import annotations

import os
import shutil
import string
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.conftest import looked_after
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs import wait_until_ended

import tej
from tej.job.job_id import JOB_ID_CHARS, MAX_JOB_ID

few = settings(
    max_examples=int(os.environ.get("TEJ_EXAMPLES", "8")),
    suppress_health_check=list(HealthCheck),
)

characters = "".join(sorted(JOB_ID_CHARS))
legal_ids = st.text(characters, min_size=1, max_size=MAX_JOB_ID).filter(
    lambda text: text[0] not in "-."
)
# All bytes except / and NUL; bytes that are special in shells and tar occur more often.
names = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.text(string.punctuation + " \n\t\\ab", min_size=1, max_size=20).map(str.encode),
    st.sampled_from(
        [b"-rf", b"--help", b"*", b" ", b"\n", b"'", b'"', b"$(touch pwned)", b"~"]
        + [b"x" * 250, b"\xff\xfe", "é".encode(), "é".encode(), b".hidden", b"a\\nb"]
    ),
).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
names = names.filter(lambda name: name not in (b".", b"..", b".tejignore"))
contents = st.one_of(
    st.binary(max_size=2000),
    st.sampled_from([b"", b"\0" * 512, b"\0" * 10_240, b"no newline", b"x" * 70_000]),
)
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map(tuple), contents, min_size=1, max_size=6
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tej.RemoteQueue]:
    """Yield one queue for all examples."""
    path = tmp_path_factory.mktemp("names") / "queue"
    with looked_after(path):
        yield tej.RemoteQueue("local:", str(path), "default")


def write(folder: bytes, tree: dict[tuple[bytes, ...], bytes]) -> dict[bytes, bytes]:
    """Write the files of a tree, and return the written files: some names conflict."""
    for parts, content in tree.items():
        path = os.path.join(folder, *parts)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        except OSError:
            continue
    return read(folder)


def read(folder: bytes) -> dict[bytes, bytes]:
    """Return all files below a directory by their relative paths."""
    found = {}
    for top, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(top, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


@few
@given(tree=trees)
def test_files_with_any_name_are_downloaded_unchanged(
    shared: tej.RemoteQueue, tree: dict[tuple[bytes, ...], bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        there, back = Path(folder, "there"), Path(folder, "back")
        there.mkdir()
        files = write(os.fsencode(there), tree)
        job_id = shared.submit(None, there, "true")
        wait_until_ended(shared, job_id)
        shared.download(job_id, ".", directory=back)
        found = read(os.fsencode(back))
        for own in (b"_stdout", b"_stderr"):
            found.pop(own, None)
            files.pop(own, None)
        assert found == files
        shared.delete(job_id)
        shutil.rmtree(back)


@few
@given(job_id=legal_ids)
def test_every_valid_id_works_in_all_requests(
    shared: tej.RemoteQueue, job_id: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert shared.submit(job_id, folder, "printf '%s' \"$TEJ_JOB_ID\"") == job_id
        wait_until_ended(shared, job_id)
        assert [job.job_id for job in shared.jobs()] == [job_id]
        (output,) = shared.download(job_id, "_stdout", directory=folder)
        assert output.read_text() == job_id
        shared.delete(job_id)
        assert shared.jobs() == []


# ID#N is the id of an attempt, which may be part of a status request.
@given(
    job_id=st.text(max_size=220).filter(
        lambda text: not text.partition("#")[2].isdigit()
    )
)
@settings(few, max_examples=50)
def test_invalid_id_is_refused_before_a_request(job_id: str) -> None:
    queue = tej.RemoteQueue("nobody@no-such-host.invalid")
    legal = (
        0 < len(job_id) <= MAX_JOB_ID
        and job_id[0] not in "-."
        and set(job_id) <= JOB_ID_CHARS
    )
    if legal:
        assert queue.job(job_id).id == job_id
    else:
        for verb in (queue.job, queue.status, queue.kill, queue.delete):
            with pytest.raises(tej.InvalidJobId):
                verb(job_id)


@few
@given(
    text=st.text(
        st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]),
        max_size=200,
    )
)
def test_arguments_reach_command_unchanged(shared: tej.RemoteQueue, text: str) -> None:
    import shlex

    with tempfile.TemporaryDirectory() as folder:
        command = f"printf %s {shlex.quote(text)}"
        job_id = shared.submit(None, folder, command, labels={"text": text})
        wait_until_ended(shared, job_id)
        status = shared.status(job_id)
        assert status.succeeded
        assert status.labels == {"text": text}
        (output,) = shared.download(job_id, "_stdout", directory=folder)
        assert output.read_bytes() == text.encode()
        shared.delete(job_id)
