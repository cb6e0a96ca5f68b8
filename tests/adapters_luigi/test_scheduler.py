"""Luigi's central scheduler (a real luigid): shows jobs, and replaces workers."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs import Gate, wait_until
from servers.sshd import free_port

import tej
from tests.adapters_luigi.run_tasks import OVER_SSH, jobs_in

pytestmark = pytest.mark.xdist_group("luigid")

Pipeline = Callable[..., "subprocess.Popen[str]"]


class Luigid:
    """A running scheduler."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, what: str, **arguments: object) -> Any:
        """Send a request of the scheduler's web page, and return the reply."""
        query = urllib.parse.urlencode({"data": json.dumps(arguments)})
        url = f"http://127.0.0.1:{self.port}/api/{what}?{query}"
        with urllib.request.urlopen(url, timeout=60) as reply:
            return json.load(reply)["response"]

    def is_up(self) -> bool:
        """Return whether the scheduler replies."""
        try:
            self.ask("task_list", status="DONE", upstream_status="")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def task(self, test: str) -> dict[str, Any]:
        """Return the scheduler's entry of the task with the parameter, or nothing."""
        # One request for all statuses, because the status may change between two.
        found = self.ask("task_list", status="", upstream_status="")
        for task_id, task in found.items():
            if task["params"].get("test") == test:
                return {"task_id": task_id, **task}
        return {}

    def send(self, test: str, content: str) -> str:
        """Send a message to the task with the parameter, and return the reply."""
        task = self.task(test)
        task_id = task["task_id"]
        sent = self.ask(
            "send_scheduler_message",
            worker=task["worker_running"],
            task=task_id,
            content=content,
        )
        replies: list[str] = []

        def is_answered() -> bool:
            reply = self.ask(
                "get_scheduler_message_response",
                task_id=task_id,
                message_id=sent["message_id"],
            )["response"]
            replies.append(reply or "")
            return bool(reply)

        wait_until(is_answered, "the task replies")
        return replies[-1]


def start_luigid(
    folder: Path, setting: str = ""
) -> tuple[Luigid, subprocess.Popen[bytes]]:
    """Start luigid on a free port, and wait until it replies."""
    folder.mkdir(exist_ok=True)
    (folder / "luigi.cfg").write_text(
        f"[scheduler]\nretry_delay = 0.5\nprune_on_get_work = true\n{setting}\n"
    )
    log = folder / "log"
    while True:
        server = Luigid(free_port())
        command = [sys.executable, "-W", "ignore", "-c"]
        command += ["from luigi.cmdline import luigid; luigid()"]
        command += ["--port", str(server.port), "--address", "127.0.0.1"]
        command += ["--state-path", str(folder / "state")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=folder, stdout=output, stderr=output
            )
        try:
            wait_until(
                lambda server=server, process=process: (
                    process.poll() is not None or server.is_up()
                ),
                "luigid replies or exits",
            )
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.poll() is None:
            return server, process
        # Another process may have taken the port before luigid did.
        assert "Address already in use" in log.read_text(), log.read_text()


@pytest.fixture
def luigid(tmp_path: Path) -> Iterator[Luigid]:
    server, process = start_luigid(tmp_path / "luigid")
    try:
        yield server
    finally:
        process.terminate()
        process.wait()


@OVER_SSH
def test_scheduler_shows_and_kills_a_job(
    pipeline: Pipeline,
    luigid: Luigid,
    queue: tej.RemoteQueue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = """
class Seen(tej_luigi.TejTask):
    test = luigi.Parameter()
    retry = 3
    tracking_url = "http://jobs.example.org/{job_id}?on={host}"
    inline = "echo 21/50 >progress; echo 'step <b>21</b> of 50'; " + GATE
"""
    # The password is never used, because the login with a key succeeds first.
    monkeypatch.setenv("TEJ_SECRET", "hunter2")
    settings = {
        "tej": {
            "destination": f"{os.environ.get('USER', 'root')}:${{TEJ_SECRET}}@server",
            "queue": str(queue.queue),
            "runtime": "default",
            "poll": "0.3",
        },
        "core": {"log_level": "DEBUG"},
    }
    test = str(queue.queue)
    words = ["Seen", "--test", test, "--workers", "2"]
    words += ["--scheduler-host", "127.0.0.1", "--scheduler-port", str(luigid.port)]
    process = pipeline(lines, *words, **settings)
    wait_until(lambda: luigid.task(test).get("progress_percentage") == 42, "42 percent")
    task = luigid.task(test)
    (status,) = queue.jobs()
    assert task["status"] == "RUNNING"
    assert task["status_message"].startswith(f"running on {status.host}")
    assert task["status_message"].endswith(
        f"{status.job_id}\nstep \u2039b\u203a21\u2039/b\u203a of 50"
    )
    url = f"http://jobs.example.org/{status.job_id}?on={status.host}"
    wait_until(lambda: luigid.task(test)["tracking_url"] == url, "the URL is shown")
    assert "kill" in luigid.send(test, "hello")
    assert jobs_in(queue, "running") == 1
    assert luigid.send(test, "kill") == "Killed"
    said, _ = process.communicate(timeout=60)
    assert "Job was killed" in said
    # A user killed the job, so the job is not restarted, even with `retry`.
    (status,) = queue.jobs()
    assert (status.state, status.attempt) == (tej.JobState.KILLED, 1)
    shown = luigid.task(test)
    assert shown["status"] != "DONE"
    for words in (json.dumps(shown), said, Path("luigi.cfg").read_text()):
        assert "hunter2" not in words


LEVELS = """
from pathlib import Path

class First(tej_luigi.TejTask):
    n = luigi.IntParameter()
    inline = START + "; " + GATE + "; echo {{n}} >out"
    results = ("out",)

class Firsts(tej_luigi.TejBatch):
    n = luigi.IntParameter()

    def jobs(self):
        return [First(n=2 * self.n), First(n=2 * self.n + 1)]

class Second(tej_luigi.TejTask):
    n = luigi.IntParameter()
    inline = START + "; echo $(({{value}} * 2)) >out"
    results = ("out",)

    def requires(self):
        return Firsts(n=self.n)

    def variables(self):
        found = [one["results"]["out"].path for one in self.input()]
        return {"value": sum(int(Path(path).read_text()) for path in found)}

class Third(luigi.Task):
    def requires(self):
        return [Second(n=n) for n in range(2)]

    def output(self):
        return luigi.LocalTarget("sum")

    def run(self):
        found = [Path(one["results"]["out"].path).read_text() for one in self.input()]
        with self.output().open("w") as file:
            file.write(str(sum(map(int, found))))
"""


@OVER_SSH
def test_late_worker_continues_a_killed_workers_batch(
    pipeline: Pipeline,
    queue: tej.RemoteQueue,
    gate: Gate,
    starts: Path,
    tmp_path: Path,
) -> None:
    # The scheduler gives the tasks of a killed worker to another worker after 5 s.
    server, scheduler = start_luigid(tmp_path / "luigid", "worker_disconnect_delay = 5")
    worker = {"keep_alive": "true", "wait_interval": "0.2", "wait_jitter": "0"}
    words = ["Third", "--scheduler-host", "127.0.0.1", "--scheduler-port"]

    def start(name: str) -> subprocess.Popen[str]:
        disk = Path.cwd() / name
        return pipeline(LEVELS, *words, str(server.port), folder=disk, worker=worker)

    try:
        killed, *others = [start(name) for name in ("a", "b")]
        # Each worker runs one batch.
        wait_until(lambda: jobs_in(queue, "running") == 4, "four jobs run")
        killed.kill()
        killed.wait()
        others.append(start("late"))
        gate.open()
        for process in others:
            said, _ = process.communicate(timeout=120)
            assert process.returncode == 0, said
            assert "Traceback" not in said
    finally:
        scheduler.terminate()
        scheduler.wait()
    # Each worker has a disk of its own, and Luigi runs the last task once or twice.
    assert {found.read_text() for found in Path.cwd().glob("*/sum")} == {"12"}
    assert len(starts.read_text().split()) == 6
