"""A forked process does not disturb the connection of its parent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from servers.proxy import Proxy
from servers.sshd import Sshd

HEAD = """
import multiprocessing, os, sys, threading, warnings
from pathlib import Path
from tej.destination import Destination
from tej.transport import open_transport

# Python warns about a fork in a program with threads, which these tests are about.
warnings.simplefilter("ignore", DeprecationWarning)
destination, config = sys.argv[1:]
transport = open_transport(Destination.parse(destination), config_file=Path(config))
assert transport.run("printf parent").stdout == b"parent"

def child():
    assert transport.run("printf child").stdout == b"child"

def forked(work):
    pid = os.fork()
    if pid == 0:
        work()
        # Like any program, run the exit handlers and the last garbage collection.
        sys.exit(0)
    return os.waitpid(pid, 0)[1]
"""


@pytest.fixture
def script(
    require: Callable[[str], None],
    sshd: Sshd,
    proxy: Proxy,
    tmp_path: Path,
    each_ssh: str,
) -> Callable[[str], None]:
    """Return a function that runs a program with the lines above, behind `proxy`."""
    require("fork")

    def run(text: str) -> None:
        path = tmp_path / "script.py"
        path.write_text(HEAD + text + "\nprint('all is well')\n")
        with sshd.known_hosts.open("a") as known_hosts:
            known_hosts.write(sshd.known_as(sshd.address, proxy.port))
        where = f"{sshd.user}@{sshd.address}:{proxy.port}"
        done = subprocess.run(
            [sys.executable, path, where, sshd.config(tmp_path)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            env={
                "PYTHONPATH": os.pathsep.join([".", *sys.path]),
                "PATH": "/usr/bin:/bin",
                "HOME": str(tmp_path),
                "TEJ_TRANSPORT": each_ssh,
                "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"],
            },
        )
        assert (done.stdout.rpartition("\n\n")[2], done.stderr) == ("all is well\n", "")

    return run


def test_child_opens_its_own_connection(
    script: Callable[[str], None], proxy: Proxy, each_ssh: str
) -> None:
    script("""
assert forked(child) == 0
assert transport.run("printf parent").stdout == b"parent"
""")
    assert proxy.connections == (1 if each_ssh == "openssh" else 2)


def test_idle_child_does_not_affect_parent(
    script: Callable[[str], None], proxy: Proxy
) -> None:
    script("""
for _ in range(5):
    assert forked(lambda: None) == 0
assert transport.run("printf parent").stdout == b"parent"
""")
    assert proxy.connections == 1


def test_child_may_close_inherited_transport(
    script: Callable[[str], None], proxy: Proxy
) -> None:
    script("""
def close():
    import gc
    transport.close()
    gc.collect()

def forget():
    import gc
    global transport
    del transport
    gc.collect()

for work in (close, forget):
    assert forked(work) == 0
    assert transport.run("printf parent").stdout == b"parent"
""")
    assert proxy.connections == 1


def test_child_forked_during_runs_is_harmless(
    script: Callable[[str], None], proxy: Proxy
) -> None:
    script("""
def talk():
    data = bytes(range(256)) * 20_000
    for _ in range(2):
        results.append(transport.run("cat", [data] * 2).stdout == data * 2)

results = []
threads = [threading.Thread(target=talk) for _ in range(3)]
for thread in threads:
    thread.start()
statuses = []
while any(thread.is_alive() for thread in threads):
    statuses.append(forked(child))
assert statuses and not any(statuses), statuses
assert results == [True] * 6
""")


def test_child_forked_by_running_thread_is_harmless(
    script: Callable[[str], None], proxy: Proxy
) -> None:
    script("""
statuses = []
def sink(data):
    if data:
        statuses.append(forked(child))

done = transport.run("echo one; cat", [b"two"], sink)
assert statuses and not any(statuses), statuses
assert transport.run("printf parent").stdout == b"parent"
""")


def test_multiprocessing_children_open_own_connections(
    script: Callable[[str], None], proxy: Proxy, each_ssh: str
) -> None:
    script("""
context = multiprocessing.get_context("fork")
processes = [context.Process(target=child) for _ in range(4)]
for process in processes:
    process.start()
for process in processes:
    process.join()
assert [process.exitcode for process in processes] == [0] * 4
assert transport.run("printf parent").stdout == b"parent"
""")
    assert proxy.connections == (1 if each_ssh == "openssh" else 5)
