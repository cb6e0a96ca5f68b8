"""sshd for tests: a real server on a free loopback port, with its own keys and files.

The server uses no files of the machine's own sshd, and ends with the test.

    with Sshd(folder) as sshd:
        tej.RemoteQueue(sshd.destination)     # with sshd.config(...) as ssh_config

Run by root, the server accepts all users; run by an ordinary user, only that user.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

STARTUP = 90.0
"""Time limit in seconds for the start; a busy machine has needed three."""
SHUTDOWN = 10.0

CONFIG = """\
{options}
Port {port}
ListenAddress {address}
{host_keys}
AuthorizedKeysFile {authorized_keys}
PidFile none
StrictModes no
UsePAM no
UseDNS no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
LogLevel VERBOSE
MaxStartups 200
{if_known}
"""
# Newer versions block an address after some failed logins, which the tests cause on
# purpose.
IF_KNOWN = "PerSourcePenalties no"
INHERITED = ("SLURM_CONF",)
"""Environment variables of the tests that programs on the server must have, too."""


class Sshd:
    """One running server, with its address, keys and files as attributes.

    `home` becomes $HOME of the programs on the server, which still start in the real
    home directory.  `environment` has further variables for these programs.  `options`
    are lines of sshd_config, which precede the default lines.
    """

    def __init__(
        self,
        folder: Path,
        *,
        home: Path | None = None,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        address: str = "127.0.0.1",
        host_key_types: Sequence[str] = ("ed25519",),
        port: int | None = None,
        program: Path | None = None,
    ) -> None:
        self.folder = folder
        self.address = address
        self.user = getpass.getuser()
        self.home = home
        self.environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            **({} if home is None else {"HOME": str(home)}),
            **(environment or {}),
        }
        self.options = list(options)
        self.host_key_types = tuple(host_key_types)
        self.port = port or free_port(address)
        self.program = program
        """Another name for sshd: PAM uses the service with this name."""
        self.key = folder / "id_ed25519"
        self.authorized_keys = folder / "authorized_keys"
        self.known_hosts = folder / "known_hosts"
        self.log = folder / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def destination(self) -> str:
        """Return the destination as a user would type it."""
        return f"{self.user}@{self.host}:{self.port}"

    @property
    def host(self) -> str:
        """Return the address, in brackets if it is an IPv6 address."""
        return f"[{self.address}]" if ":" in self.address else self.address

    def host_key(self, kind: str) -> Path:
        """Return the private host key of a type; its public half is beside it."""
        return self.folder / f"ssh_host_{kind}_key"

    def config(self, folder: Path, extra: str = "") -> Path:
        """Write an ssh_config with which a client can log in; `extra` comes first."""
        path = folder / "ssh_config"
        path.write_text(f"{extra}\n{self.client_options}")
        return path

    @property
    def client_options(self) -> str:
        """Return the options that a client needs, in the syntax of ssh_config."""
        return (
            "Host *\n"
            f'    IdentityFile "{self.key}"\n'
            "    IdentitiesOnly yes\n"
            f'    UserKnownHostsFile "{self.known_hosts}"\n'
            "    GlobalKnownHostsFile none\n"
        )

    def known_as(self, address: str, port: int) -> str:
        """Return known_hosts lines that assign the server's keys to an address."""
        name = address if port == 22 else f"[{address}]:{port}"
        keys = [public_half(self.host_key(kind)) for kind in self.host_key_types]
        return "".join(f"{name} {key.read_text()}" for key in keys)

    def __enter__(self) -> Sshd:
        self.folder.mkdir(parents=True, exist_ok=True)
        # sshd runs as root, but the programs that it starts may belong to any user.
        self.folder.chmod(0o755)
        self._make_keys()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        sshd = str(self.program or sshd_path())
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(self._config(IF_KNOWN if knows_penalties(sshd) else ""))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dies_with_tests(), sshd, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """End the server and its connections; jobs in their own sessions keep running."""
        process, self._process = self._process, None
        if process is None:
            return
        serving = descendants(process.pid, depth=2)
        process.terminate()
        process.wait(SHUTDOWN)
        _kill(serving)

    def cut(self) -> None:
        """Break every connection, as a reboot would, and keep listening."""
        if self._process is not None:
            _kill(descendants(self._process.pid, depth=2))

    def connections(self) -> int:
        """Return the number of connections."""
        return 0 if self._process is None else len(descendants(self._process.pid))

    def _config(self, if_known: str) -> str:
        # All values are on one line, because sshd uses only the first line.
        words = [f'"{name}={value}"' for name, value in self.environment.items()]
        set_env = [f"SetEnv {' '.join(words)}"] if words else []
        keys = [f"HostKey {self.host_key(kind)}" for kind in self.host_key_types]
        return CONFIG.format(
            options="\n".join([*self.options, *set_env]),
            port=self.port,
            address=self.host,
            host_keys="\n".join(keys),
            authorized_keys=self.authorized_keys,
            if_known=if_known,
        )

    def _make_keys(self) -> None:
        for kind in self.host_key_types:
            make_key(self.host_key(kind), kind)
        make_key(self.key)
        self.authorized_keys.write_text(public_half(self.key).read_text())
        self.authorized_keys.chmod(0o644)
        self.known_hosts.write_text(self.known_as(self.address, self.port))

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + STARTUP
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                with socket.create_connection((self.address, self.port), 1) as sock:
                    sock.settimeout(5)
                    if sock.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"sshd does not start: {self.log.read_text()}")


def sshd_path() -> str | None:
    """Return the path of sshd, which requires an absolute path and may not be on PATH."""
    return shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")


@functools.cache
def _dies_with_tests() -> list[str]:
    """Return a command prefix that ends a program when the thread that starts it ends.

    A killed pytest cannot stop its servers.  Fixtures run in the main thread.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


@functools.cache
def knows_penalties(sshd: str) -> bool:
    """Return whether this sshd accepts the option in IF_KNOWN."""
    command = [sshd, "-T", "-f", os.devnull, "-o", IF_KNOWN.replace(" ", "=")]
    done = subprocess.run(command, capture_output=True, text=True)
    return "onfiguration option" not in done.stderr


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Create a key pair unless it exists; the public half ends in .pub."""
    if not path.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path]
            + (["-b", "2048"] if kind == "rsa" else []),
            check=True,
            stdin=subprocess.DEVNULL,
        )
    return path


def public_half(key: Path) -> Path:
    """Return the public key beside a private key."""
    return key.with_name(key.name + ".pub")


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port on which no process listens at the moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


def descendants(pid: int, depth: int = 1) -> list[int]:
    """Return the processes that a process has started, directly and indirectly.

    For each connection, sshd starts a process, which starts an unprivileged process.
    """
    table = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    rows = [tuple(map(int, line.split())) for line in table.splitlines()]
    found: list[int] = []
    parents = {pid}
    for _ in range(depth):
        parents = {child for child, parent in rows if parent in parents}
        found += sorted(parents)
    return found


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
