"""Processes that a job has left, and the state of a job without a scheduler."""

from __future__ import annotations

from collections.abc import Callable

from server_functions import functions

Shell = Callable[..., str]

PROCESSES = r"""
try() { if "$@"; then echo yes; else echo no; fi; }
me; mkdir -p p/1/task/1 p/4/task/4 p/5/task/5 p/6/task/6 p/7/task/7; proc=$queue/p; spec='token=abc end'; adopted=' 3 4 ' j_pid=8 j_start=100 began=0 uptime=10
get_uptime() { uptime=$up; }
get_start() { eval "start=\${start_$1-} session=\${session_$1-1} parent=\${parent_$1-1}"; }
children() { echo "$2" >"p/$1/task/$1/children"; }
up=10 start_4=50 start_5=100 start_6=120 start_7=99 grep_reads_nul=1
"""


def test_only_new_orphans_may_belong_to_the_job(shell: Shell) -> None:
    lines = f"""{PROCESSES} try may_have_left_processes; children 1 '3 4 '; try may_have_left_processes; children 1 '3 4 5 7 '; children 5 '6'; : >p/6/task/6/children; try may_have_left_processes; for pid in 5 6 7; do printf 'X=1\\0TEJ_JOB_TOKEN=abd\\0' >p/$pid/environ; done
    try may_have_left_processes; printf 'X=1\\0TEJ_JOB_TOKEN=abc\\0' >p/7/environ; try may_have_left_processes; printf 'X=1\\0TEJ_JOB_TOKEN=abcd\\0' >p/6/environ; try may_have_left_processes; rm p/6/environ; session_5=8; try may_have_left_processes; session_5=1 session_6=8; try may_have_left_processes; session_6=1
    adopted=''; try may_have_left_processes; adopted=' 3 4 ' j_start=-; try may_have_left_processes; j_start=100 grep_reads_nul=''; try may_have_left_processes; grep_reads_nul=1; children 1 "3 4 $(seq 1000 1050 | tr '\\n' ' ')"; try may_have_left_processes; children 1 "3 4 $(seq 1000 1049 | tr '\\n' ' ')"; try may_have_left_processes
    children 1 "3 4 5 $$"; find_new_orphans; echo "$new_orphans/$new_count"; children 1 '3 4'; up=61; forget_ended_orphans() {{ echo forget; }}; try may_have_left_processes; up=60; try may_have_left_processes
    : >jobs/a/kill; tries=0; may_have_left_processes() {{ tries=$((tries + 1)); [ "$tries" -lt "$ends" ]; }}; sleep() {{ printf 'sleep %s ' "$1"; }}; say() {{ ends=$1 tries=0; try leaves_processes; }}; say 1; say 3; say 9; rm jobs/a/kill; say 3"""
    assert shell(lines, "default").splitlines() == [
        *("yes", "no", "no", "no", "no", "yes", "yes", "yes", "yes", "yes", "yes"),
        *("yes", "no", " 5/1", "forget", "no", "no", "no"),
        "sleep 0.2 sleep 0.4 no",
        *("sleep 0.2 sleep 0.4 sleep 0.8 sleep 1.6 sleep 3.2 yes", "yes"),
    ]


def test_ended_orphans_are_forgotten(shell: Shell) -> None:
    lines = f"""{PROCESSES} stat() {{ echo "$1 (n) a) S 1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0 $2 0 0" >"p/$1/stat"; }}; stat 4 99; stat 5 100; stat 6 7; stat 7 200; adopted=' 3 4 5 6 7 '; forget_ended_orphans; echo "$adopted"
    parent_=1; eval "parent_$$=1"; children 1 '3 5'; note_orphans; echo "$adopted"; eval "parent_$$=2"; note_orphans; echo "$adopted/"; eval "parent_$$=1"; rm p/1/task/1/children; note_orphans; echo "$adopted/"; proc=''; note_orphans; echo "$adopted/" """
    assert shell(lines, "default").splitlines() == [
        *(" 4 6 ", " 3 5 ", "/", "/", "/"),
    ]


def test_left_processes_are_counted_where_they_run(shell: Shell) -> None:
    lines = f"""{PROCESSES} find_job_processes() {{ pids=$found; }}; sees_processes() {{ [ -n "$sees" ]; }}; has_searched=1; say() {{ native=$1 left=$2 where=$3 note=$4; recount; echo "$left/$elsewhere/$note"; }}
    found='4 5' sees=1; say "pid $host $boot $space 1 1" 3 '' ''; say "pid $host $boot $space 1 1" '' '' ''; found=''; say "pid $host $boot $space 1 1" 3 '' ''; sees=''; say "pid $host $boot $space 1 1" 3 '' '' | sed "s,$host,H,g"; found=4
    say "pid other b s 1 1" 3 '' old; say "pid $host b $space 1 1" 3 '' ''; say "slurm 5" 3 '' ''; say "slurm 5" 3 node ''; say "slurm 5" 3 "$host" ''
    has_searched=''; pids=''; count_pids; echo "$left"; pids='4 5'; has_searched=1; count_pids; echo "$left"; found=''; try has_processes; has_searched=''; try has_processes; found=4 has_searched=1; try has_processes"""
    assert shell(lines, "default").splitlines() == [
        *("2//", "//", "//"),
        "3/H/processes that it left running on H may have ended by now",
        "3/other/old; processes that it left running on other may have ended by now",
        *("//", "1//"),
        "3/node/processes that it left running on node may have ended by now",
        *("1//", "1", "2", "no", "yes", "yes"),
    ]


def test_processes_get_their_grace_period(shell: Shell) -> None:
    lines = rf"""{PROCESSES} kill() {{ echo "kill $*"; }}; nap() {{ naps=$((naps + 1)); }}; find_job_processes() {{ searches=$((searches + 1)); pids=5; [ "$searches" -lt "$ends" ] || pids=''; }}; say() {{ naps=0 searches=0 ends=$1; shift; "$@"; echo "$? $naps"; }}
    say 1 stop_processes 2; say 5 stop_processes 2; say 99 stop_processes 2 | uniq -c | sed 's/^ *//'; say 3 wait_for_processes 1; say 9 wait_for_processes 1; say 3 wait_for_processes 1 HUP; say 9 wait_for_processes 0 HUP; proc=''; pids=5; signal_processes INT; pids=''; signal_processes INT; unset -f kill
    : >jobs/a/heartbeat; note_killer; [ "$(cat jobs/a/.killer)" = "$who" ] && echo noted; is_alive() {{ [ "$1 $2" = "$self $own_start" ]; }}; try is_killed_here; echo "$host $boot x $self $own_start" >jobs/a/.killer; try is_killed_here; echo "$host $boot $space $self" >jobs/a/.killer; try is_killed_here
    echo "$host $boot $space $self 1x" >jobs/a/.killer; try is_killed_here; rm jobs/a/.killer; try is_killed_here; rm jobs/a/heartbeat; note_killer; ls -A jobs/a | grep killer; mkfifo jobs/a/.killer; : >jobs/a/heartbeat; note_killer; try is_killed_here"""
    assert shell(lines, "default").splitlines() == [
        *("0 0", "kill -s TERM 5", "kill -s CONT 5", "0 3", "1 kill -s TERM 5"),
        *("1 kill -s CONT 5", "51 kill -s KILL 5", "1 1 60", "0 2", "1 5"),
        *("kill -s HUP 5", "kill -s HUP 5", "0 2", "kill -s HUP 5", "1 0"),
        *("kill -s INT 5", "kill -s INT -- -8", "noted", "yes", "no", "no", "no"),
        *("no", "no"),
    ]


def test_state_without_a_scheduler_follows_from_processes(shell: Shell) -> None:
    lines = f"""{PROCESSES} unset -f get_start; check_process() {{ eval "life=\\${{life_$1}}"; }}; check_wrapper() {{ check_process "$1"; }}; has_processes() {{ [ -n "$left_here" ]; }}; is_beating() {{ [ -n "$beats" ]; }}; mark_lost() {{ state=lost evidence=$1; }}; mark_killed() {{ state=killed; }}; resume_heartbeat() {{ echo "resume $*"; }}
    was_restarted() {{ [ -n "$rebooted" ]; }}; is_stale() {{ echo "stale $*"; [ -n "$stale" ]; }}; seen=''; native="pid $host $boot $space 5 6" life_5=alive life_8=gone left_here='' beats='' started='' rebooted='' stale=''; say() {{ state='' evidence='' note='' where=''; runtime_derive_state; echo "$state $where $evidence $note" | sed "s,$host,H,g"; }}
    say; : >jobs/a/queued; say; started=6; say; life_5=gone life_8=alive; say; life_8=gone left_here=1; say; started=''; say; left_here=''; started=6; say; life_5=unsure; say; beats=1; say; beats=''; life_5=gone; : >jobs/a/kill; say; rm jobs/a/kill
    native='pid other b s 5 6'; say; stale=1; say; : >jobs/a/heartbeat; say; beats=1; say; native="pid $host b $space 5 6"; say; rebooted=1; say; left_here=1; say; unset -f is_stale
    runtime_stop 9; echo "$?"; native="pid $host $boot $space 5 6"; find_job_processes() {{ pids=$found; }}; stop_processes() {{ echo "stop $1"; }}; for found in 4 ''; do for life_5 in gone unsure; do runtime_stop 9; echo "$?"; done; done"""
    assert shell(lines, "default").splitlines() == [
        *("resume 5 6", "created   ", "resume 5 6", "queued   ", "resume 5 6"),
        *("running   ", "resume 5 6"),
        "running   the wrapper is gone (pid 5), so the end of the job will not be recorded",
        "resume 5 6",
        "running   the wrapper is gone (pid 5), so the end of the job will not be recorded",
        "lost  the wrapper (pid 5 on H) is gone and recorded no end ",
        "lost  the wrapper (pid 5 on H) is gone and recorded no end ",
        *("lost  no sign of life from H for 900 seconds ", "running   "),
        *("killed   ", "stale native_id 900", "running other  "),
        "stale native_id 900",
        "lost other no sign of life from other for 900 seconds ",
        "lost other no sign of life from other for 900 seconds ",
        *("running other  ", "running H  "),
        *("lost H H was restarted while the job ran ", "running H  ", "1"),
        *("stop 9", "0", "stop 9", "0", "stop 9", "0", "1"),
    ]


def test_killed_heartbeat_process_is_replaced_once(shell: Shell) -> None:
    lines = f"""{PROCESSES} detach() {{ echo "detach ${{PWD##*/}} $*" | sed "s,$queue,Q,; s,$here,H,g"; }}; proc=/proc now=1000; is_stale() {{ echo "stale $1 $2"; [ -n "$stale" ]; }}; stale=1 started=6; resume_heartbeat 5 6; echo $((1000 - heartbeat_overdue)) >jobs/a/heartbeat; resume_heartbeat 5 6
    echo $((1001 - heartbeat_overdue)) >jobs/a/heartbeat; resume_heartbeat 5 6; echo x >jobs/a/heartbeat; resume_heartbeat 5 6; echo 1 >jobs/a/heartbeat; stale=''; resume_heartbeat 5 6; stale=1 started=''; resume_heartbeat 5 6; started=6 proc=''; resume_heartbeat 5 6; proc=/proc
    detach() {{ echo "detach $*" | sed "s,$queue,Q,; s,$here,H,g"; [ -z "$full" ]; }}; full=''; runtime_check() {{ [ "$id" != c ]; }}; for id in b c; do mkdir jobs/$id; echo 'token=t end' >jobs/$id/spec; done; say() {{ started_together=''; runtime_start_together "$@"; echo "/$started_together"; }}; say a 0123456789abcdef b t c t; say b t c t; say b other a 0123456789abcdef; full=1; say a 0123456789abcdef b t; runtime_start || echo "$why"; : >max_running; full=''; say a 0123456789abcdef b t"""
    assert shell(lines, "default").splitlines() == [
        "stale heartbeat 90",
        "detach a H/run_detached.sh Q a H default --heartbeat 5 6",
        *("stale heartbeat 90", "detach H/run_detached.sh Q a H default b"),
        *("/ a b", "/", "/", "detach H/run_detached.sh Q a H default b", "/"),
        "detach H/run_detached.sh Q b H default",
        *(
            "no process can be started on the server: can this account start more processes (ulimit -u)?",
            "/",
        ),
    ]


def test_memory_kill_is_counted_in_the_cgroup_of_the_job(shell: Shell) -> None:
    lines = f"""{functions("note_memory_kill count_memory_kills add_memory_kills", "lib/limit_kill.sh")} cgroup_list=$queue/list cgroup_root=$queue/cg own_id=7.s sigterm_time=''; unset SLURM_JOB_ID; d=cg/slurm/job_7/step_0; mkdir -p $d cg/memory/pbs/7.s/x cg/slurm/job_77 cg/slurm/job_9
    say() {{ echo "$1" >list; rm -f "$job/reason"; note_memory_kill; echo "$memory_kills $(cut -d' ' -f2- "$job/reason" 2>/dev/null)"; }}; for one in $d cg/slurm/job_77 cg/slurm cg/slurm/job_9; do printf 'oom 5\\noom_kill 3\\nx 4\\n' >$one/memory.events; done; printf 'oom_kill_disable 0\\noom_kill 2\\n' >cg/memory/pbs/7.s/memory.oom_control
    say 0::/slurm/job_7/step_0; mv $d/memory.events cg/slurm/job_7; say 0::/slurm/job_7/step_0; say 0::/slurm/job_77; say 0::/slurm; say 3:cpu,memory:/pbs/7.s/x; say 3:cpu:/pbs/7.s/x; rm cg/slurm/job_7/memory.events; say 0::/slurm/job_7/step_0; SLURM_JOB_ID=9; say 0::/slurm/job_9; sigterm_time=5; memory_kills=x; say 0::/slurm/job_9; sigterm_time=''; : >"$job/kill"; memory_kills=x; say 0::/slurm/job_9; rm "$job/kill" list; unset SLURM_JOB_ID; own_id=''; count_memory_kills; echo "$memory_kills" """
    assert shell(lines).splitlines() == [
        "3 limit slurm: memory limit (killed processes: 3)",
        *("3 limit slurm: memory limit (killed processes: 3)", "0 ", "0 "),
        *("2 limit slurm: memory limit (killed processes: 2)", "0 ", "0 "),
        *("3 limit slurm: memory limit (killed processes: 3)", "x ", "x ", "0"),
    ]
