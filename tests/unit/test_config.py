"""Configuration files: precedence of values, and invalid files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tej import config
from tej.errors import InvalidConfiguration

USER = """\
default = "lab"
[profile.lab]
destination = "me@lab"
queue = "/scratch/me"
persist = "8h"
trust_queue = true
results = ["out/*.csv"]
[profile.lab.resources]
cpus = 8
memory = "2G"
[profile.other]
destination = "other"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a project; the user has a configuration file as well."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "tej"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(USER)
    place = tmp_path / "project"
    (place / "below").mkdir(parents=True)
    return place


def test_project_wins_over_user_key_by_key(project: Path) -> None:
    (project / "tej.toml").write_text(
        '[profile.lab]\nresults = ["a", "b"]\n[profile.lab.resources]\ncpus = 2\n'
    )
    profile = config.load(project / "below").resolve(environ={})
    assert profile.name is not None
    assert profile.name.value == "lab"
    assert profile.get("results") == ("a", "b")
    assert profile.table("resources") == {"cpus": 2, "memory": "2G"}
    assert profile.settings["resources.cpus"].source == str(project / "tej.toml")
    assert profile.settings["resources.memory"].source == str(config.user_file())
    assert profile.options() == {
        "queue": "/scratch/me",
        "persist": "8h",
        "trust_queue": True,
    }


def test_command_line_then_environment_then_profile(project: Path) -> None:
    files = config.load(project)
    environ = {"TEJ_QUEUE": "/from/variable", "TEJ_PERSIST": ""}
    profile = files.resolve(environ=environ)
    assert profile.settings["queue"] == config.Setting("/from/variable", "TEJ_QUEUE")
    assert profile.get("persist") == "8h"
    assert files.resolve(None, {"queue": "/given"}, environ).get("queue") == "/given"
    named = files.resolve("lab", {}, environ | {"TEJ_DESTINATION": "elsewhere"})
    assert (named.get("destination"), named.get("queue")) == ("me@lab", "/scratch/me")
    by_variable = files.resolve(environ={"TEJ_PROFILE": "other"})
    assert by_variable.get("destination") == "other"


@pytest.mark.parametrize("environ", [{}, {"TEJ_DESTINATION": "host"}])
def test_other_destination_uses_only_job_keys_of_default(
    project: Path, environ: dict[str, str]
) -> None:
    (project / "tej.toml").write_text(
        '[profile.lab]\nignore = ["*.tmp"]\nenvironment = { N = "1" }\n'
    )
    given = {} if environ else {"destination": "host"}
    profile = config.load(project).resolve(None, given, environ)
    assert profile.name is None
    assert sorted(profile.settings) == ["destination", "environment.N", "ignore"]


def test_trust_belongs_to_the_queue_beside_it(project: Path) -> None:
    files = config.load(project)
    moved = files.resolve(environ={"TEJ_QUEUE": "/other"})
    assert moved.get("trust_queue") is None
    given = files.resolve(None, {"trust_queue": True}, {"TEJ_QUEUE": "/other"})
    assert given.get("trust_queue") is True
    (project / "tej.toml").write_text('[profile.lab]\nqueue = "/theirs"\n')
    assert config.load(project).resolve(environ={}).get("trust_queue") is None
    (project / "tej.toml").write_text("[profile.lab]\ntrust_queue = true\n")
    with pytest.raises(InvalidConfiguration, match="only in the user's file"):
        config.load(project)


def test_project_file_of_another_user_is_ignored(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (project / "tej.toml").write_text('[profile.lab]\ndestination = "theirs"\n')
    owner = (project / "tej.toml").stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    monkeypatch.setattr(config.files, "ROOT", owner + 2)
    assert config.load(project).resolve(environ={}).get("destination") == "me@lab"
    assert "belongs to another user" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profiles = 1", "unknown key 'profiles'; did you mean 'profile'?"),
        ("[profile.lab]\nrutime = 1", "'rutime' in [profile.lab]; did you mean 'runt"),
        ("[profile.lab.resources]\ncpu = 1", "did you mean 'cpus'?"),
        ("[profile.lab.resources]\nmemory = '500'", "500M"),
        ("[profile.lab]\nxyz = 1", "the known names are destination, environment"),
        ("[profile.lab]\nqueue = 5", "'queue' must be a string in quotes, not 5"),
        ("[profile.lab]\nresults = 'a'", "'results' must be a list of strings"),
        ("[profile.lab]\ntransport = 'telnet'", "openssh or paramiko"),
        ("[profile.lab]\npersist = 'long'", "60, 10m or 8h"),
        (
            "[profile.lab.environment]\nA = 1",
            "'environment.A' must be a string in quotes",
        ),
        ("[profile]\nlab = 1", "write a profile as [profile.NAME]"),
        ("default = 1", "'default' must be the name of a profile"),
        ("[profile.lab", "is not valid TOML"),
        ("profile = 1", "write a profile as [profile.NAME]"),
        (
            "[profile.lab]\ntrust_queue = 1",
            "'trust_queue' is accepted only in the user",
        ),
        ("[profile.lab]\nresources = 1", "'resources' must be a table, not 1"),
        ("[profile.lab.resources]\ncpus = 0", "[profile.lab]: "),
        ("[profile.lab.resources]\ncpus = 1.5", "'resources.cpus' cannot be 1.5"),
    ],
)
def test_error_in_a_file_is_explained(project: Path, text: str, message: str) -> None:
    (project / "tej.toml").write_text(text)
    with pytest.raises(InvalidConfiguration) as caught:
        config.load(project)
    assert message in str(caught.value)
    assert str(project / "tej.toml") in str(caught.value)


def test_missing_profile_is_an_error(project: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="no profile 'lap'.*mean 'lab'"):
        config.load(project).resolve("lap", environ={})


def test_new_profile_keeps_the_rest_of_the_file(project: Path) -> None:
    path = project / "tej.toml"
    section = '[profile.new]\ndestination = "n"\n'
    config.add_profile(path, "new", section)
    assert config.load(project).default == config.Setting("new", str(path))
    before = path.read_text()
    for name, text in (("new", section), ("bad", "[profile.bad]\nqueue = 1\n")):
        with pytest.raises(InvalidConfiguration):
            config.add_profile(path, name, text)
    assert path.read_text() == before
    config.add_profile(path, "more", '[profile.more]\ndestination = "m"\n')
    assert path.read_text() == before + '\n[profile.more]\ndestination = "m"\n'
    assert [one.name for one in project.iterdir()] == ["below", "tej.toml"]


def test_file_that_cannot_be_read_is_an_error(project: Path) -> None:
    (project / "tej.toml").write_bytes(b"\xff")
    with pytest.raises(InvalidConfiguration, match="cannot be read"):
        config.load(project)


def test_unusable_folder_does_not_end_the_search(project: Path) -> None:
    (project / "tej.toml").write_text('[profile.lab]\nqueue = "q"\n')
    # The path of a file in this folder is longer than a name may be.
    assert config.files.find_project_file(project / ("x" * 300)) == project / "tej.toml"


def test_new_profile_does_not_replace_another(project: Path) -> None:
    path = project / "new folder/tej.toml"
    config.files.add_profile(path, "é", '[profile."é"]\nqueue = "q"\n')
    assert path.read_text("utf-8").startswith('default = "é"\n')
    before = path.read_bytes()
    for name in ("é", "lab"):
        with pytest.raises(InvalidConfiguration):
            config.files.add_profile(path, name, f'[profile."{name}"]\nqueue = 1\n')
    with pytest.raises(InvalidConfiguration, match="already"):
        config.files.add_profile(path, "é", '[profile."other"]\n')
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]
