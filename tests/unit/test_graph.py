"""`ensure_graph`: references to other jobs, and the order of submission."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import tej
from tej import JobSpec
from tej.queue import graph
from tej.queue.graph import _check_existence, _Graph


def make_spec(name: str, *after: str | JobSpec, job_id: str | None = None) -> JobSpec:
    return JobSpec(files={}, name=name, after=after, job_id=job_id)


def test_needed_jobs_come_first() -> None:
    first = make_spec("first")
    jobs = _Graph(
        [
            make_spec("last", "middle", "old"),
            make_spec("middle", first, "x"),
            make_spec("named x", job_id="x"),
            first,
        ]
    )
    order = jobs.order()
    assert order.index(0) == 3
    assert order.index(1) > max(order.index(2), order.index(3))
    assert jobs.outside() == {"old"}
    jobs.ids[3] = "first-1"
    assert jobs.id_of(first) == jobs.id_of("first") == "first-1"
    assert jobs.id_of("old") == "old"


def test_id_precedes_a_name() -> None:
    jobs = _Graph([make_spec("a", job_id="b"), make_spec("b", job_id="c")])
    jobs.ids = {0: "b", 1: "c"}
    assert jobs.id_of("b") == "b"
    assert jobs.id_of("a") == "b"


def test_repeated_name_is_refused_only_if_it_is_used() -> None:
    same = [make_spec("a"), make_spec("a")]
    assert sorted(_Graph(same).order()) == [0, 1]
    with pytest.raises(tej.InvalidJobId, match="2 jobs of the graph are called 'a'"):
        _Graph([*same, make_spec("b", "a")]).order()
    # The JobSpec itself is not ambiguous.
    assert sorted(_Graph([*same, make_spec("b", *same)]).order()) == [0, 1, 2]


def test_cycle_is_named() -> None:
    specs = [make_spec("a", "z"), make_spec("b", "a", job_id="z"), make_spec("c")]
    with pytest.raises(tej.InvalidJobId, match=r"cycle: '(a|z)' -> '(a|z)' -> '\1'"):
        _Graph(specs).order()


def test_job_outside_the_graph_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    replies: list[Any] = []

    def get_statuses(_: object, ids: list[str]) -> dict[str, Any]:
        asked.append(ids)
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return {one: reply.get(one) for one in ids}

    monkeypatch.setattr(graph, "get_statuses", get_statuses)
    connection: Any = SimpleNamespace(job_not_found=tej.JobNotFound)
    _check_existence(connection, set())
    assert asked == []
    replies[:] = [{"a": 1, "b": 2}, {"b": 2}, tej.QueueNotFound("no")]
    _check_existence(connection, {"b", "a"})
    assert asked == [["a", "b"]]
    for _ in range(2):
        with pytest.raises(tej.JobNotFound, match="a"):
            _check_existence(connection, {"b", "a"})
    # A broken link may become valid again, so it is no proof that a job is absent.
    replies.append(tej.QueueLinkBroken("broken"))
    with pytest.raises(tej.QueueLinkBroken):
        _check_existence(connection, {"a"})


def test_outcomes_have_the_order_of_the_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []

    class Submission:
        def __init__(self, _: object, mode: str) -> None:
            modes.append(mode)

        def send_all(self, jobs: Any) -> list[Any]:
            self.jobs = [*jobs]
            return [
                SimpleNamespace(job_id=job.job_id, needs=job.needs) for job in self.jobs
            ]

    monkeypatch.setattr(graph, "Submission", Submission)
    connection: Any = SimpleNamespace(user="me")
    needed = JobSpec(files={"start.sh": "x"}, name="a")
    specs = [JobSpec(files={"start.sh": "y"}, after=[needed]), needed, needed]
    found: Any = graph.ensure_graph(connection, specs, retry=False)
    graph.ensure_graph(connection, specs, retry=True)
    assert modes == ["ensure", "retry"]
    assert found[1] is found[2]
    assert found[0].needs.ids == (found[1].job_id,)
    specs = [
        JobSpec(files={"start.sh": text}, name=text, job_id="same") for text in "ab"
    ]
    with pytest.raises(tej.InvalidJobId, match="Two different jobs .* id same"):
        graph.ensure_graph(connection, specs, retry=False)
