"""States of the jobs of a plan, and which jobs are started, without a server."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

import tej
from tej_vistrails import Pipeline, Plan
from tej_vistrails.pipeline.jobs_to_submit import jobs_in_use, jobs_to_submit
from tej_vistrails.pipeline.output import exit_status
from tej_vistrails.pipeline.step_state import Step, StepState, state_of
from tests.adapters_vistrails.modules import Mesh, Relax, Total

Statuses = dict[str, tej.JobStatus | None]


@pytest.fixture
def plan() -> Plan:
    """Return a plan with the graph mesh -> a, b -> total."""
    mesh = Mesh(size=3)
    parts = [Relax(structure=mesh, steps=n, name="ab"[n]).energy for n in (0, 1)]
    return Plan(Pipeline(Total(parts=parts)))


def status(kind: str) -> tej.JobStatus | None:
    if kind == "-":
        return None
    states = {"r": "running", "q": "queued", "k": "killed", "n": "killed", "l": "lost"}
    return tej.JobStatus(
        "x",
        tej.JobState(states.get(kind, "finished")),
        PurePosixPath("/"),
        exit_code={"s": 0, "f": 1}.get(kind),
        note="not started: a failed" if kind == "n" else None,
    )


def names(plan: Plan, ids: set[str]) -> str:
    return " ".join(name for name, one in plan.points[0].ids.items() if one in ids)


@pytest.mark.parametrize(
    ("states", "submitted", "retried", "used"),
    [
        # The states are in the order mesh, a, b, total.
        ("----", "mesh a b total", "mesh a b total", "mesh a b total"),
        ("s---", "a b total", "a b total", "mesh a b total"),
        ("---s", "", "", "total"),
        ("-s--", "mesh b total", "mesh b total", "mesh a b total"),
        ("-ss-", "total", "total", "a b total"),
        ("rqqq", "", "", "mesh a b total"),
        ("ssfn", "", "b total", "mesh a b total"),
        ("-sfn", "", "mesh b total", "mesh a b total"),
        ("sskn", "", "b total", "mesh a b total"),
        ("ssln", "", "b total", "mesh a b total"),
        ("ssf-", "total", "b total", "mesh a b total"),
    ],
)
def test_only_needed_jobs_are_submitted(
    plan: Plan, states: str, submitted: str, retried: str, used: str
) -> None:
    statuses = dict(zip(plan.jobs, map(status, states), strict=True))
    assert names(plan, jobs_to_submit(plan, statuses, retry=False)) == submitted
    assert names(plan, jobs_to_submit(plan, statuses, retry=True)) == retried
    assert names(plan, jobs_in_use(plan, statuses)) == used


@pytest.mark.parametrize(
    ("states", "code"),
    [("ssss", 0), ("---s", 0), ("f--s", 0), ("ssfn", 1), ("sssr", 5), ("sss-", 3)],
)
def test_exit_status_depends_on_needed_jobs(plan: Plan, states: str, code: int) -> None:
    statuses: Statuses = dict(zip(plan.jobs, map(status, states), strict=True))
    used = jobs_in_use(plan, statuses)
    steps = {
        one: Step(job, state_of(statuses[one], is_used=one in used), None)
        for one, job in plan.jobs.items()
    }
    assert exit_status(steps) == code


def test_each_status_has_a_state() -> None:
    found = [state_of(status(one), is_used=True) for one in "-qrsfkln"]
    failed = [StepState.FAILED] * 3
    assert found == [
        *(StepState.ABSENT, StepState.QUEUED, StepState.RUNNING, StepState.SUCCEEDED),
        *failed,
        StepState.NOT_STARTED,
    ]
    unused = [str(state_of(status(one), is_used=False)) for one in "-fns"]
    assert unused == ["not needed"] * 3 + ["succeeded"]
