"""Facts and heartbeat of a job, in shell functions that are called without a server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Shell = Callable[..., str]

RUNS_HERE = """
. "$here/lib/started_jobs.sh"
me; get_time
token=0123456789abcdef
printf '%s\\n' "$now $who" >"$job/submitted"
printf '%s\\n' "pid $who" >"$job/native_id"
printf '%s\\n' "$now $host $self $own_start" >"$job/started"
"""
"""A job whose wrapper and script are this shell."""


def test_heartbeat_waits_between_two_beats(shell: Shell) -> None:
    lines = """me
    sleep_until_signal() { printf 'wait %s\\n' "$1"; }
    after_heartbeat() { exit; }
    keep_heartbeat "$self" "$own_start" """
    assert shell(lines, "default") == "wait 20\n"


def test_awk_prints_the_record_of_the_shell(shell: Shell) -> None:
    lines = f"""{RUNS_HERE}
    print_started_jobs "$id" "$token" >awk; echo "left to the shell:$others"
    load_job "$id"; print_job ours=1 >shell
    for file in awk shell; do tr '\\0' '\\n' <"$file" | sort >"$file.sorted"; done
    diff awk.sorted shell.sorted && grep state awk.sorted"""
    assert shell(lines, "default") == "left to the shell:\nstate=running\n"


def test_job_without_native_id_and_processes_is_lost(shell: Shell) -> None:
    lines = f"""{RUNS_HERE}
    rm "$job/native_id"
    # The process 1 was started at another time, so that both processes have ended.
    printf '%s\n' "$now $host $boot $space 1 1" >"$job/submitted"
    printf '%s\n' "$now $host 1 1" >"$job/started"
    load_job "$id"; echo "$state" """
    assert shell(lines, "default") == "lost\n"


def function(name: str, file: str) -> str:
    """Return a line of shell that defines one function of a script."""
    return f"""eval "$(sed -n '/^{name}() {{/,/^}}/p' "$here/{file}")"\n"""


@pytest.mark.parametrize(
    ("fact", "printed"),
    [
        ("native_id", "record\n"),
        ("finished", "record\n"),
        ("queued", "start\nrecord\n"),
    ],
)
def test_repeated_request_starts_only_unstarted_job(
    shell: Shell, fact: str, printed: str
) -> None:
    lines = f"""{function("print_existing", "commands/submit")}
    start_job() {{ echo start; }}
    print_started() {{ echo record; }}
    echo 'pid host boot space 1 1' >"$job/{fact}"
    mode=submit token=0123456789abcdef; print_existing"""
    assert shell(lines, "default") == printed


@pytest.mark.parametrize(
    ("life", "pids", "waits"), [("alive", "", 6), ("alive", "77", 1), ("gone", "", 1)]
)
def test_kill_waits_longer_for_live_wrapper(
    shell: Shell, life: str, pids: str, waits: int
) -> None:
    lines = f"""{function("wait_for_wrapper", "commands/kill")}
    wait_for() {{ waits=$((waits + 1)); return 1; }}
    load_again() {{ life={life}; }}
    waits=0 state=running pids={pids} entry=a known=''
    wait_for_wrapper; echo "$waits" """
    assert shell(lines, "default") == f"{waits}\n"
