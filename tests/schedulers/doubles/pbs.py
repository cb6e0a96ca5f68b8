"""Doubles of commands of OpenPBS and Torque.

The doubles print the recorded replies of the real programs, and run jobs as processes:
`python pbs.py COMMAND ARGUMENT...`, with PBS_DOUBLE=DIALECT:FOLDER.  Optional files in
FOLDER change the behaviour: `slots` (number of slots, 2 by default), `down` (no reply),
`history` (OpenPBS lists ended jobs), `slow` (qsub replies when the job is over), `mute`
(qsub is killed before it replies), and `other down` (servers other than pbs-server do
not reply).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

DIALECT, _, _folder = os.environ["PBS_DOUBLE"].partition(":")
FOLDER = Path(_folder)
OPEN = DIALECT == "openpbs"
SGE = DIALECT == "sge"  # The commands of this dialect are in sge.py.
UNKNOWN = "Unknown Job Id" if OPEN else "Unknown Job Id Error"
USAGE = "usage: qsub [-a date_time] [-A account_string] [-c interval]\n\t[-l list]"
KILL_DELAY = 5
VALUED = "AaceCDhjklmMNopqrSTuvW"


@contextlib.contextmanager
def state() -> Iterator[dict]:
    """Yield all jobs by their numbers; save the jobs when the block ends."""
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = FOLDER / "jobs.json"
        jobs = json.loads(path.read_text()) if path.exists() else {}
        yield jobs
        path.write_text(json.dumps(jobs))


def full_id(number: str) -> str:
    return number if SGE or "." in number else f"{number}.pbs-server"


def number_of(word: str) -> str:
    """Return the key of a job: its number, with its server if that is another one."""
    return word.partition("@")[0].removesuffix(".pbs-server")


def start_waiting(jobs: dict) -> None:
    """Start as many waiting jobs as there are free slots."""
    slots = FOLDER / "slots"
    free = int(slots.read_text()) if slots.exists() else 2
    free -= sum(job["state"] in "RE" for job in jobs.values())
    for number, job in jobs.items():
        if free > 0 and job["state"] == "Q":
            free -= 1
            job["state"] = "R"
            start_process("run", number)


def start_process(action: str, number: str) -> None:
    """Start a process that runs or ends a job, and that outlives this process."""
    subprocess.Popen(
        [sys.executable, "-S", __file__, action, number],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def run(number: str) -> None:
    """Run a job like a node:

    in a new session and a login shell; return its exit status.
    """
    with state() as jobs:
        job = jobs[number]
    kept = {"PATH", "PBS_DOUBLE"} & set(os.environ)
    environment = {name: os.environ[name] for name in kept}
    environment |= {"HOME": job["home"]}
    environment |= {"JOB_ID" if SGE else "PBS_JOBID": full_id(number)}
    with open(job["output"], "ab") as output:
        # A login shell reads the path of the script, or runs the program after `--`.
        shell = ["/bin/sh"] if SGE else [shell_of(job["options"])]
        program = job["program"] or [*shell, *([job["script"]] if SGE else [])]
        process = subprocess.Popen(
            program,
            cwd=job["home"],
            env=environment,
            umask=0o77,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            is_private = "sandbox=PRIVATE" in job["options"].get("W", "")
            enter = f"cd {job['home']};" if is_private else ""
            process.stdin.write(f"{enter}{job['script']}\n".encode())
    with state() as jobs:
        jobs[number]["pid"] = process.pid
    try:
        status = process.wait(walltime(job["options"]))
    except subprocess.TimeoutExpired:
        with state() as jobs:
            # OpenPBS and Torque use different exit statuses here.
            jobs[number]["status"] = "-29" if OPEN else "-11"
            pid = jobs[number]["pid"]
        limit = walltime(job["options"]) or 0
        if not SGE:
            with open(job["output"], "a") as output:
                words = f"walltime {limit + 1:.0f} exceeded limit {limit:.0f}"
                output.write(f"=>> PBS: job killed: {words}\n")
        if SGE:
            signal_session(pid, signal.SIGKILL)
        else:
            end(number)
        status = process.wait()
    # When the top process has ended, no process of the job remains.
    signal_session(process.pid, signal.SIGKILL)
    with state() as jobs:
        job = jobs[number]
        if job["rerun"]:
            job |= {"rerun": False, "state": "Q", "status": "", "pid": 0}
            start_waiting(jobs)
            return
        job["status"] = job["status"] or str(256 - status if status < 0 else status)
        if job["deleted"] and status == -signal.SIGTERM:
            job["status"] = "271"
        job["state"] = "F" if OPEN else "C"
        start_waiting(jobs)


def shell_of(options: dict[str, str]) -> str:
    """Return the shell for the host of the job.

    A shell for another host (-S PATH@HOST) is ignored.
    """
    path, _, host = options.get("S", "/bin/sh").partition("@")
    return "/bin/sh" if host else path


def walltime(options: dict[str, str]) -> float | None:
    """Return the seconds of `-l ...,walltime=H:M:S`."""
    for word in options.get("l", "").split(","):
        name, _, value = word.partition("=")
        if name == "walltime":
            hours, minutes, seconds = map(int, value.split(":"))
            return 3600 * hours + 60 * minutes + seconds
    return None


def read_options(
    words: list[str], options: dict[str, str], *, is_directive: bool = False
) -> list[str]:
    """Add the options of qsub in `words` to `options`; return the remaining words.

    A directive does not override an option. The resources of all options -l count
    together.
    """
    words = words[:]
    while words and words[0].startswith("-") and words[0] != "--":
        letter = words.pop(0)[1:]
        if letter == "h":
            options["h"] = "u"
            continue
        assert letter in VALUED, letter
        value = words.pop(0)
        if letter == "l" and "l" in options:
            options["l"] += f",{value}"
        elif not is_directive or letter not in options:
            options[letter] = value
    return words


def qsub(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print("pbs_version = 23.06.06" if OPEN else "Version: 6.1.3\nCommit: abc")
        return 0
    options: dict[str, str] = {}
    program: list[str] = []
    rest = read_options(arguments, options)
    if rest[:1] == ["--"]:
        program = rest[1:]
    else:
        # The directives in the script.
        for line in Path(rest[0]).read_bytes().decode(errors="replace").splitlines():
            if OPEN and line.startswith("#PBS "):
                read_options(line.split()[1:], options, is_directive=True)
    name = options.get("N", "STDIN")
    legal = set(name) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-_."
    )
    if not legal or len(name) > (230 if OPEN else 15):
        print(f"qsub: illegal -N value\n{USAGE}", file=sys.stderr)
        return 2
    if options.get("q") == "nowhere":
        if OPEN:
            print("qsub: Unknown queue", file=sys.stderr)
            return 170
        words = "Unknown queue MSG=requested queue not found"
        print(f"qsub: submit error ({words})", file=sys.stderr)
        return 172
    # A comma would separate two paths.
    if not set(options.get("S", "")).isdisjoint("'\u00e9,"):
        print(f"qsub: illegal -S value\n{USAGE}", file=sys.stderr)
        return 2
    requested = options.get("l", "")
    if OPEN and "place=" in requested and "select=" not in requested:
        print('qsub: Cannot have "place" without "select"', file=sys.stderr)
        return 7
    script = None if program else rest[0]
    with state() as jobs:
        _, _, server = options.get("q", "").partition("@")
        numbers = [number for number in jobs if number.partition(".")[2] == server]
        number = ".".join(filter(None, [str(len(numbers) + 1), server]))
        spooled = FOLDER / f"{number}.SC"
        spooled.write_bytes(b"" if script is None else Path(script).read_bytes())
        jobs[number] = {
            "program": program,
            "name": name,
            "state": "H" if "h" in options else "W" if "a" in options else "Q",
            "status": "",
            "deleted": False,
            "rerun": False,
            "pid": 0,
            "moved": "",
            "script": str(spooled),
            "home": os.environ["HOME"],
            "output": options.get("o", "/dev/null"),
            "options": options,
        }
        start_waiting(jobs)
    if (FOLDER / "mute").exists():
        return 124
    while (FOLDER / "slow").exists():
        time.sleep(0.05)
        with state() as jobs:
            if jobs[number]["state"] in "FC":
                break
    print(full_id(number))
    return 0


def qstat(arguments: list[str]) -> int:
    if arguments[:1] == ["-B"]:
        print("Server Max Tot Que")
        return 0
    history = "-x" in arguments
    if history and not OPEN:
        print("<Data></Data>")
        return 0
    wanted = [word for word in arguments if not word.startswith("-")]
    if history and not (FOLDER / "history").exists():
        for word in wanted or [""]:
            reason = f"PBS is not configured to maintain job history {word}".strip()
            print(f"qstat: {reason}", file=sys.stderr)
        return 0
    with state() as jobs:
        start_waiting(jobs)
        seen = dict(jobs)
    answer = 0
    for word in wanted or [full_id(n) for n, j in seen.items() if j["state"] != "F"]:
        job = seen.get(number_of(word))
        if job is None or (job["state"] == "F" and not (FOLDER / "history").exists()):
            print(f"qstat: {UNKNOWN} {word}", file=sys.stderr)
            answer = 153
        elif job["state"] == "F" and not history:
            print(
                f"qstat: {word} Job has finished, use -x or -H to obtain historical "
                "job information",
                file=sys.stderr,
            )
            answer = 35  # The exit status is that of the last error.
        elif job["moved"] and (FOLDER / "other down").exists() and "@" in word:
            print("Connection refused", file=sys.stderr)
            print(
                "qstat: cannot connect to server pbs-server (errno=111)",
                file=sys.stderr,
            )
            answer = 255
        elif job["moved"] and history and "@" not in word:
            show_moved(word, job)
        else:
            show(word.partition("@")[0], job)
    return answer


def show_moved(job_id: str, job: dict) -> None:
    """Print what the job history of the first server contains about a moved job."""
    _, _, server = job["moved"].partition("@")
    print(f"Job Id: {job_id}\n    job_state = M\n    queue = {job['moved']}")
    print(f"    Output_Path = host:{job['output']}")
    if job["state"] == "F":
        print(f'    substate = 92\n    comment = Job finished at "{server}"')
    else:
        print(
            f'    substate = 94\n    comment = Job has been moved to "{job["moved"]}"'
        )


def show(job_id: str, job: dict) -> None:
    print(f"Job Id: {job_id}")
    print(f"    Job_Name = {job['name']}")
    print(f"    Job_Owner = user@host\n    job_state = {job['state']}")
    # Long values are wrapped, and continuation lines begin with a tab.
    path = f"host:{job['output']}"
    print(f"    Output_Path = {path[:60]}" + (f"\n\t{path[60:]}" if path[60:] else ""))
    # A held or delayed job has no comment.
    if job["state"] == "Q":
        print("    comment = Not Running: Not enough free nodes available")
    print(f"    Hold_Types = {'u' if job['state'] == 'H' else 'n'}")
    if job["state"] == "W":
        print("    Execution_Time = Fri Nov 27 10:00:00 2026")
    # A finished job has the substate 91 if qdel ended it, 92 if it succeeded, and 93 if
    # it failed or exceeded a limit.
    if job["state"] == "F":
        failed = 92 if job["status"] == "0" else 93
        print(f"    substate = {91 if job['deleted'] else failed}")
    # PBS copies the output files of a job that has run.
    if job["state"] == "F" and job["pid"]:
        print("    Stageout_status = 1")
    if job["pid"]:
        print("    exec_host = host/0")
    if job["status"]:
        print(f"    {'Exit_status' if OPEN else 'exit_status'} = {job['status']}")
    print("    Variable_List = PBS_O_HOME=/root,PBS_O_WORKDIR=/root,\n\tX=\n")


def refuse(command: str, word: str, job: dict | None) -> int:
    """Print why OpenPBS or Torque refuses a command for a job that is not active.

    Return the exit status of the command, or 0 if the job is active.
    """
    finished = job is not None and job["state"] in "FC"
    if job is not None and not finished:
        return 0
    if finished and OPEN and (FOLDER / "history").exists():
        # Only qdel prints the id.
        where = f" {word}" if command == "qdel" else ""
        print(f"{command}: Job has finished{where}", file=sys.stderr)
        return 35
    if finished and not OPEN:
        reason = "Request invalid for state of job MSG=invalid state for job - COMPLETE"
        print(f"{command}: {reason} {word}", file=sys.stderr)
        return 170
    print(f"{command}: {UNKNOWN} {word}", file=sys.stderr)
    return 153


def qdel(arguments: list[str]) -> int:
    answer = 0
    for word in arguments:
        with state() as jobs:
            job = jobs.get(number_of(word))
            if refusal := refuse("qdel", word, job):
                answer = refusal
                continue
            assert job is not None
            job["deleted"] = True
            if job["state"] in "QHW":
                job["state"] = "F" if OPEN else "C"
                continue
        start_process("end", number_of(word))
    return answer


def qrerun(arguments: list[str]) -> int:
    """Requeue a job. Only `-W force` requeues a job that was submitted with `-r n`."""
    *force, word = arguments
    number = number_of(word)
    with state() as jobs:
        job = jobs.get(number)
        if refusal := refuse("qrerun", word, job):
            return refusal
        assert job is not None
        if job["options"].get("r") == "n" and force != ["-W", "force"]:
            print(f"qrerun: job is not rerunnable {word}", file=sys.stderr)
            return 190
        job["rerun"] = True
    end(number)
    return 0


def qrls(arguments: list[str]) -> int:
    (word,) = arguments
    with state() as jobs:
        job = jobs.get(number_of(word))
        if refusal := refuse("qrls", word, job):
            return refusal
        assert job is not None
        job["state"] = "Q"
        start_waiting(jobs)
    return 0


def pbsnodes(arguments: list[str]) -> int:
    (name,) = arguments
    print(f"{name}\n     state = free")
    return 0


def qmove(arguments: list[str]) -> int:
    destination, word = arguments
    with state() as jobs:
        jobs[number_of(word)]["moved"] = destination
    return 0


def qsig(arguments: list[str]) -> int:
    (option, name, word) = arguments
    assert option == "-s"
    number = number_of(word)
    with state() as jobs:
        job = jobs.get(number)
    if refusal := refuse("qsig", word, job):
        return refusal
    assert job is not None
    if job["state"] != "R":
        print(f"qsig: Request invalid for state of job {word}", file=sys.stderr)
        return 168
    signal_session(session_of(number), signal.Signals[name])
    return 0


def signal_session(leader: int, number: signal.Signals) -> bool:
    """Signal all processes of a job; return whether there were any."""
    found = False
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in "ZX":
                os.kill(int(entry.name), number)
                found = True
    return found


def session_of(number: str) -> int:
    """Return the session of a running job, which may just be starting.

    The script may already run before `run` has recorded the session.  A signal that is
    sent in the meantime must not be lost.
    """
    while True:
        with state() as jobs:
            if pid := int(jobs[number]["pid"]):
                return pid
        time.sleep(0.05)


def end(number: str) -> None:
    """Send SIGTERM, wait a few seconds, and send SIGKILL."""
    pid = session_of(number)
    signal_session(pid, signal.SIGTERM)
    for _ in range(KILL_DELAY * 10):
        time.sleep(0.1)
        if not Path(f"/proc/{pid}").exists():
            break
    signal_session(pid, signal.SIGKILL)


def main() -> int:
    command, *arguments = sys.argv[1:]
    with (FOLDER / "calls").open("a") as calls:
        calls.write(" ".join([command, *arguments]) + "\n")
    if command in ("run", "end"):
        {"run": run, "end": end}[command](arguments[0])
        return 0
    if (FOLDER / "down").exists() and arguments != ["--version"]:
        reason = f"{command}: cannot connect to server pbs-server"
        if not OPEN:
            print("Unable to communicate with pbs-server(127.0.0.1)", file=sys.stderr)
            print("Communication failure.", file=sys.stderr)
            words = "(errno=15096) Unable to get connection to socket"
            print(f"{reason} {words}", file=sys.stderr)
            return 8 if command == "qstat" else 248
        reason += " (errno=15010)"
        if command == "qdel":
            reason = "Couldn't connect to cluster: pbs-server"
        print(f"Connection refused\n{reason}", file=sys.stderr)
        return 255 if command == "qstat" else 162
    programs = {
        "qsub": qsub,
        "qstat": qstat,
        "qdel": qdel,
        "qsig": qsig,
        "qrerun": qrerun,
        "qrls": qrls,
        "qmove": qmove,
        "pbsnodes": pbsnodes,
    }
    return programs[command](arguments)


if __name__ == "__main__":
    sys.exit(main())
