"""The openssh transport: ControlMasters, logins at a terminal, features of ssh only."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jobs import wait_until, wait_until_connected
from servers.kdc import Kdc
from servers.proxy import Proxy
from servers.sshd import Sshd, make_key
from servers.users import Users

from tej.destination import Destination
from tej.errors import AuthenticationFailed, ConnectionFailed, HostKeyRejected
from tej.transport import Transport, open_transport
from tej.transport.io_timeout import IdleTimer
from tej.transport.openssh_config import read_config
from tej.transport.openssh_master import Master, is_alive, socket_path, stop_master
from tej.transport.openssh_mux import MuxClient
from tej.transport.runtime_directory import runtime_directory
from tej.transport.settings import Settings

Connect = Callable[..., Transport]
Start = Callable[..., Sshd]


@pytest.fixture(autouse=True)
def _openssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEJ_TRANSPORT", "openssh")


def master_of(destination: str, config: Path) -> Path:
    """Return the socket of the ControlMaster for a destination."""
    settings = Settings(config_file=config)
    return socket_path(read_config(Destination.parse(destination), settings))


@pytest.fixture
def server(start_sshd: Start, tmp_path: Path) -> Iterator[Sshd]:
    """Yield an sshd for this test only, whose ssh_config is `folder`/ssh_config."""
    server = start_sshd()
    config = server.config(server.folder)
    yield server
    stop_master(master_of(server.destination, config))


@pytest.fixture
def ssh(server: Sshd, connect: Connect) -> Transport:
    return connect(
        server.destination, config_file=server.folder / "ssh_config", timeout=60
    )


def pid_of(path: Path) -> int:
    with MuxClient(str(path), 60) as mux:
        return mux.pid()


def test_processes_share_one_login(server: Sshd, ssh: Transport) -> None:
    config = server.folder / "ssh_config"
    for _ in range(3):
        with open_transport(
            Destination.parse(server.destination), config_file=config
        ) as other:
            assert other.run("printf 1").stdout == b"1"
    assert ssh.run("printf 1").stdout == b"1"
    assert server.log.read_text().count("Accepted publickey") == 1


def test_exit_status_255_of_program_is_returned(ssh: Transport) -> None:
    assert ssh.run("exit 255").status == 255


def test_changed_configuration_is_used_when_connecting_again(
    server: Sshd, ssh: Transport
) -> None:
    ssh.run("true")
    ssh.close()
    config = server.config(server.folder, "SetEnv TEJ_TEST=changed\n")
    path = master_of(server.destination, config)
    assert not path.exists()
    try:
        ssh.run("true")
        assert pid_of(path)
    finally:
        stop_master(path)


@pytest.fixture
def hanging_match(tmp_path: Path) -> Iterator[Path]:
    """Yield an ssh_config with a `Match exec` that hangs until the test ends.

    The command of the `Match exec` creates the file `ran` beside the configuration.
    """
    config, ran, end = (tmp_path / name for name in ("ssh_config", "ran", "end"))
    command = f"touch {ran}; while ! [ -e {end} ]; do sleep 0.2; done"
    config.write_text(f'Match exec "{command}"\n')
    yield config
    end.touch()


def test_prepare_runs_ssh_before_first_request(
    connect: Connect, hanging_match: Path
) -> None:
    ssh = connect("nowhere.invalid", config_file=hanging_match)
    ssh.prepare()
    wait_until((hanging_match.parent / "ran").exists)
    # `close` does not wait for the command of `Match exec`.
    ssh.close()


def test_login_precedes_the_first_program(server: Sshd, connect: Connect) -> None:
    config = server.folder / "ssh_config"
    first, second = (connect(server.destination, config_file=config) for _ in "12")
    path = master_of(server.destination, config)
    for ssh in (first, second):
        ssh.prepare()
        ssh.connect_early()
        wait_until(lambda: is_alive(path), "the login has succeeded")
        assert ssh.run("printf 1").stdout == b"1"
    # A session that no program uses is closed with the transport.  The ControlMaster
    # survives, whatever it is doing for this session at that moment.
    for _ in range(8):
        third = connect(server.destination, config_file=config)
        third.prepare()
        third.connect_early()
        third.close()
    assert third.run("printf 1").stdout == b"1"
    assert server.log.read_text().count("Accepted publickey") == 1


def test_close_ends_an_early_login(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        destination = f"127.0.0.1:{silent.getsockname()[1]}"
        # The second login shows that the first login has released its lock.
        for _ in range(2):
            ssh = connect(destination)
            ssh.prepare()
            ssh.connect_early()
            line, _ = silent.accept()
            ssh.close()
            with line:
                while line.recv(1024):
                    pass


def test_hanging_match_exec_is_an_error(
    connect: Connect, hanging_match: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tej.transport.openssh_config.QUERY_TIMEOUT", 0.1)
    ssh = connect("nowhere.invalid", config_file=hanging_match)
    with pytest.raises(ConnectionFailed, match="the command of a `Match exec`") as got:
        ssh.run("true")
    assert got.value.permanent


def test_full_shared_connection_is_not_an_error(
    start_sshd: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tej.transport.pool.REFUSED", (0.05,))
    server = start_sshd(options=["MaxSessions 1"])
    config = server.config(server.folder)
    other = connect(server.destination, config_file=config)
    ssh = connect(server.destination, config_file=config)
    begun, end = threading.Event(), threading.Event()

    def until_end() -> Iterator[bytes]:
        yield b""
        end.wait()

    holder = threading.Thread(
        target=other.run, args=("echo begun; cat", until_end(), lambda _: begun.set())
    )
    holder.start()
    try:
        assert begun.wait(90)
        assert ssh.run("printf 1").stdout == b"1"
        assert holder.is_alive()
    finally:
        end.set()
        holder.join()
        path = master_of(server.destination, config)
        for master in (path, path.with_name(f"{path.name}-1")):
            stop_master(master)


def test_killed_master_is_replaced(
    server: Sshd,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # At a terminal, a user may have to type a password again, and a message explains
    # why.
    monkeypatch.setattr("tej.transport.openssh_master._has_terminal", lambda: True)
    config = server.folder / "ssh_config"
    ssh = connect(server.destination, config_file=config, terminal=True, timeout=60)
    ssh.run("true")
    assert "log in again" not in caplog.text
    path = master_of(server.destination, config)
    os.kill(pid_of(path), signal.SIGKILL)
    assert ssh.run("printf again").stdout == b"again"
    assert "was lost: ssh may ask you to log in again" in caplog.text


def test_hung_master_is_replaced(
    server: Sshd, ssh: Transport, connect: Connect
) -> None:
    ssh.run("true")
    path = master_of(server.destination, server.folder / "ssh_config")
    pid = pid_of(path)
    config = server.folder / "ssh_config"
    impatient = connect(server.destination, config_file=config, timeout=2)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until_connected(impatient)
        assert pid_of(path) != pid
    finally:
        os.kill(pid, signal.SIGKILL)


def test_slow_connection_is_not_replaced(
    server: Sshd, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request waits behind the data of another process, and does not stop it."""
    warned = threading.Event()
    monkeypatch.setattr("tej.transport.io_timeout.NOTICE", 2.0)
    monkeypatch.setattr(IdleTimer, "_warn", lambda *_: warned.set())
    with Proxy(server.address, server.port) as proxy:
        with server.known_hosts.open("a") as known_hosts:
            known_hosts.write(server.known_as(server.address, proxy.port))
        destination = f"{server.user}@{server.address}:{proxy.port}"
        config = server.folder / "ssh_config"
        both = [connect(destination, config_file=config, timeout=1) for _ in range(2)]
        wait_until_connected(both[0])
        logins = proxy.connections
        end = threading.Event()

        def at_the_end() -> Iterator[bytes]:
            end.wait()
            yield b"ended"

        with ThreadPoolExecutor() as pool:
            first = pool.submit(both[0].run, "cat", at_the_end())
            assert both[1].run("printf 1").stdout == b"1"
            proxy.stall()
            second = pool.submit(both[1].run, "printf 2")
            try:
                assert warned.wait(90)
                proxy.resume()
                assert second.result().stdout == b"2"
            finally:
                end.set()
            assert first.result().stdout == b"ended"
        assert proxy.connections == logins
        stop_master(master_of(destination, config))


def test_master_of_another_process_is_not_stopped(server: Sshd, ssh: Transport) -> None:
    ssh.run("true")
    path = master_of(server.destination, server.folder / "ssh_config")
    pid = pid_of(path)
    assert not stop_master(path, replaced=pid + 1)
    assert pid_of(path) == pid
    assert stop_master(path, replaced=pid)
    assert not is_alive(path)


def test_master_of_the_users_configuration_is_used(
    server: Sshd, connect: Connect, ssh_masters: Path
) -> None:
    path = ssh_masters / "mine"
    text = f"ControlMaster auto\nControlPath {path}\nControlPersist 30\n"
    config = server.config(server.folder, text)
    address = [f"{server.user}@{server.address}", "-p", str(server.port)]
    subprocess.run(
        ["ssh", "-F", config, "-MNf", *address], check=True, capture_output=True
    )
    pid = pid_of(path)
    try:
        transport = connect(server.destination, config_file=config)
        assert transport.run("printf 1").stdout == b"1"
        assert pid_of(path) == pid
        assert server.connections() == 1
        assert not master_of(server.destination, config).exists()
    finally:
        stop_master(path)


def test_reply_is_complete_although_the_user_logs_out(
    server: Sshd, connect: Connect, ssh_masters: Path
) -> None:
    """The user's ControlMaster exits as soon as its last session has ended."""
    path = ssh_masters / "mine"
    config = server.config(server.folder, f"ControlMaster auto\nControlPath {path}\n")
    address = [f"{server.user}@{server.address}", "-p", str(server.port)]
    with subprocess.Popen(
        ["ssh", "-F", config, *address, "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as session:
        wait_until(lambda: is_alive(path))

        def log_out() -> Iterator[bytes]:
            assert session.stdin is not None
            assert session.stdout is not None
            session.stdin.close()
            session.stdout.read()
            yield b"1"

        transport = connect(server.destination, config_file=config)
        assert transport.run("cat", log_out()).stdout == b"1"
        assert session.wait(60) == 0


def test_frozen_master_of_the_user_is_replaced(
    server: Sshd, connect: Connect, ssh_masters: Path
) -> None:
    """A ControlMaster without keep-alives does not notice that its connection is lost.

    It still replies, but opens no session.
    """
    path = ssh_masters / "mine"
    config = server.config(server.folder, f"ControlMaster auto\nControlPath {path}\n")
    with Proxy(server.address, server.port) as proxy:
        with server.known_hosts.open("a") as known_hosts:
            known_hosts.write(server.known_as(server.address, proxy.port))
        login = [f"{server.user}@{server.address}", "-p", str(proxy.port)]
        subprocess.run(
            ["ssh", "-F", config, "-MNf", *login], check=True, capture_output=True
        )
        try:
            destination = f"{server.user}@{server.address}:{proxy.port}"
            transport = connect(destination, config_file=config, timeout=3)
            assert transport.run("printf 1").stdout == b"1"
            proxy.freeze()
            assert transport.run("printf 2").stdout == b"2"
            assert proxy.connections == 2
            stop_master(master_of(destination, config))
        finally:
            stop_master(path)


def test_paramiko_is_used_for_what_ssh_cannot_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TEJ_TRANSPORT")

    def chosen(destination: str = "me@lab", **options: object) -> str:
        parsed = Destination.parse(destination)
        return type(open_transport(parsed, **options)).__name__  # type: ignore[arg-type]

    assert chosen() == chosen(ask=input, terminal=True) == "OpensshTransport"
    assert (
        chosen("me:secret@lab")
        == chosen(known_hosts="lab ssh-rsa AAAA")
        == chosen(ask=input)
        == "ParamikoTransport"
    )


def test_sockets_are_private_and_short(server: Sshd) -> None:
    path = master_of(server.destination, server.folder / "ssh_config")
    assert runtime_directory().stat().st_mode & 0o777 == 0o700
    assert len(str(path)) < 104 - 17


def test_directory_that_others_can_read_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, process_folder: Path
) -> None:
    parent = Path(tempfile.mkdtemp(dir=process_folder))
    for name in ("XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(name, str(parent / "absent"))
    monkeypatch.setattr("tej.transport.runtime_directory.LAST_RESORT", str(parent))
    planted = parent / f"tej-{os.getuid()}"
    planted.symlink_to(tmp_path)
    with pytest.raises(ConnectionFailed, match="private directory"):
        runtime_directory()
    planted.unlink()
    planted.mkdir()
    planted.chmod(0o750)
    with pytest.raises(ConnectionFailed, match="private directory"):
        runtime_directory()
    planted.chmod(0o700)
    assert runtime_directory() == planted


def test_unknown_host_key_is_named(server: Sshd, connect: Connect) -> None:
    config = server.folder / "stranger"
    config.write_text("UserKnownHostsFile none\nGlobalKnownHostsFile none\n")
    with pytest.raises(HostKeyRejected, match=r"not known.*SHA256.*--accept-new"):
        connect(server.destination, config_file=config).run("true")


def test_changed_host_key_is_named(server: Sshd, ssh: Transport) -> None:
    key = make_key(server.folder / "other").with_suffix(".pub").read_text()
    server.known_hosts.write_text(f"[{server.address}]:{server.port} {key}")
    with pytest.raises(HostKeyRejected, match=r"HAS CHANGED.*ssh-keygen -f"):
        ssh.run("true")


def test_refused_login_lists_tried_methods(server: Sshd, ssh: Transport) -> None:
    server.authorized_keys.write_text("")
    with pytest.raises(AuthenticationFailed) as caught:
        ssh.run("true")
    message = str(caught.value)
    assert str(server.key) in message
    assert "The server accepts: publickey" in message
    assert "Permission denied" in message


def test_variables_of_sendenv_and_setenv_arrive(
    start_sshd: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_sshd(options=["AcceptEnv LC_*"])
    monkeypatch.setenv("LC_SENT", "two words")
    config = server.config(server.folder, "SendEnv LC_SENT\nSetEnv LC_SET=blue\n")
    transport = connect(server.destination, config_file=config)
    done = transport.run('printf "%s|%s" "$LC_SENT" "$LC_SET"')
    assert done.stdout == b"two words|blue"


CODES = """#!/bin/sh
# Accepts each one-time code once: PAM passes what the user typed on stdin.
IFS= read -r code || :
[ -n "$code" ] && mv "CODES/$code" "CODES/used-$code"
"""


@pytest.fixture
def two_factor(
    require: Callable[[str], None], start_sshd: Start, users: Users
) -> Iterator[Sshd]:
    """Yield a server that requires a key and then a one-time code."""
    require("root")
    service = f"tejsshd{os.getpid()}"
    program = users.folder / service
    program.symlink_to("/usr/sbin/sshd")
    codes = users.folder / "codes"
    codes.mkdir()
    check = users.folder / "check"
    check.write_text(CODES.replace("CODES", str(codes)))
    check.chmod(0o755)
    pam = Path("/etc/pam.d") / service
    pam.write_text(
        f"auth required pam_exec.so expose_authtok quiet {check}\n"
        # pam_exec cannot set credentials, so pam_permit sets them.
        "auth required pam_permit.so\n"
        "account required pam_permit.so\nsession required pam_permit.so\n"
    )
    try:
        for code in ("123456", "654321"):
            (codes / code).touch()
        yield start_sshd(
            folder=users.folder / "sshd",
            program=program,
            options=[
                "UsePAM yes",
                "KbdInteractiveAuthentication yes",
                "AuthenticationMethods publickey,keyboard-interactive",
            ],
        )
    finally:
        pam.unlink()


def test_two_factor_login_prompts_once(
    two_factor: Sshd, client_home: Path, tmp_path: Path
) -> None:
    import pexpect

    (client_home / ".ssh/config").write_text(
        f"Host site\n HostName {two_factor.address}\n Port {two_factor.port}\n"
        f"User {two_factor.user}\n{two_factor.client_options}"
    )
    tej = [sys.executable, "-m", "tej"]
    environment = {**os.environ, "TEJ_QUEUE": str(tmp_path / "queue")}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*tej, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            start_new_session=True,
        )

    # Without a terminal, the error describes the solution, and no prompt hangs.
    refused = call("list", "site")
    assert refused.returncode == 1
    assert "tej connect site" in refused.stderr
    assert "keyboard-interactive" in refused.stderr

    terminal = pexpect.spawn(
        tej[0], [*tej[1:], "connect", "site"], env=environment, timeout=90
    )
    terminal.expect("assword")
    terminal.sendline("123456")
    terminal.expect("Connected to")
    terminal.expect(r"closes at (\d{4}-\d\d-\d\d )?\d\d:\d\d \(after \w+")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    try:
        call("setup", "-r", "default", "site")
        for _ in range(2):
            done = call("list", "site")
            assert (done.returncode, done.stderr) == (0, "")
        assert two_factor.log.read_text().count("Accepted keyboard-interactive") == 1
    finally:
        closed = call("disconnect", "site")
    assert closed.returncode == 0
    assert closed.stderr.startswith("Closed the connection to ")
    assert "no connection" in call("disconnect", "site").stderr


def test_dropbear_server_works(
    require: Callable[[str], None], users: Users, connect: Connect, tmp_path: Path
) -> None:
    require("dropbear")
    from servers.sshd import free_port

    user = users.add()
    key = make_key(tmp_path / "key")
    folder = user.home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    subprocess.run(["chown", "-R", user.name, folder], check=True)
    host_key, port = tmp_path / "host", free_port()
    subprocess.run(
        ["dropbearkey", "-t", "ed25519", "-f", host_key],
        check=True,
        capture_output=True,
    )
    config = tmp_path / "ssh_config"
    config.write_text(
        f"IdentityFile {key}\nStrictHostKeyChecking accept-new\n"
        f"UserKnownHostsFile {tmp_path}/known\nGlobalKnownHostsFile none\n"
    )
    options = ["-F", "-E", "-r", host_key, "-p", f"127.0.0.1:{port}"]
    with subprocess.Popen(["dropbear", *options], stderr=subprocess.DEVNULL) as server:
        try:
            destination = f"{user.name}@127.0.0.1:{port}"
            for name in ("openssh", "paramiko"):
                ssh = connect(destination, config_file=config, transport=name)

                def answers(ssh: Transport = ssh) -> bool:
                    try:
                        return ssh.run("cat; exit 3", [b"data"]).stdout == b"data"
                    except ConnectionFailed:
                        return False

                wait_until(answers)
                assert ssh.run("exit 255").status == 255
                ssh.close()
            stop_master(master_of(destination, config))
        finally:
            server.terminate()


def test_threads_log_in_once(server: Sshd, ssh: Transport) -> None:
    threads = [threading.Thread(target=ssh.run, args=("true",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.log.read_text().count("Accepted publickey") == 1


def test_cycle_of_jump_hosts_starts_no_ssh(connect: Connect, tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    config.write_text(
        "Host one\n HostName 127.0.0.1\n Port 1\n ProxyJump two\n"
        "Host two\n HostName 127.0.0.1\n Port 2\n ProxyJump one\n"
    )
    with pytest.raises(ConnectionFailed, match="cycle: one -> two -> one"):
        connect("one", config_file=config).run("true")


@pytest.fixture
def kdc(
    require: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Kdc]:
    """Yield a KDC whose user is the user of the tests; sshd and ssh use this KDC."""
    for program in ("krb5kdc", "kadmin.local", "kinit"):
        require(program)
    with Kdc(tmp_path / "kdc", getpass.getuser(), "127.0.0.1") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def test_kerberos_ticket_logs_in(
    kdc: Kdc, start_sshd: Start, connect: Connect, tmp_path: Path
) -> None:
    server = start_sshd(
        options=[
            "GSSAPIAuthentication yes",
            "GSSAPIStrictAcceptorCheck no",
            "PubkeyAuthentication no",
        ]
    )
    config = server.config(tmp_path, "Host *\n    GSSAPIAuthentication yes\n")
    ssh = connect(server.destination, config_file=config)
    with pytest.raises(AuthenticationFailed, match="No Kerberos credentials"):
        ssh.run("true")
    kdc.get_ticket()
    try:
        assert ssh.run("printf in").stdout == b"in"
        assert "Accepted gssapi-with-mic" in server.log.read_text()
    finally:
        stop_master(master_of(server.destination, config))


def test_transport_without_prompts_uses_no_terminal() -> None:
    destination = Destination.parse("nowhere")
    transport = open_transport(destination, transport="openssh", terminal=True)
    transport.disable_prompts()
    settings = transport._settings  # type: ignore[attr-defined]
    assert (settings.terminal, settings.ask) == (False, None)


@pytest.mark.parametrize(
    ("level", "used"),
    [("QUIET", ["LogLevel=ERROR"]), ("FATAL", ["LogLevel=ERROR"]), ("INFO", [])],
)
def test_quiet_ssh_reports_a_refused_login(
    tmp_path: Path, level: str, used: list[str]
) -> None:
    """Without the message of ssh, tej would log in again, and prompt several times."""
    path = tmp_path / "config"
    path.write_text(f"LogLevel {level}\n")
    settings = Settings(config_file=path)
    master = Master(read_config(Destination.parse("nowhere"), settings), settings)
    words = master._command(terminal=True)
    assert [word for word in words if word.startswith("LogLevel")] == used
    # Without a terminal, the option -v has the same effect.
    words = master._command(terminal=False)
    assert [word for word in words if word.startswith(("LogLevel", "-v"))] == ["-v"]
