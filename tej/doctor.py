"""Diagnosis of a connection (`tej doctor`): check each step on the way to the server.

The diagnosis changes nothing on the server.  The output contains no secrets and can be
pasted into bug reports.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from tej.destination import Destination, expand_home
from tej.errors import AuthenticationFailed, ConnectionFailed, Error, HostKeyRejected
from tej.queue.remote import RemoteQueue
from tej.server.scripts import sent_script
from tej.transport import Transport
from tej.transport.settings import TIMEOUT, Settings
from tej.transport.ssh_config import HostConfig, look_up
from tej.version import __version__

SLOW_LOGIN = 3.0
SLOW_CLOCK = 60
MEGABYTE = 1 << 20
SAMPLES = (1 << 16, 1 << 18, 1 << 20, 1 << 22)
"""Numbers of bytes that are sent and received to measure the throughput."""
LONG_SAMPLE = 2.0
"""Seconds after which a sample is long enough to measure the throughput."""
SLOW_NETWORK = 100_000
"""Bytes per second below which `Compression` is recommended."""


class State(Enum):
    """Result of one step of the diagnosis."""

    OK = "ok"
    WARNING = "warning"
    TROUBLE = "trouble"


@dataclass(frozen=True)
class Step:
    """One step of the diagnosis, with its result."""

    name: str
    state: State
    text: str
    way_out: str = ""
    """Advice on how to resolve the problem."""


def examine(queue: RemoteQueue, destination: Destination) -> Iterator[Step]:
    """Check the configuration, the network, the login and the server, step by step.

    Yields the result of each step.  The diagnosis stops at the first failed step that
    all further steps depend on.
    """
    yield Step(
        "tej",
        State.OK,
        f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
    )
    if not destination.is_local:
        yield _client(queue.transport)
        try:
            config = _look_up(destination, queue.transport)
        except ConnectionFailed as error:
            yield Step("configuration", State.TROUBLE, str(error))
            return
        yield _configuration(config)
        for step in _network(config):
            yield step
            if step.state is State.TROUBLE:
                return
    yield from _server(queue)


def _look_up(destination: Destination, transport: Transport) -> HostConfig:
    """Return the options of ssh_config as the transport uses them.

    Raises ConnectionFailed if the transport rejects the configuration.
    """
    config = look_up(destination.host, destination.user, destination.port)
    if _kind(transport) != "openssh":
        return config
    # The options come from `ssh` itself, because tej's parser for paramiko does not
    # support options such as CanonicalizeHostname.
    from tej.transport.openssh_config import read_config

    ssh = read_config(destination, Settings())
    jump, command = ssh.first("proxyjump"), ssh.first("proxycommand")
    files = [expand_home(name) for name in ssh.values.get("identityfile", [])]
    return replace(
        config,
        host=ssh.first("hostname"),
        port=int(ssh.first("port")),
        user=ssh.first("user"),
        proxy_jump=None if jump in ("", "none") else jump,
        proxy_command=None if command in ("", "none") else command,
        identity_files=tuple(dict.fromkeys(files)),
    )


def _kind(transport: Transport) -> str:
    return type(transport).__name__.removesuffix("Transport").lower()


def _client(transport: Transport) -> Step:
    kind = _kind(transport)
    if shutil.which("ssh") is None:
        return Step("ssh", State.WARNING, f"no `ssh` on the PATH; tej uses {kind}")
    done = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False)
    agent = "an agent" if os.environ.get("SSH_AUTH_SOCK") else "no agent"
    version = (done.stderr or done.stdout).strip()
    return Step("ssh", State.OK, f"{version}; tej uses {kind}; {agent}")


def _configuration(config: HostConfig) -> Step:
    parts = [config.where]
    if config.proxy_jump:
        parts.append(f"ProxyJump {config.proxy_jump}")
    if config.proxy_command:
        # Show only the name of the program, because its arguments may contain a secret.
        parts.append(f"ProxyCommand {config.proxy_command.split()[0]} ...")
    keys = [path.name for path in config.identity_files if path.exists()]
    parts.append(f"key files: {', '.join(keys) or 'none'}")
    if config.unsupported:
        names = ", ".join(config.unsupported)
        parts.append(f"only the openssh transport honours {names}")
    return Step("configuration", State.OK, "; ".join(parts))


def _network(config: HostConfig) -> Iterator[Step]:
    if config.proxy_jump or config.proxy_command:
        yield Step(
            "network", State.OK, "not tested, because the connection uses a proxy"
        )
        return
    try:
        found = socket.getaddrinfo(config.host, config.port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        yield Step(
            "name",
            State.TROUBLE,
            f"{config.host} cannot be found: {error}",
            "check the name, and Host in ~/.ssh/config",
        )
        return
    addresses = ", ".join(dict.fromkeys(str(one[4][0]) for one in found))
    yield Step("name", State.OK, f"{config.host} is {addresses}")
    begun = time.monotonic()
    try:
        with socket.create_connection((config.host, config.port), TIMEOUT) as sock:
            sock.settimeout(TIMEOUT)
            banner = sock.recv(255).decode("ascii", "replace").strip()
    except OSError as error:
        yield Step(
            "port",
            State.TROUBLE,
            f"port {config.port} does not answer: {error}",
            "is sshd running there, and does a firewall permit the connection?",
        )
        return
    took = time.monotonic() - begun
    if not banner.startswith("SSH-"):
        way_out = "is the port right?"
        yield Step("port", State.TROUBLE, f"no SSH server: {banner[:60]!r}", way_out)
        return
    yield Step("port", State.OK, f"{banner} after {took * 1000:.0f} ms")


def _server(queue: RemoteQueue) -> Iterator[Step]:
    begun = time.monotonic()
    try:
        done = queue.transport.run("exit 7")
    except HostKeyRejected as error:
        yield Step("host key", State.TROUBLE, str(error))
        return
    except AuthenticationFailed as error:
        yield Step("login", State.TROUBLE, str(error))
        return
    except ConnectionFailed as error:
        yield Step("connection", State.TROUBLE, str(error))
        return
    took = time.monotonic() - begun
    yield Step("login", State.OK, f"logged in after {took:.1f} s")
    if done.status != 7:
        text = (done.stdout + done.stderr).decode("utf-8", "replace").strip()[-200:]
        yield Step(
            "shell",
            State.TROUBLE,
            f"the server did not run the program, but replied: {text}",
        )
        return
    try:
        yield from _round_trips(queue.transport, done.stderr)
        output = queue.shell(sent_script("doctor.sh"), str(queue.queue))
    except Error as error:
        yield Step("server", State.TROUBLE, str(error))
        return
    yield from map(_parse, output.decode("utf-8", "replace").splitlines())


def _round_trips(transport: Transport, noise: bytes) -> Iterator[Step]:
    times = []
    for _ in range(3):
        begun = time.monotonic()
        transport.run(":")
        times.append(time.monotonic() - begun)
    text = f"{min(times) * 1000:.0f} ms to run a program"
    way_out = "make .bashrc, .zshenv or .cshrc fast for shells that are not interactive"
    slow = min(times) > SLOW_LOGIN
    state = State.WARNING if slow else State.OK
    yield Step("round trip", state, text, way_out if slow else "")
    if noise:
        yield Step(
            "start-up files",
            State.WARNING,
            f"they print {len(noise)} bytes on stderr, which tej ignores",
        )
    up = _throughput(lambda size: transport.run("cat >/dev/null", [os.urandom(size)]))
    down = _throughput(
        lambda size: transport.run(f"head -c {size} /dev/urandom", stdout=len)
    )
    slow = min(up, down) < SLOW_NETWORK
    yield Step(
        "throughput",
        State.OK,
        f"{_rate(up)} up, {_rate(down)} down",
        "write `Compression yes` for this host in ~/.ssh/config" if slow else "",
    )


def _throughput(transfer: Callable[[int], object]) -> float:
    """Return the throughput in bytes per second.

    `transfer(size)` transfers a number of bytes.  On a slow connection, only the first
    sample is transferred, because a large sample would take hours.
    """
    throughput = 0.0
    for size in SAMPLES:
        begun = time.monotonic()
        transfer(size)
        took = time.monotonic() - begun
        throughput = size / took
        if took > LONG_SAMPLE:
            break
    return throughput


def _rate(throughput: float) -> str:
    if throughput < MEGABYTE:
        return f"{throughput / 1000:.0f} kB/s"
    return f"{throughput / MEGABYTE:.0f} MB/s"


def _parse(line: str) -> Step:
    name, _, rest = line.partition("\t")
    state, _, text = rest.partition("\t")
    if name == "clock" and text.isdigit():
        difference = int(text) - round(time.time())
        late = abs(difference) > SLOW_CLOCK
        words = f"differs by {difference} s from the clock of this machine"
        return Step("clock", State.WARNING if late else State.OK, words)
    known = {one.value for one in State}
    return Step(name, State(state) if state in known else State.WARNING, text)
