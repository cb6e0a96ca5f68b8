"""The server scripts behave the same in every supported /bin/sh."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import make_ended_job, wrapper_of
from jobs import Gate, end_processes_of, is_alive, wait_until, wait_until_ended
from shells.conftest import ShellTransport

import tej
from tej import JobState

Make = Callable[..., Path]


def ends(queue: tej.RemoteQueue, job_id: str) -> tej.JobStatus:
    wait_until_ended(queue, job_id)
    return queue.status(job_id)


def variables_of_ours() -> set[str]:
    """Return the names of the variables that the server scripts use."""
    names: set[str] = set()
    for path in Path(tej.__file__).with_name("server").rglob("*"):
        if path.is_file() and path.suffix in ("", ".sh"):
            text = path.read_text()
            names.update(re.findall(r"(?:^|[\s;(])([a-z][a-z0-9_]*)=", text))
            names.update(re.findall(r"for ([a-z][a-z0-9_]*) in", text))
            for line in re.findall(r"read -r ([a-z0-9_ ]+)", text):
                names.update(line.split())
    return {name for name in names if re.match("(?!tej_)[a-z]", name)}


def test_user_variables_do_not_affect_scripts(
    queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    names = {*variables_of_ours(), "TAR_OPTIONS", "QUOTING_STYLE", "GREP_OPTIONS"}
    names |= {"BLOCK_SIZE", "LS_BLOCK_SIZE"}
    assert {"host", "now", "job", "line", "state", "tej"} <= names
    queue.submit("calm", job("true", name="calm"))
    calm = ends(queue, "calm")
    for name in names - {"tej"}:
        monkeypatch.setenv(name, f"the user's {name}")
    monkeypatch.setenv("tej", "lost, as no other")
    # bash takes these options from its environment; with them, the scripts would fail.
    monkeypatch.setenv(
        "SHELLOPTS", "allexport:errexit:nounset:noclobber:noglob:pipefail"
    )
    monkeypatch.setenv("BASHOPTS", "failglob:nullglob:dotglob")
    monkeypatch.setenv("proxied", "two\nexport host='lines'\n")
    queue.submit("busy", job(f"env >env; {gate.wait}", name="busy"))
    status = queue.status("busy")
    assert (status.state, status.host) == (JobState.RUNNING, calm.host)
    assert {one.job_id for one in queue.jobs(states=[JobState.RUNNING])} == {"busy"}
    gate.open()
    assert queue.job("busy").wait(60).succeeded
    assert b"".join(queue.logs("busy")) == b""
    queue.download("busy", "env", directory=tmp_path)
    found = (tmp_path / "env").read_text().splitlines()
    for name in names - {"tej"}:
        assert f"{name}=the user's {name}" in found
    assert "proxied=two" in found
    assert not [line for line in found if line.startswith(("tej_", "tej="))]
    queue.delete("busy")


def test_command_sees_no_variables_of_scripts(
    queue: tej.RemoteQueue, job: Make
) -> None:
    script = 'set; [ -z "$id$job$queue$line$file$spec" ] || exit 9; command -v put me'
    queue.submit("curious", job("true"), script=script, on_end=script)
    assert ends(queue, "curious").exit_code not in (0, 9)
    wait_until(lambda: b"ended with exit code" in queue.on_end_log("curious"))
    at_end = queue.on_end_log("curious")
    assert not at_end.endswith(b" 9\n")
    for seen in (b"".join(queue.logs("curious")), at_end):
        names = {line.partition("=")[0] for line in seen.decode().splitlines()}
        assert not names & variables_of_ours()


def test_job_runs_from_submit_to_delete(
    queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    files = {"a b/é": "content", "-rf": "dash", "new\nline": "line", "empty": ""}
    files["it's big"] = "x" * 70_000
    tell = 'printf "%s|%s|%s\\n" "$TEJ_JOB_ID" "$TEJ_QUEUE" "$TEJ_JOB_DIR"'
    script = f"{tell}; cat; {gate.wait}; exit 3"
    queue.submit("first", job(script, files), shared=["it's big"])
    shared = Path(str(queue.queue), "jobs/first/stage/it's big").stat()
    assert (shared.st_nlink, shared.st_mode & 0o777) == (2, 0o444)
    status = queue.status("first")
    assert status.state is JobState.RUNNING
    with pytest.raises(tej.JobAlreadyExists):
        queue.submit("first", job("true", name="other"))
    with pytest.raises(tej.JobStillRunning):
        queue.delete("first")
    gate.open()
    status = ends(queue, "first")
    assert (status.state, status.exit_code) == (JobState.FINISHED, 3)
    assert status.processes_left == 0
    out = tmp_path / "out"
    queue.download("first", ["a b", "-rf", "new*", "_std*", "empty"], directory=out)
    assert (out / "a b" / "é").read_text() == "content"
    assert (out / "-rf").read_text() == "dash"
    assert (out / "new\nline").read_text() == "line"
    assert (out / "_stdout").read_text() == (
        f"first|{queue.queue}|{queue.queue}/jobs/first/stage\n"
    )
    assert (out / "_stderr").read_text() == ""
    assert [found.job_id for found in queue.jobs()] == ["first"]
    with pytest.raises(tej.DownloadFailed, match="There is no 'absent'"):
        queue.download("first", "absent", directory=out)
    assert queue.kill("first").state is JobState.FINISHED
    queue.delete("first")
    assert queue.jobs() == []
    assert queue.cleanup()
    assert not Path(queue.queue).exists()


def test_dependents_start_with_inputs_or_end(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    first = job(f"mkdir 'a b'; echo data >'a b/é'; {gate.wait}")
    specs = [
        tej.JobSpec(first, job_id="first"),
        tej.JobSpec(first, "cat 'x y/é'", "next", inputs={"x y": "first:a b"}),
        tej.JobSpec(first, "exit 3", "failed"),
        tej.JobSpec(first, "true", "never", after=["failed", "next"]),
    ]
    assert [one.error for one in queue.ensure_graph(specs)] == [None] * 4
    gate.open()
    ended = queue.wait(["next", "never"], 90)
    assert ended["next"].succeeded
    assert ended["never"].note == "not started: failed failed"
    assert b"".join(queue.logs("next")) == b"data\n"
    retried = queue.ensure_many([specs[2], specs[3]], retry=True)
    assert [one.is_new for one in retried] == [True, True]
    assert ends(queue, "never").note == "not started: failed failed"


def test_signal_and_exit_code_are_distinguished(
    queue: tej.RemoteQueue, job: Make
) -> None:
    plain = job("exit 143", name="plain")
    crashed = job("kill -s TERM $$", name="crashed")
    queue.submit("plain", plain)
    queue.submit("crashed", crashed)
    # The jobs of one request are started in another way.
    queue.submit_many(
        [tej.JobSpec(plain, job_id="plain2"), tej.JobSpec(crashed, job_id="crashed2")]
    )
    for suffix in ("", "2"):
        status = ends(queue, f"plain{suffix}")
        assert (status.exit_code, status.signal) == (143, None)
        status = ends(queue, f"crashed{suffix}")
        assert (status.exit_code, status.signal) == (None, 15)


SURROUNDINGS = r"""
{
    env | grep -Ev '^(_|SHLVL|PYTEST_CURRENT_TEST)=' | sort
    echo "$0/$#/$*"; pwd; umask; ulimit -a; cat; ls /proc/self/fd
    grep -E '^Sig(Ign|Blk):' /proc/self/status
    awk '{ print $1 == $6, $1 == $5, $7 }' /proc/$$/stat
} | sed "s/$TEJ_JOB_ID/ID/g; s/$TEJ_JOB_TOKEN/TOKEN/"
"""
"""Lines of a script that prints what the script has inherited."""


def test_jobs_of_one_request_run_like_a_single_job(
    queue: tej.RemoteQueue, job: Make
) -> None:
    directory, script = job(SURROUNDINGS), "start.sh one -x"
    queue.submit("single", directory, script=script)
    specs = [tej.JobSpec(directory, script, job_id=name) for name in ("many1", "many2")]
    queue.submit_many(specs)
    outputs = {}
    for name in ("single", "many1", "many2"):
        assert ends(queue, name).succeeded
        outputs[name] = b"".join(queue.logs(name)).decode().splitlines()
    assert any(line.endswith("start.sh/2/one -x") for line in outputs["single"])
    assert "1 1 0" in outputs["single"]
    for name in ("many1", "many2"):
        assert {*outputs[name]} ^ {*outputs["single"]} == set()


def test_kill_ends_all_processes(
    queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    pids.touch()
    leaf = f"#!/bin/sh\ntrap '' TERM\necho $$ >>'{pids}'\n{gate.wait}\n"
    script = f"chmod +x leaf; ./leaf & ./leaf & echo $$ >>'{pids}'; {gate.wait}"
    queue.submit("family", job(script, {"leaf": leaf}))
    wait_until(lambda: len(pids.read_text().split()) == 3, "all jobs have begun")
    status = queue.kill("family", grace=1)
    assert (status.state, status.processes_left) == (JobState.KILLED, 0)
    assert [pid for pid in pids.read_text().split() if is_alive(int(pid))] == []
    assert queue.status("family").state is JobState.KILLED
    queue.delete("family")


def test_statuses_of_many_jobs_are_separate(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    directory, runs = job("true"), job(gate.wait, name="runs")
    for number in range(3):
        queue.submit(f"ended{number}", directory)
    queue.submit("runs", runs)
    for number in range(3):
        ends(queue, f"ended{number}")
    found = queue.statuses(["ended1", "absent", "runs", "ended0"])
    assert [status and status.state.value for status in found.values()] == [
        "finished",
        None,
        "running",
        "finished",
    ]
    assert [(job_id, info["status"]) for job_id, info in queue.list()] == [
        ("ended0", "finished"),
        ("ended1", "finished"),
        ("ended2", "finished"),
        ("runs", "running"),
    ]
    outcome = queue.delete_many(["ended0", "runs", "absent"])
    assert outcome["ended0"] is None
    assert isinstance(outcome["runs"], tej.JobStillRunning)
    assert isinstance(outcome["absent"], tej.JobNotFound)


def test_dead_wrapper_is_noticed(queue: tej.RemoteQueue, job: Make, gate: Gate) -> None:
    queue.submit("orphan", job(gate.wait))
    folder = Path(queue.queue, "jobs", "orphan")
    wrapper = wrapper_of(folder)
    os.kill(wrapper, signal.SIGKILL)
    wait_until(lambda: not is_alive(wrapper), "the wrapper is gone")
    assert queue.status("orphan").state is JobState.RUNNING
    assert queue.kill("orphan", grace=1).state is JobState.KILLED
    # The heartbeat sleeps until the end of its interval.
    end_processes_of(queue.queue)


def test_leftover_processes_are_counted_and_killed(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.submit("leaver", job(f"({gate.wait}) >/dev/null 2>&1 &"))
    status = ends(queue, "leaver")
    assert (status.exit_code, status.processes_left >= 1) == (0, True)
    with pytest.raises(tej.JobStillRunning):
        queue.delete("leaver")
    queue.kill("leaver", grace=1)
    assert queue.status("leaver").processes_left == 0
    queue.delete("leaver")


def test_setup_creates_working_links(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    link = tmp_path / "link to it"
    queue.setup(links=[link])
    with pytest.raises(tej.QueueExists, match="already exists"):
        queue.setup()
    through = tej.RemoteQueue("local:", link, "default", transport=queue.transport)
    through.submit("a", job("true"))
    assert ends(queue, "a").succeeded
    with pytest.raises(tej.QueueExists, match="Use --force twice"):
        queue.setup(force=True)
    queue.setup(force=2)
    assert queue.jobs() == []
    assert through.cleanup()
    assert not link.exists()


def test_link_cycle_and_foreign_directory_are_refused(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    (tmp_path / "one").write_text("tejdir: two\n")
    (tmp_path / "two").write_text(f"tejdir: {tmp_path / 'one'}\n")
    with pytest.raises(tej.QueueLinkBroken, match="cycle"):
        tej.RemoteQueue("local:", tmp_path / "one", transport=queue.transport).jobs()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / ".file").touch()
    with pytest.raises(tej.QueueExists, match="not a queue of tej"):
        tej.RemoteQueue(
            "local:", tmp_path / "theirs", "default", transport=queue.transport
        ).setup()
    with pytest.raises(tej.Error, match="There is no user"):
        tej.RemoteQueue(
            "local:", "~no-such-user/x", "default", transport=queue.transport
        ).setup()


def test_one_of_concurrent_clients_starts_the_job(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    directory = job(f"echo run >>'{runs}'")
    outcomes: list[object] = []

    def submit() -> None:
        try:
            outcomes.append(queue.submit("same", directory))
        except tej.JobAlreadyExists:
            outcomes.append(None)
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=submit) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["None"] * 4 + ["same"]
    assert ends(queue, "same").succeeded
    assert runs.read_text() == "run\n"


def test_profile_is_read(queue: tej.RemoteQueue, job: Make) -> None:
    queue.setup()
    Path(queue.queue, "profile").write_text("FROM=profile; export FROM\n")
    queue.submit("profiled", job("echo $FROM"))
    status = ends(queue, "profiled")
    assert Path(status.directory, "_stdout").read_text() == "profile\n"


def test_links_in_a_job_are_followed_only_inside(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    directory = job("true", {"data/file": "content"})
    (directory / "latest").symlink_to("data/file")
    (directory / "folder").symlink_to("data")
    (directory / "out of it").symlink_to("/etc/hostname")
    queue.submit("linked", directory)
    ends(queue, "linked")
    out = tmp_path / "out"
    queue.download("linked", ["latest", "folder"], directory=out)
    assert (out / "latest").read_text() == "content"
    assert (out / "folder" / "file").read_text() == "content"
    with pytest.raises(tej.DownloadFailed, match="points outside the directory"):
        queue.download("linked", "out*", directory=out)


def test_exported_functions_do_not_replace_programs(
    tmp_path: Path,
    job: Make,
    monkeypatch: pytest.MonkeyPatch,
    require: Callable[[str], None],
) -> None:
    for part in ("root", "unshare", "bash"):
        require(part)
    tools = "mv rm date mkdir cd tar cat sleep test find typeset quit begin put"
    words = [f"BASH_FUNC_{name}%%=() {{ echo not {name}; }}" for name in tools.split()]
    words += ["BASH_FUNC_module%%=() { echo module $1; }"]
    # Linux limits each variable to 128 KiB, and all variables together to 2 MiB.
    for number in range(3):
        text = f"() {{ : {'x' * 50_000}; }}"
        monkeypatch.setenv(f"BASH_FUNC_long{number}%%", text)
    # The shell that mounts must neither use these functions nor drop them.
    prefix = shlex.join(["env", *words])
    transport = ShellTransport(str(shutil.which("bash")), prefix=prefix)
    path = tmp_path / "queue"
    queue = tej.RemoteQueue("local:", str(path), "default", transport=transport)
    queue.setup()
    directory = job("#!/bin/bash\nmodule load gcc; mv a b; tej_run 2>/dev/null || :")
    queue.submit("busy", directory)
    status = ends(queue, "busy")
    assert status.succeeded, status
    assert b"".join(queue.logs("busy")) == b"module load\nnot mv\n"
    queue.download("busy", "start.sh", directory=tmp_path)
    queue.delete("busy")
    queue.cleanup()
    assert not path.exists()


def test_many_ended_jobs_are_listed_and_deleted(queue: tej.RemoteQueue) -> None:
    queue.setup()
    ids = [f"job{number:02}" for number in range(60)]
    for job_id in ids:
        make_ended_job(queue.queue, job_id)
    # The shell reads this job, and awk reads the other jobs.
    make_ended_job(queue.queue, "late", reason="1700000008 limit walltime\n")
    assert [job.job_id for job in queue.jobs()] == [*ids, "late"]
    assert not any(queue.delete_many([*ids[:3], "late"]).values())
    assert [job.job_id for job in queue.jobs()] == ids[3:]


def test_limited_program_printf_hides_no_job(
    tmp_path: Path, require: Callable[[str], None]
) -> None:
    # mksh has no builtin `printf`, and this stack limits the arguments of a program to
    # 128 KB.
    require("mksh")
    server = Path(tej.__file__).with_name("server")
    lines = """
        ulimit -s 512
        here=$1 queue=$2 runtime=default
        . "$here/lib/load.sh"
        . "$here/lib/ended_jobs.sh"
        set -- "$jobs"/*/
        print_ended "$@"
        printf '%s' "${#others}"
    """
    (tmp_path / "jobs").mkdir()
    ids = [f"{number:0200}" for number in range(700)]
    for job_id in ids:
        (tmp_path / "jobs" / job_id).mkdir()
    command = ["mksh", "-c", lines, "mksh", str(server), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == str(700 * 201)
