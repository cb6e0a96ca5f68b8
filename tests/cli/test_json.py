"""`--json`: exactly one document on stdout, with stable keys, also for errors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs import wait_until_ended

import tej

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]

JOB_KEYS = [
    "id",
    "state",
    "final",
    "exit_code",
    "signal",
    "directory",
    "submitted",
    "started",
    "ended",
    "duration",
    "host",
    "native_id",
    "runtime",
    "cut_off",
    "killed_by",
    "evidence",
    "note",
    "seen",
    "processes_left",
    "attempt",
    "name",
    "script",
    "submitter",
    "signature",
    "labels",
    "parameters",
    "after",
    "resources",
    "downloaded",
]


@pytest.fixture
def ask(client: Command, queue_path: Path) -> Callable[..., object]:
    """Return a function that runs a command and returns its document and exit status."""

    def ask_(verb: str, *words: object) -> object:
        done = client(verb, "local:", "--queue", queue_path, "--json", *words)
        ask_.status = done.status  # type: ignore[attr-defined]
        # Messages for people are on stderr only.
        assert done.stderr == ""
        assert done.stdout.isascii()
        return done.json

    return ask_


def test_setup(ask: Callable[..., dict], queue_path: Path, tmp_path: Path) -> None:
    link = str(tmp_path / "link")
    assert ask("setup", "--runtime", "default", "--make-link", link) == {
        "queue": str(queue_path),
        "links": [link],
    }


def test_submit(ask: Callable[..., dict], job: Make) -> None:
    document = ask("submit", "--runtime", "default", "--id", "a", job("true"))
    assert document["id"] == "a"


def test_status_of_a_running_job(ask: Callable[..., dict], waiting: str) -> None:
    (document,) = ask("status", "--id", waiting)["jobs"]
    assert document.keys() >= {*JOB_KEYS}
    assert (document["id"], document["state"], document["final"]) == (
        waiting,
        "running",
        False,
    )
    assert (document["exit_code"], document["ended"], document["error"]) == (None,) * 3
    assert datetime.fromisoformat(document["started"]).tzinfo is not None
    assert isinstance(document["duration"], float)


def test_status_of_an_ended_job(
    ask: Callable[..., dict], ended: str, queue_path: Path
) -> None:
    (document,) = ask("status", "--id", ended)["jobs"]
    assert document.keys() >= {*JOB_KEYS}
    assert (document["state"], document["final"], document["exit_code"]) == (
        "finished",
        True,
        0,
    )
    assert document["directory"] == str(queue_path / "jobs" / ended / "stage")
    assert (document["name"], document["script"]) == ("ended job", "start.sh")


def test_status_of_existing_and_missing_job(
    ask: Callable[..., dict], ended: str
) -> None:
    first, second = ask("status", "--id", ended, "--id", "absent")["jobs"]
    assert ask.status == 3  # type: ignore[attr-defined]
    assert first["error"] is None
    assert second.keys() == {"id", "error"}
    assert second["error"]["kind"] == "JobNotFound"
    assert second["error"]["message"].startswith("No job 'absent'\n")


def test_list(ask: Callable[..., dict], ended: str, waiting: str) -> None:
    jobs = ask("list")["jobs"]
    assert [(job["id"], job["state"]) for job in jobs] == [
        ("ended", "finished"),
        ("waiting", "running"),
    ]
    assert all(job.keys() >= {*JOB_KEYS} for job in jobs)


def test_list_of_an_empty_queue(ask: Callable[..., dict]) -> None:
    ask("setup", "--runtime", "default")
    assert ask("list") == {"jobs": []}


def test_download(ask: Callable[..., dict], ended: str, client: Command) -> None:
    document = ask("download", "--id", ended, "plots/*.png", "results.csv")
    assert document["id"] == ended
    assert sorted(document["files"]) == [
        "plots/one.png",
        "plots/two.png",
        "results.csv",
    ]
    assert all((client.place / name).is_file() for name in document["files"])


def test_kill(ask: Callable[..., dict], ended: str, waiting: str) -> None:
    first, second, third = ask(
        "kill", "--id", waiting, "--id", ended, "--id", "absent"
    )["jobs"]
    assert ask.status == 3  # type: ignore[attr-defined]
    assert (first["state"], first["was"], first["error"]) == ("killed", "running", None)
    assert (second["state"], second["was"]) == ("finished", "finished")
    assert third["error"]["kind"] == "JobNotFound"


def test_delete(ask: Callable[..., dict], ended: str, waiting: str) -> None:
    first, second = ask("delete", "--id", ended, "--id", waiting)["jobs"]
    assert ask.status == 5  # type: ignore[attr-defined]
    assert (first["id"], first["deleted"], first["error"]) == (ended, True, None)
    assert second["deleted"] is False
    assert second["error"]["kind"] == "JobStillRunning"


def test_cleanup(ask: Callable[..., dict], ended: str, queue_path: Path) -> None:
    assert ask("cleanup", "--yes") == {"queue": str(queue_path), "removed": True}


@pytest.mark.parametrize(
    ("words", "status", "kind"),
    [
        (["list"], 1, "QueueNotFound"),
        (["status", "--id", "a"], 1, "QueueNotFound"),
        (["status", "--id", ".."], 1, "InvalidJobId"),
        (["submit", "absent"], 1, "InvalidJobDirectory"),
        (["kill"], 2, "UsageError"),
        (["list", "more"], 2, "UsageError"),
        (["list", "--nonsense"], 2, "UsageError"),
        (["setup", "--runtime", "quantum"], 2, "UsageError"),
    ],
)
def test_error_is_a_json_document(
    ask: Callable[..., dict], words: list[str], status: int, kind: str
) -> None:
    document = ask(*words)
    assert ask.status == status  # type: ignore[attr-defined]
    assert document.keys() == {"error"}
    assert list(document["error"]) == ["kind", "message"]
    assert document["error"]["kind"] == kind
    assert document["error"]["message"]


def test_connection_error_is_a_json_document(client: Command) -> None:
    done = client("list", "host.invalid", "--json")
    assert (done.status, done.stderr) == (1, "")
    assert done.json["error"]["kind"] == "ConnectionFailed"


def test_existing_job_error_is_a_json_document(
    ask: Callable[..., dict], ended: str, job: Make
) -> None:
    document = ask("submit", "--id", ended, job("true"))
    assert ask.status == 4  # type: ignore[attr-defined]
    assert document["error"]["kind"] == "JobAlreadyExists"


def test_keys_equal_those_of_the_library(
    ask: Callable[..., dict], library: tej.RemoteQueue, ended: str
) -> None:
    (document,) = ask("status", "--id", ended)["jobs"]
    assert {key: document[key] for key in JOB_KEYS} == library.status(ended).as_dict()


def test_labels_and_resources_come_back(ask: Callable[..., dict], job: Make) -> None:
    ask(
        "submit",
        "--runtime",
        "default",
        "--id",
        "a",
        "--label",
        "owner=é",
        "--label",
        "x=a=b c",
        "--cpus",
        "2",
        job("true"),
    )
    (document,) = ask("status", "--id", "a")["jobs"]
    assert document["labels"] == {"owner": "é", "x": "a=b c"}
    assert document["resources"] == {"cpus": "2"}


def test_killed_job_names_who_killed_it(
    ask: Callable[..., dict], library: tej.RemoteQueue, waiting: str
) -> None:
    library.kill(waiting)
    wait_until_ended(library, waiting)
    (document,) = ask("status", "--id", waiting)["jobs"]
    assert "@" in document["killed_by"]


def test_logs_of_several_jobs(
    ask: Callable[..., dict], ended: str, waiting: str
) -> None:
    first, second, third = ask(
        "logs", "--id", ended, "--id", "absent", "--id", waiting
    )["jobs"]
    assert ask.status == 3  # type: ignore[attr-defined]
    assert (first["id"], third["id"]) == (ended, waiting)
    assert first["files"].keys() == third["files"].keys() == {"_stdout", "_stderr"}
    assert first["error"] is None
    assert (second["files"], second["error"]["kind"]) == (None, "JobNotFound")
