"""Records of jobs, derived from facts that are rare, damaged or contradictory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Shell = Callable[..., str]


def test_damaged_facts_are_named(shell: Shell) -> None:
    lines = """me
    new() { echo 'token=0123456789abcdef end' >jobs/a/spec; fact submitted '5 h b s 1 1'; }
    fact() { printf %s "${2:+$2$newline}" >"jobs/a/$1"; }
    say() {
        load_job a; echo "$1: $state $how$number ${evidence:-$note}"
        rm -rf jobs/a; mkdir -p jobs/a/stage; new
    }
    new; fact submitted ''; say empty
    fact submitted 'x h b s 1 1'; say 'no time'
    fact spec 'token=0123456789abcdef'; say cut
    rm jobs/a/spec; say none
    fact spec ''; say 'empty spec'
    fact started 'x h 1 1'; say 'no time'
    fact started ''; say empty
    mkdir jobs/b; echo "5 $host 1 1" >jobs/b/started; echo 'token=b end' >jobs/b/spec
    ln -s ../b/started jobs/a/started; say link; ln -sf ../b/spec jobs/a/spec; say link
    fact native_id "pid $host $boot $space 1"; say short
    fact native_id slurm; say 'one word'
    fact native_id ''; fact queued 5; say begins
    fact native_id ''; fact started "5 $host 1 1"; say empty
    fact native_id "pid $who"; fact kill 'x 5 me'; say 'no time'
    fact native_id "pid $who"; fact kill '5 x me'; say 'no grace'
    fact native_id "pid $who"; fact kill '5 5 me'; say killed
    fact finished '9 what 0 own 0'; say 'unknown end'
    fact finished '9 exit 3'; say 'cut end'
    fact finished '9 exit 3 own 0'; fact submitted ''; say ended
    fact queued 5; mkdir jobs/a/after; : >jobs/a/after/b; say queued
    fact queued 5; say queued
    get_time; rm -r jobs/a/*; fact heartbeat "$now"; say 'old files deleted'
    rm -r jobs/a/*; fact heartbeat "$now"; fact finished '9 exit 0 own 0'; say 'old files deleted'
    rm -r jobs/a/*; fact heartbeat "$now"; fact finished '9 exit'; say 'cut end'
    fact heartbeat "$now"; touch -d '1 hour ago' jobs/a/submitted; say 'no start'
    fact heartbeat "$now"; touch -d '1 hour ago' jobs/a/submitted; fact started '5 h 1 1'; say elsewhere
    fact heartbeat "$now"; rm jobs/a/submitted; fact started '5 h 1 1'; say elsewhere"""

    def damaged(fact: str) -> str:
        return f"damaged: its file '{fact}' is missing or cannot be read"

    assert [line.rstrip() for line in shell(lines, "default").splitlines()] == [
        *(f"{how}: lost  {damaged('submitted')}" for how in ("empty", "no time")),
        f"cut: lost  {damaged('spec')}",
        "none: lost  not a job of tej: it has no file 'spec'",
        f"empty spec: lost  {damaged('spec')}",
        *(f"{how}: lost  {damaged('started')}" for how in ("no time", "empty")),
        *(f"link: lost  {damaged(fact)}" for fact in ("started", "spec")),
        *(f"{how}: lost  {damaged('native_id')}" for how in ("short", "one word")),
        "begins: queued",
        f"empty: lost  {damaged('native_id')}",
        *(f"{how}: created  {damaged('kill')}" for how in ("no time", "no grace")),
        "killed: created",
        f"unknown end: lost  {damaged('finished')}",
        f"cut end: lost  {damaged('finished')}",
        *("ended: finished exit3", "queued: queued  waits for b", "queued: queued"),
        f"old files deleted: running  {damaged('spec')}",
        "old files deleted: finished exit0",
        f"cut end: lost  {damaged('finished')}",
        *(
            f"{how}: running  its file 'native_id' is missing"
            for how in ("no start", "elsewhere")
        ),
        f"elsewhere: running  {damaged('submitted')}",
    ]


def test_recorded_reason_decides_about_success(shell: Shell) -> None:
    lines = """echo '5 h b s 1 1' >"$job/submitted"; echo '5 h 1 1' >"$job/started"
    echo 'slurm 1' >"$job/native_id"; runtime_derive_state() { state=asked; }
    say() {
        echo "9 $1" >"$job/finished"; load_job a; rm -f "$job/reason"
        echo "${2-$1}: $state/$left/$cut_off/$note$(! has_succeeded || echo ' succeeded')"
    }
    why() { echo "9 $1" >"$job/reason"; say "${2-exit 0 own 0}" "$1"; }
    say 'exit 0 own 0'; say 'exit 1 own 0'; say 'signal 0 own 0'; say 'none 0 killed 0'
    say 'exit 0 own 2'; say 'exit 0 ask 0'; why 'limit x' 'exit 0 ask 0'
    why 'cancelled by 0'; why cancelled; why 'cut x'; why 'other x'; why 'unstarted x'
    why ''
    # In ksh93, `IFS= read` sets IFS of the shell if `read` is a function.
    read() {
        [ "$3" != kind ] || return 1
        if command read "$@"; then set -- 0; else set -- 1; fi
        [ -n "$IFS" ] || unset IFS
        return "$1"
    }; why 'limit x'"""
    unread = "its file 'reason' is damaged or cannot be read"
    assert shell(lines).splitlines() == [
        *("exit 0 own 0: finished/// succeeded", "exit 1 own 0: finished///"),
        *("signal 0 own 0: finished///", "none 0 killed 0: killed///"),
        *("exit 0 own 2: finished/2// succeeded", "exit 0 ask 0: asked///"),
        *(
            "limit x: finished//limit/x",
            "cancelled by 0: killed//other/not by tej: by 0",
        ),
        *("cancelled: killed//other/not by tej", "cut x: finished//other/x"),
        *("other x: finished///x succeeded", "unstarted x: killed///not started: x"),
        # The last `reason` cannot be opened, and `read` leaves the kind of another job.
        *(f"{one}: finished//other/{unread}" for one in ("", "limit x")),
    ]


REPLACED = """me; get_time; dead="$host $boot $space 1 1"
mkdir new; echo 'token=new end' >new/spec; echo "$now $who" >new/submitted
replace() { [ ! -d new ] || { mv "$job" old; mv new "$job"; }; }
say() { load_job a; echo "$state ${spec% end}"; ls "$job"; }
echo "$now $dead" >"$job/submitted"; echo "pid $dead" >"$job/native_id"
"""
"""A retry replaces an old job, whose processes are gone, with a job that has not started."""


@pytest.mark.parametrize("end", ["9 exit 1 own 0", ""])
@pytest.mark.parametrize(
    "replaced_at", ["submitted", "started", "native_id", "finished"]
)
def test_facts_of_two_jobs_are_not_mixed(
    shell: Shell, replaced_at: str, end: str
) -> None:
    lines = f"""{REPLACED} echo '{end}' >"$job/finished"; [ -n '{end}' ] || rm "$job/finished"
    read_fact() {{
        [ "$1" != {replaced_at} ] || replace
        [ ! -s "$job/$1" ] || return 0
        [ ! -f "$job/$1" ] || damage=$1
        return 1
    }}
    eval "$(sed -n '/^read_end() {{/,/^}}/p' "$here/lib/state.sh" | sed 's/^read_end/read_recorded_end/')"
    read_end() {{ [ {replaced_at} != finished ] || replace; read_recorded_end; }}
    say"""
    assert shell(lines, "default") == "created token=new\nspec\nsubmitted\n"


@pytest.mark.parametrize("kill", ["", """echo "$now 0 you" >"$job/kill";"""])
def test_fact_is_not_written_into_another_job(shell: Shell, kill: str) -> None:
    lines = f"{REPLACED} {kill} get_last_sign() {{ last_sign=9; replace; }}; say"
    assert shell(lines, "default") == "created token=new\nspec\nsubmitted\n"


def test_time_of_the_end_is_not_the_heartbeat_of_another_job(shell: Shell) -> None:
    lines = """echo 8 >"$job/heartbeat"; started=5; get_last_sign; echo "$last_sign"
    read() { [ "$2" != beat_time ] || return 1; command read "$@"; }; get_last_sign; echo "$last_sign" """
    assert shell(lines, "default") == "8\n5\n"


def test_restart_counts_after_the_time_of_some_heartbeats(shell: Shell) -> None:
    """A job on another machine with the same name may not have written one since."""
    lines = """get_uptime() { uptime=$up; }; get_age() { age=$old; }
    say() { up=$1 old=$2; was_restarted && echo "$up $old"; }
    say 10 20; say 89 90; say 90 90; say 90 91; say 500 400; :"""
    assert shell(lines, "default") == "90 91\n"


def test_lost_job_with_a_process_here_is_alive(shell: Shell) -> None:
    lines = """me; get_time; dead="$host $boot $space 1 1" marked=''
    has_live_token() { [ -n "$marked" ]; }; has_processes() { [ -n "$marked" ]; }
    say() {
        echo "$now $who" >"$job/submitted"; echo '5 it rebooted' >"$job/lost"
        echo "pid $2" >"$job/native_id"; echo "6 $host $3" >"$job/started"; shift 3
        "$@"; load_job a; echo "$state $ended $evidence$note" | cut -d';' -f1
    }
    say dead "$dead" '1 1'; cat "$job/lost"; say wrapper "$who" '1 1'
    say script "$dead" "$self $own_start"; say reused "$dead" "$self 1"
    say elsewhere "other b s $self $own_start" "$self $own_start"
    marked=1; say marked "$dead" '1 1'; say unstarted "$dead" '1 1' rm "$job/started"
    say 'no wrapper' "$dead" '1 1' rm "$job/native_id" """
    lost = "lost 5 it rebooted"
    alive = "running  it was reported as lost (it rebooted)"
    assert shell(lines, "default").splitlines() == [
        *(lost, "5 it rebooted", alive, alive, lost, lost, alive, lost, lost),
    ]


def test_record_contains_rare_facts(shell: Shell) -> None:
    lines = """echo '5 h b s 1 1' >"$job/submitted"; echo '9 exit 0 own 0' >"$job/finished"
    echo 'slurm 7' >"$job/native_id"; echo '8 3 you' >"$job/kill"
    say() { load_job "$1"; print_job "$2" | tr '\\0' '\\n' | sed "s,=$queue/,=,"; echo; }
    say a x=1; echo '70 me' >"$job/downloaded"; echo ' gpus' >"$job/ignored"
    echo p=1 >"$job/parameters"; echo data >"$job/changed"; mkdir -p attempts/a/3
    echo 3 >attempts/a/last; cp -r "$job" attempts/a/3/job; say a x=1; say 'a#3' x=1
    # A damaged number would make shell arithmetic fail in a retry.
    for word in '1 2' "$(printf '4\\r')" 08; do echo "$word" >attempts/a/last; count_attempts; printf %s "$attempts"; done"""
    job = {
        "state": "finished",
        "how": "exit",
        "number": "0",
        "submitted": "5",
        "ended": "9",
        "native": "slurm 7",
        "by": "you",
        "x": "1",
    }
    note = "runtime slurm ignores: gpus; its shared file data was changed while it ran"
    later = job | {"note": note, "downloaded": "70"}
    later |= {"spec": "p=1 token=0123456789abcdef end"}
    records = shell(lines).strip().split("\n\n")
    assert [
        dict(line.split("=", 1) for line in one.splitlines()) for one in records
    ] == [
        job | {"id": "a", "spec": "token=0123456789abcdef end"},
        later | {"id": "a", "attempts": "3"},
        later | {"id": "a#3", "job": "attempts/a/3/job"},
    ]


def test_scheduler_is_asked_only_about_unsettled_jobs(shell: Shell) -> None:
    lines = """runtime_ask() { echo "$1"; }; mkdir jobs/b jobs/c jobs/d
    for name in a b d; do echo "slurm $name" >"jobs/$name/native_id"; done
    : >jobs/b/lost; : >jobs/c/native_id
    query_runtime a b c "$jobs/d/" gone; query_runtime b c gone
    runtime_derive_state() { :; }
    job=jobs/a; say() { note=$1 state='?' evidence=''; derive_state; echo "$state $evidence$note"; }
    native=e; say ''; say why; state=finished; derive_state; echo "$state" """
    assert shell(lines).splitlines() == [
        *(
            " slurm a slurm d",
            "e",
            "lost its files on the server contradict each other",
        ),
        *("e", "lost why", "finished"),
    ]
