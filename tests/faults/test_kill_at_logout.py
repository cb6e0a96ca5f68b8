"""Servers that kill a user's processes at logout (systemd's KillUserProcesses)."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.faulty_servers import Doubles
from jobs import wait_until

import tej

Make = Callable[..., Path]


class Systemd:
    """Doubles of systemd's programs, which record their arguments."""

    def __init__(self, doubles: Doubles, folder: Path) -> None:
        self.log = folder / "systemd.log"
        self.log.touch()
        self._doubles = doubles
        log = shlex.quote(str(self.log))
        doubles.add("loginctl", f'echo loginctl "$@" >>{log}')
        self.set_property("b true")
        self.set_scope('while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')

    def set_property(self, value: str) -> None:
        """Set the value of KillUserProcesses."""
        self._doubles.add("busctl", f"echo {shlex.quote(value)}")

    def set_scope(self, script: str) -> None:
        """Set the behaviour of systemd-run."""
        log = shlex.quote(str(self.log))
        self._doubles.add("systemd-run", f'echo systemd-run "$@" >>{log}\n{script}')

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def systemd(doubles: Doubles, tmp_path: Path) -> Systemd:
    return Systemd(doubles, tmp_path)


def check_a_job(queue: tej.RemoteQueue, job: Make) -> None:
    """Check that a job runs to its end and that its end is recorded."""
    queue.submit("job", job("exit 6"))
    wait_until(lambda: queue.status("job").state.final, "the job has ended")
    assert queue.status("job").exit_code == 6


def test_user_service_manager_runs_job_if_logout_kills(
    queue: tej.RemoteQueue, job: Make, systemd: Systemd
) -> None:
    check_a_job(queue, job)
    assert "loginctl enable-linger" in systemd.calls
    (call,) = [call for call in systemd.calls if "run_detached.sh" in call]
    assert call.startswith("systemd-run --user --scope")


@pytest.mark.parametrize("value", ["b false", "", "garbage"])
def test_no_service_manager_if_logout_kills_nothing(
    value: str, queue: tej.RemoteQueue, job: Make, systemd: Systemd
) -> None:
    systemd.set_property(value)
    check_a_job(queue, job)
    assert systemd.calls == []


def test_job_starts_if_service_manager_refuses(
    queue: tej.RemoteQueue, job: Make, systemd: Systemd
) -> None:
    systemd.set_scope("exit 1")
    check_a_job(queue, job)
    assert not any("run_detached.sh" in call for call in systemd.calls)


def test_job_starts_without_systemd(
    queue: tej.RemoteQueue, job: Make, doubles: Doubles
) -> None:
    doubles.add("busctl", "exit 127")
    check_a_job(queue, job)
