"""Records of many ended jobs, which one awk on the server reads."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import make_ended_job, token_of_ended
from jobs import wait_until

import tej
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue

pytestmark = pytest.mark.parametrize("awk", ["gawk", "mawk", "busybox"])

# Rare, damaged or foreign content of each fact of an ended job.  None: no file.
RARE: dict[str, list[str | None]] = {
    "finished": [
        None,
        "",
        "1700000009 signal 15 own\n",
        "1700000009 none 0 killed 0",
        "1700000009 exit 0 own 2\n",
        "1700000009 exit 0 ask 0\n",
        "1700000009 crash 0 own 0\n",
        "1700000009 exit 007 own 0\n",
        "  1700000009\texit 1 own 0\n",
        "\0\x01\xff",
    ],
    "submitted": [None, "", "01700000001 host b 1 1 1\n", "soon\n", "1700000001"],
    "started": [None, "", "1700000002\n", "late host 1 2\n", "1700000002 höst 1 2\n"],
    "native_id": [None, "", "pid 12\n", "slurm 12\n", "slurm\n"],
    "kill": ["1700000008 10 alice@a  two words \n", "1700000008 ten b\n", "", "1 2\n"],
    "ignored": ["memory cpus\n", " \n"],
    "downloaded": ["1700000010 bob@desk\n", "", "x\n"],
    "reason": ["1700000008 limit walltime\n", "1 cancelled by root\n", ""],
    "changed": ["data/shared.bin\n"],
    "parameters": ["param:LR=0.1\n"],
    "lost": ["1700000005 the host is gone\n"],
    "spec": [
        None,
        "",
        "token=1 name=x",
        "token=1 name=y end",
        "name=x end\n",
        "token=1 name=\x01 end\n",
    ],
}


COPY = (
    "{token} 1700000001 1700000002 host "
    "pid host 0b7f1a2c-boot 4026531836 4000000 77 end\n"
)
"""Second line of the fact `finished`, with the usual facts of `make_ended_job`."""


@pytest.fixture
def queue(
    awk: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    require: Callable[[str], None],
) -> RemoteQueue:
    """A queue without jobs, on a server that has only this awk."""
    require(awk)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/awk").symlink_to(shutil.which(awk) or "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    queue = tej.RemoteQueue("local:", str(tmp_path / "queue"), "default")
    queue.setup()
    return queue


def make_jobs(queue: RemoteQueue) -> list[str]:
    """Make a job for each rare content of a fact, and jobs with several of these."""
    rare = [(fact, text) for fact, texts in RARE.items() for text in texts]
    choices = random.Random(17)
    chosen = [[one] for one in rare] + [choices.sample(rare, 3) for _ in range(20)]
    killed = ("finished", f"1700000009 exit 3 killed 0\n{' ' * 30}")
    chosen += [[one, killed] for one in rare if one[0] == "kill"]
    copies = [
        f"1700000009 exit 3 own 0\n{COPY}",
        f"1700000009 signal 15 killed 0\n{COPY}{' ' * 30}",
        f"1700000009 exit 3 killed 0\n{COPY[:-5]}",
        f"1700000009 exit 0 own 2\n{COPY}",
    ]
    later = [one for one in rare if one[0] in ("kill", "downloaded", "reason", "spec")]
    later += [("parameters", "param:LR=0.1\n"), ("lost", "1700000005 it is gone\n")]
    chosen += [[("finished", copy)] for copy in copies]
    # These facts are visibly damaged, so their copies are valid for the shell, too.
    later += [("submitted", text) for text in RARE["submitted"][:4]]
    later += [("started", text) for text in RARE["started"][:4]]
    later += [("native_id", text) for text in RARE["native_id"][:3]]
    chosen += [[one, ("finished", copy)] for one in later for copy in copies[:2]]
    damaged = ("native_id", "pid 12\n")
    chosen += [[damaged, ("finished", copy)] for copy in copies]
    chosen += [[one, damaged, ("finished", copies[0])] for one in later[:6]]
    for number, facts in enumerate(chosen):
        job_id = f"job{number}"
        texts = dict(facts)
        if end := texts.get("finished"):
            texts["finished"] = end.replace("{token}", token_of_ended(job_id))
        make_ended_job(queue.queue, job_id, **texts)
    make_ended_job(queue.queue, "retried")
    attempts = Path(queue.queue, "attempts/retried")
    attempts.mkdir(parents=True)
    (attempts / "last").write_text("3\n")
    return [f"job{number}" for number in range(len(chosen))] + ["retried"]


def without_time(job: JobStatus | None) -> JobStatus | None:
    """Return the status without the values that depend on the time of the request."""
    if job is None:
        return None
    return dataclasses.replace(
        job, reported=None, duration=job.duration if job.state.final else None
    )


def test_many_records_equal_single_records(queue: RemoteQueue) -> None:
    ids = make_jobs(queue)
    Path(queue.queue, "jobs/no job").write_text("")
    # The first request may record that a job is lost.
    queue.jobs()
    together = {job.job_id: job for job in queue.jobs()}
    chosen = queue.statuses([*ids, "absent"])
    for start in range(0, len(ids), 45):
        for job_id, alone in queue.statuses(ids[start : start + 45]).items():
            assert without_time(together.get(job_id)) == without_time(alone)
            assert without_time(chosen[job_id]) == without_time(alone)
    assert together.keys() == {*ids}
    assert chosen["absent"] is None


def test_end_repeats_the_other_facts(
    queue: RemoteQueue, job: Callable[..., Path]
) -> None:
    directory = job("exit 3")
    alone = tej.JobSpec(directory, job_id="alone")
    rare = tej.JobSpec(directory, job_id="rare", resources=tej.Resources(memory="1M"))
    together = [tej.JobSpec(directory, job_id=one) for one in ("a", "b")]
    for specs in ([alone], [rare], together):
        queue.wait([outcome.job_id for outcome in queue.submit_many(specs)])
    before = queue.statuses(["alone", "rare", "a", "b"])
    for number in range(60):
        make_ended_job(queue.queue, f"job{number}")
    for job_id in ("alone", "a", "b"):
        for fact in ("submitted", "started", "native_id"):
            Path(queue.queue, "jobs", job_id, fact).unlink()
    listed = {status.job_id: status for status in queue.jobs()}
    alone = queue.statuses(before)
    for job_id, status in before.items():
        assert without_time(listed[job_id]) == without_time(status)
        assert without_time(alone[job_id]) == without_time(status)
    # The record of a job with a rare fact does not follow from `finished`.
    assert "end\n" not in Path(queue.queue, "jobs/rare/finished").read_text()


def test_list_without_records_is_an_error(queue: RemoteQueue, tmp_path: Path) -> None:
    for number in range(60):
        make_ended_job(queue.queue, f"job{number}")
    # tr is killed after it has read all records.
    for name, dies in (("tr", "cat >/dev/null; kill -9 $$"), ("awk", "exit 2")):
        program = tmp_path / "bin" / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/sh\n{dies}\n")
        program.chmod(0o755)
        with pytest.raises(tej.RemoteCommandFailure, match="awk or tr has failed"):
            queue.jobs()


def test_pipes_among_the_facts_block_no_list(queue: RemoteQueue) -> None:
    for number in range(60):
        make_ended_job(queue.queue, f"job{number}")
    attempts = Path(queue.queue, "attempts/job59")
    attempts.mkdir(parents=True)
    os.mkfifo(attempts / "last")
    facts = ["finished", "spec", "started", "native_id", "reason", "on_end"]
    for number, fact in enumerate(facts):
        path = Path(queue.queue, "jobs", f"job{number}", fact)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    os.mkfifo(Path(queue.queue, "jobs/job11/two\nlines"))
    link = Path(queue.queue, "jobs/job10/kill")
    link.symlink_to("../job0/finished")
    for jobs in (queue.jobs(), queue.jobs(last=60)):
        together = {job.job_id: job for job in jobs}
        assert len(together) == 60
        for job_id in ("job0", "job2", "job10", "job59"):
            assert without_time(together[job_id]) == without_time(queue.status(job_id))
        assert sum(job.succeeded for job in together.values()) == 59


@pytest.mark.parametrize("fact", ["started", "downloaded"])
def test_job_replaced_during_the_list_is_not_mixed(
    queue: RemoteQueue, tmp_path: Path, fact: str
) -> None:
    # If `finished` repeats the fact `started`, awk does not read `started`.
    copy = "" if fact == "started" else COPY
    for number in range(60):
        end = "1700000009 exit 0 own 0\n"
        end += copy.replace("{token}", token_of_ended(f"job{number}"))
        make_ended_job(queue.queue, f"job{number}", finished=end)
    folder = Path(queue.queue, "jobs/job30")
    # The list finds no pipe in the job's directory, and awk then waits for the pipe.  The
    # list calls `find` a second time, for the attempts.
    find = tmp_path / "bin/find"
    find.write_text(
        f"""#!/bin/sh
        [ "$1" = . ] && mkdir '{tmp_path}/called' || exec {shutil.which("find")} "$@"
        cd '{folder}' && rm -f {fact} && mkfifo {fact}"""
    )
    find.chmod(0o755)

    def replace() -> None:
        # The pipe is open for writing as soon as awk has read `finished` and reads the
        # other fact.
        wait_until((folder / fact).is_fifo, "the pipe exists")
        with (folder / fact).open("w") as pipe:
            folder.rename(folder.with_name(".old"))
            make_ended_job(
                queue.queue,
                "job30",
                spec=f"token={7:032x} name=new end\n",
                finished="1700000099 exit 5 own 0\n",
            )
            pipe.write("1700000002 host 4000001 78\n")

    thread = threading.Thread(target=replace)
    thread.start()
    jobs = {job.job_id: job for job in queue.jobs()}
    thread.join()
    assert (jobs["job30"].name, jobs["job30"].exit_code) == ("new", 5)
    assert len(jobs) == 60
