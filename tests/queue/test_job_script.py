"""The script or command of a job, and the environment in which it runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import wait_until_ended

import tej
from tej.transport.local import LocalTransport
from tej.transport.program_start import COMMAND

Make = Callable[..., Path]


def output_of(
    queue: tej.RemoteQueue, directory: Path, script: str | None = None
) -> str:
    """Return the output of a job, which must finish with exit code 0."""
    (output,) = outputs_of(queue, [tej.JobSpec(directory, script)])
    return output


def outputs_of(queue: tej.RemoteQueue, specs: list[tej.JobSpec]) -> list[str]:
    """Return the outputs of jobs, which must finish with exit code 0."""
    outputs = []
    for status in queue.wait(one.job_id for one in queue.submit_many(specs)).values():
        errors = Path(status.directory, "_stderr").read_text()
        assert status.succeeded, f"{status}: {errors}"
        assert errors == ""
        outputs.append(Path(status.directory, "_stdout").read_text())
    return outputs


ARGUMENTS = '#!/bin/sh\nprintf "[%s]" "$0" "$@"\n'


SCRIPTS = [
    (None, "start.sh", "[./start.sh]"),
    ("start.sh", "start.sh", "[./start.sh]"),
    ("./start.sh", "start.sh", "[./start.sh]"),
    ("run", "run", "[./run]"),
    ("bin/jobinit", "bin/jobinit", "[./bin/jobinit]"),
    ("my script.sh", "my script.sh", "[./my script.sh]"),
    ("it's", "it's", "[./it's]"),
    ("a;b", "a;b", "[./a;b]"),
    ("$HOME", "$HOME", "[./$HOME]"),
    ("-n", "-n", "[./-n]"),
    ("new\nline", "new\nline", "[./new\nline]"),
    ("été.sh", "été.sh", "[./été.sh]"),
    ("a\\b", "a\\b", "[./a\\b]"),
    ("run one 'two words'", "run", "[./run][one][two words]"),
    ('bin/run -x "$((1 + 1))"', "bin/run", "[./bin/run][-x][2]"),
    ("./run *.txt", "run", "[./run][*.txt]"),
    ("  run a", "run", "[./run][a]"),
]
"""Scripts with the name of their file, and the output."""


def test_script_is_a_file_with_arguments(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    specs = []
    for number, (script, name, _) in enumerate(SCRIPTS):
        path = tmp_path / f"job{number}" / name
        path.parent.mkdir(parents=True)
        path.write_text(ARGUMENTS)
        specs.append(tej.JobSpec(tmp_path / f"job{number}", script))
    assert outputs_of(queue, specs) == [printed for _, _, printed in SCRIPTS]


COMMANDS = [
    ('echo "hi"', "hi\n"),
    ("cat data | tr a-z A-Z", "CONTENT\n"),
    ("for i in 1 2; do\n  echo $i\ndone", "1\n2\n"),
    ("A=b env | grep ^A=", "A=b\n"),
    ("true; echo 'it'\"'\"'s é'", "it's é\n"),
    ("[ -f data ] && echo yes", "yes\n"),
    ("exec cat data", "content\n"),
    ("/bin/echo absolute", "absolute\n"),
    ("sh tool first", "[tool][first]"),
    ("printf '%s\\n' \"a\\\\b\"", "a\\b\n"),
    ("echo $$ >pid; echo ok", "ok\n"),
]
"""Commands with their output."""


def test_script_may_be_a_command(queue: tej.RemoteQueue, tmp_path: Path) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "data").write_text("content\n")
    (directory / "tool").write_text(ARGUMENTS)
    specs = [tej.JobSpec(directory, command) for command, _ in COMMANDS]
    assert outputs_of(queue, specs) == [printed for _, printed in COMMANDS]


def test_script_need_not_be_executable(queue: tej.RemoteQueue, tmp_path: Path) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "start.sh").write_text("#!/bin/sh\necho ran\n")
    (directory / "start.sh").chmod(0o600)
    assert output_of(queue, directory) == "ran\n"


def test_script_without_shebang_runs_in_sh(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "start.sh").write_text("echo plain\n")
    assert output_of(queue, directory) == "plain\n"


def test_script_runs_under_its_shebang(queue: tej.RemoteQueue, tmp_path: Path) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "start.sh").write_text("#!/usr/bin/awk -f\nBEGIN { print 6 * 7 }\n")
    assert output_of(queue, directory) == "42\n"


def test_script_may_be_link_to_file_beside(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "real").write_text("#!/bin/sh\necho real\n")
    (directory / "real").chmod(0o755)
    (directory / "start.sh").symlink_to("real")
    assert output_of(queue, directory) == "real\n"


def test_script_behind_directory_link_becomes_executable(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    directory = tmp_path / "job"
    (directory / "v2").mkdir(parents=True)
    (directory / "v2" / "run").write_text("#!/bin/sh\necho v2\n")
    (directory / "current").symlink_to("v2")
    assert output_of(queue, directory, "current//run") == "v2\n"


def test_script_may_be_link_to_server_program(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "start.sh").symlink_to("/bin/echo")
    assert output_of(queue, directory, "start.sh hello") == "hello\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, r"There is no script 'start\.sh'.*or give --script"),
        ("run.sh", r"There is no script 'run\.sh'"),
        ("bin/run --fast", "There is no script 'bin/run'"),
        ("./run", r"There is no script '\./run'"),
        ("../escape.sh", "There is no script"),
        ("sub", "is a directory"),
        ("dangling", "is a link to 'nowhere', which does not exist"),
        ("dangling --now", "is a link to 'nowhere', which does not exist"),
        ("outside", "is outside the directory and would not be sent"),
        ("", "is not a script or a command"),
        (" \n", "is not a script or a command"),
        ("a\0b", "is not a script or a command"),
        ("crlf.sh", r"Windows line endings \(CRLF\)"),
        ("crlf.sh --now", r"Windows line endings \(CRLF\)"),
    ],
)
def test_impossible_script_is_refused_before_upload(
    tmp_path: Path, script: str | None, words: str
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "crlf.sh").write_bytes(b"#!/bin/sh\r\necho hi\r\n")
    (tmp_path.parent / "common.sh").touch()
    (tmp_path / "outside").symlink_to("../common.sh")
    with pytest.raises(tej.InvalidJobDirectory, match=words):
        tej.RemoteQueue("host.invalid").submit("a", tmp_path, script)


def test_binary_program_with_crlf_is_accepted(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    binary = Path("/bin/true").read_bytes()
    (directory / "start.sh").write_bytes(binary + b"\r\n")
    assert output_of(queue, directory) == ""


def test_missing_command_exits_with_127(queue: tej.RemoteQueue, job: Make) -> None:
    job_id = queue.submit(None, job(), "no-such-program-anywhere --flag")
    wait_until_ended(queue, job_id)
    assert queue.status(job_id).exit_code == 127


# Environment of the job


def test_job_environment_names_id_queue_and_directory(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    script = 'printf "%s\\n" "$TEJ_JOB_ID" "$TEJ_QUEUE" "$TEJ_JOB_DIR" "$(pwd -P)"'
    queue.submit("knows", job(script))
    wait_until_ended(queue, "knows")
    stage = queue_path / "jobs" / "knows" / "stage"
    assert queue.status("knows").directory == stage
    assert (stage / "_stdout").read_text().splitlines() == [
        "knows",
        str(queue_path),
        str(stage),
        str(stage),
    ]


def test_job_environment_has_no_other_tej_variable(
    queue: tej.RemoteQueue, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A job on `local:` inherits these variables, which are settings of the tests.
    for name in ("TEJ_TRANSPORT", "TEJ_PERSIST"):
        monkeypatch.delenv(name)
    names = "env | sed -n 's/^\\([Tt][Ee][Jj][A-Za-z_]*\\)=.*/\\1/p' | sort"
    # lib/direct_start.sh starts the first job, and exec_job.sh the second.
    specs = [tej.JobSpec(job(names), script) for script in (None, ". ./start.sh")]
    for variables in outputs_of(queue, specs):
        assert variables.split() == [
            "TEJ_JOB_DIR",
            "TEJ_JOB_ID",
            "TEJ_JOB_TOKEN",
            "TEJ_QUEUE",
        ]


def test_standard_input_is_empty(queue: tej.RemoteQueue, job: Make) -> None:
    assert output_of(queue, job("cat; echo end")) == "end\n"


def test_stdout_and_stderr_are_separate(queue: tej.RemoteQueue, ended: str) -> None:
    stage = Path(queue.status(ended).directory)
    assert (stage / "_stdout").read_text() == "out\n"
    assert (stage / "_stderr").read_text() == "err\n"


def test_only_standard_streams_are_open(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    # If the job inherited a copy of stdout or stderr, the submission would not end before
    # the job. The shell chooses the number of {copy}, which is 10 or more.
    start_up = f"exec 3>&1 9>&2 {{copy}}>&1; {COMMAND}"
    transport = LocalTransport(["bash", "-c", start_up])
    queue = tej.RemoteQueue("local:", queue_path, "default", transport=transport)
    # `ls` itself opens the directory that it reads.
    numbers = output_of(queue, job("ls /proc/self/fd")).split()
    assert [int(number) for number in numbers[:3]] == [0, 1, 2]
    assert len(numbers) <= 4


def test_only_sighup_is_ignored(queue: tej.RemoteQueue, job: Make) -> None:
    lines = output_of(queue, job("grep -E '^Sig(Ign|Blk):' /proc/self/status"))
    masks = {name: int(mask, 16) for name, mask in map(str.split, lines.splitlines())}
    assert masks["SigIgn:"] & 0x7FFFFFFF & ~0b1 == 0
    assert masks["SigBlk:"] & 0x7FFFFFFF == 0


def test_profile_of_queue_is_read_before_jobs(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    queue.setup()
    (queue_path / "profile").write_text("export FROM_PROFILE='a b'\nulimit -c 0\n")
    directory = job('echo "$FROM_PROFILE"')
    assert output_of(queue, directory) == "a b\n"
    (queue_path / "profile").write_text("FROM_PROFILE=second; export FROM_PROFILE\n")
    assert output_of(queue, directory) == "second\n"


def test_profile_knows_the_queue_path(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    queue.setup()
    (queue_path / "profile").write_text('echo "$TEJ_JOB_ID in ${PWD##*/}"\n')
    job_id = queue.submit("profiled", job("true"))
    wait_until_ended(queue, job_id)
    output = Path(queue.status(job_id).directory, "_stdout").read_text()
    assert output == "profiled in stage\n"


def test_failing_profile_ends_job_with_reason(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    queue.setup()
    (queue_path / "profile").write_text("echo no module >&2; exit 9\n")
    job_id = queue.submit(None, job("echo ran"))
    wait_until_ended(queue, job_id)
    status = queue.status(job_id)
    assert status.exit_code == 9
    assert Path(status.directory, "_stdout").read_text() == ""
    assert Path(status.directory, "_stderr").read_text() == "no module\n"


def test_job_can_request_its_own_status(
    queue: tej.RemoteQueue, queue_path: Path, ended: str
) -> None:
    assert queue_path.stat().st_mode & 0o077 == 0
    assert os.access(queue_path, os.X_OK)
