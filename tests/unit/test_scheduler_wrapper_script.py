"""Decisions of the wrapper of a job under a scheduler, without a scheduler."""

from __future__ import annotations

from collections.abc import Callable

from server_functions import functions, in_all_shells

Shell = Callable[..., str]

NAMES = (
    "await_spec note_native_id set_submit_directory leave_array forward_signal handle_signals"
    " note_warning handle_sigterm end_after_grace end_leftovers watch_kill_fact note_heard"
    " run_job was_cut_off run_own_on_end await_spec"
)
WRAPPER = (
    functions(NAMES, "run_in_scheduler.sh")
    + """
. "$here/lib/run_script.sh"; . "$here/lib/limit_kill.sh"
eval "$(sed -n '/^signals=/,/ esac$/p' "$here/run_in_scheduler.sh")"
own_id=5 own_native='slurm 5' heard='' sigterm_time='' listener='' array='' ended=''
eval "$(sed -n '/^start_next_jobs() (/,/^)/p' "$here/run_in_scheduler.sh")"
kill() { case $* in *ALRM*) ;; -0*) command kill "$@" ;; *) echo "kill $*" | sed 's/^kill [0-9]*$/kill PID/' ;; esac; }
nap() { echo nap; }
try() { if "$@"; then echo yes; else echo no; fi; }
"""
)
MAIN = r"""
main() {
    (eval "$(sed -n '/^await_directory$/,$p' "$here/run_in_scheduler.sh")")
    echo "status $?"; cat "$job/finished" 2>/dev/null | head -n 1 | cut -d' ' -f2-; rm -f "$job/finished" "$job/claim" "$job/.end"
}
for name in leave_array begin_second_run write_heartbeat read_resources set_submit_directory note_memory_kill end_leftovers start_next_jobs run_own_on_end; do
    eval "$name() { echo $name; }"
done
await_directory() { :; }
take_inputs() { [ -z "$missing" ]; }
run_job() { echo run; [ -n "$killed_early" ] || echo '6 h 1 1' >"$job/started"; : >"$job/.heard.TERM"; end=$result; }
note_unstarted() { echo "unstarted $1"; }
note_changed_input() { :; }
has_not_started() { [ ! -s "$job/started" ]; }
was_cut_off() { [ -n "$cut" ]; }
token=0123456789abcdef missing='' killed_early='' cut='' why=''
"""


def test_end_under_a_scheduler_follows_from_what_ran(shell: Shell) -> None:
    lines = f"""{WRAPPER}{MAIN} result='exit 3'; main; echo $(ls -A "$job"); cat "$job/native_id"
    array=x result='signal 15'; main; array='' cut=1 result='exit 0'; main; cut='' reserved_codes='99 3' result='exit 3'; main
    result='exit 3' reserved_codes='' token=other; main; token=0123456789abcdef; : >"$job/claim"; result='exit 0'; main
    : >"$job/kill"; main; rm "$job/kill"; why=gone missing=1; main
    rm -f "$job/started"; read_resources() {{ heard=' TERM'; }}; main; heard=''; read_resources() {{ :; }}; missing='' killed_early=1; main
    rm "$job/native_id"; reserve() {{ return 1; }}; main; has_token() {{ [ -n "$spec" ]; }}; spec=''; main; rm "$job/spec"; main"""
    assert shell(lines).splitlines() == [
        *("write_heartbeat", "read_resources", "set_submit_directory", "run"),
        *("note_memory_kill", "end_leftovers", "start_next_jobs", "run_own_on_end"),
        *("status 3", "exit 3 own 0", ".kill native_id spec stage started"),
        *("slurm 5", "leave_array", "write_heartbeat", "read_resources"),
        *("set_submit_directory", "run", "note_memory_kill", "end_leftovers"),
        *("start_next_jobs", "run_own_on_end", "status 143", "signal 15 own 0"),
        *("write_heartbeat", "read_resources", "set_submit_directory", "run"),
        *("note_memory_kill", "end_leftovers", "start_next_jobs", "run_own_on_end"),
        *("status 0", "exit 0 ask 0", "write_heartbeat", "read_resources"),
        *("set_submit_directory", "run", "note_memory_kill", "end_leftovers"),
        *("start_next_jobs", "run_own_on_end", "status 1", "exit 3 own 0"),
        *("status 0", "begin_second_run", "write_heartbeat", "read_resources"),
        *("set_submit_directory", "run", "note_memory_kill", "end_leftovers"),
        *("start_next_jobs", "run_own_on_end", "status 0", "exit 0 own 0"),
        *("write_heartbeat", "read_resources", "end_leftovers", "start_next_jobs"),
        *("run_own_on_end", "status 0", "none 0 killed 0", "write_heartbeat"),
        *("read_resources", "unstarted gone", "end_leftovers", "start_next_jobs"),
        *("run_own_on_end", "status 0", "none 0 killed 0", "write_heartbeat"),
        *("end_leftovers", "start_next_jobs", "run_own_on_end", "status 0"),
        *("none 0 own 0", "write_heartbeat", "set_submit_directory", "run"),
        *("note_memory_kill", *["status 1"] * 4),
    ]


def test_id_of_the_scheduler_is_recorded_once(shell: Shell) -> None:
    lines = f"""{WRAPPER} say() {{ note_native_id; cat "$job/native_id"; }}; say; echo 'slurm 5;gpu' >"$job/native_id"; say
    echo 'slurm 55' >"$job/native_id"; say; : >"$job/native_id"; say
    PBS_O_WORKDIR=x; unset SLURM_SUBMIT_DIR SGE_O_WORKDIR; SLURM_SUBMIT_DIR=y; say() {{ env | grep -E '^(PBS_O|SLURM_S|SGE_)' | sort | sed "s,$queue,Q,"; }}
    set_submit_directory; say; unset PBS_O_WORKDIR; runtime=pbs; set_submit_directory; unset SLURM_SUBMIT_DIR; say
    export SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_JOB_ID=5 SGE_TASK_ID=4 SGE_TASK_LAST=9; own_id=5_3 array=arr array_log=$queue/log; echo out >log.3.log; leave_array
    cat "$job/arr.log"; ls | grep log; env | grep -E '^(SLURM_A|SGE_)' | sort"""
    assert shell(lines).splitlines() == [
        *("slurm 5", "slurm 5;gpu", "slurm 5", "slurm 5"),
        *("PBS_O_WORKDIR=Q/jobs/a/stage", "SLURM_SUBMIT_DIR=Q/jobs/a/stage"),
        *("PBS_O_WORKDIR=Q/jobs/a/stage", "out", "SGE_TASK_ID=undefined"),
        "SGE_TASK_LAST=undefined",
    ]


def test_signals_are_forwarded_unless_the_session_has_them(shell: Shell) -> None:
    lines = f"""{WRAPPER} wait_for() {{ echo "wait $1 $2"; [ -e "$job/$1" ]; }}; is_alive() {{ [ "$1 $2" = "4 $alive" ]; }}; date() {{ echo 50; }}
    alive=7; say() {{ heard=$1; handle_signals; echo "/$sigterm_time"; for f in term .heard.TERM .heard.USR1; do [ ! -e "$job/$f" ] || echo "$f $(cat "$job/$f")"; done; }}
    handle_sigterm() {{ echo sigterm; }}; scheduler_warning() {{ [ "$1" = USR2 ] && warning='cut soon'; }}
    say ' USR1 TERM'; echo '6 h 4 7' >"$job/started"; : >"$job/.heard.USR1"; say ' USR1 TERM'; say ' USR2'; alive=8; sigterm_time=''; : >"$job/kill"; rm "$job/term"; say ' USR2'
    sigterm_time=40; say ' USR2'; rm "$job/kill"; say ' USR2'"""
    assert shell(lines).splitlines() == [
        *("nap", "wait started 5", "sigterm", "nap", "wait started 5", "/", "nap"),
        *("sigterm", "nap", "wait started 5", "kill -s TERM 4", "/", "nap"),
        *("wait started 5", "kill -s USR2 4", "/50", "term 50 cut soon", "nap"),
        *("wait started 5", "/50", "nap", "wait started 5", "/40", "nap"),
        *("wait started 5", "/40", "term 40 cut soon"),
    ]


def test_sigterm_reaches_processes_outside_the_session(shell: Shell) -> None:
    lines = f"""{WRAPPER} date() {{ echo 50; }}; find_job_processes() {{ pids='4 5 6'; }}; get_start() {{ case $1 in 5) session=9 ;; *) session=1 ;; esac; }}
    say() {{ handle_sigterm; echo "$sigterm_time/$strays"; cat "$job/term" 2>/dev/null; rm -f "$job/term"; }}
    say; sigterm_time=40; say; echo x >"$job/term"; say; : >"$job/kill"; say; proc=''; say; proc=/proc
    get_start() {{ session=1; }}; say; get_start() {{ case $1 in 5) session=9 ;; *) session=1 ;; esac; }}
    sleep() {{ echo "sleep $1"; : >"$job/kill"; }}; rm "$job/kill"; runner_start=7; is_gone() {{ [ "$1 $2" = "$$ $gone" ]; }}; gone=7; watch_kill_fact
    gone=8; watch_kill_fact | sed "s/ $$\\$/ self/"; ls -A "$job" """
    assert shell(lines).splitlines() == [
        *("kill -s TERM 5", "50/ 5", "50", "kill -s TERM 5", "40/ 5", "40"),
        *("kill -s TERM 5", "40/ 5", "x", "kill -s TERM 5", "40/ 5", "40/ 5"),
        *("40/", "sleep 2", "kill -s TERM 4 6 self", ".heard.TERM", "kill", "spec"),
        "stage",
    ]


def test_grace_period_ends_with_sigkill(shell: Shell) -> None:
    lines = f"""{WRAPPER} date() {{ echo 50; }}; find_job_processes() {{ echo find; pids=$found; }}; signal_processes() {{ echo "signal $1"; }}; found=''
    read_facts() {{ grace=$g; }}; sigterm_time=46; for g in '' 5 4 0; do end_after_grace; done
    wait_for_processes() {{ echo "wait $*"; [ "$#" = 2 ] || [ -z "$left_here" ]; }}; stop_processes() {{ echo "stop $1"; pids=9; }}; left_here=''
    say() {{ left=old; end_leftovers; echo "left $left"; }}; say; echo '6 h 1 1' >"$job/started"; g=''; say; left_here=1 g=10; say; g=1; say; sigterm_time=''; say; found='4 5'; say"""
    assert shell(lines).splitlines() == [
        *("nap", "nap", "nap", "find", "signal KILL", "nap", "find", "signal KILL"),
        *("left ", "wait 1", "left ", "wait 6", "wait 10 KILL", "left ", "wait 0"),
        *("wait 10 KILL", "left ", "find", "left ", "find", "stop 2", "left 1"),
    ]


def test_scheduler_is_asked_for_the_cause(shell: Shell) -> None:
    lines = f"""{WRAPPER} date() {{ echo 50; }}; began=40; r_walltime=''; say() {{ for end; do try was_cut_off; done; }}
    say 'signal 9' 'signal 15' 'exit 137' 'exit 143' 'signal 6' 'exit 0' 'exit 9'; r_walltime=11 ; say 'exit 0'; r_walltime=10; say 'exit 0'; r_walltime=''; sigterm_time=5; say 'exit 0'
    start_jobs_after() {{ echo "next $1 $in_scheduler_job"; }}; start_next_jobs; echo "${{in_scheduler_job-none}}"
    start_on_end() {{ echo start; }}; run_on_end_once() {{ echo once; }}; await_on_end() {{ echo "await $state"; }}; read_facts() {{ state=$s; }}
    for s in '?' finished; do run_own_on_end; done; : >"$job/requeue"; s='?'; run_own_on_end"""
    assert shell(lines).splitlines() == [
        *("yes", "yes", "yes", "yes", "no", "no", "no", "no", "yes", "yes"),
        *("next a 1", "none", "start", "await unknown", "once", "await finished"),
        *("once", "await ?"),
    ]


@in_all_shells
def test_alarm_of_the_heartbeat_is_no_signal_for_the_script(shell: Shell) -> None:
    """The `kill` of ksh93 also sends SIGCONT."""
    lines = r"""eval "$(sed -n '/^signals=/,/ esac$/p' "$here/run_in_scheduler.sh")"
    for signal in $signals; do trap "echo $signal" "$signal"; done; trap 'echo alarm' ALRM
    kill -s ALRM $$; :"""
    assert shell(lines) == "alarm\n"


def test_runner_waits_for_the_script(shell: Shell) -> None:
    lines = f"""{WRAPPER} prepare_run() {{ echo "prepare ${{tej_session-none}}"; }}; await_directory() {{ :; }}; tej_session=x
    watch_session() {{ await ready; until [ -e "$queue/handled" ] || ! command kill -s ALRM $$; do command sleep 0.02; done; }}
    eval "$(sed -n 's/^script_has_ended/has_ended/; /^has_ended/,/^}}/p' "$here/lib/run_script.sh")"; script_has_ended() {{ : >"$queue/ready"; has_ended; }}
    await() {{ until [ -e "$queue/$1" ] || ! command kill -0 $$; do command sleep 0.01; done; }}
    run_in_shell() {{ await ready; env kill -s "$which" $$; await handled; end='signal 15'; }}
    handle_signals() {{ [ -z "$heard" ] || {{ echo "handle$heard"; : >"$queue/handled"; case $heard in *TERM*) sigterm_time=9 ;; esac; heard=''; }}; }}
    say() {{
        : >"$job/.end"; end='' which=$1 sigterm_time='' runner_start=''; rm -f "$queue/ready" "$queue/handled"
        run_job; wait; trap - $signals; [ -n "$runner_start" ]; echo "end $end"
    }}
    say TERM; say USR1; : >"$job/kill"; has_no_term=1; watch_kill_fact() {{ :; }}
    handle_signals() {{ case $heard in *TERM*) sigterm_time=9 ;; esac; heard=''; }}; end_after_grace() {{ [ -e "$queue/handled" ] || echo grace; : >"$queue/handled"; }}
    say TERM"""
    assert shell(lines).splitlines() == [
        *("prepare ", "handle TERM", "end signal 15", "prepare ", "handle USR1"),
        *("nap", "end signal 15", "prepare ", "grace", "kill PID", "end signal 15"),
    ]
