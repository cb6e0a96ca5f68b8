# Finds out why a job under a scheduler ended: by itself, at a limit, by another user, or by the
# scheduler. The sources are the scheduler's list of jobs, its accounting, and its messages in
# the job's log. runtimes/*/job_states.sh reads the list and the accounting.
# shellcheck shell=sh

cause_awaited=120 # seconds to wait until the scheduler reports why a job ended

# find_cause: if the scheduler's list does not show why the job is over, set $listed_state and
# $reason from the accounting or the log.
find_cause() {
    case $listed_state,$reason in
        unknown,* | over, | over,'exit status '*) ;;
        ended,*)
            # Slurm may report FAILED for a job that it killed at the memory limit. The log
            # names the limit.
            logged=$(cause_in_log)
            case $logged in limit* | cut*) listed_state=${logged%%\|*} reason=${logged#*\|} ;; esac
            return 0
            ;;
        *) return 0 ;;
    esac
    ask_history
    # Read the log, too: it may show the end of a job earlier than the accounting.
    case $listed in
        '' | alive*)
            logged=$(cause_in_log)
            listed=${logged:-$listed}
            ;;
    esac
    [ -z "$listed" ] || listed_state=${listed%%\|*} reason=${listed#*\|}
}

history_timed_out='' # 1 if a query of the accounting has exceeded its time limit

# ask_history: set $listed to STATE|WORDS of the job from the scheduler's accounting, or to ''
# without an answer. After one query has timed out, does not ask again, so that a request for
# many jobs waits only once.
ask_history() {
    listed=''
    [ -z "$history_timed_out" ] || return 0
    listed=$(scheduler_history "$nid" 2>/dev/null </dev/null) || {
        [ "$?" != 124 ] || history_timed_out=1
        listed=''
    }
}

# find_log: set $log to the file with the scheduler's messages for $job. Returns 1 if there are
# none.
find_log() {
    for log in "$job"/tej_*.log "$job/scheduler_log"; do
        [ ! -s "$log" ] || return 0
    done
    return 1
}

# cause_in_log: print the cause of the job's end from the log, as STATE|WORDS, or nothing.
cause_in_log() {
    find_log || return 0
    LC_ALL=C tail -n 50 "$log" | LC_ALL=C awk '
        function found(kind, words) {
            gsub(/[|[:cntrl:]]/, " ", words)
            state = kind "|" words
        }
        /=>> PBS: job killed/ {
            sub(/.*job killed:? */, "")
            found(/exceeded|limit/ ? "limit" : "cut", $0)
        }
        /DUE TO TIME LIMIT/ { found("limit", "time limit") }
        /DUE TO PREEMPTION/ { found("cut", "preempted") }
        /DUE TO NODE FAILURE/ { found("cut", "node failure") }
        # Slurm also prints CANCELLED AT after a message about a limit.
        /CANCELLED AT/ && !/DUE TO/ && state == "" { found("cancelled", "cancelled") }
        /oom[-_ ]kill|[Oo]ut [Oo]f [Mm]emory|[Ee]xceeded (job |step )?memory limit/ { found("limit", "memory limit") }
        END { if (state != "") print state }'
}

# record_cut_off [CAUSE]: record the end of a job that was cut off or never started, and whose
# wrapper (the process that runs the script) has recorded no end. Writes the job's files `reason`
# and `finished`. CAUSE is KIND WORDS for `reason`. The default is the scheduler's answer. The
# recorded time is the last sign of life, because the job may have ended long ago. Keeps an end
# that the wrapper has recorded meanwhile.
record_cut_off() {
    earlier_note=$note note=''
    ! { read_end && [ "$state" != '?' ]; } || return 0
    note=$earlier_note
    get_time
    in_same_job put_first reason "$now ${1:-$listed_state $runtime: $reason}"
    last_sign=$now
    [ -z "$started" ] || get_last_sign
    in_same_job put_end "$last_sign none 0 ask 0"
    read_end
}

# derive_ended_state: set the state of a job whose script has ended. The scheduler may have
# ended the script.
derive_ended_state() {
    if ! is_later finished "$ended" && [ "$listing_result" = answer ]; then
        # The listing is older than the end of the script, so get a newer one.
        ids=$nid max_age=$listing_max_age_short
        is_answered || renew_listing
        look_up "$nid" "$lookup_name"
        is_later finished "$ended" || listed_state=running
    fi
    case $listed_state in running | stopped | queued | silent | '') ;; *) find_cause ;; esac
    case $listed_state in
        running | stopped)
            keep_last_state
            note="it has ended, and $runtime is cleaning up"
            ;;
        silent | alive | '')
            # The scheduler has not yet reported the cause of the end.
            find_age finished "$ended"
            if [ "$age" -lt "$cause_awaited" ]; then
                keep_last_state "it has ended, and $runtime reports no reason yet"
            else
                listed_state=unanswered
                record_cause
            fi
            ;;
        queued)
            if [ -e "$job/requeue" ] && [ -e "$job/kill" ]; then
                end_requeued
            elif [ -e "$job/requeue" ]; then
                keep_last_state
                state=queued note="$runtime $nid: requeued, and will run again from the start"
            else
                record_cause
            fi
            ;;
        *) record_cause ;;
    esac
}

# end_requeued: cancel the killed job, which has recorded the end of its first run and waits for a
# second run. Records that the job was killed.
end_requeued() {
    if cancel_job; then
        now=''
        get_time
        # A second run that has just started removes the file `finished`.
        [ ! -s "$job/finished" ] || in_same_job put_first reason "$now killed"
        ! read_end || {
            # If the disk is full, the next request writes the file `reason`.
            [ "$state" != '?' ] || state=killed
            return 0
        }
    fi
    keep_last_state
    state=queued note="kill requested${by:+ by $by}, but $runtime $nid is still queued for a second run"
}

# record_cause: write the job's file `reason`, unless it exists.
record_cause() {
    now=''
    get_time
    set_cause
    in_same_job put_first reason "$now $cause"
    read_end
    [ "$state" = '?' ] || return 0
    # The disk is full, and `reason` could not be written. The next request determines the cause
    # again.
    state=finished
    [ "$listed_state" != cancelled ] || state=killed
}

# set_cause: set $cause to KIND WORDS for the job's file `reason` (scheduler.sh). A job that
# received SIGTERM from outside tej was cut off, unless the scheduler reports that the job ended
# by itself.
set_cause() {
    case $listed_state in
        cancelled | limit | cut) cause="$listed_state $runtime: $reason" ;;
        queued)
            # The scheduler sends SIGTERM to a running job that it requeues. A job without a
            # SIGTERM was not cut off.
            cause='other'
            [ ! -e "$job/term" ] || cause='cut'
            cause="$cause $runtime has requeued the job"
            ;;
        ended)
            case $reason in COMPLETED | FAILED) reason='' ;; esac
            cause="other ${reason:+$runtime: $reason}"
            ;;
        *)
            case $reason in 'exit status '* | REVOKED*) reason='' ;; esac
            warning=''
            [ ! -f "$job/term" ] || read -r _ warning <"$job/term"
            if [ -n "$warning" ]; then
                cause="${warning%% *} $runtime: ${warning#* }"
            elif [ -e "$job/term" ] && [ "$listed_state" = unanswered ]; then
                cause="cut it received SIGTERM for an unknown reason: $runtime did not answer"
            elif [ -e "$job/term" ]; then
                cause="cut it received SIGTERM, and $runtime reports no reason"
            elif [ "$listed_state" = unanswered ]; then
                cause="other it ended for an unknown reason: $runtime did not answer"
            else
                cause="other ${reason:+$runtime: $reason}"
            fi
            ;;
    esac
}
