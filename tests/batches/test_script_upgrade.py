"""Requests with streams, on a queue that another version of tej has used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tej

VERBS: dict[str, Callable[[tej.RemoteQueue, Path], object]] = {
    "wait": lambda queue, _: queue.wait(["a"])["a"].exit_code,
    "logs": lambda queue, _: b"".join(queue.logs("a")),
    "download": lambda queue, out: [
        path.read_text() for path in queue.download("a", "_stdout", directory=out)
    ],
}
ANSWERS = {"wait": 0, "logs": b"hello\n", "download": ["hello\n"]}


@pytest.fixture
def used_by(
    local_queue: tej.RemoteQueue, job: Callable[..., Path], queue_path: Path
) -> Callable[[str], list[str]]:
    """Return a function that gives the queue the scripts of another version.

    The queue contains an ended job.  The function returns the digest and the version
    of these scripts.
    """

    def change(version: str) -> list[str]:
        local_queue.submit("a", job("echo hello"))
        local_queue.wait(["a"])
        path = queue_path / "version"
        protocol, runtime, scripts, entries = path.read_text().splitlines()
        digest = scripts.split()[1]
        other = "0" * len(digest)
        (queue_path / "scripts" / digest).rename(queue_path / "scripts" / other)
        path.write_text(
            f"{protocol}\n{runtime}\nscripts {other} {version}\n{entries}\n"
        )
        return [other, version]

    return change


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("version", "is_kept"), [("0.0.1", False), ("99.0", True)])
def test_only_older_scripts_are_replaced_first(
    local_queue: tej.RemoteQueue,
    used_by: Callable[[str], list[str]],
    queue_path: Path,
    tmp_path: Path,
    verb: str,
    version: str,
    is_kept: bool,
) -> None:
    before = used_by(version)
    assert VERBS[verb](local_queue, tmp_path / "out") == ANSWERS[verb]
    after = (queue_path / "version").read_text().splitlines()[2].split()[1:]
    assert (after == before) == is_kept
