"""Life cycle of a job: submit, status, list, delete and cleanup."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from facts import script_of
from installer import change_scripts
from jobs import Gate, is_alive, wait_until, wait_until_ended

import tej
from tej import JobState

if TYPE_CHECKING:
    from tests.queue.conftest import Server

Make = Callable[..., Path]


def ends(queue: tej.RemoteQueue, job_id: str) -> tej.JobStatus:
    """Return the status of a job once the job has ended."""
    wait_until_ended(queue, job_id)
    return queue.status(job_id)


def stdout(queue: tej.RemoteQueue, job_id: str, name: str = "_stdout") -> str:
    """Return the output of a job so far."""
    return Path(queue.status(job_id).directory, name).read_text()


# submit


def test_submit_creates_queue_and_starts_job(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    assert not queue_path.exists()
    assert queue.submit("first", job(gate.wait)) == "first"
    assert queue.status("first").state is JobState.RUNNING


def test_status_is_true_right_after_submit(queue: tej.RemoteQueue, job: Make) -> None:
    directory = job("true")
    for number in range(4):
        queue.submit(f"quick{number}", directory)
        state = queue.status(f"quick{number}").state
        assert state in (JobState.RUNNING, JobState.FINISHED)


def test_new_id_contains_directory_and_user(queue: tej.RemoteQueue, job: Make) -> None:
    job_id = queue.submit(None, job("true"))
    user = re.escape(getpass.getuser())
    assert re.fullmatch(f"job_{user}_[a-z0-9]{{10}}", job_id)
    assert ends(queue, job_id).name == "job"


def test_job_directory_may_have_any_name(queue: tej.RemoteQueue, job: Make) -> None:
    for name in ("my job", "a;touch pwned", "$(touch pwned)", "-rf", "é"):
        job_id = queue.submit(None, job("ls -A", name=name))
        assert ends(queue, job_id).succeeded
        assert "pwned" not in stdout(queue, job_id)
        assert queue.status(job_id).name == name


def test_current_directory_can_be_submitted_as_dot(
    queue: tej.RemoteQueue, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(job("true"))
    job_id = queue.submit(None, ".")
    assert job_id.startswith("job_")
    assert ends(queue, job_id).succeeded


def test_existing_id_is_refused_and_job_kept(
    queue: tej.RemoteQueue, waiting: str, job: Make
) -> None:
    before = queue.status(waiting)
    with pytest.raises(tej.JobAlreadyExists, match=f"Job '{waiting}' already exists"):
        queue.submit(waiting, job("echo other", name="other"))
    after = queue.status(waiting)
    assert (after.native_id, after.submitted, after.name) == (
        before.native_id,
        before.submitted,
        before.name,
    )
    assert stdout(queue, waiting) == "begun\n"


def test_longest_id_works_and_longer_is_refused(
    queue: tej.RemoteQueue, job: Make
) -> None:
    longest = "x" * 200
    queue.submit(longest, job("true"))
    assert ends(queue, longest).succeeded
    queue.delete(longest)
    with pytest.raises(tej.InvalidJobId, match="201 characters, 200 are allowed"):
        queue.submit("x" * 201, job("true"))


@pytest.mark.parametrize(
    "job_id", ["", ".", "..", "-rf", "a/b", "a b", "a\nb", "é", "*"]
)
@pytest.mark.parametrize(
    "verb", ["submit", "status", "download", "kill", "delete", "job"]
)
def test_invalid_id_is_refused_without_request(
    job_id: str, verb: str, job: Make
) -> None:
    queue = tej.RemoteQueue("nobody@host.invalid")
    more = {"submit": [job()], "download": ["file"]}.get(verb, [])
    with pytest.raises(tej.InvalidJobId, match="Invalid job identifier"):
        getattr(queue, verb)(job_id, *more)


def test_every_valid_id_character_works(queue: tej.RemoteQueue, job: Make) -> None:
    job_id = "aZ09_-+=@%:.,"
    queue.submit(job_id, job("echo $TEJ_JOB_ID"))
    assert ends(queue, job_id).succeeded
    assert stdout(queue, job_id) == f"{job_id}\n"
    assert [status.job_id for status in queue.jobs()] == [job_id]
    queue.delete(job_id)
    assert queue.jobs() == []


def test_labels_and_name_are_kept_unchanged(queue: tej.RemoteQueue, job: Make) -> None:
    labels = {"a b": "c=d\n'\"%$", "é": "\udce9", "end": "", "token": "x"}
    queue.submit("labelled", job("true"), name="a 'name'\n end", labels=labels)
    status = ends(queue, "labelled")
    assert status.labels == labels
    assert status.name == "a 'name'\n end"
    assert status.submitter == f"{getpass.getuser()}@{socket.gethostname()}"
    assert status.script == "start.sh"


def test_progress_counts_every_sent_byte(queue: tej.RemoteQueue, job: Make) -> None:
    pieces: list[int] = []
    queue.submit("big", job("true", {"data": b"x" * 3_000_000}), progress=pieces.append)
    assert sum(pieces) > 3_000_000
    assert len(pieces) > 5
    assert sum(pieces) % 10240 == 0


# status


def test_running_job_has_start_but_no_end(queue: tej.RemoteQueue, waiting: str) -> None:
    status = queue.status(waiting)
    assert status.state is JobState.RUNNING
    assert not status.state.final
    assert status.started is not None
    assert abs((datetime.now(timezone.utc) - status.started).total_seconds()) < 300
    assert status.duration is not None
    assert (status.ended, status.exit_code, status.signal) == (None, None, None)
    assert status.host == socket.gethostname()
    assert is_alive(int(status.native_id or 0))
    assert status.describe().startswith("Job is still running (0:")


def test_exit_code_is_that_of_script(queue: tej.RemoteQueue, job: Make) -> None:
    codes = (0, 1, 2, 77, 126, 143, 255)
    ids = [queue.submit(None, job(f"exit {code}", name=f"{code}")) for code in codes]
    for code, status in zip(codes, queue.wait(ids).values(), strict=True):
        assert (status.state, status.exit_code, status.signal) == (
            JobState.FINISHED,
            code,
            None,
        )
        assert status.succeeded == (code == 0)
        assert status.result == str(code)


def test_signal_is_distinguished_from_exit_code(
    queue: tej.RemoteQueue, job: Make
) -> None:
    signals = {"TERM": 15, "KILL": 9, "SEGV": 11}
    for name in signals:
        queue.submit(name, job(f"ulimit -c 0; kill -s {name} $$", name=name))
    for name, status in queue.wait(signals).items():
        assert (status.state, status.exit_code, status.signal) == (
            JobState.FINISHED,
            None,
            signals[name],
        )
        assert not status.succeeded
        assert status.result == str(128 + signals[name])
        assert f"ended by SIG{name}" in status.describe()


def test_ended_job_has_times_in_order(queue: tej.RemoteQueue, ended: str) -> None:
    status = queue.status(ended)
    assert status.submitted is not None
    assert status.started is not None
    assert status.ended is not None
    assert status.submitted <= status.started <= status.ended
    assert status.duration == (status.ended - status.started).total_seconds()


def test_status_of_missing_job_is_an_error(queue: tej.RemoteQueue, ended: str) -> None:
    with pytest.raises(tej.JobNotFound, match="^No job 'absent'\n"):
        queue.status("absent")


def test_status_of_many_jobs_takes_one_round_trip(
    queue: tej.RemoteQueue, waiting: str, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    run = queue.transport.run
    monkeypatch.setattr(
        queue.transport, "run", lambda *a, **k: (runs.append(a), run(*a, **k))[1]
    )
    found = queue.statuses([ended, "absent", waiting, ended])
    assert list(found) == [ended, "absent", waiting]
    assert found["absent"] is None
    assert found[ended] is not None
    assert found[waiting] is not None
    assert (found[ended].state, found[waiting].state) == (
        JobState.FINISHED,
        JobState.RUNNING,
    )
    assert len(runs) == 1
    queue.jobs()
    assert len(runs) == 2
    assert queue.statuses([]) == {}
    assert len(runs) == 2


def test_status_requests_write_no_file(
    queue: tej.RemoteQueue, queue_path: Path, waiting: str
) -> None:
    def sizes() -> dict[str, int]:
        return {
            str(path): path.stat().st_size
            for path in queue_path.rglob("*")
            if path.name != "heartbeat" and path.is_file()
        }

    output = queue_path / "jobs" / waiting / "stage/_stdout"
    wait_until(lambda: output.stat().st_size, "the script has begun")
    before = sizes()
    for _ in range(5):
        queue.status(waiting)
        queue.jobs()
    assert sizes() == before


def test_status_never_fails_during_state_changes(
    queue: tej.RemoteQueue, job: Make
) -> None:
    directory = job("true")
    for number in range(4):
        queue.submit(f"job{number}", directory)
        while not queue.status(f"job{number}").state.final:
            assert len(queue.jobs()) == number + 1
    assert all(status.succeeded for status in queue.jobs())


@pytest.mark.parametrize("content", [None, ""])
def test_damaged_job_is_reported_and_removable(
    queue: tej.RemoteQueue,
    queue_path: Path,
    ended: str,
    job: Make,
    content: str | None,
) -> None:
    damaged = queue_path / "jobs" / "damaged"
    damaged.mkdir()
    if content is not None:
        for fact in ("spec", "submitted", "started", "finished"):
            (damaged / fact).write_text(content)
    found = {status.job_id: status for status in queue.jobs()}
    assert found[ended].succeeded
    assert found["damaged"].state is JobState.LOST
    assert queue.kill("damaged").state is JobState.LOST
    queue.delete("damaged")
    queue.submit("damaged", job("true", name="again"))
    assert ends(queue, "damaged").succeeded


def test_status_unpacks_into_three_values(
    queue: tej.RemoteQueue, ended: str, queue_path: Path
) -> None:
    state, directory, result = queue.status(ended)
    assert state == "finished"
    assert directory == PurePosixPath(queue_path, "jobs/ended/stage")
    assert result == "0"


# list


def test_empty_queue_lists_no_job(queue: tej.RemoteQueue) -> None:
    queue.setup()
    assert queue.jobs() == []
    assert list(queue.list()) == []


def test_list_contains_every_job(
    queue: tej.RemoteQueue, waiting: str, ended: str
) -> None:
    pairs = dict(queue.list())
    assert {job_id: info["status"] for job_id, info in pairs.items()} == {
        waiting: "running",
        ended: "finished",
    }


def test_status_request_creates_no_queue(
    queue: tej.RemoteQueue, queue_path: Path
) -> None:
    for ask in (
        queue.jobs,
        lambda: queue.status("a"),
        lambda: queue.download("a", "b"),
        lambda: queue.kill("a"),
        lambda: queue.delete("a"),
        queue.cleanup,
    ):
        with pytest.raises(tej.QueueNotFound, match=re.escape(str(queue_path))):
            ask()
    assert not queue_path.exists()


# delete


def test_ended_job_is_deleted_with_its_files(
    queue: tej.RemoteQueue, queue_path: Path, ended: str
) -> None:
    queue.delete(ended)
    assert list(queue_path.glob("jobs/*")) == []
    assert list(queue_path.glob("incoming/*")) == []
    with pytest.raises(tej.JobNotFound):
        queue.status(ended)
    with pytest.raises(tej.JobNotFound, match="No job 'ended'"):
        queue.delete(ended)


def test_running_job_is_not_deleted(queue: tej.RemoteQueue, waiting: str) -> None:
    with pytest.raises(tej.JobStillRunning, match="waiting.*kill it first"):
        queue.delete(waiting)
    assert queue.status(waiting).state is JobState.RUNNING


def test_id_of_deleted_job_can_be_reused(
    queue: tej.RemoteQueue, ended: str, job: Make
) -> None:
    queue.delete(ended)
    queue.submit(ended, job("echo again", name="again"))
    assert ends(queue, ended).name == "again"


def test_delete_many_reports_each_outcome(
    queue: tej.RemoteQueue, waiting: str, ended: str
) -> None:
    outcome = queue.delete_many([ended, "absent", waiting])
    assert outcome[ended] is None
    assert isinstance(outcome["absent"], tej.JobNotFound)
    assert isinstance(outcome[waiting], tej.JobStillRunning)
    assert [status.job_id for status in queue.jobs()] == [waiting]


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_write_protected_results_can_be_deleted(
    queue: tej.RemoteQueue, job: Make
) -> None:
    queue.submit("protected", job("mkdir -p a/b; touch a/b/c; chmod 500 a/b a"))
    ends(queue, "protected")
    queue.delete("protected")
    assert queue.jobs() == []


# cleanup


def test_cleanup_removes_the_queue_with_its_jobs(
    queue: tej.RemoteQueue, queue_path: Path, ended: str
) -> None:
    assert queue.cleanup() is True
    assert not queue_path.exists()


def test_cleanup_works_right_after_setup(
    queue: tej.RemoteQueue, queue_path: Path
) -> None:
    queue.setup()
    assert queue.cleanup() is True
    assert not queue_path.exists()


def test_cleanup_with_running_job_removes_nothing(
    queue: tej.RemoteQueue, waiting: str, ended: str
) -> None:
    with pytest.raises(
        tej.JobStillRunning, match="some jobs are still running: waiting"
    ):
        queue.cleanup()
    assert {status.job_id for status in queue.jobs()} == {waiting, ended}


def test_cleanup_with_kill_ends_running_jobs(
    queue: tej.RemoteQueue, queue_path: Path, waiting: str
) -> None:
    pid = script_of(queue_path / "jobs" / waiting)
    assert is_alive(pid)
    assert queue.cleanup(kill=True) is True
    assert not queue_path.exists()
    assert not is_alive(pid)


def test_cleanup_sends_keepalives_during_the_kill(
    queue_path: Path,
    job: Make,
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "grace_period=$1 requester=$2\n"
    note = f"printf '%s' \"$keepalive_pid\" >'{tmp_path}/pid'\n"
    change_scripts(monkeypatch, "commands/kill", (line, line + note))
    queue = tej.RemoteQueue("local:", str(queue_path), "default")
    queue.submit("waiting", job(gate.wait))
    assert queue.cleanup(kill=True, grace=0)
    assert (tmp_path / "pid").read_text() != ""


def test_cleanup_by_older_scripts_succeeds(
    local_queue: tej.RemoteQueue, queue_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older scripts, which remain on a full disk, do not print `removed`."""
    with monkeypatch.context() as patch:
        line = """printf '%s\\0' "removed=$queue"\n"""
        change_scripts(patch, "commands/cleanup", (line, ""))
        tej.RemoteQueue("local:", str(queue_path), "default").setup()
    local_queue.connection.digest = "any"
    assert local_queue.cleanup()
    assert not queue_path.exists()


def test_cleanup_keeps_foreign_files(
    queue: tej.RemoteQueue, queue_path: Path, ended: str
) -> None:
    (queue_path / "notes.txt").write_text("mine")
    queue.cleanup()
    assert [path.name for path in queue_path.iterdir()] == ["notes.txt"]


# objects


def test_job_object_has_the_same_methods(
    queue: tej.RemoteQueue, ended: str, waiting: str, tmp_path: Path
) -> None:
    handle = queue.job(ended)
    assert handle.status().succeeded
    (path,) = handle.download("_stdout", directory=tmp_path / "out")
    assert path.read_text() == "out\n"
    handle.delete()
    with pytest.raises(tej.JobNotFound):
        handle.status()
    assert queue.job(waiting).kill().state is JobState.KILLED
    assert queue.job(waiting) == queue.job(waiting)
    assert len({queue.job(waiting), queue.job(waiting), handle}) == 2


def test_closed_queue_can_be_used_again(queue: tej.RemoteQueue, ended: str) -> None:
    with queue:
        assert queue.status(ended).succeeded
    assert queue.status(ended).succeeded


def test_files_named_like_digits_are_ignored(
    local_server: Server, local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    # The facts of a machine must not be expanded as patterns that match these files.
    for digit in range(10):
        (local_server.home / str(digit)).touch()
    local_queue.submit("here", job(gate.wait))
    status = local_queue.status("here")
    assert (status.state, status.seen) == (JobState.RUNNING, None)
    assert local_queue.kill("here", grace=1).state is JobState.KILLED
