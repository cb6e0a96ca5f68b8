"""Servers with faults: slow programs, small disks, other hosts and wrong clocks."""

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
    """A transport to this machine that starts every program through a command.

    Examples of the command are `nsenter ...` and `su ...`.
    """

    def __init__(self, prefix: str) -> None:
        inside = f"exec {prefix} {COMMAND.removeprefix('exec ')}"
        super().__init__(["/bin/sh", "-c", inside])


def unprivileged() -> Transport:
    """Return a transport to this machine on which the modes of files also bind root."""
    limit = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    return LocalTransport(
        [*(limit if os.geteuid() == 0 else []), "/bin/sh", "-c", COMMAND]
    )


# The process adopts the orphans of its pid namespace, and does nothing else.
INIT = """
import signal, socket, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
socket.sethostname(sys.argv[1])
print("up", flush=True)
while True: signal.pause()
"""


class Host:
    """Another host with the same disks, but with its own host name and pids.

    Needs root.  All processes on the host are killed when the host is closed.
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
        """Return a transport to the host; each transport is a separate login."""
        return self.login("")

    def login(self, command: str) -> Transport:
        """Return a transport in which `command` starts each program."""
        return Within(f"nsenter --target {self.pid} --uts --pid --mount -- {command}")

    def crash(self) -> None:
        """Kill all processes of the host at once."""
        # After the first crash, another process may have the same pid.
        if self._unshare.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._unshare.wait()
        if self._unshare.stdout is not None:
            self._unshare.stdout.close()


def open_queue(path: Path, transport: Transport) -> tej.RemoteQueue:
    """Return the queue at a path, as used from another host or with another clock."""
    return tej.RemoteQueue("local:", str(path), "default", transport=transport)


class Clock:
    """A clock for the programs that `prefix` starts, made by libfaketime."""

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
        """Set the clock to a number of seconds ahead of the real time."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset:+d}\n")
        fresh.replace(self._file)


# Use the full path of the real program: in a double of `rm`, `rm` would be the double.
RM = shutil.which("rm", path="/usr/bin:/bin") or "rm"


class Doubles:
    """Programs that replace programs of the server, in a directory before its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    @property
    def busy(self) -> bool:
        """Return whether a program that can be held is running."""
        return any(self.folder.glob("busy.*"))

    @property
    def path(self) -> str:
        """Return the value for PATH."""
        return f"{self.folder}:{os.environ['PATH']}"

    def add(self, name: str, script: str) -> None:
        """Create a double from lines of shell; `$real` is the program that it replaces."""
        real = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") or name
        file = self.folder / name
        # A shell must never run an incomplete double.
        fresh = self.folder / f".{name}"
        fresh.write_text(f"#!/bin/sh\nreal={shlex.quote(real)}\n{script}\n")
        fresh.chmod(0o755)
        fresh.replace(file)

    def remove(self, name: str) -> None:
        """Remove the double, so that the real program is used again."""
        (self.folder / name).unlink()

    def hold(self, name: str, *, before: str = "", after: str = "") -> Hold:
        """Hold the program at its first call whose arguments match the shell pattern."""
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
    """The point at which a double waits."""

    def __init__(self, reached: Path, opened: Path) -> None:
        self.reached = reached
        self.opened = opened
        self.busy = shlex.quote(str(reached.parent / "busy.")) + "$$"

    @property
    def shell(self) -> int:
        """Return the pid of the server's shell that called the double, also indirectly."""
        return os.getsid(int((self.reached / "caller").read_text()))

    def wait(self) -> None:
        """Wait until the double has reached this point."""
        caller = self.reached / "caller"
        wait_until(
            lambda: caller.exists() and caller.read_text().endswith("\n"),
            self.reached.name,
        )

    def release(self) -> None:
        """Let the double continue."""
        self.opened.touch()

    def forget(self) -> None:
        """Reset the point, as if no double had reached it."""
        shutil.rmtree(self.reached)
        self.opened.unlink()


@contextlib.contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    """Run `mount ARGUMENTS...`; unmount the last argument afterwards."""
    place = Path(arguments[-1])
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *map(str, arguments)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, option: str) -> None:
    """Remount the file system with the option `ro`, `rw` or another option."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True)
