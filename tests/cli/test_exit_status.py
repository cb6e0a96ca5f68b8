"""Exit statuses and outputs that scripts rely on, without tracebacks."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs import Gate, wait_until, wait_until_ended
from servers.sshd import free_port

import tej

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]


# Exit statuses


@pytest.mark.parametrize(
    ("error", "command", "status", "words"),
    [
        ("MemoryError", "wait", 125, "there is not enough memory"),
        ("ZeroDivisionError", "run", 125, "Traceback"),
        ("ZeroDivisionError", "list", 1, "Traceback"),
    ],
)
def test_unexpected_error_is_no_exit_code_of_a_job(
    error: str, command: str, status: int, words: str
) -> None:
    lines = f"""import tej.__main__, tej.cli
def fail(): raise {error}
tej.cli.main = fail
tej.__main__.main()"""
    done = subprocess.run(
        [sys.executable, "-c", lines, command], capture_output=True, text=True
    )
    assert done.returncode == status
    assert words in done.stderr
    assert ("Traceback" in done.stderr) == (words == "Traceback")


def test_status_1_for_errors(client: Command, queue_path: Path) -> None:
    done = client("list", "local:", "--queue", queue_path)
    assert (done.status, done.stdout) == (1, "")
    assert f"There is no queue at '{queue_path}' on 'local:'; the first" in done.stderr


def test_removed_current_directory_is_named(
    client: Command, queue_path: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    words = [sys.executable, "-m", "tej", "run", "local:", "--queue", str(queue_path)]
    script = (
        f"rmdir {shlex.quote(str(folder))}; exec {shlex.join([*words, '--', 'true'])}"
    )
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 125
    assert "the current directory has been removed" in done.stderr


def test_status_1_for_unreachable_server(client: Command) -> None:
    done = client("list", f"127.0.0.1:{free_port()}")
    assert (done.status, done.stdout) == (1, "")
    assert "127.0.0.1" in done.stderr


def test_status_1_for_unknown_host_key(client: Command, sshd: object) -> None:
    config = Path(client.environment["HOME"], ".ssh", "config")
    config.write_text(config.read_text() + "    StrictHostKeyChecking yes\n")
    known = Path(client.environment["HOME"], "no known hosts")
    text = config.read_text().replace(
        f'UserKnownHostsFile "{sshd.known_hosts}"',  # type: ignore[attr-defined]
        f'UserKnownHostsFile "{known}"',
    )
    config.write_text(text)
    done = client("list", "server")
    assert (done.status, done.stdout) == (1, "")
    assert "SHA256:" in done.stderr
    assert "--accept-new-host-key" in done.stderr


def test_status_1_for_missing_job_directory(client: Command, queue_path: Path) -> None:
    done = client("submit", "local:", "--queue", queue_path, "nothing here")
    assert (done.status, done.stdout) == (1, "")
    assert "'nothing here' does not exist" in done.stderr
    assert not queue_path.exists()


def test_status_1_for_existing_queue(
    client: Command, queue_path: Path, ended: str
) -> None:
    done = client("setup", "local:", "--queue", queue_path)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "Queue already exists",
        f"The queue '{queue_path}' can be used as it is; --force replaces a queue "
        "without jobs",
    ]
    done = client("setup", "local:", "--queue", queue_path, "--force")
    assert done.status == 1
    assert "Use --force twice" in done.stderr
    assert (
        client("setup", "local:", "--queue", queue_path, "--force", "--force").status
        == 0
    )
    assert client("list", "local:", "--queue", queue_path).stdout == ""


def test_status_1_for_missing_file(
    client: Command, queue_path: Path, ended: str
) -> None:
    done = client("download", "local:", "--queue", queue_path, "--id", ended, "absent")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == "There is no 'absent' in job 'ended'\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["list"],
        ["list", "local:", "more"],
        ["list", "local:", "--nonsense"],
        ["submit", "local:", ".", "more"],
        ["submit", "local:", ".", "--runtime", "quantum"],
        ["submit", "local:", ".", "--label", "no value"],
        ["setup", "local:", "--runtime", "quantum"],
        ["kill", "local:"],
        ["delete", "local:"],
        ["delete", "local:", "--id", "a", "--failed"],
        ["kill", "local:", "a", "--failed"],
        ["status", "local:", "--id"],
        ["download", "local:", "--id", "a"],
        ["download", "local:", "a"],
        ["download", "local:", "--id", "a", "b", "--directory", __file__],
        ["download", "local:", "--id", "a", "b", "--into", "x", "--directory", "y"],
        ["kill", "local:", "--id", "a", "--grace", "soon"],
        ["kill", "local:", "--id", "a", "--grace", "-1"],
    ],
)
def test_status_2_for_wrong_usage(client: Command, words: list[str]) -> None:
    done = client(*words)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["download", "local:", "a"], "for a file of the latest job, write `@ a`"),
        (["run", "local:", __file__], "the name of the script with --script"),
        (["run", "local:", ".", "--name", "\u00fc", "--", "true"], "ASCII letters"),
    ],
)
def test_usual_mistake_is_answered_with_the_right_form(
    client: Command, words: list[str], advice: str
) -> None:
    done = client(*words)
    assert done.status in (1, 2, 125)
    assert advice in " ".join(done.stderr.split())


@pytest.mark.parametrize("destination", ["a b", "http://host", "me@x%y", "host:x", ""])
def test_status_1_for_invalid_destination(client: Command, destination: str) -> None:
    done = client("list", destination)
    assert (done.status, done.stdout) == (1, "")
    assert "nvalid" in done.stderr


def test_job_in_place_of_the_destination_is_explained(client: Command) -> None:
    done = client("status", "absent_job")
    assert (done.status, done.stdout) == (1, "")
    assert "'absent_job' was read as the destination" in done.stderr


@pytest.mark.parametrize("job_id", ["", "-rf"])
@pytest.mark.parametrize("verb", ["status", "kill", "delete"])
def test_invalid_id_is_refused_without_a_request(
    client: Command, verb: str, job_id: str
) -> None:
    done = client(verb, "host.invalid", f"--id={job_id}")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith("Invalid job identifier")


def not_in(queue_path: Path) -> str:
    """Return the message that a job does not exist in the queue."""
    return (
        f"It was not found in queue '{queue_path}' on 'local:'; "
        f"`tej list local: --queue {queue_path}` shows the jobs there"
    )


@pytest.mark.parametrize("verb", ["status", "kill", "delete", "download"])
def test_status_3_for_missing_job(
    client: Command, queue_path: Path, ended: str, verb: str
) -> None:
    more = ["file"] if verb == "download" else []
    done = client(verb, "local:", "--queue", queue_path, "--id", "absent", *more)
    assert (done.status, done.stdout) == (3, "")
    assert done.stderr.splitlines() == ["No job 'absent'", not_in(queue_path)]


def test_status_4_for_existing_job(
    client: Command, queue_path: Path, ended: str, job: Make
) -> None:
    done = client("submit", "local:", "--queue", queue_path, "--id", ended, job("true"))
    assert (done.status, done.stdout) == (4, "")
    first, where = done.stderr.splitlines()
    assert first == "Job 'ended' already exists"
    assert f"in queue '{queue_path}' on 'local:'; choose another id" in where


def test_status_5_for_running_job(
    client: Command, queue_path: Path, waiting: str
) -> None:
    done = client("delete", "local:", "--queue", queue_path, "--id", waiting)
    assert (done.status, done.stdout) == (5, "")
    assert "Job 'waiting' was not deleted; it is running" in done.stderr
    done = client("destroy", "local:", "--queue", queue_path, "--yes")
    assert (done.status, done.stdout) == (5, "")
    assert "still running: waiting" in done.stderr
    done = client("setup", "local:", "--queue", queue_path, "--force", "--force")
    assert (done.status, done.stdout) == (5, "")


def test_status_of_failed_job_exits_with_0(
    client: Command, queue_path: Path, library: tej.RemoteQueue, job: Make
) -> None:
    library.submit("failed", job("exit 7"))
    wait_until_ended(library, "failed")
    done = client("status", "local:", "--queue", queue_path, "--id", "failed")
    assert done.status == 0
    assert done.stdout.endswith("with exit code 7\n")


# Several jobs


def test_worst_of_several_jobs_is_exit_status(
    client: Command, queue_path: Path, ended: str, waiting: str
) -> None:
    ids = ["--id", ended, "--id", "absent", "--id", waiting]
    done = client("status", "local:", "--queue", queue_path, *ids)
    assert done.status == 3
    first, second = done.stdout.splitlines()
    assert first.startswith("ended: Job is finished")
    assert second.startswith("waiting: Job is still running")
    assert done.stderr.splitlines() == ["No job 'absent'", not_in(queue_path)]
    done = client("delete", "local:", "--queue", queue_path, *ids)
    assert (done.status, done.stdout) == (5, "Deleted job 'ended'\n")
    first, _, third = done.stderr.splitlines()
    assert first == "No job 'absent'"
    assert third.startswith("Job 'waiting' was not deleted")
    done = client("kill", "local:", "--queue", queue_path, *ids)
    assert (done.status, done.stdout) == (3, "Job 'waiting' killed\n")
    assert done.stderr.splitlines()[::2] == ["No job 'ended'", "No job 'absent'"]


# Environment variables


def test_destination_and_queue_from_environment(
    client: Command, queue_path: Path, job: Make
) -> None:
    job("true", {"file": "content"})
    own = {"TEJ_DESTINATION": "local:", "TEJ_QUEUE": str(queue_path)}
    assert client("submit", "--id", "a", "job", **own).stdout == "a\n"
    wait_until(
        lambda: client("list", **own).stdout == "a finished 0\n", "the job has ended"
    )
    assert client("download", "--id", "a", "file", **own).status == 0
    assert (client.place / "file").read_text() == "content"
    assert client("download", "--id", "a", "file", "start.sh", **own).status == 0
    assert client("delete", "--id", "a", **own).stdout == "Deleted job 'a'\n"
    assert client("cleanup", "--yes", **own).status == 0


def test_arguments_override_the_environment(
    client: Command, queue_path: Path, ended: str
) -> None:
    own = {"TEJ_DESTINATION": "host.invalid", "TEJ_QUEUE": "/nowhere/at/all"}
    done = client("list", "local:", "--queue", queue_path, **own)
    assert (done.status, done.stdout) == (0, "ended finished 0\n")
    done = client(
        *("download", "local:", "--queue", queue_path, "--id", ended, "_stdout"), **own
    )
    assert done.status == 0


# Output streams


def test_password_in_destination_is_never_shown(client: Command) -> None:
    done = client("-v", "-v", "list", f"me:s3cr3t@127.0.0.1:{free_port()}")
    assert done.status == 1
    assert "s3cr3t" not in done.stdout + done.stderr


def test_verbose_messages_go_to_stderr_only(
    client: Command, queue_path: Path, job: Make
) -> None:
    done = client(
        "-v", "submit", "local:", "--queue", queue_path, "--id", "a", job("true")
    )
    assert done.stdout == "a\n"
    assert "Submitted job a" in done.stderr


def test_version_is_one_line(client: Command) -> None:
    done = client("--version")
    assert (done.status, done.stdout) == (0, f"tej version {tej.__version__}\n")


# tests/cli/test_help.py checks the text of all commands in one process.
@pytest.mark.parametrize("verb", ["", "submit"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(client: Command, verb: str, option: str) -> None:
    done = client(*([verb] if verb else []), option)
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: tej {verb}".rstrip())
    if verb:
        for word in ("--queue", "--json", "TEJ_QUEUE", "[DESTINATION]"):
            assert word in done.stdout
    else:
        assert "Exit status: 0 done" in done.stdout


def test_closed_pipe_is_no_error(
    client: Command, queue_path: Path, library: tej.RemoteQueue, job: Make
) -> None:
    directory = job("true")
    for number in range(3):
        library.submit(f"job{number}", directory)
    process = subprocess.Popen(
        client.words("list", "local:", "--queue", queue_path, "--json"),
        env=client.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    words = process.stderr.read()
    process.wait(100)
    process.stderr.close()
    assert words == b""


def test_status_141_for_closed_pipe(
    client: Command, queue_path: Path, library: tej.RemoteQueue, job: Make
) -> None:
    library.submit("talks", job("yes | head -n 200000"))
    wait_until_ended(library, "talks")
    process = subprocess.Popen(
        client.words("logs", "local:", "--queue", queue_path, "--id", "talks"),
        env=client.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(100) == 141


@pytest.mark.parametrize("verb", ["wait", "run"])
def test_status_125_if_run_or_wait_cannot_start(
    client: Command, job: Make, verb: str
) -> None:
    rest = ["--id", "any"] if verb == "wait" else [job("true")]
    done = client(verb, "root@host:99999", *rest)
    assert (done.status, done.stdout) == (125, "")
    assert "99999" in done.stderr


def test_status_2_for_invalid_times(client: Command, queue_path: Path) -> None:
    own = ("local:", "--queue", queue_path)
    for words in (
        ("list", *own, "--since", "-1d"),
        ("list", *own, "--since", "9999999999d"),
        ("cleanup", *own, "--older-than", "-5d"),
        ("wait", *own, "--id", "any", "--timeout", "nan"),
        ("wait", *own, "--id", "any", "--timeout", "-1"),
    ):
        done = client(*words)
        assert done.status == 2, words


def test_dry_run_of_cleanup_lists_jobs(
    client: Command, queue_path: Path, ended: str
) -> None:
    own = ("local:", "--queue", queue_path)
    done = client("cleanup", *own, "--dry-run")
    assert re.fullmatch(
        f"Would remove the queue '{queue_path}' with 1 job "
        r"\([0-9.]+ kB, 1 not yet downloaded\)\n",
        done.stdout,
    )
    assert client("cleanup", *own, "--dry-run", "--json").json == {
        "queue": str(queue_path),
        "removed": False,
        "jobs": [ended],
        "running": [],
    }
    assert client("status", *own, "--id", ended).status == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "</dev/null >&- 2>&-"])
def test_closed_standard_streams_are_no_error(
    client: Command, queue_path: Path, ended: str, closed: str
) -> None:
    it = ["--id", ended]
    for verb, *more in (["status", *it], ["list"], ["logs", *it, "--stdout"]):
        words = client.words(verb, "local:", "--queue", queue_path, *more)
        done = subprocess.run(
            ["sh", "-c", f"{shlex.join(words)} {closed}"],
            env=client.environment,
            capture_output=True,
            timeout=200,
        )
        assert (done.returncode, done.stderr) == (0, b""), verb


def test_full_disk_on_stdout_is_one_error_line(
    client: Command, queue_path: Path, ended: str
) -> None:
    words = client.words("list", "local:", "--queue", queue_path, "--json")
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(words)} >/dev/full"],
        env=client.environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_timed_out_wait_prints_ended_jobs(
    client: Command, queue_path: Path, ended: str, job: Make, gate: Gate
) -> None:
    own = ("local:", "--queue", queue_path)
    client("submit", *own, job(gate.wait, name="waits"), "--id", "waits")
    done = client(
        "wait", *own, "--id", ended, "--id", "waits", "--timeout", "1", "--json"
    )
    gate.open()
    assert done.status == 125
    assert [one["id"] for one in done.json["jobs"]] == [ended]
    assert done.json["error"]["kind"] == "WaitTimeout"


def test_ctrl_c_prints_one_word_and_130(client: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        process = subprocess.Popen(
            client.words("list", f"127.0.0.1:{port}"),
            # Ctrl-C may come when `ssh` has just been started and has no owner yet.
            env={**client.environment, "PYTHONWARNINGS": "ignore::ResourceWarning"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        connection, _ = silent.accept()
        with connection:
            # At some moments Python ignores the signal, so Ctrl-C is sent again.
            while True:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    out, err = process.communicate(timeout=60)
                    break
    assert (process.returncode, out) == (130, b"")
    assert err.strip().splitlines()[-1] == b"Interrupted"
    assert b"Traceback" not in err


@pytest.mark.parametrize(
    "interrupted",
    [
        # Python 3.11 raises a RuntimeError from the KeyboardInterrupt.
        "class Field:\n"
        "    def __set_name__(self, owner, name):\n"
        "        raise KeyboardInterrupt\n"
        "class Data:\n"
        "    field = Field()\n",
        # The methods of a dataclass are made by `exec` of a string.
        "exec('raise KeyboardInterrupt')",
    ],
    ids=["field", "exec"],
)
def test_ctrl_c_during_an_import_prints_no_traceback(
    tmp_path: Path, interrupted: str
) -> None:
    (tmp_path / "click.py").write_text(interrupted)
    words = [sys.executable, "-m", "tej", "list", "local:"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, env=environment)
    assert (done.returncode, done.stderr.split()) == (130, [b"Interrupted"])


def test_ctrl_c_during_exec_in_a_command_exits_with_130(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'tej.cli.log':\n"
        "            exec('raise KeyboardInterrupt')\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    words = [sys.executable, "-m", "tej", "list", "local:"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, env=environment)
    assert (done.returncode, done.stderr.split()) == (130, [b"Interrupted"])


# POSIX is another name of the locale C.
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("name", ["café ✓", os.fsdecode(b"latin\xe9"), "new\nline"])
def test_odd_names_are_printed_in_every_locale(
    client: Command, queue_path: Path, job: Make, name: str, locale: str
) -> None:
    own = {"LC_ALL": locale, "TEJ_QUEUE": str(queue_path)}
    directory = job("true", {name: "content"}, name=name)
    done = client("submit", "local:", directory, **own)
    assert done.status == 0
    job_id = done.stdout.strip()
    assert client("list", "local:", "--json", **own).status == 0
    fetch = ("download", "local:", "--directory", "out", "--id", job_id)
    assert client(*fetch, name, **own).status == 0
    assert (client.place / "out" / name).is_file()
    done = client(*fetch, f"absent {name}", **own)
    assert done.status == 1
    assert "absent" in done.stderr


def test_expanded_tilde_of_a_link_is_noticed(client: Command, queue_path: Path) -> None:
    link = Path(client.environment["HOME"]) / "link"
    words = ("--queue", queue_path, "--runtime", "default", "--make-link", link)
    done = client("setup", "server", *words)
    assert done.status == 0
    assert "quote it: --make-link '~/link'" in done.stderr


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("rm", "delete"),
        ("ps", "list"),
        ("log", "logs"),
        ("stattus", "status"),
        ("help", "-h"),
        ("help run", "run -h"),
        ("lab status", "status lab"),
    ],
)
def test_unknown_command_names_the_right_one(
    client: Command, word: str, command: str
) -> None:
    done = client(*word.split())
    assert done.status == 2
    assert f"Did you mean `tej {command}`?" in done.stderr


def test_option_before_the_command_names_its_place(client: Command) -> None:
    done = client("-p", "lab", "list")
    assert done.status == 2
    assert "follows its name: tej COMMAND -p" in done.stderr


def test_run_explains_a_common_mistake(
    client: Command, plain_queue: Path, job: Make
) -> None:
    directory = job(
        "no_such_module() { echo 'x: module: not found' >&2; }\nno_such_module; exit 127"
    )
    done = client("run", "local:", "--queue", plain_queue, directory)
    assert done.status == 127
    assert "Hint: `module` may be defined by " in done.stderr
