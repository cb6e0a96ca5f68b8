"""Uploads and downloads: speed of small and large files, memory, and signatures."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from testbed import (
    TEJ,
    Row,
    TestBed,
    best,
    run,
    seconds,
    shell,
    write_job,
)

import tej


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
                "submit 1,000 x 2 KB, 50 ms, cold",
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
            "download one file of 500 MB",
            f"{500 / ours_down:.0f} MB/s",
            f"ssh \\| tar {500 / tar_down:.0f} MB/s",
            f"{tar_down / ours_down:.2f} (aim: at least 0.8)",
        ),
        ("peak memory of the client", f"{memory:.0f} MB", "", "(aim: below 100 MB)"),
    ]


def empty(folder: Path) -> None:
    """Empty the directory and flush the disk, to give all measurements the same start."""
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
