"""Network faults of an SSH connection, and the resulting error messages."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from jobs import wait_until, wait_until_connected
from servers.proxy import DOWN, UP, Proxy
from servers.sshd import Sshd, free_port

from tej.errors import AuthenticationFailed, ConnectionFailed
from tej.transport import Transport

pytestmark = pytest.mark.usefixtures("each_ssh")

T = TypeVar("T")
Through = Callable[..., Transport]
Left = Callable[[], list[str]]
MEGABYTE = 1 << 20
FOREVER = "exec yes"
"""A program that ends when its output is no longer read."""


class Sink:
    def __init__(self) -> None:
        self.size = 0
        self.ends = 0

    def __call__(self, data: bytes) -> None:
        self.size += len(data)
        self.ends += not data


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(MEGABYTE)


def test_cut_during_send_fails_then_reconnects(
    through: Through, proxy: Proxy, no_thread_left: Left
) -> None:
    transport, sink = through(), Sink()
    transport.run("true")
    proxy.cut_after(up=3_000_000)
    with pytest.raises(ConnectionFailed, match=f"{proxy.port} was lost") as caught:
        transport.run("cat >/dev/null", endless(), sink)
    assert caught.value.__cause__ is not None
    assert caught.value.cut
    assert sink.ends == 1
    assert no_thread_left() == []
    assert transport.run("printf again").stdout == b"again"
    assert proxy.connections == 2


def test_cut_during_receive_fails_then_reconnects(
    through: Through, proxy: Proxy, no_thread_left: Left
) -> None:
    transport, sink = through(), Sink()
    transport.run("true")
    proxy.cut_after(down=3_000_000)
    with pytest.raises(ConnectionFailed, match="was lost") as caught:
        transport.run(FOREVER, stdout=sink)
    assert caught.value.cut
    # Data in a buffer is lost with the connection.
    assert sink.size > 0
    assert sink.ends == 1
    assert no_thread_left() == []
    assert transport.run("printf again").stdout == b"again"


def test_cut_output_of_an_ended_program_is_no_success(
    through: Through, proxy: Proxy, tmp_path: Path
) -> None:
    """sshd reads all output, and sends the exit status before the last of it."""
    proxy.segment = 1448
    transport = through()
    size, go, ended = 1_900_000, tmp_path / "go", tmp_path / "ended"

    def cut_before_the_last_output() -> None:
        wait_until(ended.exists, "the program has ended")
        proxy.cut_after(down=size - 400_000)
        proxy.resume()

    cutter = threading.Thread(target=cut_before_the_last_output)

    def stall_at_first(data: bytes) -> None:
        if data and not go.exists():
            proxy.stall()
            go.touch()
            cutter.start()

    program = (
        f"echo begun; until [ -e {go} ]; do sleep 0.1; done; "
        f"head -c {size} /dev/zero; : >{ended}"
    )
    with pytest.raises(ConnectionFailed, match="was lost") as caught:
        transport.run(program, stdout=stall_at_first)
    cutter.join()
    assert caught.value.cut


def test_waiting_input_iterator_ends_at_a_cut(
    through: Through, proxy: Proxy, no_thread_left: Left
) -> None:
    transport = through()
    ended = threading.Event()

    def waiting() -> Iterator[bytes]:
        yield b"hello\n"
        proxy.cut()
        ended.wait()

    def sink(data: bytes) -> None:
        if not data:
            ended.set()

    with pytest.raises(ConnectionFailed):
        transport.run("cat", waiting(), sink)
    assert no_thread_left() == []


@pytest.mark.parametrize("size", [0, 40, 700, 2500, 5000])
def test_cut_during_login_is_connection_failed(
    size: int, through: Through, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    transport, sink = through(), Sink()
    proxy.cut_after(down=size)
    with pytest.raises(ConnectionFailed, match=str(proxy.port)) as caught:
        transport.run(f"{FOREVER} >&2", stdout=sink)
    assert not isinstance(caught.value, AuthenticationFailed)
    assert caught.value.__cause__ is not None
    assert sink.ends == 1
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert not any(isinstance(t, threading.Timer) for t in threading.enumerate())
    assert transport.run("printf again").stdout == b"again"


def test_stalled_upload_times_out(
    through: Through, proxy: Proxy, no_thread_left: Left
) -> None:
    transport, sink = through(io_timeout=1), Sink()
    wait_until_connected(transport)

    def stalling() -> Iterator[bytes]:
        yield bytes(MEGABYTE)
        proxy.stall()
        yield from endless()

    with pytest.raises(ConnectionFailed, match=r"silent for 1 s|within 1 s|lost"):
        transport.run("cat >/dev/null", stalling(), sink)
    assert sink.ends == 1
    assert no_thread_left() == []
    proxy.resume()
    wait_until_connected(transport)


def test_stalled_download_times_out(
    through: Through, proxy: Proxy, no_thread_left: Left
) -> None:
    transport, sink = through(io_timeout=1), Sink()
    wait_until_connected(transport)

    def stalling(data: bytes) -> None:
        sink(data)
        if sink.size > MEGABYTE:
            proxy.stall()

    with pytest.raises(ConnectionFailed, match=r"silent for 1 s|within 1 s|lost"):
        transport.run(FOREVER, stdout=stalling)
    assert sink.ends == 1
    assert no_thread_left() == []
    proxy.resume()
    wait_until_connected(transport)


def test_stall_in_both_directions_times_out(
    through: Through, proxy: Proxy, no_thread_left: Left
) -> None:
    transport, sink = through(io_timeout=1), Sink()
    wait_until_connected(transport)

    def stalling(data: bytes) -> None:
        sink(data)
        if sink.size > 5 * MEGABYTE:
            proxy.stall()

    with pytest.raises(ConnectionFailed):
        transport.run("cat", endless(), stalling)
    assert sink.ends == 1
    assert no_thread_left() == []


def test_program_that_reads_no_input_times_out(
    connect: Through, sshd: Sshd, no_thread_left: Left
) -> None:
    transport = connect(sshd.destination, io_timeout=1)
    wait_until_connected(transport)
    with pytest.raises(ConnectionFailed, match=r"silent for 1 s|within 1 s"):
        transport.run("sleep 20", endless())
    assert no_thread_left() == []


def result_in_time(action: Callable[[], T]) -> T:
    """Return the result of `action`, which a busy machine may have to repeat.

    On such a machine, even a program that tej must not interrupt may exceed the time
    limit.
    """
    results: list[T] = []

    def succeeds() -> bool:
        with contextlib.suppress(ConnectionFailed):
            results.append(action())
        return bool(results)

    wait_until(succeeds, "no time limit is exceeded")
    return results[0]


def test_silent_program_does_not_affect_others(connect: Through, sshd: Sshd) -> None:
    transport = connect(sshd.destination, io_timeout=3)
    wait_until_connected(transport)
    program = "for i in 1 2 3 4 5 6 7 8 9 0; do printf .; sleep 0.5; done"

    def talk_beside_silence() -> bytes:
        with ThreadPoolExecutor() as pool:
            talking = pool.submit(lambda: transport.run(program).stdout)
            with pytest.raises(ConnectionFailed):
                transport.run("sleep 20")
            return talking.result()

    assert result_in_time(talk_beside_silence) == b".........."


def test_output_on_stderr_prevents_timeout(connect: Through, sshd: Sshd) -> None:
    transport = connect(sshd.destination, io_timeout=3)
    program = "for i in 1 2 3 4 5 6 7 8; do sleep 0.5; printf . >&2; done"
    assert result_in_time(lambda: transport.run(program).stderr) == b"........"


def test_slow_sink_causes_no_timeout(connect: Through, sshd: Sshd) -> None:
    transport = connect(sshd.destination, io_timeout=2)

    def read_slowly() -> int:
        sizes: list[int] = []

        def slow(data: bytes) -> None:
            if data and not sizes:
                threading.Event().wait(2.5)
            sizes.append(len(data))

        transport.run("head -c 20000000 /dev/zero", stdout=slow)
        return sum(sizes)

    assert result_in_time(read_slowly) == 20_000_000


def test_refused_connection_names_server(connect: Through) -> None:
    port = free_port()
    with pytest.raises(ConnectionFailed, match=f"somebody@127.0.0.1:{port} refuses"):
        connect(f"somebody@127.0.0.1:{port}").run("true")


def test_unknown_host_name_is_named(connect: Through) -> None:
    with pytest.raises(ConnectionFailed, match=r"me@no-such-host\.invalid:22 cannot"):
        connect("me@no-such-host.invalid").run("true")


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
def test_invalid_host_name_is_not_found(connect: Through, host: str) -> None:
    with pytest.raises(ConnectionFailed, match="cannot be found"):
        connect(host).run("true")


@pytest.mark.parametrize(
    "banner", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\xff\n"]
)
def test_non_ssh_server_is_recognized(connect: Through, banner: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(banner * 3)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConnectionFailed, match=str(port)):
            connect(f"127.0.0.1:{port}", timeout=5).run("true")
        thread.join()


def test_silent_server_times_out(
    through: Through, proxy: Proxy, no_thread_left: Left
) -> None:
    transport, sink = through(timeout=1), Sink()
    proxy.stall()
    with pytest.raises(ConnectionFailed, match=f"{proxy.port} does not answer"):
        transport.run("true", stdout=sink)
    assert sink.ends == 1
    proxy.resume()
    wait_until_connected(transport)


def test_stalled_login_times_out(through: Through, proxy: Proxy) -> None:
    transport = through(timeout=1)
    stalled = threading.Thread(
        target=lambda: (proxy.wait_for_bytes(UP, 1000), proxy.stall())
    )
    stalled.start()
    with pytest.raises(ConnectionFailed, match=str(proxy.port)):
        transport.run("true")
    stalled.join()
    proxy.resume()
    wait_until_connected(transport)


def test_idle_connection_reopens_after_a_cut(through: Through, proxy: Proxy) -> None:
    transport = through()
    transport.run("true")
    proxy.cut()
    assert transport.run("printf again").stdout == b"again"
    assert (proxy.connections, transport.runs) == (2, 2)


def test_idle_connection_reopens_after_silent_loss(
    through: Through, proxy: Proxy
) -> None:
    transport = through(timeout=4, keep_alive=1)
    transport.run("true")
    proxy.freeze()
    assert transport.run("printf again").stdout == b"again"
    assert (proxy.connections, transport.runs) == (2, 2)


def test_restarted_server_is_reconnected(
    start_sshd: Callable[..., Sshd], connect: Through
) -> None:
    server = start_sshd()
    transport = connect(server.destination, config_file=server.config(server.folder))
    transport.run("true")
    server.stop()
    with pytest.raises(ConnectionFailed, match="refuses"):
        transport.run("true")
    server.start()
    assert transport.run("printf again").stdout == b"again"


def statuses_of_programs(transport: Transport, number: int) -> list[int]:
    """Return the exit statuses of programs that threads start at the same moment."""
    gate = threading.Barrier(number)

    def one(_: int) -> int:
        gate.wait()
        return transport.run("sleep 0.2; exit 3").status

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def test_one_connection_runs_eight_programs(connect: Through, sshd: Sshd) -> None:
    """sshd allows ten sessions; with twelve threads, no session is refused."""
    transport = connect(sshd.destination)
    assert statuses_of_programs(transport, 12) == [3] * 12


def test_fewer_sessions_than_threads_are_no_error(
    start_sshd: Callable[..., Sshd], connect: Through
) -> None:
    server = start_sshd(options=["MaxSessions 2"])
    transport = connect(server.destination, config_file=server.config(server.folder))
    assert statuses_of_programs(transport, 6) == [3] * 6


def test_waiting_thread_does_not_block_others(
    start_sshd: Callable[..., Sshd], connect: Through
) -> None:
    server = start_sshd(options=["MaxSessions 1"])
    transport = connect(server.destination, config_file=server.config(server.folder))
    begun, end = threading.Event(), threading.Event()

    def until_end() -> Iterator[bytes]:
        yield b""
        end.wait()

    waiting = threading.Thread(
        target=transport.run,
        args=("echo begun; cat", until_end(), lambda data: begun.set()),
    )
    waiting.start()
    assert begun.wait(90)
    for _ in range(2):
        assert transport.run("printf 1").stdout == b"1"
    assert waiting.is_alive()
    end.set()
    waiting.join()
    assert server.connections() == 2


def test_server_without_sessions_is_an_error(
    start_sshd: Callable[..., Sshd], connect: Through
) -> None:
    server = start_sshd(options=["MaxSessions 0"])
    transport = connect(server.destination, config_file=server.config(server.folder))
    with pytest.raises(ConnectionFailed, match="refuses to open a session"):
        transport.run("true")


def test_idle_connection_is_kept_alive(through: Through, proxy: Proxy) -> None:
    transport = through(keep_alive=1)
    transport.run("true")
    proxy.wait_for_bytes(UP, 50)
    assert transport.run("printf still").stdout == b"still"
    assert proxy.connections == 1


def test_close_disconnects(through: Through, proxy: Proxy, sshd: Sshd) -> None:
    transport = through()
    transport.run("true")
    before = proxy.bytes[DOWN]
    transport.close()
    assert not any("paramiko" in repr(t) and t.is_alive() for t in _soon_ended())
    assert proxy.bytes[DOWN] >= before


def _soon_ended() -> list[threading.Thread]:
    """Wait for the threads of paramiko that end by themselves."""
    threads = [t for t in threading.enumerate() if "paramiko.Transport" in repr(t)]
    for thread in threads:
        if "unconnected" in repr(thread):
            thread.join()
    return [t for t in threads if "unconnected" in repr(t)]
