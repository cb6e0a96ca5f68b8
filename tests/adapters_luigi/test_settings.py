"""Settings: where each value comes from, and that no secret is visible."""

from __future__ import annotations

import contextlib
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import luigi
import pytest
from jobs import job_directory

import tej
from tej_luigi import TejTask
from tej_luigi.config import QueueAddress, check_tracking_url, find_address
from tej_luigi.display import parse_progress
from tests.adapters_luigi.run_tasks import Configure, build


class Task(TejTask):
    inline = "true"


def test_task_overrides_configuration_and_environment(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(Task):
        destination = "local:"
        queue = "/own"

    monkeypatch.setenv("TEJ_DESTINATION", "environment")
    monkeypatch.setenv("TEJ_QUEUE", "")
    monkeypatch.setenv("TEJ_RUNTIME", "")
    assert Task().address == QueueAddress("environment", tej.DEFAULT_TEJ_DIR)
    monkeypatch.setenv("TEJ_QUEUE", "/environment")
    monkeypatch.setenv("TEJ_RUNTIME", "slurm")
    assert Task().address == QueueAddress("environment", "/environment", "slurm")
    configure(tej={"destination": "configured", "queue": "/configured"})
    assert Task().address == QueueAddress("configured", "/configured", "slurm")
    assert Own().address == QueueAddress("local:", "/own", "slurm")
    configure(tej={"destination": "configured", "runtime": "pbs"})
    assert Own().address.runtime == "pbs"


@pytest.mark.parametrize(
    ("template", "is_valid"),
    [
        (None, True),
        ("http://lab/{job_id}/{native_id}/{host}/{queue}/{{x}}", True),
        ("http://lab/{job}", False),
        ("http://lab/{}", False),
        ("http://lab/{job_id", False),
        ("http://lab/{job_id.x}", False),
        ("http://lab/{job_id[x]}", False),
    ],
)
def test_tracking_url_has_known_fields_only(
    template: str | None, is_valid: bool
) -> None:
    words = "may contain {job_id}, {native_id}, {host}, {queue};"
    with (
        contextlib.nullcontext()
        if is_valid
        else pytest.raises(tej.Error, match=re.escape(words))
    ):
        check_tracking_url(template)


def test_attributes_become_the_job_of_the_task(tmp_path: Path) -> None:
    class Work(TejTask):
        size = luigi.IntParameter(default=2)
        hidden = luigi.IntParameter(default=3, significant=False)
        secret = luigi.IntParameter(
            default=4, visibility=luigi.parameter.ParameterVisibility.PRIVATE
        )
        directory = str(tmp_path)
        command = "run {{size}}"
        environment: ClassVar = {"SIZE": "{{size}}"}
        labels: ClassVar = {"a": "b"}
        login = True
        job_resources = tej.Resources(cpus=2)

    class Named(Work):
        job_id_is_task_id = True
        login = False

    task = Work()
    assert task.variables() == {"size": "2"}
    with task.job_spec() as spec:
        assert spec.script == "run 2"
        assert (Path(spec.directory), spec.job_id, spec.name) == (
            tmp_path,
            None,
            "Work",
        )
        assert (spec.labels, spec.environment) == ({"a": "b"}, {"SIZE": "2"})
        assert (spec.resources, spec.login) == (tej.Resources(cpus=2), True)
    with Named().job_spec() as spec:
        assert (spec.job_id, spec.login) == (Named().task_id, False)


def test_missing_destination_error_names_the_settings() -> None:
    with pytest.raises(tej.InvalidDestination, match=r"\[tej\] of luigi.cfg"):
        Task().complete()


def test_configuration_in_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "luigi.toml").write_text('[tej]\ndestination = "toml"\nretry = 3\n')
    lines = "import luigi, tej_luigi; s = tej_luigi.settings(); print(s.destination, s.retry)"
    monkeypatch.setenv("LUIGI_CONFIG_PARSER", "toml")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.toml"))
    assert run_python(lines) == "toml 3\n"


def test_password_from_environment_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "luigi.cfg").write_text("[tej]\ndestination = me:${SECRET}@host\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    monkeypatch.setenv("SECRET", "hunter2")
    lines = """
import luigi, tej_luigi
from tej_luigi.config import find_address

class Task(tej_luigi.TejTask):
    inline = "true"

address = find_address()
assert address.destination == "me:hunter2@host"
task = Task()
target = task.output()["job"]
print(address, address.key, task, task.task_id, task.to_str_params(), task.job_id)
print(repr(target), target, target.address, repr(tej_luigi.TejFileTarget("x")))
print(tej_luigi.settings(), tej_luigi.TejFileSystem())
"""
    said = run_python(lines)
    assert "ssh://me@host" in said
    assert "hunter2" not in said


def run_python(lines: str) -> str:
    command = [sys.executable, "-c", lines]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_settings_do_not_change_ids(address: QueueAddress) -> None:
    class Work(Task):
        n = luigi.IntParameter(default=1)

    before = (Work().task_id, Work().job_id)
    Work.queue, Work.retry = "/elsewhere", 5
    Work.job_resources = tej.Resources(cpus=4)
    assert (Work().task_id, Work().job_id) == before


def test_task_can_be_pickled(address: QueueAddress) -> None:
    task = Task()
    assert build(task)
    again = pickle.loads(pickle.dumps(task))
    assert again.job_id == task.job_id
    assert again.complete()


def test_job_id_equals_the_core_signature(
    address: QueueAddress, tmp_path: Path
) -> None:
    folder = job_directory(tmp_path, "echo hello")

    class Work(TejTask):
        directory = str(folder)

    assert tej.signature(folder).startswith(Work().job_id.removeprefix("sig-"))
    (folder / "start.sh").write_text("#!/bin/sh\necho other\n")
    assert tej.signature(folder).startswith(Work().job_id.removeprefix("sig-"))


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("42", 42),
        ("42.9 %", 42),
        ("21/50", 42),
        ("3 / 0", None),
        ("250", 100),
        ("", None),
        ("half", None),
        ("-3", None),
    ],
)
def test_progress_is_a_percentage_or_fraction(text: str, percent: int | None) -> None:
    assert parse_progress(text) == percent


def test_missing_luigi_error_names_the_extra() -> None:
    lines = """
import sys
sys.modules["luigi"] = None
try:
    import tej_luigi
except ImportError as error:
    print(error)
"""
    assert "pip install 'tej[luigi]'" in run_python(lines)


def test_destination_spellings_share_one_queue(address: QueueAddress) -> None:
    assert find_address("me:secret@host").key == find_address("ssh://me@host").key
