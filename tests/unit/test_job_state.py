"""Facts and heartbeat of a job, in shell functions that are called without a server."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest
from server_functions import function

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
    # In mksh, `printf` is a program, and the shell would print all records.
    lines = f"""{RUNS_HERE} printf() {{ command printf "$@"; }}
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
    lines = f"""{function("print_repeated", "commands/submit")}
    start_job() {{ echo start; }}
    print_started() {{ echo record; }}
    echo 'pid host boot space 1 1' >"$job/{fact}"
    read_spec; print_repeated"""
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
    waits=0 state=running pids={pids} each_id=a known=''
    wait_for_wrapper; echo "$waits" """
    assert shell(lines, "default") == f"{waits}\n"


SAY = """
at() { touch -d "@$((now - $1))" "$job/$2"; }
say() { load_job "$id"; echo "$1: $state"; }
"""


def test_unstarted_job_is_lost_only_if_it_cannot_start(shell: Shell) -> None:
    lines = f"""{SAY} me; get_time
    echo "$now other b s 1 1" >"$job/submitted"
    at 880 submitted; say recent
    at 920 submitted; : >"$job/claim"; say claimed; at 50 claim; say soon
    at 70 claim; say dead; rm "$job/lost" "$job/claim"
    say old; [ -e "$job/claim" ] && echo 'cannot start'; rm "$job/lost" "$job/claim"
    echo "$now $who" >"$job/submitted"; at 920 submitted; say alive
    echo "$now $host $boot $space 1 1" >"$job/submitted"; echo "$now" >"$job/queued"; say waits
    : >"$job/claim"; at 50 claim; say starts; at 70 claim; say failed; rm "$job/lost" "$job/queued"
    # The shell that submitted the job has ended, and the wrapper has just started.
    is_gone() {{ echo "pid $who" >"$job/native_id"; }}; say started"""
    assert shell(lines, "default").splitlines() == [
        *("recent: created", "claimed: created", "soon: created", "dead: lost"),
        *("old: lost", "cannot start", "alive: created"),
        *("waits: queued", "starts: queued", "failed: lost", "started: created"),
    ]


def test_recorded_end_outranks_the_missing_process(shell: Shell) -> None:
    lines = f"""{RUNS_HERE} {SAY}
    echo "pid $host $boot $space 1 1" >"$job/native_id"; echo "$now $host 1 1" >"$job/started"
    # The wrapper records the end while the client checks the processes.
    has_processes() {{ echo '9 exit 0 own 0' >"$job/finished"; return 1; }}; say meanwhile
    echo "$number"; [ ! -e "$job/lost" ] || echo 'marked as lost'
    rm "$job/finished"; has_processes() {{ return 1; }}
    echo 7 >"$job/heartbeat"; echo '20 5 me' >"$job/kill"; say killed; echo "$ended"
    rm "$job/finished" "$job/kill"; say gone; echo "$ended"
    rm "$job/lost" "$job/heartbeat"; echo "5 $host 1 1" >"$job/started"; say silent; echo "$ended"
    has_processes() {{ return 0; }}; rm "$job/lost"; say orphaned
    echo "$note" | cut -d, -f1"""
    assert shell(lines, "default").splitlines() == [
        *("meanwhile: finished", "0", "killed: killed", "20", "gone: lost", "7"),
        *("silent: lost", "5"),
        "orphaned: running",
        "the wrapper is gone (pid 1)",
    ]


def test_job_that_moves_during_reading_is_read_again(shell: Shell) -> None:
    lines = f"""{RUNS_HERE} {SAY}
    read_fact() {{
        if [ "$1" = submitted ] && [ -z "$moved" ]; then moved=1; return 1; fi
        [ -s "$job/$1" ]
    }}
    moved=''; say moved"""
    assert shell(lines, "default") == "moved: running\n"


def test_silent_job_of_another_host_is_lost_after_15_minutes(shell: Shell) -> None:
    lines = f"""{SAY} get_time; get_host; get_uptime
    # Another client has looked at the unchanged fact before.
    seen() {{
        get_file_time "$job/$1"; echo "$((uptime - $2)) $file_time $boot" >"$job/.look.$1.$host"
    }}
    echo "$now other b s 1 1" >"$job/submitted"; echo 'pid other b s 9 9' >"$job/native_id"
    at 880 native_id; seen native_id 880; say created
    at 920 native_id; seen native_id 70; say unsure; seen native_id 90; say silent
    rm "$job/lost"; echo "$now other 9 9" >"$job/started"; echo "$now" >"$job/heartbeat"
    at 880 heartbeat; seen heartbeat 880; say beats
    at 920 heartbeat; seen heartbeat 70; say again; seen heartbeat 90; say lost
    at 1 heartbeat; touch -d "@$((now + 9))" "$job/heartbeat"; say returned"""
    assert shell(lines, "default").splitlines() == [
        *("created: created", "unsure: created", "silent: lost"),
        *("beats: running", "again: running", "lost: lost", "returned: running"),
    ]


def test_attempt_is_found_by_its_token(shell: Shell) -> None:
    lines = """mkdir -p attempts/a/1/job attempts/a/2/job
    for number in 1 2; do
        echo "token=old$number end" >"attempts/a/$number/job/spec"
        echo '5 h b s 1 1' >"attempts/a/$number/job/submitted"
        echo "9 exit $number own 0" >"attempts/a/$number/job/finished"
    done
    for token in old2 old1 old3 0123456789abcdef; do
        load_again a "token=$token " && echo "$id $number ${job#"$queue/"}" || echo "no $id"
    done
    # The requested job may be damaged now.
    : >"$job/spec"; load_again a 'token=old3 ' && echo "$state $evidence"; load_again a 'token=old1 ' && echo "$number"
    rm -r jobs/a; load_again a 'token=old3 ' || echo "no $id"
    # Another client restores the job after `jobs` was searched.
    is_absent() {
        [ ! -d attempts/a/1 ] || { mv attempts/a/1/job jobs/a; rmdir attempts/a/1; }
    }
    load_again a 'token=old1 ' && echo "${job#"$queue/"}"
    # The job of another client is loaded once.
    read_facts() { echo "read $id"; read_spec; state=running; }
    load_again a 'token=other ' || echo "no $id" """
    assert shell(lines, "default").splitlines() == [
        *("a 2 attempts/a/2/job", "a 1 attempts/a/1/job", "no a", "a  jobs/a"),
        "lost damaged: its file 'spec' is missing or cannot be read",
        *("1", "no a", "jobs/a", "read a", "read a#2", "no a"),
    ]


def test_claim_of_a_live_client_is_respected(shell: Shell) -> None:
    lines = """me; remover='x b s 1 1' taken="$job/.taken $remover"
    try() {
        rm -f "$job"/.taken*; : >"$job/.taken $1"; touch -d "$2" "$job/.taken $1"
        if adopt_claim; then echo taken; else echo kept; fi
        : >"$job/.removal"; [ -z "$3" ] || echo "$1" >"$job/.removal"
        if cancel_batch; then echo free; else echo busy; fi
    }
    try "$who" today 1; try "$host $boot $space 1 1" today 1
    try "$host other $space 1 1" today 1; try "other b s 1 1" today 1; try "$who" today ''
    # `.removal` cannot be opened, and `read` leaves the dead client of another job. In ksh93,
    # `IFS= read` sets IFS of the shell if `read` is a function.
    batch_owner="$host $boot $space 1 1"
    read() {
        [ "$2" != batch_owner ] || return 1
        if command read "$@"; then set -- 0; else set -- 1; fi
        [ -n "$IFS" ] || unset IFS
        return "$1"
    }; try "$who" today 1"""
    assert shell(lines, "default").split() == [
        *("kept", "busy", "taken", "free", "taken", "free", "kept", "busy"),
        *("kept", "free", "kept", "busy"),
    ]


@pytest.mark.parametrize(
    ("end", "since", "claims"),
    [
        ("exit 0 own 0", "5", True),
        ("signal 9 killed 0", "-", True),
        ("none 0 killed 0", "-", True),
        ("exit 0 own 0", "6", False),
        ("exit 0 own 1", "5", False),
        ("exit 0 ask 0", "5", False),
        ("cut 0 own 0", "5", False),
    ],
)
def test_only_simple_jobs_are_deleted_in_a_batch(
    shell: Shell, end: str, since: str, claims: bool
) -> None:
    lines = f"""claimed=''; . "$here/lib/bulk_removal.sh"; live_tokens=x
    echo '5 h b s 1 1' >"$job/submitted"; echo '9 {end}' >"$job/finished"
    if claim_if_simple a {since}; then echo claimed; fi; [ ! -e "$job/.removal" ] || echo mark
    rm -f "$job/.removal"
    for file in on_end .removal; do
        : >"$job/$file"; ! claim_if_simple a {since} || echo "$file"; rm -f "$job/$file"
    done
    mkdir -p dependents/a; ! claim_if_simple a {since} || echo dependents; rmdir dependents/a
    mkdir -p attempts/a; ! claim_if_simple a {since} || echo attempts; rmdir attempts/a
    mv "$job/spec" "$job/.taken x"; ! claim_if_simple a {since} || echo taken
    rm "$job/.taken x"; ! claim_if_simple 'a#1' {since} || echo attempt
    echo 'token=0123456789abcdef end' >"$job/spec"
    has_sign_of_life() {{ :; }}; ! claim_if_simple a {since} || echo alive"""
    assert shell(lines, "default") == "claimed\nmark\n" * claims


def test_time_limit_is_enforced_once(shell: Shell) -> None:
    lines = f""". "$here/lib/time_limit.sh"; r_walltime=100
    {function("before_heartbeat", "run_detached.sh")}
    get_uptime() {{ :; }}; stop_processes() {{ echo "stop $1"; }}; grace=''
    began=0
    for uptime in 50 90 100 120; do before_heartbeat; echo "$uptime $span"; done
    uptime=99; enforce_time_limit; uptime=100; enforce_time_limit
    read -r _ kind words <"$job/reason"; echo "$kind ${{words% *}}"
    echo '1 limit earlier' >"$job/reason"; enforce_time_limit; cat "$job/reason"
    echo '9 exit 0 own 0' >"$job/finished"; enforce_time_limit
    r_walltime=''; before_heartbeat; echo "$span" """
    assert shell(lines, "default").splitlines() == [
        *("50 20", "90 10", "100 1", "120 1", "stop 10"),
        "limit the time limit of 0:01:40 was",
        *("stop 10", "1 limit earlier", "20"),
    ]


def test_dependency_has_one_outcome(shell: Shell) -> None:
    lines = """end() { printf '%s\n' "9 $1" >"$job/finished"; }
    say() {
        check_dependency a; [ "$dep_outcome" = failed ] || dep_words=''
        echo "$1: $dep_outcome $dep_words"
    }
    echo '5 h b s 1 1' >"$job/submitted"; echo 5 >"$job/queued"; say waits
    end 'exit 0 own 0'; say good; end 'exit 1 own 0'; say bad
    end 'exit 0 killed 0'; say killed; end 'exit 0 own 0'
    echo '9 limit x' >"$job/reason"; say cut; rm -r "$job"; say deleted
    # ksh93 may call a function after `unset -f`, so a subshell defines it.
    (ls() { echo "ls: $2: Input/output error" >&2; return 2; }; say unreadable)
    me; get_time; mkdir -p attempts/a
    for link in "$now $who" "$now $host $boot $space 1 1"; do
        ln -s "$link" attempts/a/restarting; say restarting; rm -f attempts/a/restarting
    done"""
    assert shell(lines, "default").splitlines() == [
        *("waits: pending ", "good: succeeded ", "bad: failed a failed"),
        *("killed: failed a was killed", "cut: failed a failed"),
        *("deleted: failed a was deleted", "unreadable: pending "),
        "restarting: pending ",
        "restarting: failed a was deleted",
    ]


def test_unlisted_processes_count_as_alive(shell: Shell) -> None:
    lines = f"""{function("find_living_attempt", "commands/delete")}
    me; search_processes() {{ :; }}; quit() {{ exit "$1"; }}
    mkdir -p running attempts/a/1; : >running/a; : >running/deleted; cd "$job"
    echo "5 $host $boot $space 1 1" >submitted; echo "5 $host 1 1" >started
    echo "pid $host $boot $space 1 1" >native_id; cd "$queue"
    remove_ended_entries; ls running
    (close_queue; ls closing; find_unended); echo "$?"; [ -h closing ] || echo open
    mv jobs/a attempts/a/1/job; (find_living_attempt a; echo "found $living"); echo "$?"
    for program in cat tr grep; do
        (eval "$program() {{ return 126; }}"; has_live_token; echo "found $?"); echo "$?"
    done"""
    assert shell(lines, "default").split() == [
        *("a", "closing", "20", "open", "20", "20", "20", "20"),
    ]


def test_lock_of_another_host_holds_for_5_minutes(shell: Shell) -> None:
    lines = """me; get_time
    try() {
        rm -f lock; ln -s "$1" lock; touch -h -d "@$((now - $2))" lock
        if take_lock "$queue/lock"; then echo taken; else echo held; fi
    }
    try "$now other b s 1 1" 280; try "$now other b s 1 1" 320; try "$now $who" 999
    try "$now $host $boot $space 1 1" 0
    # Another client takes the lock of the dead client first.
    is_locked() { holder='other words'; return 1; }
    try "$now $who" 0; ls -l lock | grep -c " $self "
    # A file or an empty directory in place of the link is no lock.
    for command in true 'echo >' mkdir; do
        rm lock; eval "$command lock"; take_lock "$queue/lock"; [ -h lock ] && echo taken
    done
    rm lock; mkdir -p lock/file; take_lock "$queue/lock" || ls lock; rm -r lock; take_lock lock; ls
    # Between the check and the removal, another process replaces the file with its lock.
    rm lock; echo >lock; mv() { unset -f mv; rm lock; ln -s "9 other" lock; mv "$@"; }
    take_lock "$queue/lock" || { ls -l lock | grep -c other; ls; }"""
    said = shell(lines, "default").split()
    assert said == [*("held", "taken", "held", "taken", "held", "1")] + [
        *("taken", "taken", "taken", "file"),
        *("jobs", "lock", "scheduler", "version"),
        *("1", "jobs", "lock", "scheduler", "version"),
    ]


def test_jobs_without_wrapper_are_reported(shell: Shell) -> None:
    lines = f"""no_wrapper='no process' job=''
    {function("report_unstarted", "run_detached.sh")}
    {function("report_failure", "run_detached.sh")}
    mkdir jobs/b jobs/c; : >jobs/b/claim; unstarted='a b c deleted'; report_unstarted
    cat jobs/*/lost; ls jobs"""
    assert shell(lines, "default").split() == [
        *("0", "no", "process", "0", "no", "process", "a", "b", "c"),
    ]


def test_retry_is_refused_while_another_client_removes_the_job(shell: Shell) -> None:
    lines = """token=new failed_new='token=0123456789abcdef end'
    . "$here/lib/attempts.sh"; echo '5 h b s 1 1' >"$job/submitted"
    echo '9 exit 1 own 0' >"$job/finished"
    refuse() { echo "$*"; }; archive_attempt() { printf .; return 1; }
    clear_failed; printf '%s\n' "$?"
    # The other client has removed the job. The next job of the request needs $now.
    nap() { mv "$job/spec" "$job/taken"; }; clear_failed; printf '%s\n' "$? ${now:+known}"; mv "$job/taken" "$job/spec"
    has_sign_of_life() { sign='it runs' advice='kill it first'; }; clear_failed; echo "$?" """
    said = shell(lines, "default").splitlines()
    assert said[0].startswith("." * 50 + "20 Job 'a' cannot be retried now")
    assert said[1:] == [
        "1",
        ".0 known",
        "5 Job 'a' is finished, but it runs: kill it first",
        "1",
    ]


def test_failed_retry_or_deletion_keeps_the_job(shell: Shell) -> None:
    lines = """. "$here/lib/attempts.sh"; quit() { echo "$1"; exit; }; refuse() { echo "$1"; }
    token=x; mkdir incoming; cp "$job/spec" before; read_spec
    real=$(command -v mv); mv() { case $* in *"$refused"*) return 1 ;; esac; "$real" "$@"; }
    say() { ("$@" 2>/dev/null); ls -A "$job"; cmp before "$job/spec"; }
    refused=attempts/a/1/job; say archive_attempt; ls -A attempts/a; rm -r attempts/a
    refused=incoming; say trash_job; : >attempts/a; say archive_attempt"""
    assert shell(lines, "default").split() == [
        *("20", "spec", "stage", "last"),
        *("20", "spec", "stage"),
        *("20", "spec", "stage"),
    ]


def test_kill_waits_only_for_live_processes(shell: Shell) -> None:
    lines = f"""{function("check_pids", "commands/kill")}
    busy='' pids='2147483647'; check_pids; echo "gone $busy"
    pids="2147483647 $$"; check_pids; echo "alive $busy" """
    assert shell(lines, "default") == "gone \nalive 1\n"


def test_download_waits_for_a_job_that_is_archived(shell: Shell) -> None:
    lines = """tar() { mv ../spec '../.taken x'; }; quit() { echo "$2" >&2; exit "$1"; }
    echo x >"$job/stage/out"
    nap() { mv '../.taken x' ../spec; }; set -- M a 1 out; . "$here/commands/download"
    nap() { :; }; set -- M a 1 out; . "$here/commands/download" """
    assert shell(lines, "default").split("\n") == [
        *("M - a", "M 0 a", "token=0123456789abcdef", "M - a", "M 20 a"),
        *("Job 'a' was deleted while it was read", ""),
    ]


def test_heartbeats_of_many_jobs_follow_each_job(shell: Shell) -> None:
    lines = f"""{RUNS_HERE} . "$here/lib/group_heartbeat.sh"
    take_heartbeat() {{ echo own process >>own; }}
    say() {{
        rm -f "$job/heartbeat" own; verdict=left item=$2
        ! keeps_running "$2" || verdict=kept; wait
        [ ! -s "$job/heartbeat" ] || verdict="$verdict beats"
        [ ! -s own ] || verdict="$verdict $(cat own)"
        echo "$1: $verdict"
    }}
    orphaned=3 wrappers=" $self "; echo "pid $host $boot $space $self 7" >"$job/native_id"
    say begins a; [ "$item" = "a $self 7" ] && echo known; say child "a $self 8"
    wrappers=''; say 'reused pid' "a $self 8"; say alive "a $self $own_start"
    echo '5 5 me' >"$job/kill"; say killed "a $self $own_start"
    echo "$who" >"$job/.killer"; say 'killed here' "a $self $own_start"
    rm "$job/kill" "$job/native_id"; say 'no wrapper' a; orphaned=4; say 'dead shell' a
    echo "pid $host $boot $space $self 7" >"$job/native_id"
    echo walltime=9 >"$job/resources"; say limited a; rm "$job/resources"
    echo '9 exit 0 own 0' >"$job/finished"; say ended a
    mv jobs/a jobs/b; orphaned=3; say unreadable a; orphaned=4; say 'not begun' a
    say 'wrapper lives' "a $self $own_start"; say 'wrapper ended' "a $self 8" """
    assert shell(lines, "default").splitlines() == [
        *("begins: kept beats", "known", "child: kept beats"),
        *("reused pid: left own process", "alive: kept beats"),
        *("killed: left own process", "killed here: kept beats"),
        *("no wrapper: kept", "dead shell: left", "limited: left", "ended: left"),
        *("unreadable: kept", "not begun: left"),
        *("wrapper lives: kept", "wrapper ended: left"),
    ]


def test_objects_are_copied_where_links_are_impossible(shell: Shell) -> None:
    lines = """room=$queue/room; mkdir -p room/held objects/ab; echo content >objects/ab/abcd
    echo more >objects/ab/abce; ln() { return 1; }; names='abcd abce abcf'
    store=$queue/objects; link_objects; cat room/held/*; ls room/held
    cp() { echo part >"$3"; return 1; }; rm room/held/*; link_objects; ls room/held"""
    assert shell(lines, "default").split() == ["content", "more", "abcd", "abce"]


OBSTACLE = function("find_obstacle", "commands/delete") + function(
    "find_living_attempt", "commands/delete"
)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ("", ""),
        (
            'rm "$job"/[fns]*d; echo "5 h b s 1 1" >"$job/submitted"; echo 5 >"$job/queued"',
            "it is queued: kill it first",
        ),
        (
            'rm "$job"/[fns]*d; echo "5 h b s 1 1" >"$job/submitted"; echo 5 >"$job/queued"'
            '; mkdir "$job/after"; note_waits() { note="needs b"; }',
            "it is queued (needs b): kill it first",
        ),
        ("find_job_processes() { pids='7 8'; }", "2 of its processes still run"),
        (
            "has_sign_of_life() { sign='it runs' advice='kill it first'; }",
            "it runs: kill it first",
        ),
        ("ran_here() { elsewhere=other; return 1; }", ""),
        ("since=6", "another job with this id was submitted in the meantime"),
        ("since=-", ""),
        ("find_pending_dependent() { dependent=b; }", "job 'b' needs it"),
    ],
)
def test_deletion_names_its_obstacle(shell: Shell, change: str, note: str) -> None:
    lines = f"""{OBSTACLE} since=5; get_host; echo '5 h b s 1 1' >"$job/submitted"
    echo "pid $host $boot $space 1 1" >"$job/native_id"; echo '5 h 1 1' >"$job/started"
    echo '9 exit 0 own 2' >"$job/finished"; find_job_processes() {{ pids=''; }}
    has_sign_of_life() {{ return 1; }}
    {change}
    load_job a; find_obstacle "$since"; echo "${{obstacle:+obstacle}} $note" """
    said = shell(lines, "default").strip()
    assert said.startswith("obstacle" if note else "")
    assert note in said
    assert note or "obstacle" not in said


def test_dependent_starts_only_after_all_its_needs(shell: Shell) -> None:
    lines = """mkdir -p jobs/n/after jobs/m dependents/a
    ended() {
        echo '5 h b s 1 1' >"jobs/$1/submitted"; echo "token=$1 end" >"jobs/$1/spec"
        echo "9 exit $2 own 0" >"jobs/$1/finished"
    }
    launch() { echo "start $1"; }; end_unstarted() { echo "end $id: $*"; }
    new() {
        : >jobs/n/after/a; : >jobs/n/after/m; : >dependents/a/tok.n; rm -f jobs/n/claim
        echo 'token=tok end' >jobs/n/spec
        printf 'after a\nafter m\n' >jobs/n/dependencies
    }
    say() { echo "$1:"; (resolve_dependents a); }
    ended a 0; new; say one; rm jobs/n/after/m; say both
    new; : >jobs/n/claim; say claimed; new; echo 'token=other end' >jobs/n/spec; say other
    new; ended a 1; say failed; rm jobs/a/finished; echo 5 >jobs/a/queued; say pending
    ended a 0; new; echo '9 none 0 killed 0' >jobs/n/finished; say over; ls dependents"""
    assert shell(lines, "default").splitlines() == [
        *("one:", "both:", "start n", "claimed:", "other:"),
        *("failed:", "end n: a failed", "pending:", "over:"),
    ]


def test_only_a_cycle_of_dependencies_is_refused(shell: Shell) -> None:
    lines = """mkdir -p jobs/b jobs/c/after jobs/d/after
    say() { if waits_for_itself; then echo "$1: cycle"; else echo "$1: no cycle"; fi; }
    dep_needs='b c'; say 'no dependents'; mkdir -p dependents/a; say ended
    : >jobs/c/after/d; : >jobs/d/after/c; say others; : >jobs/d/after/a; say cycle
    : >jobs/d/finished; say empty; echo '9 exit 0 own 0' >jobs/d/finished; say over
    dep_needs=a; say itself
    printf 'after b\\nfrom c/x\\nto y\\n' >"$job/dependencies"; unset dep_needs
    add_to_dependents; ls dependents/*/*.a"""
    assert shell(lines, "default").splitlines() == [
        *("no dependents: no cycle", "ended: no cycle", "others: no cycle"),
        *("cycle: cycle", "empty: cycle", "over: no cycle", "itself: cycle"),
        *(f"dependents/{one}/0123456789abcdef.a" for one in "bc"),
    ]


@pytest.mark.parametrize("action", [signal.SIG_DFL, signal.SIG_IGN])
def test_wait_ends_when_its_client_is_gone(
    shell: Shell, action: signal.Handlers
) -> None:
    """A login may have set SIGTERM to be ignored, and no shell can change that."""
    shell(
        f"""{RUNS_HERE} set -- "$id"; . "$here/commands/wait" """,
        "default",
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGTERM, action),
    )


def test_heartbeat_process_has_no_sleep_of_its_parent(shell: Shell) -> None:
    lines = """. "$here/lib/group_heartbeat.sh"; : & wait
    sleep_until_signal() { [ "$slept" = "$!" ] && echo "begun $1"; }; read_wrappers() { :; }
    keeps_running() { return 1; }; keep_heartbeats a"""
    assert shell(lines, "default") == "begun 20\n"


def test_session_program_is_found(shell: Shell) -> None:
    lines = """. "$here/lib/run_script.sh"; tej_session=old
    command() { case " $have " in *" $2 "*) ;; *) return 1 ;; esac; }
    for have in 'setsid perl' perl ''; do find_session_program; echo "${tej_session%% *}"; done"""
    assert shell(lines, "default").splitlines() == ["setsid", "perl", ""]


def test_absence_of_one_job_needs_no_list(shell: Shell) -> None:
    """A list of all jobs would delay each request in a queue of many jobs."""
    lines = """list_names() { echo listed; command ls -a "$1/"; }
    is_absent "$queue/jobs/b" && echo absent
    is_absent "$queue/none/b" && echo absent
    is_absent "$queue/jobs/a" || echo present
    # The status 127 is the status of the shell: its message is not about the job.
    ls() { echo "sh: /bin/ls: No such file or directory" >&2; return 127; }
    names=''; list_names() { printf '%s\\n' a b; }
    is_absent "$queue/jobs/b" || echo unknown
    ls() { echo "ls: b: Input/output error" >&2; return 2; }
    is_absent "$queue/jobs/b" || echo unknown
    list_names() { printf '%s\\n' a; }
    is_absent "$queue/jobs/b" && echo absent"""
    assert shell(lines) == "absent\nabsent\npresent\nunknown\nunknown\nabsent\n"


def test_attempt_is_not_absent_because_no_job_has_its_id(shell: Shell) -> None:
    """The ids of attempts are not in the list of the jobs."""
    lines = """mkdir -p attempts/b/1; find_absent a b#1 b#2 $(seq 10)
    ls() { echo "ls: Input/output error" >&2; return 2; }
    for item in a b#1 b#2 7 10; do if find_job "$item"; then echo "$item"; fi; done"""
    assert shell(lines).split() == ["a", "b#1", "b#2"]


def test_file_that_a_job_has_just_made_is_readable(shell: Shell) -> None:
    lines = """is_absent() { : >"$1"; return 1; }
    is_unreadable "$queue/jobs/a/stage/_stdout" || echo readable
    is_absent() { return 1; }
    is_unreadable "$queue/jobs/a/stage/x" && echo unreadable"""
    assert shell(lines) == "readable\nunreadable\n"


def test_evidence_of_the_wrapper_is_kept(shell: Shell) -> None:
    """The wrapper may write `lost` after a client has read the facts of the job."""
    lines = """mkdir -p jobs/a; echo 'token=0123456789abcdef end' >jobs/a/spec
    find_job a; read_facts; note=''; mark_lost gone; echo "$evidence"
    echo '7 no process' >jobs/a/lost; mark_lost gone; echo "$ended $evidence"
    note='it was reported as lost (no process)'; mark_lost gone; echo "$evidence"
    cat jobs/a/lost"""
    assert shell(lines, "default").splitlines() == [
        "gone",
        "7 no process",
        "gone",
        "7 no process",
    ]
