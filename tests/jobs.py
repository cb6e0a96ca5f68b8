"""Job directories, waits for conditions, and processes of queues, for all tests.

Tests never wait for a fixed time: jobs wait for a file (`Gate`), and tests wait for a
condition (`wait_until`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import tej
from tej.transport import Transport

LIMIT = 90.0
"""Time limit of `wait_until` in seconds, which suffices on a busy machine."""


def wait_until(
    condition: Callable[[], object], what: str = "it came about", limit: float = LIMIT
) -> None:
    """Return when `condition` holds; fail if it does not hold within `limit` seconds."""
    begun = time.monotonic()
    while not condition():
        elapsed = time.monotonic() - begun
        if elapsed > limit:
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        # Most conditions start processes, which take CPU time from the job.
        time.sleep(min(0.02 + elapsed / 10, 0.3))


def wait_until_connected(transport: Transport) -> None:
    """Return when the server answers, even if it exceeds the transport's limits."""

    def answers() -> bool:
        try:
            return transport.run("printf answer").stdout == b"answer"
        except tej.ConnectionFailed:
            return False

    wait_until(answers, "the server responds")


def wait_until_reached(queue: tej.RemoteQueue) -> None:
    """Return when the queue has replied, even if a reply exceeds the time limits.

    Before the first reply, tej treats silence after the login as a permanent error, and
    does not retry.
    """

    def answers() -> bool:
        with contextlib.suppress(tej.ConnectionFailed):
            queue.jobs()
            return True
        return False

    wait_until(answers, "the queue responds")


def wait_until_started(queue: str | Path, *ids: str) -> None:
    """Return when these jobs have started.

    If a busy machine does not start a script within 10 seconds, `submit` returns before
    the job is running.  The shell of a started job may not have opened the script yet.
    """
    for job_id in ids:
        started = Path(queue, "jobs", job_id, "started")
        wait_until(started.exists, f"job {job_id} has started")


def wait_until_printed(queue: str | Path, job_id: str) -> None:
    """Return when the script of this job has printed something."""
    printed = Path(queue, "jobs", job_id, "stage/_stdout")
    wait_until(lambda: printed.exists() and printed.stat().st_size, f"{job_id} prints")


def wait_until_ended(queue: tej.RemoteQueue, job_id: str) -> None:
    """Return when a job has ended.

    A request takes much more CPU time than a look at the file `finished`, which most
    jobs write.
    """
    finished = Path(str(queue.queue), "jobs", job_id, "finished")
    looks = itertools.count(1)

    def has_ended() -> bool:
        with contextlib.suppress(FileNotFoundError):
            if finished.stat().st_size:
                return True
        return next(looks) % 10 == 0 and queue.status(job_id).state.final

    wait_until(has_ended, f"{job_id} has ended")


def job_directory(
    folder: Path,
    script: str = "echo out; echo err >&2",
    files: Mapping[str, str | bytes] | None = None,
    name: str = "job",
) -> Path:
    """Create a directory with a `start.sh` of the given lines, and other files by path."""
    directory = folder / name
    directory.mkdir(parents=True, exist_ok=True)
    for path, content in {
        "start.sh": f"#!/bin/sh\n{script}\n",
        **(files or {}),
    }.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        target.write_bytes(data)
    return directory


class Gate:
    """A file that a job waits for, and that the test creates."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def wait(self) -> str:
        """Return a line of shell that waits until the gate is open."""
        return f"until [ -e {shlex.quote(str(self.path))} ]; do sleep 0.1; done"

    def open(self) -> None:
        self.path.touch()


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def command_lines() -> Iterator[tuple[int, bytes]]:
    """Yield the pid and the command line of each process that is not a zombie.

    NUL separates the words of a command line.  Kernel threads have no command line.
    """
    # Each test scans all processes of the machine, so this function avoids `pathlib`.
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb", buffering=0) as file:
                    line = file.read()
            except OSError:
                continue
            if line:
                yield int(name), line


def processes_of(queue: str | Path) -> dict[int, str]:
    """Return the live processes of a queue.

    Such a process has the path of the queue in its command line or in TEJ_QUEUE.
    """
    path = os.fsencode(queue)
    marks = tuple(b"\0%s=%s\0" % (name, path) for name in (b"TEJ_QUEUE", b"tej_queue"))
    found = {}
    for pid, line in command_lines():
        # The clients of the tests are not processes of jobs.
        if pid == os.getpid() or b"-m\0tej" in line:
            continue
        if b"\0" + path not in b"\0" + line:
            try:
                with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                    environ = b"\0" + file.read()
            except OSError:
                continue
            if not any(mark in environ for mark in marks):
                continue
        if is_alive(pid):
            found[pid] = line.replace(b"\0", b" ").decode("utf-8", "replace")
    return found


def wrappers_of(queue: str | Path) -> list[int]:
    """Return the pids of the shells that run wrappers, or that write heartbeats."""
    path, found = os.fsencode(queue), []
    for pid, line in command_lines():
        words = line.split(b"\0")
        if path in words and any(
            word.endswith(b"/run_detached.sh") for word in words[:3]
        ):
            found.append(pid)
    return [pid for pid in sorted(found) if is_alive(pid)]


def parent_of(pid: int) -> int:
    """Return the pid of the parent of a process."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return int(stat.rpartition(b")")[2].split()[1])


def first_wrapper_of(queue: str | Path) -> int:
    """Return the pid of the shell that has started all other wrappers of the queue."""
    # Pids are reused, so that the pid of a child may be lower than that of its parent.
    parents = {}
    for pid in wrappers_of(queue):
        with contextlib.suppress(OSError):
            parents[pid] = parent_of(pid)
    (first,) = (pid for pid, parent in parents.items() if parent not in parents)
    return first


def end_processes_of(queue: str | Path) -> None:
    """Kill all processes of a queue, and the processes that these have started."""

    def end_all() -> bool:
        # If a wrapper survived its script, the wrapper would record the SIGKILL.
        left = [*wrappers_of(queue), *processes_of(queue)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(end_all, f"{queue} has no process left")


def scripts_of(queue: str | Path) -> dict[int, str]:
    """Return the live processes of a queue that belong to no wrapper.

    If a test kills a wrapper, the process that writes its heartbeat, and the `sleep` of
    this process, live for up to 20 seconds.
    """
    wrappers = wrappers_of(queue)
    found = {}
    for pid, words in processes_of(queue).items():
        with contextlib.suppress(OSError):
            is_pause = words.startswith("sleep ") and parent_of(pid) in wrappers
            if not is_pause and pid not in wrappers:
                found[pid] = words
    return found


def no_processes_left(queue: str | Path) -> None:
    """Check that no job of a queue runs any more; kill the processes that are left."""
    try:
        wait_until(lambda: not scripts_of(queue), f"{queue} has no process left")
    except AssertionError as error:
        raise AssertionError(f"{error}: {scripts_of(queue)}") from None
    finally:
        end_processes_of(queue)


def remove_queue(path: Path) -> None:
    """Kill the processes of a queue, check that all have ended, and remove the queue."""
    # Most jobs have ended by then, and a request costs much more than reading /proc.
    if processes_of(path):
        with contextlib.suppress(tej.Error):
            tej.RemoteQueue("local:", str(path)).cleanup(kill=True, grace=0)
        no_processes_left(path)
    shutil.rmtree(path, ignore_errors=True)
