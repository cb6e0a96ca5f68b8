"""Output and ends of jobs, in shell functions that are called without a server."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from server_functions import functions

Shell = Callable[..., str]

LOGS = (
    functions(
        "size_of begin_at hold send read_from send_rest check send_all", "commands/logs"
    )
    + """
cd "$job/stage"; marker=M exact=1 facts=..
quit() { echo "quit $*"; exit; }
"""
)


def test_offset_of_the_first_chunk_follows_the_request(shell: Shell) -> None:
    lines = f"""{LOGS} printf 'one\\ntwo\\nthree\\n' >f; say() {{ begin_at 3 "$@"; echo "$offset_3 $base_3 $held_3"; }}
    say '' '' f; say '' 1 f; say '' 9 f; say '' 2 gone; say 4 '' f; say 14 '' f; say 15 '' f; say 5 1 f
    held=old; hold 7 f; echo "held $held"; held=old; hold 1 gone; echo "held $held"; mkdir d; size_of d; echo "$size"; ln -s f l; size_of l; echo "$size"; ls() {{ echo 'x y z a unknown'; }}; size_of f; echo "$size" """
    assert shell(lines).splitlines() == [
        *("0 0 ", "8 0 ", "0 0 ", "0 0 ", "4 0 ", "14 0 ", "15 15 ", "5 0 "),
        *("held ", "held "),
        *("0", "14", "14"),
    ]


@pytest.mark.parametrize("kept_open", [True, False])
def test_replaced_file_is_continued(shell: Shell, kept_open: bool) -> None:
    lines = f"""{LOGS} [ -n "{"1" * kept_open}" ] || hold() {{ held=''; }}
    printf 'one\\n' >f; begin_at 1 '' '' f; send 1 f; send 1 f; printf 'two\\n' >>f; send 1 f
    printf 'x\\n' >>f; mv f old; printf 'new\\n' >f; send 1 f; printf 'more\\n' >>f; send 1 f
    printf 'y\\n' >f; send 1 f; printf 'z\\n' >>f; rm f; send 1 f; echo "$offset_1 $base_1" """
    assert shell(lines).splitlines() == [
        *("M 0 1", "one", "M 4 1", "two"),
        *(("M 8 1", "x", "M 10 1", "new", "M 14 1", "more") if kept_open else ()),
        *(("M 19 1", "y", "M 21 1", "z", "23 19") if kept_open else ()),
        # Without an open file, the end of the old file is lost.
        *(() if kept_open else ("M 8 1", "new", "M 12 1", "more", "M 17 1", "y")),
        *(() if kept_open else ("19 19",)),
    ]


def test_output_is_read_from_its_offset(shell: Shell) -> None:
    lines = f"""{LOGS} seq 1000000 1400000 >f; for at in 0 8 999999 1000000 1310720 3200006; do
        read_from "$at" f | cksum; tail -c "+$((at + 1))" f | cksum; done | uniq -c | awk '{{ print $1 }}' | uniq
    echo 123 >g; offset=0 base=0; send_rest 2 g g; echo "$offset"; send_rest 2 g g; offset=12 base=10; send_rest 2 g g; echo "$offset"
    offset=1 base=0 exact=''; send_rest 2 g g; size_of() {{ size=2; }}; offset=0 exact=1; send_rest 2 g g; echo
    for number in 1 2; do begin_at "$number" 0 '' g; done; send_all g g; echo; echo "$count" """
    assert shell(lines).splitlines() == [
        *("2", "M 0 2", "123", "4", "M 12 2", "3", "14", "M 1 2", "23"),
        *("M 0 2", "12", "M 0 1", "12M 0 2", "12", "2"),
    ]


def test_only_existing_files_are_read(shell: Shell) -> None:
    lines = f"""{LOGS} mkdir d; : >f; for name in _stdout _stderr f d gone; do (check "$name"; echo ok); done
    facts=.; (check f); (check _stdout; echo ok)"""
    assert shell(lines).splitlines() == [
        *("ok", "ok", "ok", "quit 22 'd' in job 'a' is a directory"),
        "quit 22 There is no 'gone' in job 'a'",
        "quit 22 Job 'a' has removed its directory, and all files in it",
        "ok",
    ]


def test_output_is_followed_until_the_end(shell: Shell) -> None:
    lines = """echo out >"$job/stage/f"; need_job() { load_job "$1"; }; print_head() { echo head; }; print_job() { echo record; }
    load_again() { echo "look ${now:-x}"; now=5; }; is_final() { [ -e end ]; }
    sleeps=0; sleep() { sleeps=$((sleeps + 1)); [ "$sleeps" != 61 ] || : >end; [ "$sleeps" != 62 ] || echo 1 >../finished; }
    set -- M 1 a f '' ''; . "$here/commands/logs"; echo "$sleeps" """
    assert shell(lines).splitlines() == [
        *("M 0 1", "look x", "M 0 1", "out", "look x", "M 0 0", "look x", "M 0 0"),
        *("look x", "look x", "look 5", "M 0 0", "head", "record", "62"),
    ]


WAIT = (
    functions(
        "may_have_ended has_new_end print_ends print_many_ends print_all_ends"
        " find_attended",
        "commands/wait",
    )
    + functions("set_next_full", "lib/wait_interval.sh")
    + """
try() { if "$@"; then echo yes; else echo no; fi; }
add() { mkdir -p "jobs/$1"; echo "token=t$1 end" >"jobs/$1/spec"; }
ended() { add "$1"; echo '9 exit 0 own 0' >"jobs/$1/finished"; }
checks=1 new_end='' many='' derive_every=20
"""
)


def test_most_checks_look_only_for_ends(shell: Shell) -> None:
    lines = f"""{WAIT} add b; add c; try may_have_ended b c; ended c; try may_have_ended b c; rm -r jobs/c
    for checks in 3 4 5; do try may_have_ended b c; done; ended c; many=1 all=$(for n in $(seq 100); do printf 'c '; done)
    for checks in 7 8 9; do try may_have_ended b $all; done; echo 'c 9' >jobs/.ended; for checks in 9 9 8; do try may_have_ended b $all; done
    try may_have_ended $all; echo 'd 9' >jobs/.ended; try has_new_end; try has_new_end"""
    assert shell(lines).splitlines() == [
        *("no", "yes", "no", "yes", "no"),
        *("yes", "yes", "yes", "yes", "no", "yes", "yes", "yes", "no"),
    ]


def test_wait_lasts_until_all_jobs_have_ended(shell: Shell) -> None:
    lines = f"""{WAIT} print_head() {{ echo head; }}; query_runtime() {{ echo "query $*"; }}; tend_queue() {{ echo tend; }}
    derive_state() {{ state=running; [ ! -s "$job/finished" ] || state=finished; }}; is_final() {{ [ "$state" = finished ]; }}
    print_job() {{ echo "$id $state after $sleeps"; }}; sleeps=0; sleep() {{ sleeps=$((sleeps + 1)); case $sleeps in 3) ended b ;; 32) ended c ;; esac; }}
    add b; add c; set -- b c; . "$here/commands/wait" """
    reader, writer = os.pipe()
    try:
        words = shell(lines, "default", stdin=reader)
    finally:
        os.close(reader)
        os.close(writer)
    assert words.replace("\0", ".").splitlines() == [
        *("head", "tend", "query b c", ".b finished after 3", ".tend", "query c"),
        *("..c finished after 32", "."),
    ]


def test_ended_jobs_leave_the_wait(shell: Shell) -> None:
    lines = f"""{WAIT} ended b; add c; query_runtime() {{ echo "query $*"; }}; print_job() {{ echo "job $id $state"; }}
    print_missing() {{ echo "missing $1"; }}; derive_state() {{ state=running; [ ! -s "$job/finished" ] || state=finished; [ ! -e "$job/lost" ] || state=lost; }}
    is_final() {{ [ "$state" != running ]; }}; say() {{ pending=''; print_ends b c d; echo "pending$pending"; }}
    full='' ; say; : >jobs/c/lost; say; full=1; say; rm jobs/b/finished; say
    # awk prints the records of at least 50 ended jobs.
    for n in $(seq 101 150); do ended $n; done; ids=$(seq 101 149); print_many_ends c $ids | head -c 1; print_many_ends c 101; echo "$remaining"
    ls jobs | grep -c . ; rm jobs/*/native_id 2>/dev/null; here_was=$here here=$queue; mkdir lib; echo 'print_ended() {{ echo "ended $#"; others=101; [ -z "$fails" ]; }}' >lib/ended_jobs.sh
    fails=''; print_many_ends c $ids 150; echo "$remaining"; fails=1; print_many_ends c $ids 150; echo "$remaining" | wc -w"""
    assert shell(lines).splitlines() == [
        *("job b finished", "missing d", "pending c"),
        *("job b finished", "missing d", "pending c"),
        *("query b c d", "job b finished", "job c lost", "missing d", "pending"),
        *("query b c d", "job c lost", "missing d", "pending b"),
        *(" c 101", "53", "ended 50", " c 101", "ended 50", "51"),
    ]


def test_live_wrappers_need_no_derivation(shell: Shell) -> None:
    lines = f"""{WAIT} me; now=$(date +%s); print_ends() {{ echo "ends $full $*"; }}; checks=7; print_all_ends b c; echo "$next_full/$full"
    ids=''; for n in $(seq 11 22); do add $n; echo "pid $who" >jobs/$n/native_id; echo "$now" >jobs/$n/heartbeat; ids="$ids $n"; done
    echo "pid $host $boot $space 1 1" >jobs/12/native_id; rm jobs/13/native_id jobs/14/heartbeat; echo "$((now - heartbeat_overdue))" >jobs/15/heartbeat
    echo "slurm 5" >jobs/16/native_id; echo "pid other $boot $space $self $own_start" >jobs/17/native_id; echo "$((now - heartbeat_overdue + 9))" >jobs/18/heartbeat
    print_all_ends $ids; unattended() {{ unattended=$(seq 1 "$1"); }}; find_attended() {{ attended=''; unattended=$(seq 1 $n); }}; print_ends() {{ :; }}
    for n in 99 100 250; do print_all_ends $(seq 1 1100); echo "$next_full"; done; print_all_ends $(seq 1 400); echo "$next_full" """
    assert shell(lines, "default").splitlines() == [
        *("ends  ", "ends 1 b c", "27/"),
        *("ends  11 18 19 20 21 22", "ends 1 12 13 14 15 16 17"),
        *("67", "87", "107", "67"),
    ]


def test_command_for_the_end_starts_once(shell: Shell) -> None:
    lines = """. "$here/lib/on_end.sh"; detach() { echo "detach $*" | sed "s,$here,H,g; s,$queue,Q,"; }; how=exit number=3 state=finished
    start_on_end; : >"$job/on_end"; start_on_end; start_on_end; again() { rmdir "$job/on_end_started"; start_on_end; }
    how=signal number=9 state=killed; again; how=none; again; on_end_pids=''; is_in_scheduler=1 here_was=$here here=$queue; again; ls "$job"
    printf 'sleep 0.1; pwd; echo "$5"; exit 3\n' >run_on_end.sh; rmdir "$job/on_end_started" 2>/dev/null; start_on_end; set -- $on_end_pids; echo "$#"; wait() { command wait "$@"; echo "waited $?"; }; await_on_end; echo "$on_end_pids"
    start_on_end() { echo start; }; is_final() { return 1; }; run_on_end_once; is_final() { :; }; run_on_end_once"""
    assert shell(lines, "default").splitlines() == [
        "detach H/run_on_end.sh Q a H default finished 3 ",
        "detach H/run_on_end.sh Q a H default killed  9",
        "detach H/run_on_end.sh Q a H default killed  ",
        *("on_end", "spec", "stage", "1", "waited 3", "", "start"),
    ]


def test_wait_checks_only_a_job_without_directory(shell: Shell) -> None:
    lines = f"""{WAIT} check_jobs() {{ echo "check $id"; }}; add b; find_job() {{ id=$1 job=$jobs/$1; }}; full='' pending=''; print_ends b unreadable; echo "$pending" """
    assert shell(lines).splitlines() == ["check unreadable", " b unreadable"]
