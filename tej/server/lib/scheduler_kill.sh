# Kills a job under a scheduler: SIGTERM, a grace period, and then the cancellation.
# shellcheck shell=sh

relisted='' # 1 if the listing was renewed for a kill

# runtime_tell: ask the scheduler once to end the job. Returns 0 if the job has ended or will
# never start. Otherwise returns 1, and sets sigterm_sent_KEY (set_key) to the time of the
# SIGTERM. The value is 0 if the job was cancelled without SIGTERM, and `not` if both failed.
runtime_tell() {
    nid=${native#* }
    [ ! -s "$job/finished" ] || return 0
    if in_same_job take_claim; then
        if [ -z "$nid" ] || cancel_job; then
            now=''
            get_time
            in_same_job put_end "$now none 0 killed 0"
            return 0
        fi
        # The scheduler did not cancel the job, which may still start. Its wrapper (the process
        # that runs the script) checks for the file `kill` before it starts the script.
        in_same_job give_up_claim
    fi
    [ -n "$nid" ] || return 1
    set_key "$nid"
    eval "sigterm_sent=\${sigterm_sent_$key-}"
    [ -z "$sigterm_sent" ] || return 1
    terminate_or_cancel || sigterm_sent=not
    set_key "$nid"
    eval "sigterm_sent_$key=\$sigterm_sent"
    return 1
}

# terminate_or_cancel: send SIGTERM to the job, or cancel the job if SIGTERM is not possible.
# Sets $sigterm_sent to the time of the SIGTERM, or to 0 if the job was cancelled. Returns 1 if
# both failed.
terminate_or_cancel() {
    # Slurm does not deliver SIGTERM to a suspended job. A job may have been suspended since the
    # last listing, so query once more.
    [ -n "$relisted" ] || [ "$listing_result" != answer ] || query_again "$nid"
    relisted=1
    look_up "$nid" ''
    if [ "$state" != lost ] && [ "$listed_state" != stopped ] && scheduler_term "$nid" >/dev/null 2>&1 </dev/null; then
        sigterm_sent=$(date +%s)
        note_requeued
        in_same_job put ending "$sigterm_sent term$requeued" 2>/dev/null || :
    else
        sigterm_sent=0
        cancel_job
    fi
}

# cancel_job: cancel the job. Returns 1 if the scheduler did not answer or refused.
cancel_job() {
    note_requeued
    refusal=$(scheduler_cancel "$nid" 2>&1 </dev/null) || {
        # The scheduler also reports an error if the job is already over.
        query_again "$nid"
        look_up "$nid" ''
        case $listed_state in over | ended | limit | cut | cancelled | unknown) ;; *) return 1 ;; esac
    }
    in_same_job put ending "$(date +%s) cancel$requeued" 2>/dev/null || :
}

# note_requeued: set $requeued to ` requeued` if the scheduler has requeued the job after it
# started, or to ''. An earlier step of this kill may have recorded the requeue
# (was_requeued).
note_requeued() {
    was_requeued || [ "$listed_state" != queued ] || [ -z "$started" ] || requeued=requeued
    requeued=${requeued:+ requeued}
}

# runtime_stop GRACE: like runtime_tell, and then wait for the end of the job. Returns 1 if no
# end was found in time. Sets $refused to 1 if waiting longer is useless.
runtime_stop() {
    pids='' refused=''
    [ ! -s "$job/finished" ] || return 0
    [ -n "$native" ] || {
        set_name
        query_again
        adopt_by_name || ! list_clusters || adopt_by_name || :
    }
    ! runtime_tell || return 0
    [ -n "$nid" ] || return 1
    case $sigterm_sent in
        not) ;;
        0) ;;
        *)
            # Several jobs receive SIGTERM before the first wait. Therefore the grace period
            # counts from the SIGTERM of this job.
            ! wait_for finished $((sigterm_sent + $1 + 5 - $(date +%s))) || return 0
            cancel_job || sigterm_sent=not
            ;;
    esac
    [ "$sigterm_sent" != not ] && { [ "$state" = lost ] || wait_for_end "$nid"; } || {
        refused=1
        return 1
    }
}

# wait_for_end ID: wait until the job has recorded its end, or the scheduler reports the end and
# the job's heartbeat is old enough (has_fallen_silent). The two checks of an old heartbeat take 80
# seconds. If the heartbeat must be older, later requests record the end.
wait_for_end() {
    looks=0
    while [ "$looks" -lt 20 ]; do
        # A suspended job is killed without SIGTERM and never records an end. So the first waits
        # are short.
        ! wait_for finished $((looks < 3 ? looks + 1 : 5)) || return 0
        looks=$((looks + 1))
        query_again "$1"
        look_up "$1" ''
        case $listed_state in
            over | ended | limit | cut | cancelled | unknown) ;;
            *) continue ;;
        esac
        if has_fallen_silent; then
            now=''
            ! record_killed || return 0
        elif [ "$silence" = "$heartbeat_timeout" ] && [ "$looks" -ge 8 ]; then
            return 1
        fi
    done
    return 1
}

# retry_kill: retry a kill that failed or was not completed. Every client that reads the job's
# state calls this function. The job's file `ending` contains the last step of the kill.
retry_kill() {
    note="kill requested${by:+ by $by}, but the job has not ended yet${note:+; $note}"
    [ "$listing_result" = answer ] && [ -n "$nid" ] || return 0
    ending_time=0 ending=''
    [ ! -f "$job/ending" ] || read -r ending_time ending _ <"$job/ending"
    [ -z "$ending" ] || find_age ending "$ending_time"
    case $ending in
        term) [ "$age" -ge $((${grace:-0} + 10)) ] || return 0 ;;
        cancel) [ "$age" -ge 60 ] || return 0 ;;
    esac
    if [ -n "$ending" ] || [ ! -e "$job/claim" ]; then
        cancel_job || :
    else
        terminate_or_cancel || :
    fi
}
