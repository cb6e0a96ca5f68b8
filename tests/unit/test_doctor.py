"""Steps of `tej doctor`: results, limits, and the step at which the diagnosis stops."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest

from tej import doctor, errors
from tej.destination import Destination
from tej.doctor import State, Step
from tej.transport import openssh_config
from tej.transport.base import Completed
from tej.transport.ssh_config import HostConfig, look_up

CLOCKS = "differs by {} s from the clock of this machine"
REPORT = b"home\tok\t/home/me\n"


class OpensshTransport:
    """A server whose programs take a given time on a simulated clock."""

    def __init__(self, first: Any = (7, b"", b""), waits: Iterable[float] = ()) -> None:
        self.first = first
        self.waits = [*waits]
        self.programs: list[str] = []
        self.now = 100.0

    def run(self, program: str, stdin: Any = (), stdout: Any = None) -> Completed:
        self.programs.append(program)
        self.now += self.waits.pop(0) if self.waits else 0.5
        if program == "exit 7":
            if isinstance(self.first, Exception):
                raise self.first
            return Completed(*self.first)
        assert sum(map(len, stdin)) in (0, *doctor.SAMPLES)
        return Completed(0, b"", b"")


@pytest.fixture
def config(tmp_path: Path) -> HostConfig:
    file = tmp_path / "config"
    file.write_text(f"IdentityFile {tmp_path}/key\nIdentityFile {tmp_path}/gone\n")
    (tmp_path / "key").touch()
    return look_up("127.0.0.1", "me", config_file=file)


def server_steps(
    monkeypatch: pytest.MonkeyPatch, transport: Any, report: Any = REPORT
) -> list[Step]:
    def shell(script: str, *words: str) -> bytes:
        assert words == ("/q",)
        if isinstance(report, Exception):
            raise report
        return bytes(report)

    time = SimpleNamespace(monotonic=lambda: transport.now, time=lambda: 1000.4)
    monkeypatch.setattr(doctor, "time", time)
    queue: Any = SimpleNamespace(
        transport=transport, queue=PurePosixPath("/q"), shell=shell
    )
    return [*doctor._server(queue)]


def names(steps: Iterable[Step]) -> list[str]:
    return [f"{step.name} {step.state.value}" for step in steps]


@pytest.mark.parametrize(("seconds", "slow"), [(3.0, False), (3.01, True)])
def test_times_of_the_server_are_measured(
    seconds: float, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A single slow program may be an accident, so the fastest of three counts.
    samples = [0.1, 0.1, 0.1, 2, 0.1, 0.1, 0.1, 0.5]
    server = OpensshTransport(waits=[1.5, 9, seconds, 9, *samples])
    login, round_trip, throughput, home = server_steps(monkeypatch, server)
    assert login.text == "logged in after 1.5 s"
    assert round_trip.text == f"{seconds * 1000:.0f} ms to run a program"
    assert round_trip.state is (State.WARNING if slow else State.OK)
    assert bool(round_trip.way_out) is slow
    assert throughput == Step("throughput", State.OK, "2 MB/s up, 8 MB/s down")
    assert home == Step("home", State.OK, "/home/me")
    assert server.programs[4:8] == ["cat >/dev/null"] * 4
    assert server.programs[-1] == "head -c 4194304 /dev/urandom"


def test_slow_network_is_measured_with_little_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = OpensshTransport(waits=[1, 1, 1, 1, 8, 0.5, 8])
    _, _, throughput, _ = server_steps(monkeypatch, server)
    assert throughput.text == "8 kB/s up, 33 kB/s down"
    assert "Compression yes" in throughput.way_out
    assert server.programs[4:] == [
        *("cat >/dev/null", "head -c 65536 /dev/urandom", "head -c 262144 /dev/urandom")
    ]


def test_output_of_startup_files_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    server = OpensshTransport(first=(7, b"", b"hello"))
    steps = {step.name: step for step in server_steps(monkeypatch, server)}
    assert steps["start-up files"].state is State.WARNING
    assert "5 bytes" in steps["start-up files"].text


def test_diagnosis_stops_at_the_failed_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for first, step in (
        (errors.HostKeyRejected("no"), "host key trouble"),
        (errors.AuthenticationFailed("no"), "login trouble"),
        (errors.ConnectionFailed("no"), "connection trouble"),
    ):
        steps = server_steps(monkeypatch, OpensshTransport(first))
        assert names(steps) == [step]
        assert steps[0].text == "no"
    steps = server_steps(monkeypatch, OpensshTransport((0, b" git", b" only\n")))
    assert names(steps) == ["login ok", "shell trouble"]
    assert steps[1].text.endswith("replied: git only")
    steps = server_steps(monkeypatch, OpensshTransport(), errors.Error("full"))
    assert names(steps)[-1:] == ["server trouble"]


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("clock\tok\t1060", Step("clock", State.OK, CLOCKS.format(60))),
        ("clock\tok\t1061", Step("clock", State.WARNING, CLOCKS.format(61))),
        ("clock\tok\t939", Step("clock", State.WARNING, CLOCKS.format(-61))),
        ("clock\twarning\tno date", Step("clock", State.WARNING, "no date")),
        ("sh\ttrouble\ta\tb", Step("sh", State.TROUBLE, "a\tb")),
        ("new\tunheard\tx", Step("new", State.WARNING, "x")),
        ("5\tok\t5", Step("5", State.OK, "5")),
    ],
)
def test_line_of_the_server_is_parsed(
    line: str, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = OpensshTransport()
    assert server_steps(monkeypatch, server, f"{line}\n".encode())[-1] == step


def test_connection_through_a_proxy_is_not_probed(config: HostConfig) -> None:
    config = replace(config, proxy_jump="gate", unsupported=("MACs",))
    step = doctor._configuration(config)
    assert step.text == (
        f"{config.where}; ProxyJump gate; key files: key; "
        "only the openssh transport honours MACs"
    )
    assert names(doctor._network(config)) == ["network ok"]
    config = replace(config, proxy_command="nc --token 1", proxy_jump=None)
    step = doctor._configuration(replace(config, identity_files=(), unsupported=()))
    assert step.text == f"{config.where}; ProxyCommand nc ...; key files: none"
    assert names(doctor._network(config)) == ["network ok"]


@pytest.mark.parametrize(
    ("banner", "port"),
    [(b"SSH-2.0-x\r\n", "ok"), (b"HTTP/1.1 400", "trouble"), (b"", "trouble")],
)
def test_port_must_answer_as_an_ssh_server(
    banner: bytes, port: str, config: HostConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(banner)
    theirs.close()
    monkeypatch.setattr(socket, "create_connection", lambda *_: ours)
    times = iter([100.0, 100.25])
    clock = SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr(doctor, "time", clock)
    name, step = doctor._network(config)
    assert name.text == "127.0.0.1 is 127.0.0.1"
    assert step.state.value == port
    if port == "ok":
        assert step.text == "SSH-2.0-x after 250 ms"
    assert banner.decode().strip() in step.text


def test_unknown_host_name_is_reported(
    config: HostConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (step,) = doctor._network(replace(config, host="a" * 64))
    assert (step.name, step.state) == ("name", State.TROUBLE)
    # The server is not contacted after a failed step.
    transport: Any = OpensshTransport()
    monkeypatch.setattr(doctor, "_look_up", lambda *_: replace(config, host="a" * 64))
    queue: Any = SimpleNamespace(transport=transport)
    steps = doctor.examine(queue, Destination.parse("lab"))
    assert names(steps)[2:] == ["configuration ok", "name trouble"]
    assert transport.programs == []


def test_client_names_program_transport_and_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport: Any = OpensshTransport()
    done = subprocess.CompletedProcess([], 0, "", "OpenSSH_9\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr("shutil.which", lambda _: "/bin/ssh")
    for agent, words in (("", "no agent"), ("/s", "an agent")):
        monkeypatch.setenv("SSH_AUTH_SOCK", agent)
        step = doctor._client(transport)
        text = f"OpenSSH_9; tej uses openssh; {words}"
        assert step == Step("ssh", State.OK, text)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert doctor._client(transport).state is State.WARNING


@pytest.mark.parametrize("proxy", ["none", "", "gate"])
def test_options_are_those_of_ssh_itself(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "hostname": ["10.0.0.1"],
        "port": ["2222"],
        "user": ["ann"],
        "proxyjump": [proxy],
        "proxycommand": [proxy],
        "identityfile": ["~/a", "~/b", "~/a"],
    }
    read: Any = SimpleNamespace(values=values, first=lambda name: values[name][0])
    monkeypatch.setattr(openssh_config, "read_config", lambda *_: read)
    transport: Any = OpensshTransport()
    found = doctor._look_up(Destination.parse("lab"), transport)
    assert found.where == "ann@10.0.0.1:2222"
    expected = proxy if proxy == "gate" else None
    assert (found.proxy_jump, found.proxy_command) == (expected, expected)
    assert found.identity_files == (Path.home() / "a", Path.home() / "b")
