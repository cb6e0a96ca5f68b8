"""Decisions of the wrapper of a job, in shell functions that are called without a server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from server_functions import function, functions, in_all_shells

Shell = Callable[..., str]

WRAPPER = (
    functions(
        "after_heartbeat apply_kill after_wrapper begin_wrapper run_wrapper record_end"
        " can_read_start"
        " copy_facts run_job report_failure",
        "run_detached.sh",
    )
    + """
. "$here/lib/run_script.sh"; . "$here/lib/time_limit.sh"
is_prepared='' no_wrapper='no wrapper' r_walltime='' me; get_time; own_native="pid $who"
"""
)


def test_end_of_a_usual_job_repeats_its_facts(shell: Shell) -> None:
    lines = f"""{WRAPPER} own_native='pid h b s 1 1' submitted=''
    new() {{
        rm -rf "$job"/*; spec='token=t end'; echo '5 h b s 9 9' >"$job/submitted"
        echo '6 node 1 1' >"$job/started"; started=6 where=node
    }}
    say() {{ copy_facts; echo "$copy"; new; }}
    new; say; for fact in ignored changed on_end; do : >"$job/$fact"; say; done
    rm "$job/started"; say; rm "$job/submitted"; say; echo x >"$job/submitted"; say
    started=x; say; where=''; say; mkdir -p attempts/a; : >attempts/a/last; say"""
    assert shell(lines, "default").splitlines() == [
        "t 5 6 node pid h b s 1 1 end",
        *[""] * 9,
    ]


def test_runner_waits_for_a_directory_that_exists(shell: Shell) -> None:
    lines = f"""{WRAPPER} mv jobs/a x; : >jobs/a
    sleep() {{ echo "sleep $1"; rm jobs/a; mv x jobs/a; }}
    say() {{ (enter_readable_job; echo "entered ${{PWD##*/}}"); }}
    say; rm -r jobs/a; say; echo "$?" """
    assert shell(lines, "default").splitlines() == ["sleep 5", "entered a", "0"]


def test_runner_reports_no_success_without_its_spec(shell: Shell) -> None:
    lines = f"""{WRAPPER} {function("await_spec", "run_in_scheduler.sh")} token=0123456789abcdef
    say() {{ (await_spec; echo runs); echo "$?"; }}; say; echo 'token=other end' >jobs/a/spec; say
    : >jobs/a/spec; say; rm jobs/a/spec; say; mkdir jobs/a/spec
    sleep() {{ echo "sleep $1"; rmdir jobs/a/spec; echo "token=$token end" >jobs/a/spec; }}; say"""
    assert shell(lines).splitlines() == [
        "runs",
        "0",
        "0",
        "1",
        "1",
        "sleep 5",
        "runs",
        "0",
    ]


def test_job_without_its_token_does_not_start(shell: Shell) -> None:
    """tej would not find the processes of the job."""
    lines = """tej_here=$here tej_queue=$queue tej_id=a tej_read_spec=''
    say() { (cd "$job/stage"; . "$here/lib/job_environment.sh"; echo "runs $TEJ_JOB_TOKEN") 2>&1 | tail -n 1; }
    say; : >"$job/spec"; say; rm "$job/spec"; say"""
    damaged = "tej: the job's file 'spec' is damaged or cannot be read"
    runs = "runs 0123456789abcdef"
    assert shell(lines, "default").splitlines() == [runs, damaged, damaged]


def test_deleted_records_are_no_failed_start(shell: Shell) -> None:
    """A server that deletes old files deletes those of a job that runs for weeks."""
    lines = f"""{WRAPPER} mark_lost() {{ echo "lost: $1"; }}; run_on_end_once() {{ :; }}; await_on_end() {{ :; }}; end='exit 2'
    say() {{ if has_not_started; then echo 'not started'; else echo started; fi; }}
    rm -f "$job/spec"; echo "$own_native" >"$job/native_id"; say; rm "$job/native_id"; say"""
    reason = "its script could not be started: the shell for the script ended with 2: can this account start more processes (ulimit -u)?"
    assert shell(lines, "default").splitlines() == [
        *(f"lost: {reason}", "not started", "started"),
    ]


def test_end_is_recorded_until_the_job_is_removed(shell: Shell) -> None:
    lines = f"""{WRAPPER} sleep() {{ echo "sleep $1"; repair; }}; write_heartbeat() {{ echo beat; }}
    repair() {{ :; }}; say() {{ (await_directory; echo waited); }}
    is_removed_say() {{ if is_removed; then echo removed; else echo kept; fi; }}
    enter_job() {{ echo enter; }}; echo "pid $who" >"$job/native_id"; is_removed_say
    echo 'pid h b s 1 1' >"$job/native_id"; is_removed_say; rm "$job/native_id"; is_removed_say
    mv jobs/a x; is_removed_say; mv jobs y; is_removed_say; mkdir jobs; mv x jobs/a
    if can_list_job; then echo listed; fi; say; rm jobs/a/spec; say
    rmdir jobs/a/stage; can_list_job || echo 'not listed'; repair() {{ mkdir jobs/a/stage; }}; say
    rm -r jobs/a; say; mkdir -p jobs/a/stage
    echo "6 $host 1 1" >"$job/started"; spec='token=t end'; leaves_processes() {{ [ -n "$leaves" ]; }}
    set_end_cause() {{ end_cause=own; }}; count_processes() {{ left=3; }}; end='exit 4' tries=0
    put_end() {{ tries=$((tries + 1)); echo "end ${{1#* }}/$2"; [ "$tries" = 2 ]; }}; leaves=''; repair() {{ :; }}
    record_end; leaves=1 tries=1; record_end; rm "$job/started"; tries=1; record_end"""
    assert shell(lines, "default").splitlines() == [
        *("enter", "kept", "removed", "kept", "removed", "removed", "listed"),
        *("waited", "waited", "not listed", "sleep 5", "waited"),
        # The job directory is absent, so that the wrapper ends.
        *("end exit 4 own 0/", "beat", "sleep 5", "end exit 4 own 0/"),
        *("end exit 4 own 3/", "end exit 4 own 0/"),
    ]


def test_end_is_recorded_with_its_time_if_date_fails(shell: Shell) -> None:
    """Without the time, the file `finished` would be damaged, and the job lost."""
    lines = f"""{WRAPPER}
    date() {{ for file in fails.*; do [ ! -e "$file" ] || {{ rm "$file"; return 1; }}; done; echo 8; }}
    sleep() {{ echo "sleep $1"; }}; write_heartbeat() {{ :; }}; end='exit 0'
    say() {{ for item; do : >"fails.$item"; done; record_end; cat "$job/finished"; rm "$job/finished"; clock_date=''; }}
    say 1; say 1 2; say 1 2 3 4 5
    : >fails.1; : >fails.2; end_unstarted failed || ls "$job"; end_unstarted failed; cat "$job/reason" "$job/finished" """
    assert shell(lines, "default").splitlines() == [
        "8 exit 0 own 0",
        *("sleep 5", "8 exit 0 own 0"),
        *("sleep 5", "sleep 5", "8 exit 0 own 0"),
        *("spec", "stage", "8 unstarted failed", "8 none 0 killed 0"),
    ]


def test_wrapper_starts_a_job_at_most_once(shell: Shell) -> None:
    lines = f"""{WRAPPER} start_heartbeat() {{ echo heartbeat; }}; reserve() {{ [ -z "$full" ]; }}
    put_once() {{ [ "$full" != 2 ] && echo "$*" >"$job/$1"; }}; note_orphans() {{ echo orphans; }}; full=''
    say() {{
        (cd "$queue"; begin_wrapper; echo began; trap - EXIT); echo "$?"; echo $(cd jobs/a && ls | grep -v stage)
        rm -rf jobs/a; mkdir -p jobs/a/stage
        echo 'token=t end' >jobs/a/spec
    }}
    say; : >jobs/a/claim; say; : >jobs/a/heartbeat; say; full=1; say; full=2; say
    full='' is_prepared=1; say; echo walltime=9 >jobs/a/resources; say"""
    assert shell(lines, "default").splitlines() == [
        *("orphans", "heartbeat", "began", "0", "claim heartbeat native_id spec"),
        *("0", "claim spec"),
        *("0", "heartbeat spec"),  # the server has deleted old files of a running job
        *("1", "claim lost spec", "1", "claim lost spec"),
        *("began", "0", "claim heartbeat native_id spec"),
        *("heartbeat", "began", "0", "claim heartbeat native_id resources spec"),
    ]


def test_wrapper_stops_a_killed_job(shell: Shell) -> None:
    lines = f"""{WRAPPER} stop_processes() {{ echo "stop $1"; }}; is_killed_here() {{ [ -n "$here_too" ]; }}
    enforce_time_limit() {{ echo limit; }}; here_too=''; say() {{ echo "$1:"; after_heartbeat; }}
    echo "$now $who" >"$job/submitted"; say runs; echo '5 3 me' >"$job/kill"; say killed
    here_too=1; say here; here_too=''; echo '9 exit 0 own 0' >"$job/finished"; say ended; r_walltime=9; say limit
    derive_state() {{ echo derive; }}; run_on_end_once() {{ echo on_end; }}; tend_queue() {{ echo tend; }}
    has_processes() {{ [ -n "$processes" ]; }}; processes=1
    gone() {{ if after_wrapper; then echo continue; else echo stop; fi; }}
    gone; rm "$job/finished"; gone; echo '6 h 1 1' >"$job/started"; gone; processes=''; gone"""
    assert shell(lines, "default").splitlines() == [
        *("runs:", "killed:", "stop 3", "here:", "ended:", "limit:", "limit"),
        *["derive", "on_end", "tend", "stop"] * 2,
        *("continue", "derive", "on_end", "tend", "stop"),
    ]


def test_end_follows_from_what_ran(shell: Shell) -> None:
    lines = f"""{WRAPPER} begin_wrapper() {{ job=$queue/jobs/a; }}; take_inputs() {{ [ -z "$missing" ]; }}
    run_job() {{ printf 'run '; end=$result; }}; await_directory() {{ printf 'await '; }}; stop_heartbeat() {{ :; }}
    has_not_started() {{ [ -n "$failed" ]; }}; record_end() {{ printf 'end %s %s' "$end" "$unready"; }}; runtime_tend() {{ :; }}
    tend_queue() {{ printf 'tend '; }}; run_on_end_once() {{ printf 'on_end'; }}; start_jobs_after() {{ printf ' next %s' "$1"; }}
    read_facts() {{ printf ' state '; }}
    say() {{ (run_wrapper); echo " $?"; }}; missing='' failed='' result='exit 3'; say; failed=1; say; result=''; say
    failed='' missing=1; say; failed=1; say; failed='' missing=''; result='exit 0'; : >"$job/on_end"; say; : >"$job/kill"; say
    rm "$job/kill"; spec='token=t end'; : >"$job/started"; say; echo '6 h 1 1' >"$job/started"; say"""
    assert shell(lines, "default").splitlines() == [
        *("run await end exit 3  next a 0", "run await tend  1", "run  1"),
        *["await end none 0 1 next a 0"] * 2,
        *(
            "run await end exit 0  state on_end next a 0",
            "await end none 0  state on_end next a 0",
            # If `spec` and `started` were read, the directory can be read.
            "run await end exit 0  state on_end next a 0",
            "run end exit 0  state on_end next a 0",
        ),
    ]


def test_start_that_cannot_be_recorded_leaves_no_fact(shell: Shell) -> None:
    """An empty fact would be reported as damaged, and a full one as a start."""
    lines = """cd "$job"; ln -s /dev/full started; read_clock; tej_id=a
    export tej_together=1 tej_host='h b s' tej_here="$here" tej_queue="$queue" tej_id
    tej_clock="$clock_date $clock_uptime" sh "$here/exec_job.sh"; echo "$?"; ls
    mkdir "$queue/bin"; printf '#!/bin/sh\\nPATH=${PATH#*:}; mv "$@"; kill -s KILL $PPID\\n' >"$queue/bin/mv"
    chmod +x "$queue/bin/mv"; PATH=$queue/bin:$PATH tej_together='' tej_clock='7 0' sh "$here/exec_job.sh"; echo "$?"; ls"""
    assert shell(lines, "default").split() == ["125", "spec", "stage"] * 2


def test_signal_on_a_full_disk_stops_no_process_of_the_wrapper(shell: Shell) -> None:
    names = "watch_session note_heard watch_kill_fact"
    lines = f"""{functions(names, "run_in_scheduler.sh")}
    is_gone() {{ [ "$turns" = 3 ]; }}; write_heartbeat() {{ echo beat; }}; return_to_job() {{ :; }}
    sleep_until_signal() {{ turns=$((turns + 1)); command kill -s USR1 $$; }}
    kill() {{ [ "$2" = ALRM ] || echo "$1 $2"; }}; find_job_processes() {{ pids=''; }}
    heard() {{ ls -d "$job"/.heard* | sed 's/.*heard//'; rm -rf "$job"/.heard*; }}
    signals=USR1 turns=0 runner_start=1; watch_session; heard; : >"$job/kill"; watch_kill_fact; heard
    mkdir "$job/.heard.USR1" "$job/.heard.TERM"; turns=0; watch_session; watch_kill_fact"""
    beats, sent = ["beat"] * 3, "-s TERM"
    assert shell(lines).splitlines() == [*beats, ".USR1", sent, ".TERM", *beats, sent]


DIRECT = """. "$here/lib/run_script.sh"; . "$here/lib/direct_start.sh"
is_prepared=1 spec='token=t end' tej_signals='' tej_session=''; read_resources
"""


def test_only_usual_commands_are_started_directly(shell: Shell) -> None:
    lines = f"""{DIRECT}
    say() {{ if can_start_directly; then echo "$script_call"; else printf .; fi; usual; }}
    usual() {{
        mkdir -p "$job/stage"; printf '#!/bin/sh\\n' >"$job/stage/run"; chmod +x "$job/stage/run"
        echo 'tej_run ./run a.b -x=1' >"$job/command"; is_prepared=1 spec='token=t end' r_module=''
    }}
    usual; say; for text in './run' 'tej_run run' 'tej_run ./run $HOME' 'tej_run ./run *' "tej_run './run'" \\
        'tej_run ./run; a' 'tej_run ./absent' 'export A=1\\ntej_run ./run' 'tej_run ./run\\na'; do
        printf "$text\\n" >"$job/command"; say
    done
    mv "$job/stage/run" "$job/stage/a=b"; echo 'tej_run ./a=b' >"$job/command"; say; rm "$job/stage/a=b"
    printf 'tej_run ./run' >"$job/command"; say; chmod -x "$job/stage/run"; say
    for text in '' '#!/absent' '#! /bin/sh' echo; do echo "$text" >"$job/stage/run"; say; done
    : >"$queue/profile"; say; rm "$queue/profile"; spec='token=t login=1 end'; say
    echo module=gcc >"$job/resources"; read_resources; say; rm "$job/resources"; read_resources
    is_prepared=''; say; tej_kept=' A'; say; tej_kept='' tej_kept_functions=' f'; say
    tej_kept_functions='' tej_functions=' f'; say"""
    assert shell(lines, "default") == "./run a.b -x=1\n" + "." * 23


@in_all_shells
def test_direct_start_obeys_earlier_facts(shell: Shell) -> None:
    lines = f"""{DIRECT} get_host; read_clock; printf '#!/bin/sh\\ntouch ran\\n' >"$job/stage/run"; chmod +x "$job/stage/run"
    cd "$job"; top=$PWD; say() {{
        start_directly ./run & wait "$!"; echo "$(($? % 128))"; [ ! -s "$top/started" ] || echo started
        for item in stage/ran kill lost; do [ ! -e "$item" ] || echo "$item"; done
        rm -rf started kill lost stage/ran
    }}
    say; : >kill; say 2>/dev/null; : >lost; say; ln -s /dev/full started; say; ls"""
    assert shell(lines, "default").split() == [
        *("0", "started", "stage/ran"),
        *("15", "started", "kill"),
        *("125", "lost"),
        *("125", "spec", "stage"),
    ]


def test_script_started_directly_has_the_locale_of_the_login(shell: Shell) -> None:
    lines = f"""{DIRECT} get_host; read_clock; tej_signals='env --default-signal=INT,QUIT'
    $tej_signals true 2>/dev/null || tej_signals='env -u ABSENT'
    printf '#!/bin/sh\\necho "$LC_ALL" >&2; exec "$@"\\n' >session; chmod +x session; tej_session=$PWD/session
    printf '#!/bin/sh\\necho "${{LC_ALL-unset}} $*"\\n' >"$job/stage/run"; chmod +x "$job/stage/run"
    cd "$job"; say() {{ (start_directly ./run a x=1); cat stage/_stdout stage/_stderr; rm started; }}
    unset LC_ALL; say; export LC_ALL=; say; LC_ALL=POSIX; say"""
    assert shell(lines, "default").splitlines() == [
        *("unset a x=1", "C", " a x=1", "C", "POSIX a x=1", "C"),
    ]


def test_signal_to_a_directly_started_script_needs_no_free_disk(shell: Shell) -> None:
    lines = f"""{WRAPPER}{DIRECT} get_host; read_clock; check_job_list; [ -n "$jobs_reports_signals" ] || exit 0
    printf '#!/bin/sh\\nkill -s TERM $$\\n' >"$job/stage/run"; chmod +x "$job/stage/run"
    echo 'tej_run ./run' >"$job/command"; cd "$job"; run_job; echo "$end"
    read -r _ _ pid _ <started; [ "$pid" != $$ ]; wc -c <.jobs"""
    said = shell(lines, "default").splitlines()
    if not said:
        pytest.skip("this shell starts no script directly")
    end, size = said
    assert end == "signal 15"
    assert int(size) > 400


def test_signals_are_reset_by_env_or_perl(shell: Shell) -> None:
    lines = """. "$here/lib/run_script.sh"; env() { [ "$1 $2" = '--default-signal=INT,QUIT true' ] && [ -n "$new" ]; }; command() { [ -n "$perl" ]; }
    say() { new=$1 perl=$2; find_signal_reset; echo "$tej_signals"; }; say 1 1; say '' 1; say '' ''"""
    perl = "perl -e $SIG{INT}=$SIG{QUIT}=DEFAULT;exec@ARGV"
    assert shell(lines).splitlines() == ["env --default-signal=INT,QUIT", perl, ""]
