"""Decisions of `kill` on the server, in shell functions that are called without a server."""

from __future__ import annotations

from collections.abc import Callable

from server_functions import functions, in_all_shells

Shell = Callable[..., str]

KILL = (
    functions(
        "note_write_error write_kill_fact begin_kill runs_here for_each split_tokens load_selected begin_job load_requested"
        " complete_kill find_remaining count_remaining explain_survivor print_killed find_again note_busy"
        " search_again wait_for_all pace check_pids send_sigterm send_sigkill"
        " continue_wrapper",
        "commands/kill",
    )
    + """
wrapper_awaited=60 grace_period=7 requester=me job_count=2 turn=1 each_id=a native=''; me; get_time
quit() { echo "quit $*" | sed "s,$queue/,,"; exit; }
new() {
    rm -rf jobs/a; mkdir jobs/a; echo 'token=0123456789abcdef end' >jobs/a/spec
    echo "$now $who" >jobs/a/submitted
}
runs() { echo "pid $1" >jobs/a/native_id; echo "5 ${1%% *} 1 1" >jobs/a/started; echo "$now" >jobs/a/heartbeat; }
"""
)


def test_kill_requests_the_end_of_each_job(shell: Shell) -> None:
    lines = f"""{KILL} note_killer() {{ echo noted; }}; add_to_search() {{ echo "search $1"; }}
    runtime_tell() {{ echo tell; }}
    say() {{ echo "$1:"; begin_job; echo "$was_1 $spec_1"; (cd jobs/a; ls claim kill lost; cut -d' ' -f2- finished) 2>/dev/null; }}
    new; say created; new; echo '5 slurm x' >jobs/a/submitting; load_job() {{ find_job a; read_facts; }}; say submitting
    unset -f load_job; . "$here/lib/state.sh"; new; runs "$who"; say here; cut -d' ' -f2- jobs/a/kill
    new; runs "$who"; echo pid >jobs/a/native_id; has_processes() {{ :; }}; say damaged; unset -f has_processes; . "$here/lib/job_processes.sh"
    new; runs "other b s 1 1"; say elsewhere; echo '5 gone' >jobs/a/lost; touch -d '9 seconds' jobs/a/heartbeat; say alive
    new; runs "$who"; echo '9 exit 0 own 0' >jobs/a/finished; say ended
    new; rm jobs/a/*; echo "$now" >jobs/a/heartbeat; say 'old files deleted'
    new; put_reserved() {{ return 1; }}; say full; echo "$write_error_1" | sed "s,$queue/,,"; job_count=1; say full"""
    spec = "token=0123456789abcdef end"
    assert shell(lines, "default").splitlines() == [
        *("created:", f"created {spec}", "claim", "kill", "none 0 killed 0"),
        *("submitting:", f"? {spec}", "kill"),
        *("here:", "noted", "search 1", f"running {spec}", "kill", "7 me"),
        *("damaged:", "noted", "search 1", f"running {spec}", "kill"),
        *("elsewhere:", "tell", f"running {spec}", "kill"),
        *("alive:", "tell", f"running {spec}", "kill"),
        *("ended:", "search 1", f"finished {spec}", "exit 0 own 0"),
        # A running job must not be recorded as killed before its start.
        *("old files deleted:", "running ", "kill"),
        *("full:", f"created {spec}", "cannot write to 'jobs/a'"),
        *("full:", "quit 20 Cannot write to 'jobs/a'"),
    ]


def test_kill_is_completed_by_the_runtime(shell: Shell) -> None:
    lines = f"""{KILL} runtime_stop() {{ printf 'stop %s, ' "$1"; refused=$refuse; return "$stopped"; }}
    wait_for() {{ printf 'wait %s %s, ' "$1" "$2"; }}; wait_for_wrapper() {{ printf 'wrapper, '; }}
    continue_wrapper() {{ printf 'continue, '; }}; has_processes() {{ return 1; }}
    say() {{ pids_1=$2 sigterm_pids=$3 was=running known='' write_error=''; shift 3; "$@"; complete_kill; echo; }}
    refuse='' stopped=0; new; runs "$who"; say here '' 1 :; say here 1 1 :; say here '' '' :
    say unwritten 1 '' eval write_error=full; say absent 1 '' eval was=''; say other 1 '' eval known=x
    echo '9 exit 0 own 0' >jobs/a/finished; say ended '' '' :
    runs "other b s 1 1"; say ended '' '' :; say ended 1 '' :
    rm jobs/a/finished; echo '9 gone' >jobs/a/lost; touch -d '-9 seconds' jobs/a/heartbeat; say lost '' '' :
    rm jobs/a/lost; say elsewhere '' '' :; stopped=1; say elsewhere '' '' :
    refuse=1; say elsewhere '' '' :
    # The second job has been waited for together with the first one.
    refuse=''; wait_for() {{ printf 'wait %s %s, ' "$1" "$2"; return 1; }}; say silent '' '' :; say silent '' '' :
    # The wrapper of a new job has written its native id meanwhile.
    new; wait_for() {{ echo "pid $who" >jobs/a/native_id; }}; runtime_stop() {{ echo "${{native%% *}}"; }}
    say starting '' '' :"""
    wait = "wait native_id 5, stop 7, "
    assert shell(lines, "default").splitlines() == [
        "continue, wrapper, ",
        *["stop 0, continue, wrapper, "] * 2,
        *("", "", "", "continue, wrapper, ", "", "stop 7, ", "stop 7, "),
        *(f"{wait}wait finished 10, ", f"{wait}wait finished 60, ", wait),
        *(f"{wait}wait finished 60, ", f"{wait}wait finished 1, "),
        *("pid", ""),
    ]


def test_processes_left_by_killed_jobs_are_counted(shell: Shell) -> None:
    lines = f"""{KILL} add_to_search() {{ printf 'search %s, ' "$1"; }}; known='' was=running
    find_job_processes() {{ printf 'search again, '; has_searched=1 pids=$found; }}
    wait_for_processes() {{ printf 'wait %s %s, ' "$1" "$2"; pids=$rest; }}; print_job() {{ printf '%s|' "$@" "$left"; }}
    say() {{
        write_error='' sigterm_pids='8 9'; find_remaining; pids_1=$1 found=$1 rest=$2
        [ $# = 2 ] || "$3"; print_killed; echo
    }}
    new; runs "$who"; say 3 ''; rm jobs/a/started; echo '9 none 0 killed 0' >jobs/a/finished; say 3 ''
    new; runs "$who"; echo '9 exit 0 own 2' >jobs/a/finished; say '' ''; say '3 4' 4; was=finished; say '3 4' ''
    late() {{ searched_1=''; }}; say 3 3 late; failed() {{ write_error=full; }}; say '' '' failed
    runs "other b s 1 1"; say '' ''; was=''; say '' '' | tr '\\0' ' '
    # A process hangs in a system call.
    new; runs "$who"; find_job_processes() {{ pids='3 4'; }}; get_start() {{ fields="S 1"; [ "$1" = 3 ] || fields="D 1"; }}; pids=''; for runs in '' 1; do runs_here() {{ [ -n "$runs" ]; }}; state=running note=''; explain_survivor; echo "$note"; done; state=finished left='' note='' pids=4; explain_survivor; echo "$note"; left=1; explain_survivor; echo "$note"
    # An earlier SIGKILL missed a process.
    load_again() {{ :; }}; begin_search() {{ :; }}; run_search() {{ pids_1=$next; }}; next=5 pids_1=4; search_again a; echo "$busy"
    next='' pids_1=4; search_again a; echo "$busy"; pids_1=''; search_again a; echo "$busy" """
    stuck = "cannot be killed now, because it waits for a disk or a network file system, or is frozen (state D)"
    assert shell(lines, "default").splitlines() == [
        *("search again, was=running|strays=0||", "was=running|strays=0||"),
        "search 1, was=running|strays=0||",
        "search 1, wait 10 KILL, was=running|strays=0|1|",
        "search 1, wait 10 KILL, was=finished|strays=2||",
        "search 1, search again, wait 10 KILL, was=finished|strays=2|1|",
        "search 1, was=finished|strays=2|note=full||",
        "search 1, was=finished|strays=2|2|",
        *("id=a ", "", f"its process 4 {stuck}", "", f"its process 4 {stuck}"),
        *("search 1, 5", "search 1, ", ""),
    ]


def test_processes_found_later_are_signalled_too(shell: Shell) -> None:
    lines = f"""{KILL} check_pids() {{ busy=$alive; }}; nap() {{ naps_done=$((naps_done + 1)); }}; search_again() {{ echo "search $*"; busy=$found found=''; }}; signal() {{ echo "signal $each_id"; }}
    say() {{ alive=$1 found=$2 naps_done=0; wait_for_all "$3" signal a b; echo "$naps_done"; }}; say '' '' 3; say '' 1 3; say 1 '' 2; say 1 '' 0"""
    assert shell(lines, "default").splitlines() == [
        *("search a b", "0", "search a b", "signal a", "signal b", "search a b"),
        *("1", "10", "0"),
    ]


@in_all_shells
def test_kill_spares_a_job_submitted_later_with_the_same_id(shell: Shell) -> None:
    """A client archives the job for a retry while `kill` reads or writes its facts."""
    lines = f"""{KILL} add_to_search() {{ echo "search $id"; }}
    retry() {{ mkdir -p attempts/a/1; mv "$queue/jobs/a" "$queue/attempts/a/1/job"; echo '9 exit 1 own 0' >"$queue/attempts/a/1/job/finished"; mkdir "$queue/jobs/a"; echo 'token=new end' >"$queue/jobs/a/spec"; echo "$now $who" >"$queue/jobs/a/submitted"; }}
    runs_here() {{ [ -e "$queue/attempts" ] || (cd "$queue"; retry); return 1; }}; new; begin_job; ls jobs/a attempts/a/1/job; rm -r attempts
    unset -f runs_here; runs_here() {{ return 1; }}; load_job() {{ find_job "$1" && read_facts || return 1; [ -e attempts ] || retry; }}
    new; begin_job; echo "$was_1 $spec_1"; ls jobs/a attempts/a/1/job; rm -r attempts
    # The job was retried before the request, and the client has listed the first attempt.
    unset -f load_job; . "$here/lib/state.sh"; new; retry; split_tokens b a /0123456789abcdef; echo "$job_count$killed_ids"; each_id=a turn=2; begin_job; echo "$was_2 $spec_2"; ls jobs/a
    split_tokens b a /gone; each_id=a; begin_job; echo "$was_2 $spec_2"; turn=1; rm -r attempts
    # The job is deleted, and another client uses its id.
    load_job() {{ find_job "$1" && read_facts || return 1; [ -e attempts ] || {{ retry; rm -r attempts/a/1; }}; }}; new; begin_job; echo "$was_1 $spec_1"; ls jobs/a"""
    assert shell(lines, "default").splitlines() == [
        *("attempts/a/1/job:", "claim", "finished", "kill", "spec", "submitted", ""),
        *(
            "jobs/a:",
            "spec",
            "submitted",
            "search a",
            "created token=0123456789abcdef end",
        ),
        *("attempts/a/1/job:", "finished", "spec", "submitted", ""),
        *("jobs/a:", "spec", "submitted", "2 b a", "search a"),
        *("finished token=0123456789abcdef end", "spec", "submitted"),
        " token=0123456789abcdef end",
        *("created token=0123456789abcdef end", "spec", "submitted"),
    ]
