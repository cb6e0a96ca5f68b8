"""Benchmarks: measure tej and its peers, and write the table to docs/benchmarks.md.

    python bench/run.py [NAME...]         run all measurements, or those in NAME...

Times depend on the machine, so compare only the ratios.
"""

from __future__ import annotations

import os
import platform
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

from large_queues import large_queue, list_10k
from testbed import ROOT, TestBed, best, best_of_each, run, seconds, shell

import tej

LATENCY = 0.05
"""Round-trip time, in seconds, of the delayed connection."""

Row = tuple[str, str, str, str]
"""What, tej, the peer, the ratio (and the aim)."""

TEJ = [sys.executable, "-m", "tej"]


def write_job(folder: Path, script: str, files: int = 0, size: int = 0) -> Path:
    """Create a job directory with a number of files of a given size."""
    folder.mkdir(parents=True)
    (folder / "start.sh").write_text(f"#!/bin/sh\n{script}\n")
    for number in range(files):
        with (folder / f"file{number}").open("wb") as file:
            for start in range(0, size, 1 << 20):
                file.write(os.urandom(min(1 << 20, size - start)))
    return folder


def small_files(testbed: TestBed) -> list[Row]:
    """Measure the submission of 1,000 files of 2 KB at 50 ms, including the start."""
    job = write_job(testbed.folder / "small", "true", 1000, 2048)
    few = write_job(testbed.folder / "few", "true", 50, 2048)

    def by_tej() -> None:
        queue = str(testbed.folder / f"q{time.monotonic_ns()}")
        run(
            [*TEJ, "submit", "far", "--queue", queue, str(job)],
            stderr=subprocess.DEVNULL,
        )

    def by_tar() -> None:
        target = testbed.folder / f"t{time.monotonic_ns()}"
        ssh = shlex.join(
            testbed.ssh("far", f"mkdir '{target}'; cd '{target}'; tar xf -")
        )
        shell(f"tar -C '{job}' -cf - . | {ssh}")

    ours, tar = best(by_tej), best(by_tar)
    rows = [
        (
            "submit 1,000 x 2 KB, 50 ms, cold",
            f"{ours:.2f} s",
            f"tar \\| ssh {tar:.2f} s",
            f"{ours / tar:.2f} (aim: at most 1.5)",
        ),
    ]
    bin_ = testbed.peer("tej06")
    if bin_ is not None:
        where = f"{testbed.sshd.user}@127.0.0.1:{testbed.far.port}"
        queue = str(testbed.folder / "q06")
        setup = [
            str(bin_ / "tej"),
            "setup",
            where,
            "--queue",
            queue,
            "--runtime",
            "default",
        ]
        run(setup)
        submit = [str(bin_ / "tej"), "submit", where, "--queue", queue, str(few)]
        old = seconds(lambda: run(submit)) * 1000 / 50
        rows.append(
            (
                "the same",
                f"{ours:.2f} s",
                f"tej 0.6 {old:.0f} s (50 files, times 20)",
                f"1/{old / ours:.0f} (aim: at most 1/50)",
            )
        )
    return rows


def large_file(testbed: TestBed) -> list[Row]:
    """Measure the upload and the download of a file of 500 MB, on loopback."""
    job = write_job(testbed.folder / "large", "true", 1, 500_000_000)
    queue = testbed.queue("near")
    queue.setup()
    ids: list[str] = []
    out = testbed.folder / "out"
    out.mkdir()
    target = testbed.folder / "target"
    up = shlex.join(
        testbed.ssh("near", f"mkdir -p '{target}'; cd '{target}'; tar xf -")
    )
    down = shlex.join(testbed.ssh("near", f"cd '{target}'; tar cf - file0"))
    tar_up = best(lambda: shell(f"tar -C '{job}' -cf - . | {up}"))
    ours_up = best(lambda: ids.append(queue.submit(None, job)))
    tar_down = best(
        lambda: shell(f"{down} | tar -C '{out}' -xf -"), prepare=lambda: empty(out)
    )
    ours_down = best(
        lambda: queue.download(ids[0], "file0", directory=out),
        prepare=lambda: empty(out),
    )
    memory = peak_memory(testbed, job)
    queue.cleanup(kill=True)
    return [
        (
            "submit one file of 500 MB",
            f"{500 / ours_up:.0f} MB/s",
            f"tar \\| ssh {500 / tar_up:.0f} MB/s",
            f"{tar_up / ours_up:.2f} (aim: at least 0.8)",
        ),
        (
            "download it",
            f"{500 / ours_down:.0f} MB/s",
            f"ssh \\| tar {500 / tar_down:.0f} MB/s",
            f"{tar_down / ours_down:.2f} (aim: at least 0.8)",
        ),
        ("most memory of the client", f"{memory:.0f} MB", "", "(aim: below 100 MB)"),
    ]


def empty(folder: Path) -> None:
    """Empty the directory and flush the disk, so that all measurements start equally."""
    for file in folder.iterdir():
        file.unlink()
    os.sync()


def peak_memory(testbed: TestBed, job: Path) -> float:
    """Return the peak memory of `tej submit` in MB."""
    queue = str(testbed.folder / "memory")
    # getrusage is not used, because its value for a child starts at the peak of the
    # parent.
    code = (
        "import sys; from tej.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "for line in open('/proc/self/status'):\n"
        "    if line.startswith('VmHWM'): print(line.split()[1], file=sys.stderr)"
    )
    words = [sys.executable, "-c", code, "submit", "near", "--queue", queue, str(job)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return int(done.stderr.split()[-1]) / 1024


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
        took = best(status, 5, prepare=disconnect)
        login = best(partial(run, ssh), 5)
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


def notice(testbed: TestBed) -> list[Row]:
    """Measure the time from the end of a job to the return of `wait`."""
    queue = testbed.queue("near")
    job = write_job(testbed.folder / "notice", 'sleep "$PAUSE"; date +%s.%N')
    specs = [
        tej.JobSpec(
            job, job_id=f"n{number}", environment={"PAUSE": str(1 + number / 7)}
        )
        for number in range(30)
    ]
    ids = [one.job_id for one in queue.submit_many(specs)]
    delays: list[float] = []

    def wait_for(job_id: str) -> None:
        queue.wait([job_id])
        now = time.time()
        delays.append(now - float(b"".join(queue.logs(job_id))))

    threads = [threading.Thread(target=wait_for, args=(job_id,)) for job_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    share = cost_of_waiting(queue, testbed)
    queue.cleanup(kill=True, grace=0)
    return [
        (
            "notice of a job's end, median of 30",
            f"{statistics.median(delays):.2f} s",
            "",
            "(aim: below 0.5 s)",
        ),
        (
            "CPU on the server, 100 jobs waited for",
            f"{share:.2%} of a core",
            "",
            "(aim: below 1%)",
        ),
    ]


def cost_of_waiting(queue: tej.RemoteQueue, testbed: TestBed, jobs: int = 100) -> float:
    """Return the share of a core that the wrappers and the wait use."""
    sleeper = write_job(testbed.folder / "sleeper", "exec sleep 600")
    ids = [one.job_id for one in queue.submit_many([tej.JobSpec(sleeper)] * jobs)]
    threading.Thread(target=_wait_quietly, args=(queue, ids), daemon=True).start()
    time.sleep(5)
    before, begun = cpu_of(str(queue.queue)), time.monotonic()
    time.sleep(60)
    return (cpu_of(str(queue.queue)) - before) / (time.monotonic() - begun)


def waiting_1000(testbed: TestBed) -> list[Row]:
    """Measure the server's CPU time during a wait for 1,000 running jobs."""
    queue = testbed.queue("near")
    share = cost_of_waiting(queue, testbed, 1000)
    queue.cleanup(kill=True, grace=0)
    return [
        (
            "CPU on the server, 1,000 jobs waited for",
            f"{share:.2%} of a core",
            "",
            "(aim: below 1%)",
        ),
    ]


def _wait_quietly(queue: tej.RemoteQueue, ids: list[str]) -> None:
    try:
        queue.wait(ids)
    except tej.Error:
        return


def cpu_of(mark: str) -> float:
    """Return the CPU seconds of the processes that name a queue, and of their children.

    The shells that serve a connection do not name a queue, and are all counted.
    """
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            if mark.encode() not in words and b'eval "$tej"' not in words:
                continue
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def thousand_jobs(testbed: TestBed) -> list[Row]:
    """Measure 1,000 small jobs that are submitted, awaited and fetched."""
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
            "... awaited and fetched too",
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
                "the same",
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


def signature(testbed: TestBed) -> list[Row]:
    """Measure the signature of 1 GB in 1,000 files, against sha256sum."""
    job = write_job(testbed.folder / "gigabyte", "true", 1000, 1_000_000)
    ours = best(lambda: tej.signature(job))
    peer = best(lambda: shell("sha256sum file*", cwd=job))
    return [
        (
            "signature of 1 GB in 1,000 files",
            f"{ours:.2f} s",
            f"sha256sum {peer:.2f} s",
            f"{ours / peer:.2f}",
        ),
    ]


MEASUREMENTS: dict[str, Callable[[TestBed], list[Row]]] = {
    "start_up": start_up,
    "small_files": small_files,
    "large_file": large_file,
    "status": status,
    "cold_status": cold_status,
    "list_10k": list_10k,
    "large_queue": large_queue,
    "notice": notice,
    "waiting_1000": waiting_1000,
    "thousand_jobs": thousand_jobs,
    "trivial_jobs": trivial_jobs,
    "signature": signature,
}

HEAD = """\
# Benchmarks

Made by `python bench/run.py`, all in one run: {cpus} cores, {system}, Python {python},
{date}. Each time is the best of several where that is cheap. Another machine has other
times; the ratios are what is worth comparing.

| what | tej | peer | ratio |
| --- | --- | --- | --- |
"""


def main(names: list[str]) -> None:
    """Run the measurements, print the results, and write the table of a complete run."""
    testbed = TestBed(LATENCY)
    lines: list[str] = []
    try:
        for name in names or MEASUREMENTS:
            for row in MEASUREMENTS[name](testbed):
                lines.append(f"| {' | '.join(row)} |\n")
                print(lines[-1], end="", flush=True)
    finally:
        testbed.close()
    if not names:
        head = HEAD.format(
            cpus=os.cpu_count(),
            system=platform.system(),
            python=platform.python_version(),
            date=date.today().isoformat(),
        )
        page = ROOT / "docs/benchmarks.md"
        # Other programs measure the overhead of the workflow engines.
        _, mark, rest = page.read_text().partition("\n## ")
        page.write_text(head + "".join(lines) + mark + rest)


if __name__ == "__main__":
    main(sys.argv[1:])
