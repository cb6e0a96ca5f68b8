"""Profiles on the command line: `tej init`, `tej config`, and the destination."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import tej

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Done

Here = Callable[..., "Done"]


def test_init_writes_a_profile_that_commands_use(
    client: Command, plain_queue: Path, ended: str
) -> None:
    added = client(
        *("init", "lab", "local:", "--queue", plain_queue, "--result", "*.csv"),
        *("--ignore", "*.csv", "--ignore", "old"),
    )
    assert (added.status, added.stdout) == (0, "")
    path = client.place / "tej.toml"
    assert str(path) in added.stderr
    below = client.place / "below"
    below.mkdir()
    client.place = below
    shown = client("config", "--json", TEJ_QUEUE="/elsewhere").json
    assert shown["profile"] == "lab"
    assert shown["settings"] == {
        "destination": {"value": "local:", "source": str(path)},
        "queue": {"value": "/elsewhere", "source": "TEJ_QUEUE"},
        "results": {"value": ["*.csv"], "source": str(path)},
        "ignore": {"value": ["*.csv", "old"], "source": str(path)},
        "runtime": {"value": "default", "source": "TEJ_RUNTIME"},
    }
    assert client("list").stdout == f"{ended} finished 0\n"
    # The profile's name is a destination as well.
    assert client("list", "lab").stdout == f"{ended} finished 0\n"


def test_init_warns_of_an_expanded_tilde(client: Command) -> None:
    path = f"{client.environment['HOME']}/jobs"
    done = client("init", "lab", "me@far.example", "--queue", path)
    assert done.status == 0
    assert "quote it: --queue '~/jobs'" in done.stderr
    assert client("init", "own", "local:", "--queue", path).stderr.count("\n") == 1


def test_home_directory_is_sent_only_by_name(client: Command, queue_path: Path) -> None:
    client.environment["HOME"] = str(client.place)
    done = client("run", "local:", "--", "true")
    assert done.status == 2
    assert "write '.' to send all files" in done.stderr
    words = ("run", "local:", ".", "--dry-run", "--queue", queue_path, "--", "true")
    assert client(*words).status == 0


def test_init_asks_at_a_terminal_only(client: Command) -> None:
    done = client("init", "--user")
    assert (done.status, done.stdout) == (2, "")
    assert "Give NAME and DESTINATION" in done.stderr


def test_init_asks_for_all_without_arguments(client: Command) -> None:
    done = client.on_terminal("init", answer=b"lab\nlocal:\n~/queue\n*.csv out/*\n")
    assert done.status == 0, done.stdout
    text = (client.place / "tej.toml").read_text()
    assert 'queue = "~/queue"' in text
    assert 'results = ["*.csv", "out/*"]' in text


def test_init_never_replaces_a_profile(here: Here, client: Command) -> None:
    before = (client.place / "tej.toml").read_text()
    done = here("init", "here", "other-host")
    assert (done.status, done.stdout) == (1, "")
    assert "has a profile 'here' already" in done.stderr
    assert (client.place / "tej.toml").read_text() == before


def test_destination_replaces_the_default_profile(here: Here, client: Command) -> None:
    (client.place / "tej.toml").write_text(
        'default = "far"\n[profile.far]\ndestination = "host.invalid"\nqueue = "/q"\n'
    )
    done = here("list", "local:", "--queue", "/nowhere/at/all")
    assert done.status == 1
    assert "There is no queue at '/nowhere/at/all'" in done.stderr
    done = here("status", "server")
    assert (done.status, done.stdout) == (2, "")
    assert "write ssh://server for the destination, or --id server" in done.stderr


def test_broken_configuration_exits_with_125_for_run(
    here: Here, client: Command
) -> None:
    (client.place / "tej.toml").write_text("[profile.lab]\ndestinaton = 'x'\n")
    done = here("run", ".")
    assert (done.status, done.stdout) == (125, "")
    assert "did you mean 'destination'?" in done.stderr


def test_python_api_reads_a_profile_on_request(here: Here, plain_queue: Path) -> None:
    with tej.RemoteQueue.from_profile() as queue:
        assert str(queue.queue) == str(plain_queue)
        assert queue.jobs() == []
    other = tej.RemoteQueue.from_profile("here", queue="/other")
    assert str(other.queue) == "/other"
