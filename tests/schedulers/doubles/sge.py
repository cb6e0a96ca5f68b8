"""Doubles of Grid Engine's qsub, qstat, qdel, qacct and qconf, as far as tej uses them.

The doubles store and run jobs with the functions of pbs.py: `python sge.py COMMAND
ARGUMENT...`, with PBS_DOUBLE=sge:FOLDER.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from pbs import FOLDER, session_of, signal_session, start_waiting, state

VALUED = {"-A", "-N", "-S", "-b", "-j", "-l", "-m", "-o", "-pe", "-q", "-r", "-sync"}


def qsub(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print('qsub: invalid option argument "--version"', file=sys.stderr)
        return 2
    options: dict[str, str] = {}
    while arguments and arguments[0].startswith("-"):
        word = arguments.pop(0)
        if word == "-terse":
            continue
        assert word in VALUED, word
        options[word[1:]] = arguments.pop(0)
        if word == "-pe":
            arguments.pop(0)
    if options.get("q") == "nowhere":
        print(
            'Unable to run job: Job was rejected because job requests unknown queue "nowhere"',
            file=sys.stderr,
        )
        return 1
    limit = options.get("l", "").replace("h_rt=", "walltime=")
    (script,) = arguments
    with state() as jobs:
        number = str(len(jobs) + 1)
        spooled = FOLDER / f"{number}.SC"
        spooled.write_bytes(Path(script).read_bytes())
        jobs[number] = {
            "program": [],
            "name": options["N"],
            "state": "Q",
            "status": "",
            "deleted": False,
            "rerun": False,
            "pid": 0,
            "script": str(spooled),
            "home": os.environ["HOME"],
            "output": options.get("o", "/dev/null"),
            "options": {**options, "l": limit},
        }
        start_waiting(jobs)
    if (FOLDER / "mute").exists():
        return 124
    print(number)
    return 0


def qstat(arguments: list[str]) -> int:
    with state() as jobs:
        start_waiting(jobs)
        seen = dict(jobs)
    if "-xml" not in arguments:
        return 0
    print("<?xml version='1.0'?>\n<job_info>\n  <queue_info>")
    for number, job in seen.items():
        if job["state"] in "QR":
            print(
                f'    <job_list state="{"pending" if job["state"] == "Q" else "running"}">\n'
                f"      <JB_job_number>{number}</JB_job_number>\n"
                f"      <JB_name>{job['name']}</JB_name>\n"
                f"      <state>{'qw' if job['state'] == 'Q' else 'r'}</state>\n"
                "    </job_list>"
            )
    print("  </queue_info>\n</job_info>")
    return 0


def qdel(arguments: list[str]) -> int:
    (number,) = arguments
    with state() as jobs:
        job = jobs.get(number)
        if job is None or job["state"] == "C":
            print(f'denied: job "{number}" does not exist')
            return 1
        job["deleted"] = True
        runs = job["state"] != "Q"
        if not runs:
            job["state"] = "C"
    if runs:
        signal_session(session_of(number), signal.SIGKILL)
    print(f"user has deleted job {number}")
    return 0


def qacct(arguments: list[str]) -> int:
    (_, number) = arguments
    with state() as jobs:
        job = jobs.get(number)
    if job is None or job["state"] != "C":
        print(f"error: job id {number} not found", file=sys.stderr)
        return 1
    code = "0"
    if job["status"] == "-11":
        code = "37  : qmaster enforced h_rt, h_cpu, or h_vmem limit"
    elif job["deleted"]:
        code = "100 : assumedly after job"
    print(f"jobname      {job['name']}\nfailed       {code}\nexit_status  0")
    return 0


def main() -> int:
    command, *arguments = sys.argv[1:]
    with (FOLDER / "calls").open("a") as calls:
        calls.write(" ".join([command, *arguments]) + "\n")
    if (FOLDER / "down").exists() and arguments != ["--version"]:
        print("error: commlib error: got select error", file=sys.stderr)
        return 1
    programs = {"qsub": qsub, "qstat": qstat, "qdel": qdel, "qacct": qacct}
    return programs[command](arguments)


if __name__ == "__main__":
    sys.exit(main())
