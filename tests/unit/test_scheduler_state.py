"""State of a job under a scheduler, derived from a list of jobs; no scheduler runs."""

from __future__ import annotations

from collections.abc import Callable

Shell = Callable[..., str]

STEPS = """
for name in ended queued gone; do eval "derive_${name}_state() { printf '$name '; $name; }"; done
ended() { state='?'; }; queued() { state=queued; }; gone() { state=running; }
retry_kill() { printf 'retry '; }
listing_result=answer listing_number=1 native='slurm 5' started=''
"""


def test_word_of_the_scheduler_decides(shell: Shell) -> None:
    lines = f"""{STEPS} say() {{ note='' reason='' state='?'; q_5="1|$1|x|why"; runtime_derive_state; echo "$1: $state $note"; }}
    for word in queued running stopped over ended limit cut cancelled moved unknown other; do say "$word"; done
    started=1; : >"$job/missed"; say running; [ ! -e "$job/missed" ] || echo missed
    : >"$job/rerun"; say running; : >"$job/requeue"; say running; rm "$job/rerun"
    : >"$job/kill"; say running; gone() {{ state=killed; }}; say over; echo x >"$job/finished"; say running"""
    gone = "over ended limit cut cancelled moved unknown"
    assert [line.rstrip() for line in shell(lines).splitlines()] == [
        *("queued queued: queued", "running: queued slurm 5: why"),
        "stopped: queued suspended by slurm",
        *(f"gone {word}: running" for word in gone.split()),
        "other: queued slurm does not answer (why); last known: queued",
        *("running: running", "running: running"),
        "running: running slurm has started the job again; the second run waits until it is certain that the first run has ended",
        *("retry running: running", "gone over: killed"),
        "ended running: ?",
    ]


def test_name_of_an_unanswered_submission_is_looked_up(shell: Shell) -> None:
    lines = f"""{STEPS} native=''; me; get_time; say() {{ state='' note=''; runtime_derive_state; echo "$state $note$nid"; }}
    echo "$now tej_ajo0123456 $host $boot $space 1 1" >"$job/submitting"
    derive_submission_state() {{ state=created; return 1; }}; say; derive_submission_state() {{ native='slurm 5'; nid=5 listed_state=running; }}; say
    unset -f derive_submission_state; . "$here/lib/scheduler_state.sh"
    native=''; n_tej_ajo0123456=7 q_7='1|running|tej_ajo0123456|'; listing_result=silent listing_error=down; say; listing_result=answer listed_at=0
    n_tej_ajo0123456=''; say; n_tej_ajo0123456=7
    listing_result=answer started=1; say; cat "$job/native_id" """
    assert shell(lines).splitlines() == [
        *("created ", "queued slurm 55"),
        *("created slurm does not answer (down); last known: created", "created "),
        *("running 7", "slurm 7"),
    ]


def test_last_known_state_has_no_end(shell: Shell) -> None:
    lines = """say() { how=exit number=0 ended=9 note=''; keep_last_state "$@"; echo "$state/$note/$how$number$ended"; }
    native='slurm 5' nid=5 reason=Priority started=1; say; say silent; started=''; say; say silent; native=''; say"""
    assert shell(lines).splitlines() == [
        *("running//", "running/silent; last known: running/"),
        *("queued/slurm 5: Priority/", "queued/silent; last known: queued/"),
        "created//",
    ]


def test_end_is_certain_only_if_nothing_can_run(shell: Shell) -> None:
    lines = """say() { listed_state=$1 reason=$2; if is_end_certain; then echo certain; else echo doubt; fi; }
    say unknown; echo 5 >"$job/heartbeat"; say unknown; say moved; say over; say cut 'NODE_FAIL (node failure)'
    say cut PREEMPTED; echo '5 cancel' >"$job/ending"; say over; echo '5 cancel requeued' >"$job/ending"; say over
    # The next job of the request was not requeued.
    rm "$job/ending"; say over; say cancelled 'deleted by force'
    nid=5; scheduler_node_down() { [ "$1" = 5 ]; }; say over; : >"$job/rerun"; say over"""
    assert shell(f"scheduler_node_down() {{ return 1; }}; {lines}").splitlines() == [
        *("certain", "doubt", "doubt", "certain", "doubt", "certain", "certain"),
        *("doubt", "certain", "doubt", "doubt", "doubt"),
    ]


def test_killed_job_ends_when_nothing_runs(shell: Shell) -> None:
    lines = """native='slurm 5' started=1 submitted=1 nid=5 host=here boot=b; get_time; listed_at=$((now + 1)) reason=''
    scheduler_node_down() { return 1; }
    wait_for_processes() { echo "wait $*"; [ -z "$left_here" ]; }; left_here=1; echo 5 >"$job/heartbeat"; touch -d "@$((now - 90))" "$job/heartbeat"; get_uptime() { uptime=$up; }; up=5
    echo "$now 5 me" >"$job/kill"; say() { listed_state=$1; derive_gone_state; echo "$state $note"; note=''; }
    say over; left_here=''; say unknown; touch -d "@$((now - 31))" "$job/missed"; up=85; say unknown
    cut -d' ' -f2- "$job/finished"; take_claim || echo 'cannot start'"""
    note = "slurm has ended the job, but some of its processes run on here"
    assert shell(lines).splitlines() == [
        *("wait 5 KILL", f"running {note}"),
        "running slurm no longer lists the job as active; checking again before the job counts as killed, after 90 seconds without a heartbeat",
        *("wait 5 KILL", "killed ", "none 0 killed 0", "cannot start"),
    ]


def test_job_that_ended_before_its_start_is_cut_off(shell: Shell) -> None:
    lines = """native='slurm 5' started='' submitted=1 nid=5; get_time; listed_at=$((now + 1)); scheduler_node_down() { return 1; }
    say() { rm -f "$job"/[cfhmrk]*; echo "$1:"; $2; listed_state=$1 reason=why; derive_gone_state; echo "$state $note"; }
    claimed() { : >"$job/claim"; }; say cancelled; say limit; say limit claimed; say cut
    # The scheduler has forgotten the job, and its accounting knows the cause.
    scheduler_history() { echo 'cancelled|by root'; }; beat() { claimed; echo 5 >"$job/heartbeat"; touch -d "@$((now - $age))" "$job/heartbeat"; }
    age=890; say unknown beat; age=901; say unknown beat; say unknown claimed; say over beat
    scheduler_history() { echo 'cut|node failure'; }; say unknown beat"""
    again = "queued slurm no longer lists the job as active (why); checking again before the job counts as"
    lost, unstarted = f"{again} lost", f"{again} not started"
    unlisted = f"{lost}, after 90 seconds without a heartbeat"
    assert shell(lines).splitlines() == [
        *(
            "cancelled:",
            "killed not by tej: slurm: why",
            "limit:",
            "finished slurm: why",
        ),
        *("limit:", lost, "cut:", unstarted, "unknown:", unlisted),
        *("unknown:", "killed not by tej: slurm: by root"),
        *("unknown:", unlisted, "over:", lost, "unknown:", unlisted),
    ]


def test_vanished_job_without_claim_was_not_started(shell: Shell) -> None:
    """The scheduler has rejected or deleted it, and keeps no history."""
    lines = """native='pbs 5' started='' submitted=1 nid=5; get_time; listed_at=$((now + 1)); begin() { take_claim && echo runs; }
    say() { rm -f "$job"/[cfmlr]*; state='?' note='' evidence=''; echo "1 unknown -" >"$job/missed"; touch -d "@$((now - 999))" "$job/missed"
        $3; listed_state=$1 reason=$2; derive_gone_state; echo "$state $note$evidence"; begin; }
    claimed() { take_claim; touch -d "@$((now - 90))" "$job/claim"; up=5; is_silent 90; up=85; }; get_uptime() { uptime=$up; }
    say unknown '' true; say over 'exit status -1: the job could not be started' true; say unknown '' claimed
    rm -f "$job"/[cfmlr]*; is_confirmed it || echo "$note"
    # The wrapper creates `claim` at this moment.
    take_claim() { : >"$job/claim"; return 1; }; say unknown '' true; [ ! -e "$job/lost" ]"""
    assert shell(lines, "pbs").splitlines() == [
        "killed not started: pbs no longer lists the job",
        "killed not started: pbs says exit status -1: the job could not be started",
        "lost pbs no longer lists the job, and the job recorded no exit status",
        "pbs it; checking again before the job counts as not started",
        "queued pbs no longer lists the job; last known: queued",
    ]


def test_earlier_answer_about_the_end_is_kept(shell: Shell) -> None:
    lines = """listed_at=7; say() { missed_state=$2 missed_words=$3 listed_state=$1 reason=why; note_missed; cat "$job/missed"; }
    last_heartbeat=''; say unknown; say unknown cut words; last_heartbeat=5; say limit cut words
    for word in over ended limit cut cancelled unknown queued; do
        listed_state=unknown reason=''; missed_state=$word missed_words=w; recall_missed; printf '%s %s, ' "$listed_state" "$reason"
    done; listed_state=over; recall_missed; echo "$listed_state" """
    assert shell(lines).splitlines() == [
        *("7 unknown - ", "7 cut - words", "7 limit 5 why"),
        "over w, ended w, limit w, cut w, cancelled w, unknown , unknown , over",
    ]


def test_reason_in_the_list_outranks_the_accounting(shell: Shell) -> None:
    lines = """scheduler_history() { echo 'cut|by the accounting'; }; nid=5
    for listed_state in ended limit cancelled over unknown; do
        reason=listed; find_cause; echo "$listed_state $reason"
    done; listed_state=over reason='exit status 3'; find_cause; echo "$listed_state $reason" """
    cut = "cut by the accounting"
    assert shell(lines).splitlines() == [
        *("ended listed", "limit listed", "cancelled listed", "over listed", cut, cut)
    ]


def test_list_that_cannot_be_stored_is_silent(shell: Shell) -> None:
    lines = """say() { ids='' max_age=0 now='' listing_result=answer; renew_listing; echo "$listing_result $listing_error" | sed "s,$queue/,,"; }
    scheduler_list() { echo '5|running|x|'; }; mv() { return 1; }; say; ls -A scheduler
    take_lock() { return 1; }; nap() { naps=$((naps + 1)); }; naps=0; say; echo "$naps"
    unset -f mv; ln -s x scheduler/lock; say; echo "$naps" """
    assert shell(lines).splitlines() == [
        "silent its answer cannot be written to 'scheduler'",
        *("silent cannot write to 'scheduler'", "5"),
        *("silent another client has been querying it for too long", "305"),
    ]


def test_submission_names_its_client_and_job(shell: Shell) -> None:
    lines = """sbatch() { cat "$job/submitting" >&3; echo 7; }; exec 3>&1; unset who
    runtime_start; me; set_name; echo "$lookup_name $who" """
    submitting, client = shell(lines).splitlines()
    assert submitting.partition(" ")[2] == client


def test_list_of_some_jobs_is_partial(shell: Shell) -> None:
    lines = """printf '%s\\n' '5 answer whole' '7.s|running|x|' '8.s|ended|x|' '6.s|queued|x|' >scheduler/listing
    load_listing() { :; }; date() { echo 9; }
    say() { ids=$1; scheduler_list() { echo "asked $*" >asked; cat old; }; cp scheduler/listing old; sed -i 1d old
        ask_scheduler; cat asked; sed -n 1p scheduler/listing; }
    say 9.s; say ''"""
    assert shell(lines, "pbs").splitlines() == [
        *("asked 6.s 7.s 9.s", "9 answer part", "asked ", "9 answer whole"),
    ]


def test_end_needs_a_list_that_is_newer(shell: Shell) -> None:
    lines = """is_later() { [ -n "$later" ]; }; look_up() { listed_state=ended; }; renew_listing() { echo "renew $ids $max_age"; }
    find_cause() { echo "cause $listed_state"; }; keep_last_state() { echo "last $*"; }; nid=7 listing_result=answer ended=5 runtime=x
    is_answered() { return 1; }; later=''; derive_ended_state; echo "$note"; later=1 listed_state=ended; derive_ended_state"""
    assert shell(lines).splitlines()[:4] == [
        *("renew 7 3", "last ", "it has ended, and x is cleaning up", "cause ended"),
    ]


def test_queued_job_is_no_longer_missed(shell: Shell) -> None:
    lines = """native='slurm 5' nid=5 reason='' listing_number=1; keep_last_state() { echo last; }; mark_lost() { echo "lost $1"; }; is_later() { [ -n "$later" ]; }; is_confirmed() { echo "confirm $1"; [ -n "$sure" ]; }
    say() { note=''; : >"$job/missed"; derive_queued_state; echo "$state/$note"; [ ! -e "$job/missed" ] || echo missed; }; state=queued started='' later='' sure=''; say; started=6; say; : >"$job/claim"; say; later=1; say; sure=1; say; reason=why; say
    state=running; : >"$job/requeue"; say; started=''; say"""
    assert shell(lines).splitlines() == [
        *("last", "queued/", "last", "queued/", "last", "queued/"),
        *("confirm has requeued the job", "queued/", "missed"),
        "confirm has requeued the job",
        "lost slurm requeued the job after it had started, and tej does not run it a second time",
        *("queued/", "missed", "confirm has requeued the job"),
        "lost slurm requeued the job after it had started, and tej does not run it a second time (why)",
        *("queued/", "missed", "last"),
        *("queued/slurm 5: requeued, and will run again from the start", "last"),
        "queued/",
    ]


def test_key_names_task_server_and_cluster(shell: Shell) -> None:
    lines = """say() { for item; do set_key "$item"; printf '%s ' "$key"; done; echo; }
    say 7 7_0 7_1 7_10 '7_1;gpu' '7;gpu' 7.1; dialect=openpbs; say 7.server; dialect=torque; say 7.server"""
    assert shell(lines).splitlines() == [
        "7 7e0 7e1 7e10 7e1_gpu 7_gpu 7e1 ",
        *("7_server ", "7 "),
    ]
