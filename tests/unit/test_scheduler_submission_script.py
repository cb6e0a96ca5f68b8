"""Submission and kill of jobs under a scheduler that is replaced by shell functions."""

from __future__ import annotations

from collections.abc import Callable

Shell = Callable[..., str]

SUBMIT = r"""
add() { mkdir -p "jobs/$1/stage"; echo "token=t$1 end" >"jobs/$1/spec"; printf "$2" >"jobs/$1/resources"; }
sleep() { echo "sleep $1"; }
query_again() { echo query; }
runtime_tend() { :; }
scheduler_cancel() { echo "cancel $1" >&4; }
exec 4>&1
"""


def test_lost_submission_is_searched_on_all_clusters(shell: Shell) -> None:
    lines = """read_resources() { :; }; check_directives() { :; }; names_cluster() { user_clusters=$chosen; }; requested_options=$1
    look_up() { listed_state=unknown; }; runtime_ask() { echo "ask $*"; }; listing_result=answer; say() { chosen=$1 requested_options=$2; list_clusters || echo unknown; }
    sacctmgr() { printf 'one\\ntwo\\n'; }; say '' -M=one; say all ''; say '' '-M=x,ALL'; sacctmgr() { return 1; }; say all ''; say one ''
    sacctmgr() { :; }; say all ''"""
    assert shell(lines).splitlines() == [
        "ask slurm 0;one",
        *["ask slurm 0;one slurm 0;two"] * 2,
        *("unknown", "ask slurm 0;one", "unknown"),
    ]


def test_jobs_with_equal_resources_become_one_array(shell: Shell) -> None:
    lines = rf"""{SUBMIT} scheduler_array_limit() {{ array_limit=3; }}; submit_array_to_scheduler() {{ echo "array $array $common_name/$tasks: $*"; printf '%s' "$table"; [ -z "$refuse" ]; }}; refuse=''
    for id in a b c d; do add $id 'default_name=run1\ncpus=2\n'; done; add e 'default_name=run2\ncpus=2\n'; add f 'cpus=1\n'; add g 'nodes=x\n'; add h 'cpus=2\n'; : >jobs/h/dependencies; add i 'cpus=2\n'; echo 1 >jobs/i/finished
    add j 'cpus=2\n'; echo 1 >jobs/j/native_id; add k 'cpus=2\n'; : >jobs/k/submitting; add l 'cpus=1\noption=-Mx\n'; add m 'cpus=1\n'; all='a ta b tb c tc d td e te f tf g tg h th i ti j tj k tk l tl m tm n tn'
    runtime_start_together $all; cut -d' ' -f2,8 jobs/[a-m]/submitting; rm jobs/[a-m]/submitting; : >jobs/k/submitting; refuse=1; runtime_start_together $all | grep -c array; rm jobs/[a-m]/submitting; refuse=''
    : >max_running; runtime_start_together a ta b tb; rm max_running; scheduler_array_limit() {{ array_limit=1; }}; runtime_start_together a ta b tb; scheduler_array_limit() {{ array_limit=2; }}; runtime_start_together a ta b tb; rm jobs/[a-m]/submitting; scheduler_array_limit() {{ return 1; }}; runtime_start_together a ta b tb
    # A group of one job must leave the expansion of patterns switched on.
    scheduler_array_limit() {{ array_limit=2; }}; runtime_start_together f tf; echo jobs/[a-b]"""
    assert shell(lines).splitlines() == [
        *("array tej_ajo_a run/3: a ta b tb c tc", "    0) set -- 'a' ta ;;"),
        *("    1) set -- 'b' tb ;;", "    2) set -- 'c' tc ;;"),
        *("array tej_djo_a run/2: d td e te", "    0) set -- 'd' td ;;"),
        *("    1) set -- 'e' te ;;", "array tej_fjo_a tej_/2: f tf m tm"),
        *("    0) set -- 'f' tf ;;", "    1) set -- 'm' tm ;;", "tej_ajo_a 0"),
        *("tej_ajo_a 1", "tej_ajo_a 2", "tej_djo_a 0", "tej_djo_a 1"),
        *("tej_fjo_a 0", "tej_fjo_a 1", "1", "array tej_ajo_a run1/2: a ta b tb"),
        *("    0) set -- 'a' ta ;;", "    1) set -- 'b' tb ;;"),
        "jobs/a jobs/b",
    ]


def test_array_skips_a_job_that_was_replaced(shell: Shell) -> None:
    lines = rf"""{SUBMIT} submit_array_to_scheduler() {{ echo "array: $*"; printf '%s' "$table"; }}; for id in a b c "it's"; do add $id ''; done; note_requeue() {{ [ "$id" != "$fails" ]; }}; fails=''
    first_task=1; say() {{ array_refused=''; submit_array "$1"; echo "refused$array_refused"; for id in a b c; do [ ! -e jobs/$id/submitting ] || cut -d' ' -f8 jobs/$id/submitting; rm -f jobs/$id/submitting; done; }}
    say ' a ta b other c tc'; say " a ta it's tit's"; fails=b; say ' a ta b tb c tc'"""
    assert shell(lines).splitlines() == [
        *("array: a ta c tc", "    1) set -- 'a' ta ;;", "    2) set -- 'c' tc ;;"),
        *("refused other ", "1", "2", "array: a ta it's tit's"),
        *("    1) set -- 'a' ta ;;", "    2) set -- 'it'\\''s' tit's ;;"),
        *("refused", "1", "array: a ta c tc", "    1) set -- 'a' ta ;;"),
        *("    2) set -- 'c' tc ;;", "refused tb ", "1", "2"),
    ]


def test_reply_to_an_array_decides_its_native_ids(shell: Shell) -> None:
    lines = rf"""{SUBMIT} id=a array=tej_x; for id in a b; do add $id ''; done; tasks=2 table='' default_name=n common_name='' array_refused='' index=''; . "$here/lib/run_script.sh"
    write_array() {{ [ -z "$full" ]; }}; submit_patiently() {{ echo "submit $1 $array_tasks $default_name $lookup_name"; nid=$reply; [ -n "$reply" ]; }}; search_submitted() {{ [ -n "$found" ] && native=$lost; }}; full='' reply='' found='' lost=''
    say() {{ array_refused=''; submit_array_to_scheduler a ta b tb; echo "$?$array_refused $array_tasks"; cat jobs/[ab]/native_id 2>/dev/null; rm -f jobs/[ab]/native_id; }}
    reply=7; say; reply='8;gpu'; common_name=run; say; reply=''; say; found=1; say; lost='slurm 9'; say; full=1; default_name=''; say; submit_array_to_scheduler; echo "$?"
    write_array() {{ cat "$job/batch"; }}; . "$here/lib/scheduler_array.sh"; log=$queue/scheduler/tej_x.%a.log task_pattern=%a task_variable=INDEX table='    0) set -- a ta ;;
'; write_array; sed "s,$queue,Q,g; s,$here,H,g; /umask/d" jobs/a/batch; log_array; echo "${{log#"$queue"}}"; queue="$queue/a b"; log_array; echo "$log" """
    assert shell(lines).splitlines() == [
        *("submit is_overloaded 0-1 tej_x tej_x", "0 ", "slurm 7_0", "slurm 7_1"),
        *("submit is_overloaded 0-1 run tej_x", "0 ", "slurm 8_0;gpu"),
        *("slurm 8_1;gpu", "submit is_overloaded 0-1 run tej_x", "1 ta  tb  "),
        *("submit is_overloaded 0-1 run tej_x", "0 "),
        *("submit is_overloaded 0-1 run tej_x", "0 ", "slurm 9_0", "slurm 9_1"),
        *("1 ta  tb  ", "1", "#!/bin/sh", "case $INDEX in"),
        *("    0) set -- a ta ;;", "    *) exit 1 ;;", "esac"),
        "exec /bin/sh 'H/run_in_scheduler.sh' 'Q' \"$1\" 'H' slurm \"$2\" '' 'tej_x' 'Q/scheduler/tej_x'",
        *("/scheduler/tej_x.%a.log", "/dev/null"),
    ]


def test_busy_scheduler_is_asked_again(shell: Shell) -> None:
    lines = rf"""{SUBMIT} date() {{ echo "$clock"; }}; start_keepalives() {{ echo keep; }}; busy() {{ [ -n "$busy" ]; }}; busy=1 tries=0; submit_once() {{ tries=$((tries + 1)); [ "$tries" -ge "$works" ]; }}; clock=100
    say() {{ tries=0 works=$1 retry_until=$2; submit_patiently busy; echo "$? $tries $retry_until"; }}; say 1 ''; say 6 ''; say 3 100; clock=99; sleep() {{ clock=100; }}; say 3 100; busy=''; say 2 200
    . "$here/lib/scheduler_submit.sh"; id=a; read_resources; runtime_check() {{ [ -z "$bad" ] || {{ why=bad; return 1; }}; }}; bad='' why='' listing_result=answer in_scheduler_job=''; submit_to_scheduler() {{ ls -A "$job" | grep -v stage; cat "$job/queued"; [ -z "$refused" ]; }}; refused='' now=9
    say() {{ runtime_start; echo "$? $why"; ls "$job" | grep subm; rm -f "$job/submitting"; why=''; }}; say; bad=1; say; bad='' refused=1; say; put() {{ return 1; }}; say | sed "s,$queue,Q,"; unset -f put; . "$here/lib/facts.sh"
    find_submitted() {{ [ -n "$there" ]; }}; : >"$job/submitting"; refused='' there=1; say; there=''; echo "1 tej_x h b s 1 1" >"$job/submitting"; say >out; tail -n 2 out; echo "$array_refused" """
    assert shell(lines).splitlines() == [
        *("0 1 160", "keep", "sleep 2", "keep", "sleep 4", "keep", "sleep 8"),
        *("keep", "sleep 16", "keep", "sleep 16", "0 6 160", "1 1 100", "keep"),
        *("1 2 100", "1 1 200", "batch", "queued", "spec", "submitting", "100"),
        *("0 ", "submitting", "1 bad", "batch", "queued", "spec", "submitting"),
        *("100", "1 ", "1 cannot write to 'Q/jobs/a'", "0 ", "submitting", "0 "),
        *("submitting", " 0123456789abcdef "),
    ]


def test_kill_signals_before_it_cancels(shell: Shell) -> None:
    lines = rf"""{SUBMIT} date() {{ echo 50; }}; was_requeued() {{ return 1; }}; look_up() {{ listed_state=$l; }}; scheduler_term() {{ echo "term $1" >&4; [ -z "$deaf" ]; }}; set_key() {{ key=$1; }}; l=running state=running started=6 listing_result=answer deaf='' fails=''
    scheduler_cancel() {{ echo "cancel $1" >&4; [ -z "$fails" ] || {{ echo refused; return 1; }}; }}; native='slurm 5'
    say() {{ sigterm_sent='' sigterm_sent_5=''; runtime_tell; echo "$? $sigterm_sent_5 $(cat "$job/ending" 2>/dev/null)"; cut -d' ' -f2- "$job/finished" 2>/dev/null; ls "$job" | grep claim; rm -f "$job/ending" "$job/finished" "$job/claim"; }}
    say; fails=1; say; l=over; say; l=running fails=''; : >"$job/claim"; say; : >"$job/claim"; l=stopped; say; : >"$job/claim"; l=running state=lost; say; state=running deaf=1; : >"$job/claim"; fails=1; say; deaf='' fails=''
    : >"$job/claim"; l=queued; say; started=''; : >"$job/claim"; say; started=6 l=running; native=''; say; : >"$job/claim"; say; : >"$job/heartbeat"; say; rm "$job/heartbeat"; native='slurm 5'; echo 1 >"$job/finished"; say; relisted=''; : >"$job/claim"; say; relisted='' listing_result=silent; : >"$job/claim"; say
    : >"$job/claim"; sigterm_sent_5=40; runtime_tell; echo "$? $sigterm_sent" """
    assert shell(lines).splitlines() == [
        *("cancel 5", "0  50 cancel", "none 0 killed 0", "claim", "cancel 5"),
        *("query", "query", "term 5", "1 50 50 term", "cancel 5", "query"),
        *("0  50 cancel", "none 0 killed 0", "claim", "term 5", "1 50 50 term"),
        *("claim", "cancel 5", "1 0 50 cancel", "claim", "cancel 5"),
        *("1 0 50 cancel", "claim", "term 5", "cancel 5", "query", "1 not "),
        *("claim", "term 5", "1 50 50 term requeued", "claim", "term 5"),
        *("1 50 50 term requeued", "claim", "0  ", "none 0 killed 0", "claim"),
        # The last job runs: the server has deleted its old files.
        *("1  ", "claim", "1  "),
        *("0  ", "1", "query", "term 5", "1 50 50 term requeued"),
        *("claim", "term 5", "1 50 50 term requeued", "claim", "1 40"),
    ]


def test_end_of_a_killed_job_is_awaited(shell: Shell) -> None:
    lines = rf"""{SUBMIT} date() {{ echo 50; }}; runtime_tell() {{ nid=${{native#* }}; echo tell; sigterm_sent=$sent; return 1; }}; wait_for() {{ echo "wait $1 $2"; [ "$2" = "$ends" ]; }}; cancel_job() {{ echo cancel; [ -z "$fails" ]; }}; wait_for_end() {{ echo "end $1"; [ -z "$goes_on" ]; }}
    fails='' goes_on='' ends='' native='slurm 5' state=running; say() {{ runtime_stop 30; echo "$? $refused"; }}; sent=45; say; ends=30; say; ends='' fails=1; say; fails='' sent=0; say; sent=not; say; sent=0 goes_on=1; say; state=lost; say; adopt_by_name() {{ echo adopt; }}; native=''; nid=''; say
    runtime_tell() {{ return 0; }}; say; echo 1 >"$job/finished"; say; rm "$job/finished"
    . "$here/lib/scheduler_kill.sh"; has_fallen_silent() {{ [ -n "$certain" ]; }}; certain='' silence=90 state=running; look_up() {{ listed_state=$l; }}; query_again() {{ :; }}; record_killed() {{ echo record; [ -z "$left" ]; }}
    say() {{ wait_for_end 5 >log; echo "$? $(tr -d a-z <log | tr '\n' ' ')"; grep -c record log; }}; l=over; say; certain=1; for l in running over ended limit cut cancelled unknown; do say; done; left=1; say; certain='' left='' silence=900; say; l=running; say; ends=3; say"""
    steps = [1, 2, 3, *[5] * 17]
    never = "1 " + "".join(f"  {n} " for n in steps)
    assert shell(lines).splitlines() == [
        *("tell", "wait finished 30", "cancel", "end 5", "0 ", "tell"),
        *("wait finished 30", "0 ", "tell", "wait finished 30", "cancel", "1 1"),
        *("tell", "end 5", "0 ", "tell", "1 1", "tell", "end 5", "1 1", "tell"),
        *("0 ", "query", "adopt", "tell", "1 ", "query", "adopt", "0 ", "0 "),
        *(never, "0", never, "0", *["0   1  ", "1"] * 6),
        *("1 " + "".join(f"  {n}  " for n in steps), "20"),
        *("1   1   2   3   5   5   5   5   5 ", "0", never, "0", "0   1   2   3 ", "0"),
    ]


def test_kill_that_failed_is_repeated(shell: Shell) -> None:
    lines = rf"""{SUBMIT} find_age() {{ age=$seconds; }}; cancel_job() {{ echo cancel; }}; terminate_or_cancel() {{ echo terminate; }}; by=me note=old nid=5 listing_result=answer grace=20
    say() {{ note=$1; retry_kill || echo "$?"; echo "$note"; }}; for step in '' term cancel; do [ -z "$step" ] || echo "5 $step" >"$job/ending"; for seconds in 29 30 59 60; do echo "$step $seconds:"; say old | head -n 1; done; done; echo '5 term' >"$job/ending"; grace='' seconds=9; say ''; seconds=10; by=''; say ''; rm "$job/ending"; say ''; : >"$job/claim"; say ''; listing_result=silent; say ''; listing_result=answer nid=''; say '' """
    assert shell(lines).splitlines() == [
        *(" 29:", "cancel", " 30:", "cancel", " 59:", "cancel", " 60:", "cancel"),
        *("term 29:", "kill requested by me, but the job has not ended yet; old"),
        *("term 30:", "cancel", "term 59:", "cancel", "term 60:", "cancel"),
        *("cancel 29:", "kill requested by me, but the job has not ended yet; old"),
        *("cancel 30:", "kill requested by me, but the job has not ended yet; old"),
        *("cancel 59:", "kill requested by me, but the job has not ended yet; old"),
        *("cancel 60:", "cancel"),
        *("kill requested by me, but the job has not ended yet", "cancel"),
        *("kill requested, but the job has not ended yet", "cancel"),
        *("kill requested, but the job has not ended yet", "terminate"),
        "kill requested, but the job has not ended yet",
        "kill requested, but the job has not ended yet",
        "kill requested, but the job has not ended yet",
    ]
