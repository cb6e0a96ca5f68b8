"""`tej doctor`: finds the cause of connection problems, and prints no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from servers.sshd import Sshd, free_port


def doctor(destination: str, *options: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = subprocess.run(
        [sys.executable, "-m", "tej", "doctor", destination, "--json", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "TEJ_TRANSPORT": ""},
    )
    assert done.stderr == ""
    steps = json.loads(done.stdout)["steps"]
    return done.returncode, {step["name"]: step for step in steps}


def test_healthy_server_passes_all_checks(sshd: Sshd, client_home: Path) -> None:
    status, steps = doctor("server", "--queue", "never/made")
    # The fixtures hide the machine's schedulers, so that no scheduler responds.
    trouble = {name for name, step in steps.items() if step["state"] == "trouble"}
    assert trouble <= {"slurm", "qsub"}
    assert status == bool(trouble)
    assert ("scheduler" in steps) == ({"slurm", "qsub"}.isdisjoint(steps))
    assert steps["login"]["state"] == steps["home"]["state"] == "ok"
    assert steps["setsid"]["text"] == "available"
    assert steps["ssh"]["text"].startswith("OpenSSH")
    assert "does not exist yet" in steps["queue"]["text"]
    # Silent schedulers delay the checks, and must not count as a difference of clocks.
    assert list(steps)[-1] == "clock"
    assert sshd.home is not None
    assert not (sshd.home / "never").exists()


def test_closed_port_is_found(client_home: Path) -> None:
    status, steps = doctor(f"127.0.0.1:{free_port()}")
    assert status == 1
    assert steps["port"]["state"] == "trouble"
    assert "login" not in steps


def test_configuration_that_ssh_rejects_is_found(client_home: Path) -> None:
    config = client_home / ".ssh/config"
    config.write_text(f"UseKeychainOfTests yes\n{config.read_text()}")
    status, steps = doctor("server")
    assert status == 1
    assert steps["configuration"]["state"] == "trouble"
    assert "IgnoreUnknown usekeychainoftests" in steps["configuration"]["text"]


def test_refused_login_is_explained(sshd: Sshd, client_home: Path) -> None:
    config = client_home / ".ssh/config"
    text = config.read_text().replace(str(sshd.key), "/nowhere/key")
    config.write_text(text)
    status, steps = doctor("server")
    assert status == 1
    assert "publickey" in steps["login"]["text"]
