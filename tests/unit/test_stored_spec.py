"""Parameters of an existing job, read from the files that a submission has written."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath

import pytest

from tej import RemoteCommandFailure
from tej.job.resources import Resources
from tej.job.start_script import find_command
from tej.job.status import JobState, JobStatus
from tej.queue.stored_spec import _parse, parse_command, parse_resources
from tej.wire.records import SCRIPT_SHOWN

ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"A": "1", "EMPTY": "", "TEXT": 'it\'s "two"\nlines $x `y` \\', "B": "ü"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize(
    "script",
    [
        "start.sh",
        "./start.sh",
        "my script.sh",
        "start.sh 3 'a b'",
        "start.sh 3 | tee out; exit 4",
        "python3 train.py --lr 0.1",
        "export A=1\npython3 x.py",
        "export A='1 2'\n./start.sh",
        " spaces ; around \n",
        "echo " + "x" * SCRIPT_SHOWN,
    ],
)
def test_command_and_environment_are_read_back(
    tmp_path: Path, script: str, environment: dict[str, str]
) -> None:
    for name in ("start.sh", "my script.sh"):
        (tmp_path / name).write_text("true\n")
    command = find_command(tmp_path, script)
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()
    )
    shown = command.canonical[:SCRIPT_SHOWN]
    found = parse_command(f"{exports}{command.text}\n", shown)
    assert found is not None
    assert found[0] == environment
    assert find_command(tmp_path, found[1]).canonical == command.canonical


def test_damaged_command_is_not_guessed() -> None:
    assert parse_command("", "start.sh") is None
    assert parse_command("export A=1\ntej_run ./other.sh\n", "start.sh") is None
    job = JobStatus("a", JobState.FINISHED, PurePosixPath("/"), script="true")
    with pytest.raises(RemoteCommandFailure, match="command of job 'a' cannot be read"):
        _parse(job, {})


def test_resources_are_read_back() -> None:
    requested = Resources(
        nodes=2,
        tasks_per_node=4,
        cpus=8,
        memory="1.5G",
        gpus="a100:2",
        walltime="1-12:00:00",
        partition="long",
        options=["--comment=a b", "--x=1"],
        exclusive=True,
        requeue=False,
        priority=-5,
        mail="me@example.org",
        mail_on=["fail"],
        modules=["gcc/12"],
        begin="2h",
    )
    text = "".join(f"{line}\n" for line in requested.lines())
    again = Resources(**parse_resources(text + "default_name=x\nscript=start.sh\n"))
    kept = [line for line in requested.lines() if not line.startswith("begin=")]
    assert list(again.lines()) == kept
    assert parse_resources("") == {}


@pytest.mark.parametrize(
    ("fact", "shared"), [("shared=data/%0Aall.txt", ("data/", "all.txt")), ("", ())]
)
def test_shared_files_are_read_back(
    tmp_path: Path, fact: str, shared: tuple[str, ...]
) -> None:
    command = find_command(tmp_path, "true")
    job = JobStatus("a", JobState.FINISHED, PurePosixPath("/"), script="true")
    files = {"command": f"{command.text}\n", "spec": f"token=1 {fact} end\n"}
    assert _parse(job, files).shared == shared
