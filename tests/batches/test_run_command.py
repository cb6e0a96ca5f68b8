"""The commands `run`, `wait` and `logs`, at a terminal and in scripts."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs import Gate, is_alive, wait_until
from servers.proxy import Proxy
from servers.sshd import Sshd, free_port

import tej
from tej import JobState

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]


# run


@pytest.mark.parametrize("destination", ["local:", "server"])
def test_run_shows_both_outputs_and_fetches_the_results(
    command: Command, own: dict[str, str], queue_path: Path, job: Make, destination: str
) -> None:
    directory = job("echo out; echo err >&2; echo 42 >results; echo x >more.txt")
    words = ["run", destination, "--queue", queue_path, directory]
    done = command(
        *words, "--download", "results", "--download", "*.txt", "--directory", "out"
    )
    job_id = "sig-" + tej.signature(directory)[:20]
    assert (done.status, done.stdout) == (0, "out\n")
    first, *rest = done.stderr.splitlines()
    assert first == f"Job submitted as: {job_id}"
    assert rest[0] == "err"
    assert re.fullmatch(r"Job is finished \(0:\d\d\)", rest[1])
    assert (command.place / "out/results").read_text() == "42\n"
    assert (command.place / "out/more.txt").read_text() == "x\n"


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 7", 7),
        ("kill -s SEGV $$", 139),
        ("exit 125", 125),
    ],
)
def test_run_and_wait_exit_with_jobs_status(
    command: Command, own: dict[str, str], job: Make, script: str, status: int
) -> None:
    directory = job(script)
    done = command("run", directory, **own)
    assert done.status == status
    (job_id,) = re.findall(r"Job submitted as: (.*)", done.stderr)
    assert command("wait", "--id", job_id, **own).status == status
    assert command("status", "--id", job_id, **own).status == 0


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("verb", ["run", "wait"])
def test_run_and_wait_exit_with_125_for_errors(
    command: Command, queue_path: Path, job: Make, verb: str, as_json: bool
) -> None:
    directory = job("true")
    nowhere = f"127.0.0.1:{free_port()}"
    if verb == "run":
        tries = [
            ("run", "local:", command.place / "absent"),
            ("run", nowhere, directory),
            ("run", "local:", directory, "--env", "TEJ_JOB_ID=x"),
        ]
    else:
        command("setup", "local:", "--queue", queue_path)
        tries = [("wait", "local:", "--id", "absent"), ("wait", nowhere, "--id", "a")]
    for words in tries:
        done = command(*words, "--queue", queue_path, *(["--json"] if as_json else []))
        assert done.status == 125
        if as_json:
            assert done.json["error"]["message"]
            assert done.stderr == ""
        else:
            assert done.stdout == ""
            assert done.stderr


def test_run_repeats_output_of_finished_job(
    command: Command, own: dict[str, str], job: Make, tmp_path: Path
) -> None:
    directory = job(
        f"echo started >>'{tmp_path}/starts'; echo out; echo 42 >results; exit 3"
    )
    words = ["run", directory, "--download", "results"]
    first = command(*words, **own)
    (command.place / "results").unlink()
    again = command(*words, **own)
    assert (first.status, again.status) == (3, 3)
    assert first.stdout == again.stdout == "out\n"
    assert again.stderr.startswith("Job found: sig-")
    hints = ["--retry restarts it" in one.stderr for one in (first, again)]
    assert hints == [False, True]
    assert (command.place / "results").read_text() == "42\n"
    assert (tmp_path / "starts").read_text() == "started\n"
    retried = command(*words, "--retry", **own)
    assert retried.stderr.startswith("Job submitted as: sig-")
    assert (tmp_path / "starts").read_text() == "started\nstarted\n"


def test_run_joins_running_job_with_complete_output(
    command: Command,
    own: dict[str, str],
    job: Make,
    gate: Gate,
    local_queue: tej.RemoteQueue,
) -> None:
    directory = job(f"echo begun; {gate.wait}; echo done")
    local_queue.ensure(directory)
    gate.open()
    done = command("run", directory, **own)
    assert (done.status, done.stdout) == (0, "begun\ndone\n")
    assert "--retry" not in done.stderr


def test_run_names_missing_results_of_failed_job(
    command: Command, own: dict[str, str], job: Make
) -> None:
    words = ["--download", "absent", "--download", "there"]
    done = command("run", job("echo x >there; exit 9", name="bad"), *words, **own)
    assert done.status == 9
    assert "There is no 'absent' in job" in done.stderr
    assert (command.place / "there").exists()
    done = command("run", job("true", name="good"), "--download", "absent", **own)
    assert done.status == 125
    assert "There is no 'absent' in job" in done.stderr


def test_run_in_json_is_one_document(
    command: Command, own: dict[str, str], job: Make
) -> None:
    done = command(
        *(
            "run",
            job('echo "$A"; echo x >results; exit 4'),
            "--env",
            "A=b",
            "--id",
            "mine",
        ),
        *("--label", "k=v", "--download", "results", "--json"),
        **own,
    )
    assert done.status == 4
    document = done.json
    assert (document["id"], document["exit_code"], document["is_new"]) == (
        "mine",
        4,
        True,
    )
    assert document["files"] == ["results"]
    assert document["labels"] == {"k": "v"}
    assert document["error"] is None


def test_quiet_run_shows_no_output(
    command: Command, own: dict[str, str], job: Make
) -> None:
    done = command("run", "-q", job("echo out; exit 5"), **own)
    assert (done.status, done.stdout) == (5, "")


def test_run_copies_output_bytes_unchanged(
    command: Command, own: dict[str, str], job: Make
) -> None:
    data = bytes(range(256)) * 1000
    directory = job("cat data", {"data": data})
    done = subprocess.run(
        command.words("run", directory),
        env=command.environment | own,
        capture_output=True,
    )
    assert done.stdout == data


class AtTerminal:
    """A command that runs at a terminal, where a user may interrupt it."""

    def __init__(self, command: Command, *words: object, **environment: str) -> None:
        self.master, slave = os.openpty()
        self.seen = b""
        self.process = subprocess.Popen(
            command.words(*words),
            cwd=command.place,
            env=command.environment | environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)
        os.set_blocking(self.master, False)

    def shows(self, words: str) -> bool:
        # BlockingIOError means that the terminal has no new output, and EIO that the
        # terminal was closed.
        with contextlib.suppress(OSError):
            self.seen += os.read(self.master, 65536)
        return words.encode() in self.seen

    def press_ctrl_c(self) -> None:
        os.write(self.master, b"\x03")

    def finish(self) -> tuple[int, str]:
        wait_until(
            lambda: self.shows("\0") or self.process.poll() is not None, "it ends"
        )
        self.shows("\0")
        os.close(self.master)
        text = self.seen.decode().replace("\r\n", "\n")
        assert "Traceback" not in text
        return self.process.returncode, text


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def at_terminal(command: Command) -> Iterator[Callable[..., AtTerminal]]:
    started: list[AtTerminal] = []

    def start(*words: object, **environment: str) -> AtTerminal:
        started.append(AtTerminal(command, *words, **environment))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.mark.parametrize("destination", ["local:", "server"])
def test_ctrl_c_leaves_job_and_prints_commands(
    command: Command,
    at_terminal: Callable[..., AtTerminal],
    queue_path: Path,
    job: Make,
    gate: Gate,
    destination: str,
) -> None:
    directory = job(f"echo begun; {gate.wait}; echo done; exit 6")
    run = at_terminal("run", destination, "--queue", queue_path, directory)
    wait_until(lambda: run.shows("begun"), "the output is shown")
    run.press_ctrl_c()
    status, text = run.finish()
    assert status == 130
    assert "was not stopped" in text
    lines = dict(
        re.findall(
            r"^  (Follow its output|Wait for its end|Kill the job): +(tej .*)$",
            text,
            re.M,
        )
    )
    commands = {key: shlex.split(line)[1:] for key, line in lines.items()}
    assert command("status", *commands["Wait for its end"][1:]).stdout.startswith(
        "Job is still running"
    )
    gate.open()
    assert command(*commands["Wait for its end"]).status == 6
    assert command(*commands["Follow its output"]).stdout == "begun\ndone\n"
    assert "has already completed" in command(*commands["Kill the job"]).stdout


def test_ctrl_c_kills_job_on_request(
    at_terminal: Callable[..., AtTerminal],
    own: dict[str, str],
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
) -> None:
    directory = job(f"echo begun; {gate.wait}")
    run = at_terminal("run", directory, "--kill-on-interrupt", "--grace", "5", **own)
    wait_until(lambda: run.shows("begun"), "the output is shown")
    run.press_ctrl_c()
    status, text = run.finish()
    assert status == 130
    assert "Job was killed" in text
    (found,) = local_queue.jobs()
    assert found.state is JobState.KILLED


def test_ctrl_c_ends_wait_and_logs_without_traceback(
    at_terminal: Callable[..., AtTerminal],
    own: dict[str, str],
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
) -> None:
    local_queue.submit("a", job(f"echo begun; {gate.wait}"))
    logs = at_terminal("logs", "-f", "--id", "a", **own)
    wait_until(lambda: logs.shows("begun"), "the output is shown")
    logs.press_ctrl_c()
    assert logs.finish()[0] == 130
    assert local_queue.status("a").state is JobState.RUNNING
    gate.open()


def test_run_continues_after_a_cut(
    command: Command,
    queue_path: Path,
    sshd: Sshd,
    proxy: Proxy,
    job: Make,
    gate: Gate,
) -> None:
    config = Path(command.environment["HOME"], ".ssh/config")
    config.write_text(
        f"Host far\n    HostName {sshd.address}\n    Port {proxy.port}\n"
        + config.read_text()
    )
    directory = job(f"seq 2000; {gate.wait}; seq 2001 4000; echo x >results")
    process = subprocess.Popen(
        command.words(
            "run", "far", "--queue", queue_path, directory, "--download", "results"
        ),
        cwd=command.place,
        env=command.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    first = process.stdout.read(5000)
    connections = proxy.connections
    proxy.cut()
    wait_until(lambda: proxy.connections > connections, "the host is back")
    gate.open()
    rest, words = process.communicate(timeout=90)
    assert process.returncode == 0, words
    assert first + rest == b"".join(b"%d\n" % n for n in range(1, 4001))
    assert (command.place / "results").exists()


def test_next_run_joins_job_of_killed_client(
    command: Command, own: dict[str, str], job: Make, gate: Gate
) -> None:
    directory = job(f"echo begun; {gate.wait}; echo done")
    process = subprocess.Popen(
        command.words("run", directory),
        env=command.environment | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert not is_alive(process.pid)
    gate.open()
    done = command("run", directory, **own)
    assert done.stdout == "begun\ndone\n"
    assert done.stderr.startswith("Job found: ")


# wait


def test_wait_prints_ends_and_exits_with_first_failure(
    command: Command, own: dict[str, str], local_queue: tej.RemoteQueue, job: Make
) -> None:
    for name, script in (("a", "true"), ("b", "exit 3"), ("c", "exit 4")):
        local_queue.submit(name, job(script, name=name))
    done = command("wait", "--id", "a", "--id", "c", "--id", "b", **own)
    assert done.status == 4
    assert sorted(line.split(" (")[0] for line in done.stdout.splitlines()) == [
        f"{name}: Job is finished" for name in "abc"
    ]
    done = command("wait", "--id", "a", "--id", "b", "--json", **own)
    assert done.status == 3
    assert {one["id"]: one["exit_code"] for one in done.json["jobs"]} == {
        "a": 0,
        "b": 3,
    }


def test_wait_times_out(
    command: Command,
    own: dict[str, str],
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
) -> None:
    local_queue.submit("a", job(gate.wait))
    done = command("wait", "--id", "a", "--timeout", "0.1", **own)
    assert (done.status, done.stdout) == (125, "")
    assert "job 'a' has not ended; the job continues to run" in done.stderr
    done = command("wait", "--id", "a", "--timeout", "0.1", "--json", **own)
    assert (done.status, done.json["error"]["kind"]) == (125, "WaitTimeout")
    gate.open()


def test_killed_and_lost_jobs_are_no_success(
    command: Command,
    own: dict[str, str],
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
) -> None:
    script = f"trap 'exit 0' TERM; echo ready; {gate.wait}"
    local_queue.submit("polite", job(script, name="polite"))
    local_queue.submit("plain", job(gate.wait, name="plain"))
    wait_until(lambda: [*local_queue.logs("polite")], "the trap is set")
    local_queue.kill_many(["polite", "plain"], grace=30)
    assert command("wait", "--id", "polite", **own).status == 125
    assert command("wait", "--id", "plain", **own).status == 128 + signal.SIGTERM


# logs


@pytest.fixture
def talked(local_queue: tej.RemoteQueue, job: Make) -> None:
    local_queue.submit("a", job("seq 5; echo err >&2; echo x >file"))
    local_queue.wait(["a"])


def test_logs_prints_selected_files_and_lines(
    command: Command, own: dict[str, str], talked: None
) -> None:
    for options, stdout, stderr in (
        ([], "1\n2\n3\n4\n5\n", "err\n"),
        (["-f"], "1\n2\n3\n4\n5\n", "err\n"),
        (["--stdout"], "1\n2\n3\n4\n5\n", ""),
        (["--stderr"], "err\n", ""),
        (["--tail", "2"], "4\n5\n", "err\n"),
        (["--tail", "0"], "", ""),
        (["--file", "file"], "x\n", ""),
    ):
        done = command("logs", "--id", "a", *options, **own)
        assert (done.status, done.stdout, done.stderr) == (0, stdout, stderr), options


def test_logs_in_json_has_text_per_file(
    command: Command, own: dict[str, str], talked: None
) -> None:
    done = command("logs", "--id", "a", "--tail", "1", "--json", **own)
    assert done.json == {"id": "a", "files": {"_stdout": "5\n", "_stderr": "err\n"}}
    done = command("logs", "--id", "a", "--file", "file", "--json", **own)
    assert done.json == {"id": "a", "files": {"file": "x\n"}}


def test_logs_of_missing_job_or_file(
    command: Command, own: dict[str, str], talked: None
) -> None:
    assert command("logs", "--id", "b", **own).status == 3
    done = command("logs", "--id", "a", "--file", "absent", **own)
    assert (done.status, done.stderr) == (1, "There is no 'absent' in job 'a'\n")


# submit --reuse, --retry, and the signature


def test_submit_reuse_and_retry(
    command: Command, own: dict[str, str], job: Make, local_queue: tej.RemoteQueue
) -> None:
    directory = job("exit 8")
    first = command("submit", directory, "--reuse", **own)
    job_id = first.stdout.strip()
    assert job_id == command("signature", directory).stdout.strip()
    local_queue.wait([job_id])
    found = command("submit", directory, "--reuse", "--json", **own)
    assert found.json == {"id": job_id, "is_new": False}
    again = command("submit", directory, "--retry", "--json", **own)
    assert again.json == {"id": job_id, "is_new": True}
    local_queue.wait([job_id])
    assert command("status", "--id", f"{job_id}#1", **own).status == 0
    assert local_queue.status(job_id).attempt == 2


def test_signature_needs_no_request(command: Command, job: Make) -> None:
    directory = job("true")
    done = command("signature", directory, "--json")
    digest = tej.signature(directory)
    assert done.json == {"signature": digest, "id": f"sig-{digest[:20]}"}
    other = command("signature", directory, "--env", "A=b").stdout.strip()
    assert other == f"sig-{tej.signature(directory, environment={'A': 'b'})[:20]}"
    assert command("signature", directory, "--script", "absent.sh").status == 1
    assert command("signature", directory, "--env", "A").status == 2


def test_signature_imports_no_slow_module(command: Command, job: Make) -> None:
    directory = job("true")
    code = (
        f"import sys, tej; tej.signature({str(directory)!r}); "
        "assert not {'paramiko', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=command.environment, check=True)
