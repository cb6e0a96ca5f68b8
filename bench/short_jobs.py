"""Throughput of many short jobs, against shell loops and DPDispatcher."""

from __future__ import annotations

import shlex
import subprocess
import time

from testbed import (
    ROOT,
    Row,
    TestBed,
    run,
    seconds,
    shell,
    write_job,
)

import tej


def thousand_jobs(testbed: TestBed) -> list[Row]:
    """Measure 1,000 small jobs from submission to downloaded results."""
    job = write_job(testbed.folder / "one", "echo done >result")
    queue = testbed.queue("near")
    queue.setup()
    started = [0.0]

    def by_tej() -> None:
        begun = time.perf_counter()
        ids = [one.job_id for one in queue.submit_many([tej.JobSpec(job)] * 1000)]
        started[0] = time.perf_counter() - begun
        queue.wait(ids)
        queue.download_many(ids, "result", directory=testbed.folder / "results")

    ours = seconds(by_tej)
    queue.cleanup(kill=True)
    count = 20

    def by_ssh() -> None:
        for number in range(count):
            place = f"{testbed.folder}/loop{number}"
            ssh = shlex.join(
                testbed.ssh("near", f"mkdir {place}; cd {place}; tar xf -")
            )
            shell(f"tar -C '{job}' -cf - . | {ssh}")
            run(testbed.ssh("near", f"cd {place}; sh start.sh >out 2>err"))
            run(testbed.ssh("near", f"cat {place}/result"))

    loop = seconds(by_ssh) * 1000 / count
    rows = [
        ("1,000 jobs started", f"{started[0]:.1f} s", "", "(aim: well under 60 s)"),
        (
            "1,000 jobs started, awaited and fetched",
            f"{ours:.1f} s",
            f"a loop of ssh {loop:.0f} s ({count}, times {1000 // count})",
            f"1/{loop / ours:.1f}",
        ),
    ]
    bin_ = testbed.peer("dpdispatcher")
    if bin_ is not None:
        words = [str(bin_ / "python"), str(ROOT / "bench/dpdispatcher_jobs.py")]
        arguments = [str(testbed.sshd.port), testbed.sshd.user, str(count)]
        place = str(testbed.folder / "dp")
        peer = (
            seconds(
                lambda: run(
                    [*words, *arguments, place],
                    stderr=subprocess.DEVNULL,
                    # DPDispatcher leaves a log in the current directory.
                    cwd=testbed.folder,
                )
            )
            * 1000
            / count
        )
        rows.append(
            (
                "1,000 jobs started, awaited and fetched",
                f"{ours:.1f} s",
                f"DPDispatcher 1.1 {peer:.0f} s ({count}, times {1000 // count})",
                f"1/{peer / ours:.1f}",
            )
        )
    return rows


def trivial_jobs(testbed: TestBed) -> list[Row]:
    """Measure trivial jobs over SSH, against a shell loop on the server."""
    job = write_job(testbed.folder / "trivial", "true")
    queue = testbed.queue("near")
    queue.setup()
    rows: list[Row] = []
    for count in (200, 1000):
        loop_directory = testbed.folder / f"loop of {count}"
        for number in range(count):
            write_job(loop_directory / str(number), "true")

        def by_tej(count: int = count) -> None:
            outcomes = queue.submit_many([tej.JobSpec(job)] * count)
            queue.wait([outcome.job_id for outcome in outcomes])

        ours = seconds(by_tej)
        loop = seconds(
            lambda directory=loop_directory: shell(
                "for job in */; do (cd $job && sh start.sh >_stdout 2>_stderr); done",
                cwd=directory,
            )
        )
        rows.append(
            (
                f"{count:,} trivial jobs, started and ended",
                f"{ours:.1f} s",
                f"shell loop on the server {loop:.1f} s",
                f"{ours / loop:.1f} (aim: at most 2.5)",
            )
        )
    queue.cleanup(kill=True)
    return rows
