"""Client of the VisTrails modules, which runs the `tej` command for each request."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs import Gate, job_directory

import tej
from tej_vistrails.client import (
    ClientError,
    CommandClient,
    QueueAddress,
    find_command,
)
from tests.adapters_vistrails.conftest import CHECKOUT


@pytest.fixture
def client(queue_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandClient:
    """Return a client for a queue on this machine."""
    monkeypatch.setenv("TEJ_COMMAND", shlex.join([sys.executable, "-m", "tej"]))
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    return CommandClient(QueueAddress("local:", str(queue_path), "default"))


def kind(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.message
    return caught.value.kind


def test_job_from_submission_to_end(
    client: Any, tmp_path: Path, queue_path: Path, gate: Gate
) -> None:
    assert client.status("a") is None
    work = str(job_directory(tmp_path, f"{gate.wait}; echo o; echo e >&2; exit 3"))
    assert client.ensure("a", work) is True
    assert client.ensure("a", work) is False
    assert client.status("a")["state"] in ("created", "queued", "running")
    gate.open()
    ended = client.wait("a")
    assert (ended["state"], ended["exit_code"], ended["final"]) == ("finished", 3, True)
    assert client.output("a", "stdout") == "o\n"
    assert client.output("a", "stderr") == "e\n"
    # The file system of the queue may be unmounted, so the job may exist.
    queue_path.rename(tmp_path / "away")
    assert kind(lambda: client.status("a")) == "QueueNotFound"


def test_options_and_files_of_job_reach_server(client: Any, tmp_path: Path) -> None:
    files = {"-run": '#!/bin/sh\nprintf "%s" "$ODD" >seen\n'}
    odd = "é='a'\n\"$b\""
    options = ["--script", "sh ./-run", "--label", "-x=y", "--env", f"ODD={odd}"]
    options += ["--id", "other"]
    client.ensure("a", str(job_directory(tmp_path, files=files)), options)
    status = client.wait("a")
    assert (status["exit_code"], status["labels"]) == (0, {"-x": "y"})
    client.download("a", ["seen"], str(tmp_path / "to"))
    assert (tmp_path / "to/seen").read_text() == odd


def test_files_with_odd_names_are_fetched(
    client: Any, library: tej.RemoteQueue, tmp_path: Path
) -> None:
    odd = ["a@b", "local:", "ssh://x", "-x", "plain"]
    folder = job_directory(tmp_path, files=dict.fromkeys(odd, "x"))
    library.wait([library.submit("a", folder)])
    for number, names in enumerate((odd, ["-x"], ["a@b"])):
        to = tmp_path / f"to{number}"
        written = client.download("a", names, str(to))
        assert sorted(written) == sorted(str(to / name) for name in names)


def test_errors_have_the_names_of_tejs_exceptions(
    client: Any, library: tej.RemoteQueue, tmp_path: Path
) -> None:
    library.wait([library.submit("a", job_directory(tmp_path))])
    other = str(job_directory(tmp_path, "other", name="other"))
    assert kind(lambda: client.ensure("a", other)) == "JobAlreadyExists"
    assert kind(lambda: client.wait("absent")) == "JobNotFound"
    fetch = ("a", ["absent"], str(tmp_path))
    assert kind(lambda: client.download(*fetch)) == "DownloadFailed"
    missing = str(tmp_path / "absent")
    assert kind(lambda: client.ensure("b", missing)) == "InvalidJobDirectory"


def test_queue_with_unwanted_runtime_is_refused(
    client: Any, library: tej.RemoteQueue
) -> None:
    library.setup()
    place = QueueAddress("local:", str(library.queue), None, ("pbs", "slurm"))
    picky = type(client)(place)
    assert kind(lambda: picky.status("a"))
    fitting = type(client)(
        QueueAddress("local:", str(library.queue), None, ("default", "slurm"))
    )
    assert fitting.status("a") is None


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("root@127.0.0.1:1", "ConnectionFailed"),
        ("host.invalid", "ConnectionFailed"),
        ("a b@", "InvalidDestination"),
    ],
)
def test_only_transient_connection_errors_are_retried(
    client: Any, destination: str, expected: str
) -> None:
    far = type(client)(QueueAddress(destination))
    with pytest.raises(ClientError) as caught:
        far.status("a")
    assert caught.value.kind == expected
    assert caught.value.is_temporary is (expected == "ConnectionFailed")


def test_hanging_command_is_named_in_error(place: object) -> None:
    silent = CommandClient(QueueAddress("server"), ["true"])
    assert kind(lambda: silent.status("a")) == "NoAnswer"
    absent = CommandClient(QueueAddress("server"), ["/absent/tej"])
    assert kind(lambda: absent.status("a")) == "NoCommand"


def test_command_comes_from_environment_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_command() == ["tej"]
    monkeypatch.setenv("TEJ_COMMAND", "python3 -m 'my tej'")
    assert find_command() == ["python3", "-m", "my tej"]


@pytest.mark.parametrize(
    ("destination", "shown"),
    [
        ("host", "host"),
        ("user@host:22", "user@host:22"),
        ("user:p@ss:w@host:22", "user@host:22"),
        ("user:a//b@[::1]:22", "user@[::1]:22"),
        ("ssh://user:pass@host", "ssh://user@host"),
    ],
)
def test_address_is_shown_without_password(destination: str, shown: str) -> None:
    place = QueueAddress(destination, "q")
    assert place.shown == shown
    assert repr(place) == f"<queue q on {shown}>"


def test_old_queue_is_refused_with_the_move_command(
    client: CommandClient, queue_path: Path
) -> None:
    # The files of a queue that was set up by tej 0.6.
    (queue_path / "commands").mkdir(parents=True)
    (queue_path / "version").write_text("0.2\n")
    with pytest.raises(ClientError) as caught:
        client.ensure("a", str(job_directory(queue_path.parent)))
    assert caught.value.kind == "QueueExists"
    words = f"rename this queue on the server: mv '{queue_path}' '{queue_path}.old'"
    assert words in caught.value.message
