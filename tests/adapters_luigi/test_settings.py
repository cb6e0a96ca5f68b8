"""Where the settings come from, and that no secret is where it could be seen."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import luigi
import pytest
from jobs import job_directory

import tej
from tej_luigi import TejTask
from tej_luigi.config import Place, find_place
from tej_luigi.queues import find_queue, open_queue
from tej_luigi.watching import parse_progress
from tests.adapters_luigi.tools import Configure, build


class Task(TejTask):
    inline = "true"


def test_what_a_task_says_goes_before_the_configuration_and_that_before_the_environment(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(Task):
        destination = "local:"
        queue = "/own"

    monkeypatch.setenv("TEJ_DESTINATION", "environment")
    monkeypatch.setenv("TEJ_QUEUE", "/environment")
    monkeypatch.setenv("TEJ_RUNTIME", "slurm")
    assert Task().place == Place("environment", "/environment", "slurm")
    configure(tej={"destination": "configured", "queue": "/configured"})
    assert Task().place == Place("configured", "/configured", "slurm")
    assert Own().place == Place("local:", "/own", "slurm")


def test_without_a_destination_the_error_says_where_to_give_one() -> None:
    with pytest.raises(tej.InvalidDestination, match=r"\[tej\] of luigi.cfg"):
        Task().complete()


def test_a_configuration_in_toml_works_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "luigi.toml").write_text('[tej]\ndestination = "toml"\nretry = 3\n')
    lines = "import luigi, tej_luigi; s = tej_luigi.settings(); print(s.destination, s.retry)"
    monkeypatch.setenv("LUIGI_CONFIG_PARSER", "toml")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.toml"))
    assert run_python(lines) == "toml 3\n"


def test_a_secret_may_come_from_the_environment_and_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "luigi.cfg").write_text("[tej]\ndestination = me:${SECRET}@host\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    monkeypatch.setenv("SECRET", "hunter2")
    lines = """
import luigi, tej_luigi
from tej_luigi.config import find_place

class Task(tej_luigi.TejTask):
    inline = "true"

place = find_place()
assert place.destination == "me:hunter2@host"
task = Task()
target = task.output()["job"]
print(place, place.key, task, task.task_id, task.to_str_params(), task.job_id)
print(repr(target), target, target.place, repr(tej_luigi.TejFileTarget("x")))
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


def test_settings_are_no_part_of_a_task_or_a_job(place: Place) -> None:
    class Work(Task):
        n = luigi.IntParameter(default=1)

    before = (Work().task_id, Work().job_id)
    Work.queue, Work.retry, Work.wait = "/elsewhere", 5, "block"
    Work.job_resources = tej.Resources(cpus=4)
    assert (Work().task_id, Work().job_id) == before


def test_a_task_can_be_sent_to_another_process(place: Place) -> None:
    task = Task()
    assert build(task)
    again = pickle.loads(pickle.dumps(task))
    assert again.job_id == task.job_id
    assert again.complete()


def test_the_id_is_that_of_the_same_work_on_the_command_line(
    place: Place, tmp_path: Path
) -> None:
    folder = job_directory(tmp_path, "echo hello")

    class Work(TejTask):
        directory = str(folder)

    assert tej.signature(folder).startswith(Work().job_id.removeprefix("sig-"))
    (folder / "start.sh").write_text("#!/bin/sh\necho other\n")
    assert tej.signature(folder).startswith(Work().job_id.removeprefix("sig-"))


def test_an_unknown_way_to_wait_is_an_error(place: Place) -> None:
    class Wrong(Task):
        wait = "sleep"

    with pytest.raises(tej.Error, match="yield, block, raise"):
        Wrong().run()


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
def test_progress_is_percent_or_a_part_of_a_whole(
    text: str, percent: int | None
) -> None:
    assert parse_progress(text) == percent


def test_without_luigi_the_error_names_the_extra() -> None:
    lines = """
import sys
sys.modules["luigi"] = None
try:
    import tej_luigi
except ImportError as error:
    print(error)
"""
    assert "pip install 'tej[luigi]'" in run_python(lines)


def test_the_core_does_not_import_luigi() -> None:
    lines = "import sys, tej, tej.cli; print('luigi' in sys.modules)"
    assert run_python(lines) == "False\n"


def test_a_destination_given_twice_is_one_connection(place: Place) -> None:
    assert find_place("me:secret@host").key == find_place("ssh://me@host").key


def test_a_queue_is_found_again_by_what_is_shown_of_it(configure: Configure) -> None:
    configure(tej={"destination": "me:secret@host", "queue": "/q"})
    # In another process than the one that opened it, only the configuration has it.
    assert find_queue("ssh://me@host", "/q").place.destination == "me:secret@host"
    assert find_queue("ssh://me@other", "/q").place.is_bare
    own = Place("me:known@other", "/q")
    assert open_queue(own).place is own
    assert find_queue("ssh://me@other", "/q").place is own
