"""Suspended flow runs: which are resumed, and whose jobs are killed; without a server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import StateType
from prefect.exceptions import NotPausedError

import tej
from tej_prefect import suspend
from tej_prefect.context import PAGE, Run
from tej_prefect.flow_run_cancellation import KillCounts
from tej_prefect.jobs import TejJobRun
from tej_prefect.suspend import suspend_until_done

RUNNING, KILLED = tej.JobState.RUNNING, tej.JobState.KILLED


class Destination:
    """A stored destination whose jobs have the states that the test gives."""

    def __init__(self, name: str | None = "lab", **states: tej.JobState | None) -> None:
        self.name, self.place, self.states = name, f"{name}:q", states
        self.error: tej.Error | None = None

    def get_client(self) -> Destination:
        return self

    def statuses(self, ids: Any) -> dict[str, tej.JobStatus | None]:
        if self.error is not None:
            raise self.error
        found: dict[str, tej.JobStatus | None] = {}
        for one in ids:
            state = self.states.get(one)
            path = PurePosixPath(f"/{self.name}/{one}")
            found[one] = None if state is None else tej.JobStatus(one, state, path)
        return found


@pytest.fixture(autouse=True)
def no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspend, "_killed", set())
    monkeypatch.setattr(suspend, "_unusable", {})
    monkeypatch.setattr(suspend, "run_logger", lambda: logging.getLogger("suspend"))
    monkeypatch.setattr(suspend, "stored_name", lambda one: one.name)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Record the requests to Prefect's server, and the changes of claims."""
    made: list[tuple[Any, ...]] = []
    for name in ("claim_suspended", "unclaim_suspended"):
        monkeypatch.setattr(
            suspend, name, lambda *w, name=name: made.append((name, *w))
        )
    monkeypatch.setattr(
        suspend, "suspend_flow_run", lambda key: made.append(("suspend", key))
    )
    table = SimpleNamespace(add=lambda jobs: made.append(("table", *jobs)))

    def artifacts(run: Run, *, key: str, description: str) -> Any:
        made.append(("artifacts", key, description))
        return table

    monkeypatch.setattr(suspend, "JobArtifacts", artifacts)
    return made


def run_of(destination: Any, job_id: str) -> TejJobRun:
    made = TejJobRun.__new__(TejJobRun)
    made.destination, made.job_id = destination, job_id
    return made


@pytest.mark.parametrize("in_flow", [True, False])
def test_flow_run_is_suspended_while_a_job_runs(
    monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]], in_flow: bool
) -> None:
    flow_run_id = uuid4() if in_flow else None
    monkeypatch.setattr(suspend, "current_run", lambda: Run(flow_run_id))
    lab, other = Destination(a=RUNNING, b=KILLED), Destination("other", c=KILLED)
    jobs = [run_of(lab, "a"), run_of(lab, "b"), run_of(other, "c")]
    suspend_until_done(jobs)
    claims = [
        ("claim_suspended", lab, "/lab/b", flow_run_id, ["a", "b"]),
        ("claim_suspended", other, "/other/c", flow_run_id, ["c"]),
    ]
    key = calls[-1][1]
    assert calls == [
        ("artifacts", "tej-awaited", key),
        ("table", *jobs),
        *(claims if in_flow else []),
        ("suspend", key),
    ]
    assert key.startswith("tej-")
    suspend_until_done(jobs[0])
    assert calls[-1][1] != key
    del calls[:]
    suspend_until_done(jobs[1:])
    assert calls == (
        [
            ("unclaim_suspended", lab, "/lab/b", flow_run_id),
            ("unclaim_suspended", other, "/other/c", flow_run_id),
        ]
        if in_flow
        else []
    )


def test_jobs_must_exist_at_a_stored_block(calls: list[tuple[Any, ...]]) -> None:
    with pytest.raises(tej.JobNotFound, match="'x' not found at lab:q"):
        suspend_until_done([run_of(Destination(), "x")])
    for jobs in ([Destination(None)], [Destination(a=RUNNING), Destination(None)]):
        with pytest.raises(ValueError, match="not a stored block"):
            suspend_until_done([run_of(one, "a") for one in jobs])
    assert calls == []


def row(job: str = "a", block: str | None = "lab", on_cancel: str = "kill") -> Any:
    return {"job": job, "block": block, "on cancel": on_cancel}


def table(*rows: Any, key: str = "k") -> Any:
    return SimpleNamespace(id=uuid4(), data=json.dumps(rows), description=key)


def suspended(name: str, key: str = "k", age: float = 0) -> Any:
    state = SimpleNamespace(
        state_details=SimpleNamespace(pause_key=key),
        timestamp=datetime.now(timezone.utc) - timedelta(days=age),
    )
    return SimpleNamespace(id=name, name=name, state=state)


def test_only_flow_runs_whose_jobs_have_ended_resume(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lab = Destination(ended=KILLED, runs=RUNNING)
    down = Destination("down", a=KILLED)
    down.error = tej.ConnectionFailed("silent")
    blocks: dict[str, Any] = {"lab": lab, "down": down}

    def load(name: str) -> Any:
        if name not in blocks:
            raise ValueError(f"no block {name}")
        return blocks[name]

    ends, runs, deleted = row("ended"), row("runs"), row("deleted")
    without_state = suspended("stateless")
    without_state.state = None
    found = [
        (suspended("both", key="new"), table(ends, key="old")),
        (without_state, table(ends)),
        (suspended("half"), table(ends, runs)),
        (suspended("down"), table(ends, row(block="down"))),
        (suspended("gone"), table(ends, row(block="gone"))),
        (suspended("late"), table(ends)),
        (suspended("broken"), table(ends)),
        (suspended("done"), table(ends, deleted)),
    ]
    resumed: list[str] = []

    def resume(name: str) -> None:
        resumed.append(name)
        if name == "late":
            raise NotPausedError
        if name == "broken":
            raise RuntimeError("API")

    monkeypatch.setattr(
        suspend, "_awaited", lambda state: found if state is StateType.PAUSED else []
    )
    monkeypatch.setattr(suspend, "load_destination", load)
    monkeypatch.setattr(suspend, "resume_flow_run", resume)
    suspend.reconcile()
    assert resumed == ["late", "broken", "done"]
    said = [one.getMessage() for one in caplog.records]
    named = ("'down'", "'gone' cannot be used", "'broken'", "'done' is resumed")
    assert all(name in words for name, words in zip(named, said, strict=True))
    assert [words.rpartition(": ")[2] for words in said[:3]] == [
        *("silent", "no block gone", "API"),
    ]
    # The reason is logged once, and again after the block was usable.
    caplog.clear()
    suspend.reconcile()
    assert "Block 'gone'" not in caplog.text
    blocks["gone"] = lab
    suspend.reconcile()
    del blocks["gone"]
    suspend.reconcile()
    assert caplog.text.count("Block 'gone' cannot be used") == 1


def test_cancelled_flow_runs_are_handled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    complete = [False]
    killed: list[tuple[str, Any, bool]] = []

    def kill(name: str, rows: Any, *, suspended: bool) -> Any:
        killed.append((name, rows, suspended))
        return SimpleNamespace(is_complete=complete[0])

    without_state = suspended("stateless")
    without_state.state = None
    found = [
        (without_state, table(row())),
        (suspended("old", age=1.01), table(row())),
        (suspended("new", age=0.99), table(row())),
    ]
    monkeypatch.setattr(
        suspend, "_awaited", lambda state: found if state is StateType.CANCELLED else []
    )
    monkeypatch.setattr(suspend, "_kill_rows", kill)
    for complete[0] in (False, True, True):
        suspend.reconcile()
    assert killed == [("new", [row()], True)] * 2


@pytest.mark.parametrize("was_suspended", [True, False])
def test_only_jobs_of_stored_blocks_are_killed(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    was_suspended: bool,
) -> None:
    caplog.set_level("INFO")
    flow_run_id = uuid4()
    lab = Destination()
    killed: list[tuple[Any, ...]] = []

    def load(name: str) -> Any:
        if name == "gone":
            raise tej.Error("deleted")
        return lab

    def kill(
        queue: object,
        ids: list[str],
        own: list[UUID],
        counts: Any,
        *,
        suspended: object,
    ) -> None:
        killed.append((queue, ids, own, suspended))
        counts.killed += len(ids)

    monkeypatch.setattr(suspend, "load_destination", load)
    monkeypatch.setattr(suspend, "kill_unclaimed", kill)
    rows = [row("a"), row("b", on_cancel="leave"), row("c", block=None), row("d")]
    rows += [row("a"), row("x", block="gone"), row("y", block="gone")]
    counts = suspend._kill_rows(flow_run_id, rows, suspended=was_suspended)
    claimant = flow_run_id if was_suspended else None
    assert killed == [(lab, ["a", "d"], [flow_run_id], claimant)]
    assert (counts.killed, counts.left, counts.unreachable) == (2, 2, 2)
    assert 'on_cancel="leave"' in caplog.text
    caplog.clear()
    assert suspend._kill_rows(flow_run_id, []) == KillCounts()
    assert caplog.text == ""


def test_artifacts_are_read_page_by_page() -> None:
    pages = [[1] * PAGE, [2] * PAGE, [3]]
    asked: list[tuple[int, int]] = []

    def read(*, limit: int, offset: int, **_: object) -> list[int]:
        asked.append((limit, offset))
        return pages[offset // PAGE]

    client: Any = SimpleNamespace(read_artifacts=read)

    def found() -> Iterator[Any]:
        return suspend._read_artifacts(client, ["k"], None)  # type: ignore[arg-type]

    assert len([*found()]) == 2 * PAGE + 1
    assert asked == [(PAGE, 0), (PAGE, PAGE), (PAGE, 2 * PAGE)]
    pages[0] = []
    assert [*found()] == []
    assert len(asked) == 4


@pytest.mark.parametrize("data", ['[{"job": "a"}, 1]', [{"job": "a"}, None]])
def test_rows_are_read_from_text_and_lists(data: Any) -> None:
    artifact: Any = SimpleNamespace(data=data)
    assert suspend._rows_of(artifact) == [{"job": "a"}]
    for empty in (None, "null", []):
        artifact.data = empty
        assert suspend._rows_of(artifact) == []
