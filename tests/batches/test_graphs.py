"""Jobs that need jobs: order, inputs, failures, retries, and refused graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs import Gate, wait_until

import tej
from tej import JobState

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]


def ends(queue: tej.RemoteQueue, *ids: str) -> dict[str, str]:
    """Wait for the jobs; return the state and the note of each job."""
    return {
        job_id: f"{status.state}; {status.note}"
        for job_id, status in queue.wait(ids).items()
    }


def test_job_starts_after_its_dependency_with_inputs(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    mesh = queue.ensure(
        job(f"mkdir -p out/deep; echo a >'out/a b'; ln -s 'a b' out/l; {gate.wait}")
    )
    solve = queue.submit(
        "solve",
        job("cat 'in/all/a b' in/all/l log; echo c >>'in/all/a b'", name="solve"),
        inputs={"in/all": (mesh, "out"), "log": f"{mesh.id}:_stdout"},
        after=[mesh],
    )
    status = queue.status(solve)
    assert (status.state, status.after) == (JobState.QUEUED, (mesh.id,))
    assert status.note == f"waits for {mesh.id}"
    assert status.as_dict()["after"] == [mesh.id]
    gate.open()
    assert queue.wait([solve])[solve].succeeded
    assert b"".join(queue.logs(solve)) == b"a\na\n"
    # The job has changed its copies only, and not the results of the other job.
    assert b"".join(queue.logs(mesh.id, "out/a b")) == b"a\n"


def test_failure_ends_all_dependents_unstarted(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    queue, directory = local_queue, job(f"{gate.wait}; exit 3")
    queue.submit("a", directory)
    queue.submit("b", directory, after=["a"])
    queue.submit("c", directory, after=["b"])
    queue.submit("d", directory, inputs={"x": "a:nothing"})
    gate.open()
    assert ends(queue, "b", "c", "d") == {
        "b": "killed; not started: a failed",
        "c": "killed; not started: b was killed",
        "d": "killed; not started: a failed",
    }
    queue.submit("e", directory, "true", after=["a"])
    queue.submit("good", directory, "true")
    queue.submit("f", directory, "true", inputs={"x": "good:nothing"})
    assert ends(queue, "e", "f") == {
        "e": "killed; not started: a failed",
        "f": "killed; not started: good has no file 'nothing'",
    }
    assert [*(queue_path / "dependents").iterdir()] == []


def test_killed_dependency_ends_its_dependents(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue, directory = local_queue, job(gate.wait)
    queue.submit("a", directory)
    for number in range(5):
        queue.submit(f"b{number}", directory, after=["a"])
    queue.submit("c", directory, after=[f"b{number}" for number in range(5)])
    assert queue.status("c").note == "waits for b0, b1, b2 and 2 more"
    queue.kill("b3")
    assert ends(queue, "b3", "c") == {
        "b3": "killed; None",
        "c": "killed; not started: b3 was killed",
    }
    queue.kill("a", grace=5)
    assert ends(queue, "b0") == {"b0": "killed; not started: a was killed"}


def test_retry_of_a_chain_starts_what_is_needed(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    directory = job(f"echo $1 >>'{starts}'; [ $1 != b ] || [ -e '{gate.path}' ]")
    specs = [
        tej.JobSpec(directory, "start.sh a", "a"),
        tej.JobSpec(directory, "start.sh b", "b", after=["a"]),
        tej.JobSpec(directory, "start.sh c", "c", after=["a", "b"]),
    ]
    local_queue.ensure_many(specs)
    assert ends(local_queue, "c") == {"c": "killed; not started: b failed"}
    gate.open()
    outcomes = local_queue.ensure_many(specs, retry=True)
    assert [one.is_new for one in outcomes] == [False, True, True]
    assert local_queue.wait(["c"])["c"].succeeded
    assert starts.read_text().split() == ["a", "b", "b", "c"]


def test_needed_job_is_neither_deleted_nor_pruned(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue, directory = local_queue, job("true")
    queue.submit("a", directory)
    queue.submit("slow", job(gate.wait, name="slow"))
    queue.submit("b", directory, "cat x", inputs={"x": "a:start.sh"}, after=["slow"])
    queue.wait(["a"])
    with pytest.raises(tej.JobStillRunning, match="job 'b' needs it"):
        queue.delete("a")
    assert queue.prune(dry_run=True) == queue.prune() == []
    # The kill of a job that has ended does not end the jobs that need it.
    queue.kill_many(["a"])
    gate.open()
    assert queue.wait(["b"])["b"].succeeded
    queue.delete("a")
    assert {one.job_id for one in queue.prune()} == {"slow", "b"}


def test_impossible_dependencies_are_refused(
    local_queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    queue, directory = local_queue, job("true")
    with pytest.raises(tej.JobNotFound, match="needs job 'x'\nJob 'x' is not in queue"):
        queue.submit("a", directory, after=["x"])
    with pytest.raises(tej.JobNotFound, match="needs job 'a'"):
        queue.submit("a", directory, after=["a"])
    assert queue.jobs() == []
    assert [*(queue_path / "incoming").iterdir()] == []
    other = tej.RemoteQueue("local:", str(queue_path) + "2", "default").job("a")
    with pytest.raises(tej.InvalidJobId, match="is in queue"):
        queue.submit("b", directory, after=[other])
    for inputs, words in (
        ({"start.sh": "a:b"}, "also an input"),
        ({"start.sh/x": "a:b"}, "not a directory"),
        ({"../x": "a:b"}, "not a path below"),
        ({"x": "a:/b"}, "not a path below"),
        ({"_stdout": "a:b"}, "cannot have the path"),
        ({"x": "a"}, "JOB:PATH"),
    ):
        with pytest.raises(tej.InvalidJobDirectory, match=words):
            queue.submit("b", directory, inputs=inputs)


def test_impossible_graphs_are_refused_before_the_upload(
    local_queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    queue, directory = local_queue, job("true")

    def spec(name: str, *after: str | tej.JobSpec) -> tej.JobSpec:
        return tej.JobSpec(directory, f"true {name}", name=name, after=after)

    for error, words, *graph in (
        (tej.InvalidJobId, "cycle: .*'a'", spec("a", "b"), spec("b", "a")),
        (tej.InvalidJobId, "cycle", spec("a", "a")),
        (tej.InvalidJobId, "2 jobs", spec("a"), spec("a", "b"), spec("b", "a")),
        (tej.InvalidJobId, "graph does not contain this JobSpec", spec("a", spec("b"))),
        (tej.JobNotFound, "No job 'x'", spec("a"), spec("b", "a", "x")),
        (
            tej.InvalidJobId,
            "Two different jobs",
            *(tej.JobSpec(directory, f"true {n}", job_id="same") for n in (1, 2)),
        ),
    ):
        with pytest.raises(error, match=words):
            queue.ensure_graph(graph)
    assert not queue_path.exists()


def test_old_scripts_do_not_ignore_dependencies(
    local_queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    local_queue.submit("a", job("true"))
    (lib,) = queue_path.glob("scripts/*/lib")
    # The number of files stays, since scripts of which a file is missing are replaced.
    (lib / "dependencies.sh").rename(lib / "another.sh")
    loader = (lib / "load.sh").read_text().splitlines(keepends=True)
    kept = [line for line in loader if "dependencies.sh" not in line]
    (lib / "load.sh").write_text("".join(kept))
    with pytest.raises(tej.QueueExists, match="too old"):
        local_queue.submit("b", job("true"), after=["a"])
    assert not (queue_path / "jobs/b").exists()


def test_graph_names_its_jobs_in_any_order(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    queue, directory = local_queue, job("true")
    old = queue.submit("old", directory)
    needed = tej.JobSpec(directory, "true d")
    graph = [
        tej.JobSpec(directory, "true e", inputs={"x": (needed, "start.sh")}),
        needed,
        tej.JobSpec(directory, "true c", after=["b", old]),
        tej.JobSpec(directory, "true b", name="b", after=["a"]),
        tej.JobSpec(directory, "true a", job_id="a"),
        tej.JobSpec(directory, "true b", name="other", after=["a"]),
    ]
    outcomes = queue.ensure_graph(graph)
    assert [one.error for one in outcomes] == [None] * 6
    ids = [one.job_id for one in outcomes[2:]]
    assert (ids[1], ids[2]) == (ids[3], "a")
    status = queue.wait(ids)[ids[0]]
    assert status.succeeded
    assert set(status.after) == {ids[1], old}
    assert not any(one.is_new for one in queue.ensure_graph(graph))


def test_dependents_respect_the_job_limit(
    local_queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    queue, now = local_queue, tmp_path / "now"
    now.mkdir()
    queue.setup(max_running=2)
    line = (
        f"mkdir '{now}'/$TEJ_JOB_ID; ls '{now}' | wc -l >>'{tmp_path}/seen'; sleep 0.05"
    )
    directory = job(f"{line}; rmdir '{now}'/$TEJ_JOB_ID")
    queue.submit("a", directory)
    ids = [queue.submit(f"b{number}", directory, after=["a"]) for number in range(5)]
    queue.submit("c", directory, after=ids)
    assert queue.wait(["c"])["c"].succeeded
    seen = [int(word) for word in (tmp_path / "seen").read_text().split()]
    assert len(seen) == 7
    assert max(seen) <= 2


def test_commands_take_dependencies(
    command: Command, own: dict[str, str], job: Make
) -> None:
    directory = job("mkdir out; echo data >out/file")
    first = command("submit", directory, "--reuse", **own).stdout.strip()
    words = ("--script", "cat in", "--input", f"in={first}:out/file", "--after", first)
    done = command("run", directory, *words, **own)
    assert (done.status, done.stdout) == (0, "data\n")
    second = command("signature", directory, *words, **own).stdout.strip()
    document = command("status", "--id", second, "--json", **own).json
    assert document["jobs"][0]["after"] == [first]
    assert command("run", directory, "--input", "in", **own).status == 2
    assert command("run", directory, "--after", "x", **own).status == 125


def test_wait_for_a_dependent_needs_no_other_client(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    local_queue.submit("a", job(gate.wait))
    local_queue.submit("b", job(), after=["a"])
    gate.open()
    # No client sends a request: the wrapper of the first job starts the second job.
    wait_until((queue_path / "jobs/b/finished").exists, "the second job has ended")
