"""Conformance test of a runtime: each fault of a runtime is found."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from statuses import job

import tej
from tej import runtime_check
from tej.runtime_check import RuntimeCheck, check_queue

ENDS = {
    "exit": {"exit_code": 3, "native_id": "7"},
    "plain": {"exit_code": 143},
    "signal": {"exit_code": None, "signal": 15},
    **{f"job{number}": {"exit_code": number} for number in range(4)},
}
LOGS = {"exit": b"out\n", "tidy": b"begun\ncleaned\n"}


class Queue:
    """A queue whose jobs end as the test decides."""

    def __init__(self) -> None:
        self.ends: dict[str, Any] = {one: job(one, **ENDS[one]) for one in ENDS}
        self.now: dict[str, str] = {}
        """States of jobs directly after their submission; "running" for all others."""
        self.killed = dict.fromkeys(("running", "tidy", "deaf"), "killed")
        self.texts: dict[str, bytes] = dict(LOGS)
        self.errors: dict[str, tej.Error] = {}
        self.scripts: dict[str, str] = {}
        self.calls: list[tuple[Any, ...]] = []

    def call(self, name: str, *words: Any) -> None:
        self.calls.append((name, *words))
        if name in self.errors:
            raise self.errors[name]

    def setup(self) -> None:
        self.call("setup")

    def cleanup(self, *, kill: bool, grace: int) -> None:
        self.call("cleanup", kill, grace)

    def submit(self, job_id: str, directory: Path) -> None:
        self.scripts[job_id] = (directory / "start.sh").read_text()

    def submit_many(self, specs: Any) -> list[Any]:
        for spec in specs:
            self.submit(spec.job_id, spec.directory)
        return [SimpleNamespace(error=self.errors.get(one.job_id)) for one in specs]

    def status(self, job_id: str) -> Any:
        state = self.now.get(job_id, "running")
        return (
            job(job_id, state, native_id=self.ends[job_id].native_id)
            if (job_id in self.ends)
            else job(job_id, state)
        )

    def job(self, job_id: str) -> Any:
        def wait(limit: float) -> Any:
            assert limit == 300
            return self.ends[job_id]

        return SimpleNamespace(wait=wait)

    def logs(self, job_id: str) -> list[bytes]:
        was_killed = ("kill", job_id) in [one[:2] for one in self.calls]
        if job_id == "exit" or was_killed or "begun" in self.errors:
            return [self.texts.get(job_id, b"")]
        return [b"beg", b"un\n"]

    def kill(self, job_id: str, *, grace: int) -> Any:
        self.calls.append(("kill", job_id, grace))
        return job(job_id, self.killed[job_id], exit_code=9)

    def delete(self, job_id: str) -> None:
        self.call("delete", job_id)


def run(queue: Any) -> list[str | None]:
    return [finding.complaint for finding in RuntimeCheck(queue).run()]


def test_correct_runtime_has_no_fault() -> None:
    queue = Queue()
    assert run(queue) == [None] * 9
    assert queue.calls == [
        ("setup",),
        ("kill", "running", 5),
        ("kill", "tidy", 60),
        ("kill", "deaf", 1),
        ("delete", "deaf"),
        ("cleanup", True, 1),
    ]
    assert [queue.scripts[f"job{n}"].split()[-1] for n in range(4)] == [*"0123"]
    assert queue.scripts["plain"] == "#!/bin/sh\nexit 143\n"


@pytest.mark.parametrize(
    ("change", "test", "complaint"),
    [
        ({"now": {"exit": "lost"}}, 1, "lost directly after its submission"),
        ({"ends": {"exit": job("exit", "killed")}}, 1, "the job did not finish"),
        ({"ends": {"exit": job("exit", exit_code=0)}}, 1, "should have exit code 3"),
        ({"ends": {"exit": job("exit", exit_code=3)}}, 1, "no `native_id`"),
        ({"texts": {"exit": b""}}, 1, "not in _stdout"),
        ({"ends": {"plain": job("", exit_code=None, signal=15)}}, 2, "exit code 143"),
        ({"ends": {"signal": job("", exit_code=143)}}, 2, "None and signal 15"),
        ({"ends": {"job3": job("", exit_code=2)}}, 3, "should have exit code 3"),
        ({"errors": {"job2": tej.Error("no node")}}, 3, "no node"),
        (
            {"now": {"running": "finished"}},
            4,
            "the job is not running: Job is finished",
        ),
        ({"killed": {"running": "running"}}, 4, "the job was not killed"),
        ({"texts": {"tidy": b"begun\n"}}, 5, "did not run exactly once"),
        ({"killed": {"deaf": "lost"}}, 6, "the job was not killed"),
        ({"errors": {"delete": tej.Error("it runs")}}, 7, "it runs"),
        ({"errors": {"cleanup": tej.Error("files left")}}, 8, "files left"),
    ],
)
def test_fault_is_found_by_its_test(
    change: dict[str, dict[str, Any]], test: int, complaint: str
) -> None:
    queue = Queue()
    for name, facts in change.items():
        getattr(queue, name).update(facts)
    found = run(queue)
    assert [index for index, one in enumerate(found) if one is not None] == [test]
    assert complaint in (found[test] or "")
    assert queue.calls[-1] == ("cleanup", True, 1)


def test_exit_code_of_the_trap_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    queue: Any = Queue()
    monkeypatch.setattr(
        queue, "kill", lambda job_id, grace: job(job_id, "killed", exit_code=1)
    )
    # "tidy" was not killed, so its output is still the output of a running job.
    assert "should have exit code 9" in (run(queue)[5] or "")


def test_missing_queue_ends_the_tests() -> None:
    queue = Queue()
    queue.errors["setup"] = tej.Error("disk full")
    assert run(queue) == ["disk full"]
    assert queue.calls == [("setup",)]


def test_output_is_awaited_for_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    queue: Any = Queue()
    queue.errors["begun"] = tej.Error("")
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        if clock[0] == 300:
            queue.texts["running"] = b"begun\n"

    monkeypatch.setattr(
        runtime_check, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep)
    )
    check = RuntimeCheck(queue)
    check._folder = Path()
    monkeypatch.setattr(check, "_submit", lambda *_: None)
    check._begin("running", "")
    assert clock[0] == 300
    queue.texts["running"] = b""
    with pytest.raises(runtime_check.CheckFailed, match="does not arrive"):
        check._begin("running", "")
    assert clock[0] == 600.5


def test_each_test_queue_has_its_own_path() -> None:
    one, other = str(check_queue()), str(check_queue())
    assert one != other
    assert one.startswith("~/.tej-check-")
    assert len(one) == len("~/.tej-check-") + 12
