"""Time of single requests and of the start of a command."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from testbed import (
    TEJ,
    Row,
    TestBed,
    best,
    best_of_each,
    run,
    write_job,
)

import tej


def status(testbed: TestBed) -> list[Row]:
    """Measure the warm status of one job and of 1,000 jobs, against one `exec`."""
    queue = testbed.queue("near")
    job = write_job(testbed.folder / "status", "true")
    ids = [one.job_id for one in queue.submit_many([tej.JobSpec(job)] * 1000)]
    queue.wait(ids)
    exec_ = best(lambda: queue.transport.run("true"), 20)
    runs = queue.transport.runs
    one = best(lambda: queue.status(ids[0]), 20)
    trips = (queue.transport.runs - runs) / 20
    many = best(lambda: queue.statuses(ids), 5)
    known = queue.ensure(job)
    known.wait()
    found = best(lambda: queue.ensure(job), 20)
    queue.cleanup(kill=True)
    return [
        (
            "status of a job, warm",
            f"{one * 1e3:.1f} ms ({trips:g} exec)",
            f"exec true {exec_ * 1e3:.1f} ms",
            f"{one / exec_:.1f}",
        ),
        (
            "status of 1,000 jobs, warm",
            f"{many * 1e3:.0f} ms (1 exec)",
            f"exec true {exec_ * 1e3:.1f} ms",
            f"{many / exec_:.0f}",
        ),
        (
            "ensure of a finished job, warm",
            f"{found * 1e3:.1f} ms (1 exec)",
            f"exec true {exec_ * 1e3:.1f} ms",
            f"{found / exec_:.1f}",
        ),
    ]


def cold_status(testbed: TestBed) -> list[Row]:
    """Measure `tej status` as a new process, against `ssh host true`.

    The measurement runs on loopback and at 50 ms, with and without an open connection.
    """
    rows: list[Row] = []
    for host, where in (("near", ""), ("far", ", 50 ms")):
        queue = testbed.queue(host)
        job_id = queue.submit(None, write_job(testbed.folder / f"cold {host}", "true"))
        queue.wait([job_id])
        words = [*TEJ, "status", host, "--queue", str(queue.queue), "--id", job_id]

        def disconnect(host: str = host) -> None:
            subprocess.run([*TEJ, "disconnect", host], capture_output=True)

        def status(words: list[str] = words) -> None:
            run(words)

        # Start a ControlMaster, for `ssh host true` through an open connection.
        socket = testbed.folder / host
        shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60"]
        ssh = testbed.ssh(host, "true")
        through = [ssh[0], *shared, "-S", str(socket), *ssh[1:]]
        run(through, stderr=subprocess.DEVNULL)
        status()
        works = (status, partial(run, ssh), partial(run, through))
        taken, login, session = best_of_each(*works, times=10)
        peer = f"ssh host true {login:.2f} s; through a ControlMaster {session:.2f} s"
        rows.append(
            (
                f"status, new process, connection open{where}",
                f"{taken:.2f} s",
                peer,
                f"{taken / login:.2f} (aim: at most 0.6)",
            )
        )
        took, login = best_of_each(
            status, partial(run, ssh), times=10, prepare=disconnect
        )
        rows.append(
            (
                f"status, new process, no connection{where}",
                f"{took:.2f} s",
                f"ssh host true {login:.2f} s",
                f"{took / login:.2f} (aim: at most 1.4)",
            )
        )
        run(
            [ssh[0], "-O", "exit", "-S", str(socket), *ssh[1:-1]],
            stderr=subprocess.DEVNULL,
        )
        queue.cleanup(kill=True)
        disconnect()
    return rows


def start_up(_: TestBed) -> list[Row]:
    """Measure `tej --help`, against the start of Python."""
    help_, bare_python = [*TEJ, "--help"], [sys.executable, "-c", "pass"]
    ours, bare = best_of_each(lambda: run(help_), lambda: run(bare_python), times=20)
    return [
        (
            "tej --help",
            f"{ours * 1e3:.0f} ms",
            f"python -c pass {bare * 1e3:.0f} ms",
            f"{(ours - bare) * 1e3:.0f} ms more (aim: at most 60)",
        ),
    ]
