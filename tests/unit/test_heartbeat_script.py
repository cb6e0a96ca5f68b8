"""Heartbeat of a job, in shell functions that are called without a server."""

from __future__ import annotations

from collections.abc import Callable

Shell = Callable[..., str]

BEAT = """
. "$here/lib/run_script.sh"; . "$here/lib/group_heartbeat.sh"; me; who_at=$who
after_wrapper() { echo after; [ -n "$goes_on" ]; }
after_heartbeat() { echo work; }
sleep_until_signal() { echo "sleep $1"; }
take_lock() { echo "lock $1"; [ -z "$locked" ]; }
goes_on='' locked=''
"""


def test_replaced_heartbeat_process_takes_over_once(shell: Shell) -> None:
    lines = f"""{BEAT} say() {{ (cd jobs/a; job=$queue/jobs/a; replace_heartbeat 5 6; echo "$began $ticks $own_native"); echo "status $?"; }}; continue_heartbeat() {{ echo "continue $* $job"; }}; get_uptime() {{ uptime=50; }}; getconf() {{ echo 10; }}
    say; echo '6 h 4 430' >jobs/a/started; echo 'pid h b s 5 6' >jobs/a/native_id; say; getconf() {{ return 1; }}; say; echo '6 h 4 -' >jobs/a/started; say; locked=1; say; locked=''; echo 'nodes=x' >jobs/a/resources; say; rm jobs/a/resources; echo '9 exit 0 own 0' >jobs/a/finished; say"""
    assert shell(lines, "default").splitlines() == [
        *("status 0", "lock ./.heartbeat", "continue 5 6 .", "43 10 pid h b s 5 6"),
        *("status 0", "lock ./.heartbeat", "continue 5 6 .", "4 100 pid h b s 5 6"),
        *("status 0", "lock ./.heartbeat", "continue 5 6 ."),
        *("50 100 pid h b s 5 6", "status 0", "lock ./.heartbeat", "status 0"),
        *("status 0", "status 0"),
    ]


def test_heartbeat_continues_while_the_job_runs(shell: Shell) -> None:
    lines = f"""{BEAT} beats() {{ write_heartbeat() {{ echo beat; }}; is_gone() {{ [ "$1" = 9 ]; }}; keep_heartbeat() {{ echo "keep $*"; }}; }}; (beats; continue_heartbeat 5 6); (beats; continue_heartbeat 9 6; echo on); goes_on=1; (beats; continue_heartbeat 9 6; echo on); goes_on=''
    (beats; unset -f keep_heartbeat; . "$here/lib/heartbeat.sh"; turns=0; is_gone() {{ turns=$((turns + 1)); [ "$1 $2 $turns" = '5 6 3' ]; }}; write_heartbeat() {{ echo beat; }}; before_heartbeat() {{ span=7; }}; return_to_job() {{ echo return; }}; after_heartbeat() {{ echo "work $in_hook"; }}; after_wrapper() {{ echo after; return 1; }}; keep_heartbeat 5 6; echo on)
    (. "$here/lib/heartbeat.sh"; is_gone() {{ return 1; }}; sleep_until_signal() {{ :; }}; after_heartbeat() {{ leave_heartbeat; echo "stopped $stopped"; }}; keep_heartbeat 5 6; echo on); (end_sleep() {{ echo end; }}; in_hook=''; leave_heartbeat; echo on)
    job=$queue/jobs/a; clock_date=''; now=old; write_heartbeat; echo "$now"; read -r beat <"$job/heartbeat"; [ "$beat" -gt 1000000000 ] && echo time; echo 99999999999999 >"$job/heartbeat"; write_heartbeat; wc -c <"$job/heartbeat"
    is_removed() {{ echo removed; return 1; }}; return_to_job; (cd "$job"; job=.; return_to_job; rm heartbeat; return_to_job; echo "$?")"""
    assert shell(lines, "default").splitlines() == [
        *("beat", "work", "keep 5 6", "after", "after", "beat", "work", "keep 9 6"),
        *("on", "sleep 7", "beat", "return", "work 1", "sleep 7", "beat", "return"),
        *("work 1", "sleep 7", "after", "stopped 1", "end", "old", "time", "15"),
        *("removed", "0"),
    ]


def test_heartbeat_of_one_job_is_taken_over(shell: Shell) -> None:
    lines = f"""{BEAT} continue_heartbeat() {{ echo "continue $* $job ${{PWD##*/}} $own_native"; }}; say() {{ (take_heartbeat 5 6); echo "$?"; }} 2>/dev/null; say; echo 'pid x' >jobs/a/native_id; say; echo nodes=x >jobs/a/resources; say; id=gone; say
    orphaned=0 now=5; proc=$queue/p; mkdir -p p/$$/task/$$; echo '4 5' >p/$$/task/$$/children; read_wrappers; echo "$wrappers|$orphaned|$now"; : >p/$$/task/$$/children; read_wrappers; echo "$wrappers|$orphaned"; rm -r p; read_wrappers; echo "$wrappers|$orphaned" """
    assert shell(lines, "default").splitlines() == [
        *("0", "continue 5 6 . a pid x", "0", "0", "0", " 4 5 |0|", "  |1", "  |2"),
    ]
