"""Contradictory evidence from schedulers, accounting and clocks; no scheduler runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest
from jobs import wait_until
from server_functions import functions, in_all_shells

Shell = Callable[..., str]

GONE = """get_time; native='slurm 5' nid=5 started=1 submitted=1 listed_at=$now listing_result=answer
echo "$now" >"$job/heartbeat"
touch -d "@$((now - 200))" "$job/heartbeat"
up=5000; get_uptime() { uptime=$up; }; scheduler_node_down() { return 1; }
"""
"""A job that was started and whose heartbeat has stopped; its node responds."""

# Ids


@pytest.mark.parametrize(
    "reply",
    ["Remaining hours:\\n5000\\n7", "7\\nThank you", "\\n7\\n5000", "no number"],
)
def test_number_in_a_banner_is_not_an_id(shell: Shell, reply: str) -> None:
    lines = f"""squeue() {{ printf '7|PENDING|None|x|%s\\n' "$job/$lookup_name"; }}
    sbatch() {{ printf '{reply}\\n'; }}
    runtime_start; cat "$job/native_id" """
    assert shell(lines) == "slurm 7\n"


def test_variables_of_outer_job_are_not_inherited(shell: Shell) -> None:
    lines = """export SLURM_JOB_ID=1 SLURM_ARRAY_JOB_ID=1 SLURM_CPU_BIND=mask_cpu:0x1
    export SLURM_CONF=/conf SRUN_CPUS_PER_TASK=9
    sbatch() { env | sed -n 's/^\\(S[LR]U[RN][^=]*\\)=.*/\\1/p' >&3; echo 7; }
    exec 3>&1; runtime_start; echo "$SLURM_JOB_ID" """
    assert shell(lines) == "SLURM_CONF\n1\n"


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("tej_results", "queued"),
        ("tej_simulation", "queued"),
        ("tej_xyz0123456", "unknown"),
        ("tej_abc0123456", "queued"),
    ],
)
def test_users_name_is_not_another_submission(
    shell: Shell, name: str, state: str
) -> None:
    lines = f"""listing_result=answer listing_number=1 q_5='1|queued|{name}|'
    look_up 5 tej_abc0123456; echo "$listed_state" """
    assert shell(lines, "sge") == f"{state}\n"


def test_grid_engine_accounting_of_reused_id_is_ignored(shell: Shell) -> None:
    lines = """qacct() { entry tej_abc0123456 37; entry tej_old0000000 100; }
    entry() {
        printf 'owner %s\\njobname %s\\nfailed %s\\n====\\n' "$(id -un)" "$1" "$2"
    }
    lookup_name=tej_abc0123456; scheduler_history 7
    lookup_name=tej_new0123456; scheduler_history 7 || echo none
    echo name=mine >"$job/resources"; scheduler_history 7"""
    assert shell(lines, "sge").splitlines() == [
        "limit|a limit was exceeded (qacct: failed 37)",
        "none",
        "cancelled|it was deleted or killed",
    ]


# Contradictory evidence


@pytest.mark.parametrize(
    ("end", "state"), [("exit 0 own 0", "finished"), ("none 0 killed 0", "killed")]
)
@pytest.mark.parametrize("listed", ["running", "cancelled", "over"])
def test_end_recorded_during_the_query_decides(
    shell: Shell, listed: str, end: str, state: str
) -> None:
    """The wrapper records the end after the client has read the facts."""
    lines = f"""{GONE} echo "$now h b s 1 1" >"$job/submitted"; echo slurm 5 >"$job/native_id"
    echo 6 h 1 1 >"$job/started"; : >"$job/term"; listed_at=0
    runtime_ask() {{ echo '9 {end}' >"$job/finished"; }}; look_up() {{ listed_state={listed} reason=x; }}
    load_job a; echo "$state/$cut_off/$note"; ls "$job/reason" 2>/dev/null || :"""
    assert shell(lines) == f"{state}//\n"
    lines = "state='?' note=gone; record_cut_off; echo $state/$note; ls $job/reason 2>/dev/null || :"
    assert shell(lines) == f"{state}/\n"


def test_end_recorded_during_the_query_is_not_lost(shell: Shell) -> None:
    """Only the scheduler knows the cause of the end."""
    lines = f"""{GONE} echo "$now h b s 1 1" >"$job/submitted"; echo slurm 5 >"$job/native_id"; echo 6 h 1 1 >"$job/started"
    echo "$((now - 99)) unknown $now" >"$job/missed"; touch -d "@$((now - 99))" "$job/missed" "$job/submitted"
    runtime_ask() {{ listed_at=$((now + 9)); }}; look_up() {{ listed_state=unknown reason=''; }}; scheduler_has() {{ return 1; }}
    ask_history() {{ listed=''; [ ! -e "$job/finished" ] || listed='limit|TIMEOUT'; echo "$now signal 15 ask 0" >"$job/finished"; }}
    : >"$job/claim"; is_silent 90; up=5080; load_job a; echo "$state/$cut_off/$note/$evidence"; cat "$job/lost" 2>/dev/null || :"""
    assert shell(lines) == "finished/limit/slurm: TIMEOUT/\n"


@pytest.mark.parametrize(
    ("listed", "accounting", "note"),
    [
        (
            "unknown||",
            "RUNNING",
            "running: slurm no longer lists the job, and its accounting says RUNNING",
        ),
        ("moved|x|", "RUNNING", "running: the job has moved to another cluster"),
    ],
)
def test_job_in_accounting_is_not_lost_early(
    shell: Shell, listed: str, accounting: str, note: str
) -> None:
    lines = f"""{GONE}
    sacct() {{ printf '%s|%s|%s|5\\n' {accounting} "$(id -un)" "$now"; }}
    listed_state={listed.partition("|")[0]} reason=''; derive_gone_state
    touch -d "@$((now - 99))" "$job/missed"; up=5080; derive_gone_state; echo "$state: $note"
    touch -d "@$((now - 901))" "$job/missed"; listed_state={listed.partition("|")[0]} reason=''
    derive_gone_state; echo "$state" """
    assert shell(lines).splitlines() == [note, "lost"]


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ("Command=/q/tej_abc0123456 X=1 JobState=PENDING Reason=x", "queued"),
        ("JobName=tej_abc0123456 JobState=COMPLETING Reason=x", "queued"),
        ("Command=/q/tej_abc0123456 JobState=CANCELLED Reason=x", "killed"),
        ("Command=/q/tej_abc9999999 JobState=RUNNING Reason=x", "killed"),
    ],
)
def test_controller_outranks_an_outdated_list(
    shell: Shell, record: str, state: str
) -> None:
    lines = f"""{GONE}
    started='' lookup_name=tej_abc0123456; rm -f "$job/heartbeat"
    sacct() {{ return 1; }}; scontrol() {{ echo 'JobId=5 {record} '; }}
    touch -d "@$((now - 9999))" "$job/missed"; echo "5 unknown - " >"$job/missed"
    touch -d "@$((now - 9999))" "$job/missed"; listed_state=unknown reason=''
    derive_gone_state; echo "$state" """
    assert shell(lines) == f"{state}\n"


def test_revoked_job_has_moved(shell: Shell) -> None:
    lines = r"""squeue() { echo '5|REVOKED|None|x|/q/tej_abc0123456'; }; slurm_list"""
    assert shell(lines) == "5|moved|tej_abc0123456|REVOKED\n"


@pytest.mark.parametrize(
    ("beat", "state"),
    [(901, "killed: not by tej: slurm: CANCELLED by 0"), (890, "running:")],
)
def test_accounting_and_missing_heartbeat_end_job(
    shell: Shell, beat: int, state: str
) -> None:
    lines = f"""{GONE}
    touch -d "@$((now - {beat}))" "$job/heartbeat"
    sacct() {{ printf '%s|%s|%s|5\\n' 'CANCELLED by 0' "$(id -un)" "$now"; }}
    listed_state=unknown reason=''; derive_gone_state; echo "$state: $note" """
    assert shell(lines).startswith(state)


def test_end_waits_for_accounting_entry(shell: Shell) -> None:
    lines = f"""{GONE}
    echo "$now exit 0 ask 0" >"$job/finished"; listed_at=$((now + 1)); ended=$now
    sacct() {{ printf '%s|%s|%s|5\\n' RUNNING "$(id -un)" "$now"; }}
    listed_state=unknown reason='' listing_number=1 lookup_name=''; look_up 5 ''; derive_ended_state; echo "$state"
    sacct() {{ printf '%s|%s|%s|5\\n' TIMEOUT "$(id -un)" "$now"; }}
    look_up 5 ''; derive_ended_state; echo "$state $cut_off" """
    assert shell(lines) == "running\nfinished limit\n"


def test_ended_job_runs_while_scheduler_cleans_up(shell: Shell) -> None:
    lines = f"""{GONE}
    echo "$now exit 3 ask 0" >"$job/finished"; listed_at=$((now + 1)) listing_number=1 lookup_name=''
    for word in running stopped; do
        q_5="1|$word|x|"; look_up 5 ''; read_end; derive_ended_state
        echo "$state $number: $note"
    done"""
    note = "running : it has ended, and slurm is cleaning up"
    assert shell(lines).splitlines() == [note, note]


def test_result_is_unknown_if_waiting_shell_was_killed(shell: Shell) -> None:
    lines = """. "$here/lib/run_script.sh"; export tej_run='kill -9 $PPID; exit 3'
    run_in_shell 2>/dev/null
    echo "end=$end" """
    assert shell(lines) == "end=\n"


def test_result_written_just_before_exit_is_read(shell: Shell) -> None:
    """The process that runs the script ends between two checks of the wrapper."""
    lines = """. "$here/lib/run_script.sh"; printf '%-20s\\n' '' >"$job/.end"; runner=7
    kill() { printf 'exit 3\\n' 1<>"$job/.end"; return 1; }
    script_has_ended && echo "end=$end" """
    assert shell(lines) == "end=exit 3\n"


def test_stopped_heartbeat_leaves_no_sleep(shell: Shell) -> None:
    """The signal may arrive at any moment after the start of `sleep`."""
    seconds = f"7{os.getpid():07}"
    lines = f"""heartbeat_interval={seconds}
    for pause in 0 0 0.001 0.002 0.003 0.004 0.005 0.01; do
        start_heartbeat; sleep $pause; stop_heartbeat
    done"""
    assert shell(lines) == ""

    def is_left() -> bool:
        done = subprocess.run(["pgrep", "-f", f"^sleep {seconds}"], capture_output=True)
        return done.returncode == 0

    wait_until(lambda: not is_left(), "all jobs have ended")


@pytest.mark.parametrize(
    ("group", "file", "count", "state"),
    [
        ("0::/slurm/job_7/step_batch", "memory.events", 2, "finished limit"),
        ("4:memory:/slurm/job_7", "memory/memory.oom_control", 1, "finished limit"),
        (
            "4:memory:/pbs/jobid/7.host",
            "memory/memory.oom_control",
            1,
            "finished limit",
        ),
        ("0::/slurm/job_7", "memory.events", 0, "finished "),
        # These control groups also contain processes of other jobs.
        ("0::/system.slice/slurmd.service", "memory.events", 1, "finished "),
        ("0::/slurm/job_77", "memory.events", 1, "finished "),
    ],
)
def test_memory_kill_with_exit_0_is_no_success(
    shell: Shell, group: str, file: str, count: int, state: str
) -> None:
    lines = f"""own_id=7 sigterm_time=''
    unset SLURM_JOB_ID; . "$here/lib/limit_kill.sh"
    cgroup_list=$queue/list cgroup_root=$queue/root; echo '{group}' >list
    path={group.rpartition(":")[2].removesuffix("/step_batch")}
    file=$cgroup_root/{file}; file=${{file%/*}}$path/${{file##*/}}
    mkdir -p "${{file%/*}}"; printf 'oom 3\noom_kill {count}\n' >"$file"
    echo '9 exit 0 own 0' >"$job/finished"; note_memory_kill
    read_facts; echo "$state ${{cut_off-}}" """
    assert shell(lines) == f"{state}\n"


@in_all_shells
def test_kill_at_the_limit_of_cpu_time_is_named(shell: Shell) -> None:
    lines = """sigterm_time=''; . "$here/lib/limit_kill.sh"; : & runner=$!
    ulimit() { echo "$limit"; }
    say() { rm -f "$job/reason"; limit=$1 end=$2; note_cpu_kill; echo $(cut -d' ' -f2- "$job/reason" 2>/dev/null); }
    say 0 'signal 9'
    # `times` of dash, of mksh, and with a decimal comma.
    for line in '1m0.750000s 0m0.000000s' '0m00.86s 1m00.00s' '0m1,5s 0m0,2s'; do
        printf '0m9.9s 9m9.9s\n%s\n' "$line" >"$job/.times"; read_cpu_time; echo "$cpu_time"
    done
    read_cpu_time() { cpu_time=59; }
    say 60 'exit 137'; say 60 'exit 1'; say 40 'signal 9'; say 90 'signal 9'; say unlimited 'signal 9'
    sigterm_time=5; say 60 'signal 9'; ls -A "$job"
    sigterm_time=''; mkdir "$job/.times"; say 60 'signal 9'; echo 'records the end' """
    reason = "limit slurm: limit of CPU time (ulimit -t: {})".format
    assert shell(lines).splitlines() == [
        *(reason(0), "61", "61", "2", reason(60), *[""] * 5, "spec", "stage"),
        *("", "records the end"),
    ]


@in_all_shells
@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ("", "finished limit slurm: memory limit"),
        (
            "echo '9 exit 0 ask 0' >\"$job/finished\"",
            "finished limit slurm: memory limit",
        ),
    ],
)
def test_memory_limit_in_log_outranks_failed(
    shell: Shell, facts: str, state: str
) -> None:
    """Slurm reports FAILED with OverMemoryKill, because SIGKILL ended the wrapper."""
    lines = f"""{GONE} echo 1 >"$job/claim"; read -r beat <"$job/heartbeat"
    echo "1 ended $beat FAILED" >"$job/missed"; touch -d "@$((now - 99))" "$job/missed"
    printf '%s\n' 'slurmstepd: error: StepId=5.batch exceeded memory limit (3 > 1)' \
        'slurmstepd: error: *** JOB 5 ON vm CANCELLED AT 2026-11-26T14:47:41 ***' >"$job/tej_x.log"
    {facts}
    listing_number=1 lookup_name='' q_5='1|ended|x|FAILED (JobLaunchFailure)'; listed_at=$((now + 9))
    runtime_derive_state; echo "$state $cut_off $note" """
    assert shell(lines) == f"{state}\n"


# Time of the evidence


def test_unfinished_kill_is_repeated_after_its_time(shell: Shell) -> None:
    lines = """nid=5 grace=10 listing_result=answer; get_time; : >"$job/claim"
    cancel_job() { printf cancel; }; terminate_or_cancel() { printf SIGTERM; }
    for step in 'term 18' 'term 22' 'cancel 58' 'cancel 62'; do
        echo "$now ${step% *}" >"$job/ending"
        touch -d "@$((now - ${step#* }))" "$job/ending"
        printf '%s: ' "$step"; retry_kill; echo
    done
    listing_result=silent; retry_kill; listing_result=answer; rm "$job/ending"; retry_kill; echo
    rm "$job/claim"; retry_kill"""
    assert shell(lines).splitlines() == [
        "term 18: ",
        "term 22: cancel",
        "cancel 58: ",
        "cancel 62: cancel",
        *("SIGTERM", "cancel"),
    ]


def test_repeated_kill_remembers_that_job_was_requeued(shell: Shell) -> None:
    """The first run may continue on a node that the scheduler cannot reach."""
    lines = """nid=5 listing_number=1 listing_result=answer relisted=1 started=1 state=running
    : >"$job/heartbeat"; scheduler_cancel() { :; }
    q_5='1|queued||'; scheduler_term() { return 1; }; terminate_or_cancel
    # The scheduler accepts a signal for the cancelled job.
    q_5='1|cancelled||'; scheduler_term() { :; }
    scheduler_node_down() { return 1; }
    for kill in terminate_or_cancel cancel_job; do
        "$kill"; cut -d ' ' -f 2- "$job/ending"
        is_end_certain || echo 'may still run'
    done"""
    assert shell(lines).splitlines() == [
        *("term requeued", "may still run", "cancel requeued", "may still run"),
    ]


def test_kill_writes_nothing_into_a_job_submitted_later(shell: Shell) -> None:
    """A client has replaced the job for a retry since its facts were read."""
    lines = """native='slurm 5' listing_number=1 listing_result=answer relisted=1 started=1 state=running q_5='1|running||'
    scheduler_term() { echo 'token=later end' >"$job/spec"; }; scheduler_cancel() { scheduler_term; }
    for kill in runtime_tell terminate_or_cancel cancel_job; do
        spec='token=0123456789abcdef end'; echo "$spec" >"$job/spec"; "$kill"; ls "$job"; rm -f "$job/claim"
    done; spec='token=0123456789abcdef end'; runtime_tell; ls "$job" """
    assert shell(lines).splitlines() == [
        *("claim", "spec", "stage", *("spec", "stage") * 3),
    ]


def test_interrupted_submission_is_lost_after_two_answers(shell: Shell) -> None:
    lines = """get_time; me; listing_result=answer listed_at=$((now + 1)) native='' started=''
    submitting() {
        echo "$now tej_abc0123456 $2" >"$job/submitting"
        touch -d "@$((now - $1))" "$job/submitting"
    }
    say() { derive_submission_state || echo "$1: $state $note$evidence"; note='' evidence=''; }
    submitting 1000 "$who"; say alive
    submitting 890 'other b s 1 1'; say elsewhere
    submitting 910 'other b s 1 1'; listing_result=silent; say silent; listing_result=answer; say first
    touch -d "@$((now - 31))" "$job/missed"; : >"$job/claim"; say claimed
    rm "$job/claim"; say second
    rm "$job/lost" "$job/claim"; : >"$job/kill"; say killed
    submitting 0 "$host $boot $space 1 1"; rm "$job/finished" "$job/kill" "$job/missed"
    listed_at=$((now - 9)); say early; [ -e "$job/missed" ] || echo 'not asked yet'
    submitting 1000 "$host $boot $space 1 1"; listed_at=$((now + 1)); can_read_facts() { return 1; }
    read() { [ "$2" != s_time ] || return 1; command read "$@"; }; say unread; [ -e "$job/missed" ] || echo 'not asked'"""
    said = shell(lines).splitlines()
    assert said[:3] == [
        "alive: created ",
        "elsewhere: created ",
        "silent: created slurm does not answer; last known: created",
    ]
    assert said[3].startswith("first: created slurm lists no job with the name")
    assert said[4].startswith("claimed: created ")
    assert said[5].startswith("second: lost the submission to slurm was interrupted")
    assert said[6].startswith("killed: killed ")
    assert said[7:9] == ["early: created ", "not asked yet"]
    assert said[9].startswith("unread: created its files in ")
    assert said[10:] == ["not asked"]


def test_interrupted_submission_is_searched_on_its_clusters(shell: Shell) -> None:
    lines = """set_name; get_time; me; there='' up='' started='' native='' nid=''
    squeue() { case "$*" in
        *'-M gpu2'*) [ -z "$there" ] || echo "7|PENDING|None|x|$job/$lookup_name" ;;
        *'-M far'*) [ -n "$up" ] ;;
        *'-M '*) echo "squeue $*" >&2 ;; esac; }
    sacctmgr() { printf 'far\ngpu2\n'; }
    echo gpu2 >"$job/clusters"; printf 'option=-M\noption=all,far\n' >"$job/resources"
    echo "1 $lookup_name $host $boot $space 1 1" >"$job/submitting"; touch -d '1 hour ago' "$job/submitting"
    say() { query_again; derive_submission_state && echo "$native $listed_state" || echo "$state $note"; }
    say; up=1; say; there=1; say; rm "$job/native_id"; native=''
    query_again; find_submitted; echo "$? $native"; rm "$job/native_id"; native='' status=1 why=refused
    search_submitted; echo "$? $native"; rm "$job/native_id"; native='' there=''; unset "n_$lookup_name"; search_submitted; echo "$?"
    find_submitted; echo "$?"; up=''; find_submitted; echo "$?" """
    assert shell(lines).splitlines() == [
        "created slurm does not answer for another cluster of the job; last known: created",
        "created slurm lists no job with the name tej_ajo0123456;"
        " checking again before the job counts as lost",
        *("slurm 7;gpu2 queued", "0 slurm 7;gpu2", "0 slurm 7;gpu2", "1"),
        *("1", "0"),
    ]


def test_listing_older_than_the_event_proves_nothing(shell: Shell) -> None:
    lines = f"""{GONE} listed_at=$((now - 50)) reason=''; echo 1 >"$job/submitted"
    at() {{ touch -d "@$((now - $1))" "$job/$2"; }}; scheduler_node_down() {{ return 1; }}
    say() {{ derive_gone_state; echo "$state"; [ ! -e "$job/missed" ] || echo missed; }}
    listed_state=over; at 40 submitted; say; at 60 submitted; say; rm "$job/missed"
    echo "$now 5 me" >"$job/kill"; at 40 kill; say; at 60 kill
    listed_state=unknown; say; rm "$job/missed"; listed_state=over; say"""
    assert shell(lines).splitlines() == [
        *("running", "running", "missed"),
        *("running", "running", "missed", "killed"),
    ]


@pytest.mark.parametrize(
    ("runtime", "answer", "state"),
    [
        ("slurm", "squeue() { echo n1; }; sinfo() { echo idle; }; ", "killed"),
        ("slurm", "squeue() { echo n1; }; sinfo() { echo 'down*'; }; ", "running"),
        ("slurm", "squeue() { echo n1; }; sinfo() { return 1; }; ", "running"),
        ("slurm", "squeue() { return 1; }; ", "running"),
        ("pbs", "", "killed"),
        ("pbs", "where=n1.site; ", "running"),
        ("pbs", "reason='deleted by force'; ", "running"),
    ],
)
def test_kill_is_complete_only_if_the_node_agrees(
    shell: Shell, runtime: str, answer: str, state: str
) -> None:
    """A cancelled job may run on, on a node that the scheduler cannot reach."""
    gone = GONE.replace("scheduler_node_down", "node_responds")
    lines = f"""{gone} echo 1 >"$job/submitted"; echo '1 5 me' >"$job/kill"
    pbsnodes() {{ [ "$1" != n1 ] || printf 'n1\\n     state = state-unknown,down\\n'; }}
    listed_at=$((now + 9)) kill_time=1 dialect=openpbs listed_state=cancelled where=''
    reason=CANCELLED; {answer} derive_gone_state; echo "$state $ended $note" """
    said = shell(lines, runtime).split(maxsplit=2)
    assert said[0] == state
    if state == "running":
        assert said[-1].endswith(" seconds without a heartbeat\n")


@pytest.mark.parametrize(
    ("listed", "reason", "state"),
    [
        ("cancelled", "deleted by force", "killed"),
        ("cut", "NODE_FAIL (node failure)", "lost"),
    ],
)
def test_end_without_answer_of_the_node_needs_a_long_silence(
    shell: Shell, listed: str, reason: str, state: str
) -> None:
    """The job runs on at a node that the scheduler cannot reach, and a heartbeat is late."""
    lines = f"""{GONE} echo 1 >"$job/submitted"; : >"$job/claim"; listed_at=$((now + 9))
    silent() {{ touch -d "@$((now - $1))" "$job/heartbeat"; }}; kill_time=1 evidence=''
    say() {{ listed_state=$1 reason=$2; derive_gone_state; echo "$state"; }}
    for kill in '' kill; do
        [ -z "$kill" ] || echo '1 5 me' >"$job/kill"
        rm -f "$job/missed" "$job/finished" "$job/reason" "$job/lost" "$job"/.look*; up=1000 state=running
        silent 35; say {listed} '{reason}'; touch -d "@$((now - 60))" "$job/missed"
        say {listed} '{reason}'; [ -n "$kill" ] || say unknown ''
        silent 901; say {listed} '{reason}'; up=1081; say {listed} '{reason}'
    done
    wait_for() {{ up=$((up + $2)); return 1; }}; query_again() {{ :; }}; look_up() {{ listed_state={listed} reason='{reason}'; }}
    rm -f "$job/finished" "$job"/.look*; wait_for_end 5 || echo "may still run after $((up - 1081)) s"
    rm "$job"/.look*; silent 901; is_silent 900; up=$((up + 80)); wait_for_end 5 && echo "$state" """
    assert shell(lines).splitlines() == [
        *("running", "running", "running", "running", state),
        *("running", "running", "running", "killed", "may still run after 31 s"),
        "killed",
    ]


# What the scheduler says, its node, and the answer after a time without a heartbeat.
SILENCE = [
    # The scheduler has reported the end, and the node responds.
    ("over||", 1, "30 lost"),
    ("cancelled|CANCELLED by 0|", 1, "30 killed"),
    # The node does not respond.
    ("over||", 0, "980 lost"),
    ("cancelled|CANCELLED by 0|", 0, "980 killed"),
    ("unknown||", 0, "980 lost"),
    ("queued||", 0, "980 lost"),
    ("unknown||accounting", 1, "900 lost"),
    # Nobody knows whether the node responds, or the answer is not about this run.
    ("over||", 2, "170 lost"),
    ("unknown||", 1, "170 lost"),
    ("unknown||", 2, "170 lost"),
    ("queued||", 1, "170 lost"),
    ("over||rerun", 1, "170 lost"),
    # After `tej kill`.
    ("cancelled||kill", 1, "0 killed"),
    ("cancelled||kill", 0, "980 killed"),
    ("unknown||kill", 1, "170 killed"),
    ("cancelled||kill requeued", 1, "170 killed"),
]


@pytest.mark.parametrize(("answer", "node", "end"), SILENCE)
def test_silence_before_the_end_depends_on_the_node(
    shell: Shell, answer: str, node: int, end: str
) -> None:
    """The clocks of this host and of the file system move by 10 seconds per request."""
    listed, reason, facts = answer.split("|")
    lines = f"""{GONE} begun=$now passed=0; echo "1 h b s 1 1" >"$job/submitted"; echo 'slurm 5' >"$job/native_id"
    echo '1 h 1 1' >"$job/started"; : >"$job/claim"; touch -d "@$now" "$job/heartbeat" "$job/claim" "$job/started"
    touch -d "@$((now - 9))" "$job/submitted"; for fact in {facts}; do : >"$job/$fact"; done
    [ ! -e "$job/kill" ] || {{ echo "1 5 me" >"$job/kill"; echo "1 cancel {facts.partition(" ")[2]}" >"$job/ending"; touch -d "@$((now - 9))" "$job/kill"; }}
    get_disk_time() {{ disk_time=$((begun + passed)); }}; scheduler_node_down() {{ return {node}; }}; scheduler_has() {{ return 1; }}
    date() {{ echo $((begun + passed)); }}; runtime_ask() {{ listed_at=$((begun + passed)) node_queries=0; }}; look_up() {{ listed_state={listed} reason='{reason}'; }}
    cancel_job() {{ :; }}; ask_history() {{ listed=''; [ ! -e "$job/accounting" ] || listed='cut|NODE_FAIL (node failure)'; }}
    while :; do
        now=$((begun + passed)); up=$((5000 + passed)); load_job a
        [ ! -f "$job/missed" ] || [ -n "$seen_gone" ] || {{ touch -d "@$now" "$job/missed"; seen_gone=1; }}
        ! is_final || break
        passed=$((passed + 10)); [ "$passed" != 200 ] || passed=880
    done; echo "$passed $state" """
    assert shell(lines) == f"{end}\n"


def test_many_gone_jobs_need_few_queries_about_nodes(shell: Shell) -> None:
    lines = f"""{GONE} listed_state=over reason=''; scheduler_node_down() {{ asked=$((asked + 1)); return 1; }}
    query() {{
        printf '%s answer whole\n' "$1" >"$queue/scheduler/listing"; load_listing
        asked=0 certain=0; for i in $(seq 50); do ! is_end_certain || certain=$((certain + 1)); done
        echo "$asked $certain $silence"
    }}; mkdir -p "$queue/scheduler"; query 7; query 8"""
    assert shell(lines).splitlines() == ["20 20 900", "20 20 900"]


@in_all_shells
def test_output_of_a_failed_program_decides(shell: Shell) -> None:
    lines = """proc=''; ps() { :; }; kill() { echo 'Permission denied'; return 1; }
    may_be_hidden 5 && echo hidden
    squeue() { echo n1; }; sinfo() { return 1; }; slurm_node_down 5 ''; echo $?
    scontrol() { echo 'Slurmctld(primary) at a is UP'; return 1; }
    is_controller_up && echo up"""
    assert shell(lines).split() == ["hidden", "2", "up"]


@in_all_shells
@pytest.mark.parametrize(
    ("runtime", "statuses"),
    [("slurm", "1 0 2 2 "), ("pbs", "1 0 1 1 "), ("sge", "1 0 1 1 ")],
)
def test_scheduler_is_asked_about_the_node_of_the_job(
    shell: Shell, runtime: str, statuses: str
) -> None:
    """The scheduler does not list the job, but the wrapper has recorded the host."""
    lines = """squeue() { echo 'slurm_load_jobs error: Invalid job id specified' >&2; return 1; }
    sinfo() { case $* in *'-n down.site,down -o %T') echo 'down*' ;; *'-n host,'*) echo mixed ;; esac; }
    pbsnodes() { case $1 in down) printf 'down\\n     state = down\\n' ;; host) printf 'host\\n     state = free\\n     comment = node down: x\\n' ;; *) return 1 ;; esac; }
    qhost() {
        printf '%s\\n' 'HOSTNAME ARCH NCPU NSOC NCOR NTHR  LOAD  MEMTOT' -------- 'global - - - - - - -'
        case $2 in down.site) echo 'down lx-amd64 2 1 1 2 - 3.7G' ;; host) echo 'host lx-amd64 2 - - 2 0.02 3.7G' ;; esac
    }
    dialect=torque; for host in host down.site other ''; do scheduler_node_down 5 "$host"; printf '%s ' "$?"; done"""
    assert shell(lines, runtime) == statuses


def test_unrecorded_end_has_the_time_of_the_last_heartbeat(shell: Shell) -> None:
    """The job may have ended long before this request."""
    lines = f"""{GONE} echo 1000 >"$job/heartbeat"
    say() {{ read -r ended _ <"$job/finished"; echo "$ended"; rm "$job/finished"; }}
    listed_state=limit reason=TIMEOUT; record_cut_off; say
    kill_time=900; record_killed; say; kill_time=1100; record_killed; say
    started=''; record_cut_off; [ "$(say)" -ge "$now" ] && echo now"""
    assert shell(lines).split() == ["1000", "1000", "1100", "now"]


def test_requeued_job_is_lost_unless_it_may_run_again(shell: Shell) -> None:
    lines = f"""{GONE} reason='' listed_state=queued; listed_at=$((now - 50))
    at() {{ touch -d "@$((now - $1))" "$job/$2"; }}
    say() {{ derive_queued_state; echo "$state ${{note-}}$evidence"; note=''; }}
    : >"$job/claim"; : >"$job/started"; : >"$job/requeue"; at 60 started; say
    rm "$job/requeue"; at 40 started; say; at 60 started; say; at 99 missed; up=5080; say
    rm "$job/missed" "$job/lost"; : >"$job/rerun"; listed_state=unknown; derive_gone_state
    at 99 missed; evidence=''; derive_gone_state; echo "$state $evidence" """
    said = shell(lines).splitlines()
    assert said[0] == "queued slurm 5: requeued, and will run again from the start"
    assert said[1] == "running "
    assert said[2].startswith("running slurm has requeued the job; checking again")
    assert said[3].startswith("lost slurm requeued the job after it had started")
    assert said[4].startswith("lost slurm started the job a second time")


def test_unfinished_kill_does_not_wait_twice(shell: Shell) -> None:
    lines = """native='slurm 7' started='1 h 1 1'; : >jobs/a/claim; wait_for_end() { return "$waited"; }
    take_claim() { return 1; }; query_again() { :; }; wait_for() { return 1; }
    for state in running lost; do for waited in 0 1; do
        sigterm_sent_7=0; runtime_stop 0; printf '%s' "$?$refused "
    done; done"""
    assert shell(lines) == "0 11 0 0 "


def test_compute_node_without_commands_does_not_silence_others(shell: Shell) -> None:
    lines = """echo '1 answer whole' >scheduler/listing; scheduler_list() { return 127; }
    in_scheduler_job=1; query_again; echo "$listing_result"; cat scheduler/listing
    in_scheduler_job=''; query_again; cut -d' ' -f2 scheduler/listing; ls -A scheduler"""
    assert shell(lines) == "silent\n1 answer whole\nsilent\nlisting\n"


def test_refused_cancellation_of_ended_job_is_no_failure(shell: Shell) -> None:
    lines = """scheduler_cancel() { return 1; }; query_again() { listing_result=answer; }
    nid=5 listing_number=1
    for word in over ended limit cut cancelled gone queued running stopped; do
        q_5="1|$word||"; [ "$word" != gone ] || q_5=''
        ! cancel_job || printf '%s ' "$word"
    done
    query_again() { listing_result=silent; }; cancel_job || echo silent"""
    assert shell(lines) == "over ended limit cut cancelled gone silent\n"


def test_waiting_job_is_not_submitted_twice(shell: Shell) -> None:
    """Another client has submitted the job, and its reply may still arrive."""
    lines = """get_time; me; lookup_name=tej_abc0123456 index=''
    query_again() { listing_result=$answer n_tej_abc0123456=$listed; }
    say() {
        get_time; echo "$now $lookup_name $2" >"$job/submitting"
        touch -d "@$((now - $1))" "$job/submitting"
        now=''; if find_submitted; then echo submitted; else echo free; fi
    }
    answer=answer listed=''
    say 99 "$who"; say 85 'other b s 1 1'; say 95 'other b s 1 1'
    say 0 "$host $boot $space 1 1"
    answer=silent; say 0 "$host $boot $space 1 1"
    answer=answer listed=7; say 0 "$host $boot $space 1 1"; cat "$job/native_id"
    answer=answer listed=''; say 0 "$host $boot $space 1 1" """
    assert shell(lines).splitlines() == [
        *("submitted", "submitted", "free", "free"),
        *("submitted", "submitted", "slurm 7", "submitted"),
    ]


def test_lost_reply_is_searched_for_only_in_doubt(shell: Shell) -> None:
    lines = """lookup_name=tej_abc0123456 index=''; sleep() { :; }
    query_again() { printf '? '; listing_result=$answer; }
    search() {
        status=$1 why=$2
        if search_submitted; then echo accepted; else echo refused; fi
    }
    answer=answer; search 1 'no such queue'; search 0 banner; search 124 ''
    search 1 'Socket timed out'; answer=silent; search 1 'no such queue'; search 0 banner
    answer=answer n_tej_abc0123456='7;gpu2'; search 1 ''
    echo 'slurm 7' >"$job/native_id"; job_token=0123456789abcdef nid='7;gpu2'
    adopt_reply; cat "$job/native_id" """
    assert shell(lines).splitlines() == [
        "? refused",
        *["? ? ? ? refused"] * 3,
        *("? refused", "? accepted", "? accepted", "slurm 7;gpu2"),
    ]


def test_listing_serves_only_while_it_is_fresh(shell: Shell) -> None:
    lines = """get_time; listing_result=answer listing_number=1 q_5='1|running||' max_age=10 extent=whole
    say() {
        ids=$2; listed_at=$((now - $1))
        if is_answered; then printf 'used '; else printf 'old '; fi
    }
    say 9 5; say 10 5; say -2 5; say -9 5; say 9 6; listing_result=silent; say 9 6; listing_result=answer
    scheduler_listed_all() { return 1; }; say 9 5; say 9 6; say 9 ''
    extent=part; say 9 '' """
    assert shell(lines) == "used old used old used used used old used old "


@pytest.mark.parametrize(("age", "state"), [(110, "running"), (130, "finished")])
def test_silent_scheduler_delays_the_cause(shell: Shell, age: int, state: str) -> None:
    lines = f"""{GONE} listing_result=silent lookup_name=x; echo "$now exit 0 ask 0" >"$job/finished"
    touch -d "@$((now - {age}))" "$job/finished"; ended=$now how=exit
    listed_state=silent; derive_ended_state; echo "$state" """
    assert shell(lines) == f"{state}\n"


def test_kill_of_requeued_job_cancels_the_second_run(shell: Shell) -> None:
    """The first run has recorded its end, and the job waits in the queue again."""
    lines = f"""{GONE} echo '1 h b s 1 1' >"$job/submitted"; echo 'slurm 5' >"$job/native_id"; echo '1 h 1 1' >"$job/started"
    exec 4>&1; : >"$job/claim"; : >"$job/requeue"; echo '9 signal 15 ask 0' >"$job/finished"; listed_at=$((now + 9))
    listing_number=1 q_5='1|queued||'; runtime_ask() {{ :; }}; query_again() {{ :; }}; scheduler_cancel() {{ echo "cancel $1" >&4; $effect; }}
    second_run() {{ rm "$job/finished"; q_5='1|running||'; }}
    say() {{ effect=$1; load_job a; echo "$state $how $number $note"; }}; say true; echo '2 5 me' >"$job/kill"
    say false; say true; say true; rm "$job/reason"; say second_run"""
    assert [line.rstrip() for line in shell(lines).splitlines()] == [
        "queued   slurm 5: requeued, and will run again from the start",
        *(
            "cancel 5",
            "queued   kill requested by me, but slurm 5 is still queued for a second run",
        ),
        *("cancel 5", "killed signal 15", "killed signal 15", "cancel 5"),
        "queued   kill requested by me, but slurm 5 is still queued for a second run",
    ]


def test_second_run_needs_permission_and_silence(shell: Shell) -> None:
    """A heartbeat of the first run may be late, so the second run waits for it."""
    lines = f"""{functions("begin_second_run may_run_again", "run_in_scheduler.sh")} {GONE} me; own_id=5; echo 'slurm 5' >"$job/native_id"
    begun=$now slept=0 late='' heard='' where=h; get_uptime() {{ uptime=$((1000 + slept)); }}; scheduler_node_down() {{ [ "$1 $2" != ' h' ] || return "$node"; }}; node=1; get_disk_time() {{ disk_time=$((begun + slept)); }}
    beat() {{ echo "$1" >"$job/heartbeat"; touch -d "@$begun" "$job/heartbeat"; }}
    sleep() {{ slept=$((slept + $1)); [ "$slept" != 60 ] || $late; }}
    say() {{
        echo "$1:"; rm -f "$job/rerun" "$job"/.look*; echo '1 h 1 1' >"$job/started"; echo '1 h b s 1 1' >"$job/submitted"
        (slept=0 again=''; begin_second_run; echo "runs again$again after $slept s"); echo "status $?"
        for f in started rerun finished; do [ ! -e "$job/$f" ] || printf '%s ' "$f"; done; echo
    }}
    say refused; : >"$job/requeue"; say 'silent for 200 s'; beat 5; say beating; late='beat 9'; say late
    ends() {{ echo '9 exit 0 own 0' >"$job/finished"; }}; late=ends; say ends; say ended; rm "$job/finished"
    asks() {{ echo '9 exit 0 ask 0' >"$job/finished"; }}; late=asks; say asks; asks; echo '9 cut x' >"$job/reason"; say recorded; rm "$job/reason"; say orderly
    killed() {{ : >"$job/kill"; }}; late=killed; say kill; rm "$job/kill"; cancelled() {{ heard=' TERM'; }}; late=cancelled; say cancelled
    own_id=6 late=''; say other; own_id=5; rm "$job/heartbeat"; say 'never began'; touch -d "@$begun" "$job/claim"; say claimed
    node=0; beat 5; say 'node down'"""
    assert [line.strip() for line in shell(lines).splitlines()] == [
        *("refused:", "status 0", "started rerun", "silent for 200 s:"),
        *("runs again1 after 80 s", "status 0", "", "beating:"),
        *("runs again1 after 180 s", "status 0", "", "late:", "status 0"),
        *("started rerun", "ends:", "status 0", "started rerun finished"),
        *("ended:", "status 0", "started finished", "asks:"),
        *("runs again1 after 60 s", "status 0", "", "recorded:", "status 0"),
        *("started finished", "orderly:", "runs again1 after 0 s", "status 0", ""),
        *("kill:", "status 0", "started rerun", "cancelled:", "status 1"),
        *("started rerun", "other:", "status 0", "started", "never began:"),
        *("runs again1 after 0 s", "status 0", "", "claimed:"),
        *("runs again1 after 180 s", "status 0", "", "node down:"),
        *("runs again1 after 980 s", "status 0", ""),
    ]
