"""Requests of a forked child, which its parent sends; without a server."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from types import SimpleNamespace
from typing import Any

import pytest

import tej
from tej.queue.fork_relay import _wait


def test_wait_ends_with_the_child_that_requested_it() -> None:
    here, child = Pipe()

    def ends(
        ids: list[str], deadline: float | None, on_tick: Callable[[], None]
    ) -> Iterator[tuple[str, None]]:
        on_tick()
        yield ids[0], None
        child.close()
        on_tick()

    queue: Any = SimpleNamespace(watcher=SimpleNamespace(ends=ends))
    with here, pytest.raises(EOFError):
        _wait(here, queue, ["a", "b"], None)


def test_child_closes_the_sockets_of_other_children() -> None:
    """Otherwise, the other children would not notice the end of their parent."""
    code = """
import os
from tej.queue import fork_relay

def fork(work):
    pid = os.fork()
    if pid == 0:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def is_open():
    return int(any(one.fileno() >= 0 for one in inherited))

fork_relay.serve_children(lambda key: None)
end, let_end = os.pipe()
first = os.fork()
if first == 0:
    os.close(let_end)
    os.read(end, 1)
    os._exit(0)
inherited = [*fork_relay._process.to_children]
assert [one.fileno() >= 0 for one in inherited] == [True]
print(is_open(), fork(is_open))
os.close(let_end)
os.waitpid(first, 0)
"""
    # Since version 3.12, Python warns of a fork in a process with several threads.
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1 0\n", "")


def test_pickling_a_queue_or_job_names_the_way_out() -> None:
    queue = tej.RemoteQueue("local:")
    for value in (queue, queue.job("a")):
        with pytest.raises(TypeError, match="open a RemoteQueue in the other process"):
            pickle.dumps(value)
