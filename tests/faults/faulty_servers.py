"""Servers with something wrong with them: slow programs, small disks, other hosts."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from jobs import wait_until

import tej
from tej.transport import Transport
from tej.transport.local import LocalTransport
from tej.transport.program_start import COMMAND


class Within(LocalTransport):
    """This machine, but a command runs every program: `nsenter ...`, `su ...`."""

    def __init__(self, prefix: str) -> None:
        inside = f"exec {prefix} {COMMAND.removeprefix('exec ')}"
        super().__init__(["/bin/sh", "-c", inside])


# It takes in the orphans of its pid namespace, and does nothing else.
INIT = """
import signal, socket, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
socket.sethostname(sys.argv[1])
print("up", flush=True)
while True: signal.pause()
"""


class Host:
    """Another host with the same disks: a host name and pids of its own.  As root.

    What runs there dies with it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._unshare = subprocess.Popen(
            ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
            + [sys.executable, "-c", INIT, name],
            stdout=subprocess.PIPE,
        )
        assert self._unshare.stdout is not None
        assert self._unshare.stdout.readline() == b"up\n"
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        self.pid = int(children.read_text())

    @property
    def transport(self) -> Transport:
        """A way to it; each is a login of its own."""
        return self.login("")

    def login(self, command: str) -> Transport:
        """A way to it, where `command` starts each program."""
        return Within(f"nsenter --target {self.pid} --uts --pid --mount -- {command}")

    def crash(self) -> None:
        """All that runs there is gone at once."""
        # After the first crash, the pid may be that of another process.
        if self._unshare.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._unshare.wait()
        if self._unshare.stdout is not None:
            self._unshare.stdout.close()


def open_queue(path: Path, transport: Transport) -> tej.RemoteQueue:
    """The queue at a path, from another host or with another clock."""
    return tej.RemoteQueue("local:", str(path), "default", transport=transport)


class Clock:
    """A clock of one's own for the programs that `prefix` starts; by libfaketime."""

    def __init__(self, file: Path, offset: int = 0) -> None:
        self._file = file
        self.set(offset)
        # The dynamic linker replaces $LIB.  The times of files stay the disk's.
        self.prefix = shlex.join(
            ["env", "LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1"]
            + ["NO_FAKE_STAT=1", "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1"]
            + [f"FAKETIME_TIMESTAMP_FILE={file}"]
        )

    def set(self, offset: int) -> None:
        """From now on it is that many seconds ahead of the real time."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset:+d}\n")
        fresh.replace(self._file)


# The real one, by its path: in a double of `rm`, `rm` would be itself.
RM = shutil.which("rm", path="/usr/bin:/bin") or "rm"


class Doubles:
    """Programs of the server that behave otherwise, in a directory before its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    @property
    def busy(self) -> bool:
        """Whether one that can be held up is at work."""
        return any(self.folder.glob("busy.*"))

    @property
    def path(self) -> str:
        """For PATH."""
        return f"{self.folder}:{os.environ['PATH']}"

    def add(self, name: str, script: str) -> None:
        """A program of those lines; `$real` is the one it stands in for."""
        real = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") or name
        file = self.folder / name
        # A shell that runs it must never find it half written.
        fresh = self.folder / f".{name}"
        fresh.write_text(f"#!/bin/sh\nreal={shlex.quote(real)}\n{script}\n")
        fresh.chmod(0o755)
        fresh.replace(file)

    def remove(self, name: str) -> None:
        """From now on it is the real one again."""
        (self.folder / name).unlink()

    def hold(self, name: str, *, before: str = "", after: str = "") -> Hold:
        """Let it wait, the first time that its arguments match the shell pattern."""
        before, after = (text.replace(" ", "\\ ") for text in (before, after))
        point = Hold(self.folder / f"{name} held", self.folder / f"{name} goes on")
        wait = (
            f"if mkdir {shlex.quote(str(point.reached))} 2>/dev/null; then "
            f"echo $PPID >{shlex.quote(str(point.reached))}/caller; "
            f"until [ -e {shlex.quote(str(point.opened))} ]; do sleep 0.02; done; fi"
        )
        self.add(
            name,
            f'trap "{RM} -f {point.busy}" EXIT; : >{point.busy}\n'
            f'case "$*" in {before or "/"}) {wait} ;; esac\n'
            '"$real" "$@"\nstatus=$?\n'
            f'case "$*" in {after or "/"}) {wait} ;; esac\nexit $status',
        )
        return point


class Hold:
    """Where a double waits."""

    def __init__(self, reached: Path, opened: Path) -> None:
        self.reached = reached
        self.opened = opened
        self.busy = shlex.quote(str(reached.parent / "busy.")) + "$$"

    @property
    def shell(self) -> int:
        """The pid of the server's shell that has called it, itself or by another."""
        return os.getsid(int((self.reached / "caller").read_text()))

    def wait(self) -> None:
        """Until it waits there."""
        caller = self.reached / "caller"
        wait_until(
            lambda: caller.exists() and caller.read_text().endswith("\n"),
            self.reached.name,
        )

    def release(self) -> None:
        """Let it go on."""
        self.opened.touch()

    def forget(self) -> None:
        """As if it had never been reached."""
        shutil.rmtree(self.reached)
        self.opened.unlink()


@contextlib.contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    """`mount ARGUMENTS...`, of which the last is the place; unmounted afterwards."""
    place = Path(arguments[-1])
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *map(str, arguments)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, option: str) -> None:
    """`ro`, `rw`, ..."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True)
