# Cause of the end of a job under a scheduler: the job itself, a limit, another user, or the
# scheduler. The cause is in the scheduler's list, in its accounting, or in its messages in
# the job's log.
# shellcheck shell=sh

cause_awaited=120 # seconds to wait for a silent scheduler to report why a job ended

# find_cause: if the listing does not contain the reason why the job is over, set
# $listed_state and $reason from the scheduler's accounting, or from the scheduler's
# messages in the job's log.
find_cause() {
    case $listed_state,$reason in
        unknown,* | over, | over,'exit status '*) ;;
        ended,*)
            # Slurm may report FAILED for a job that it killed because of the memory limit.
            # The job's log then contains the cause.
            logged=$(cause_in_log)
            case $logged in limit* | cut*) listed_state=${logged%%\|*} reason=${logged#*\|} ;; esac
            return 0
            ;;
        *) return 0 ;;
    esac
    ask_history
    # The end of a job may appear in the accounting later than in the job's log, so the log is
    # read if the accounting shows no end.
    case $listed in
        '' | alive*)
            logged=$(cause_in_log)
            listed=${logged:-$listed}
            ;;
    esac
    [ -z "$listed" ] || listed_state=${listed%%\|*} reason=${listed#*\|}
}

history_timed_out='' # 1 if a query of the accounting has exceeded its time limit

# ask_history: set $listed to STATE|WORDS of the job from the scheduler's accounting, or to '' if
# the accounting does not answer. After a query has exceeded its time limit, this program does not
# query the accounting again, so that a request for many jobs waits for the time limit only once.
ask_history() {
    listed=''
    [ -z "$history_timed_out" ] || return 0
    listed=$(scheduler_history "$nid" 2>/dev/null </dev/null) || {
        [ "$?" != 124 ] || history_timed_out=1
        listed=''
    }
}

# find_log: set $log to the file with the scheduler's messages for $job. Returns 1 if
# there are no messages.
find_log() {
    for log in "$job"/tej_*.log "$job/scheduler_log"; do
        [ ! -s "$log" ] || return 0
    done
    return 1
}

# cause_in_log: search the scheduler's messages in the job's log for the cause of the job's end,
# and print it as STATE|WORDS. Prints nothing if no message names a cause.
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
        # Slurm also prints CANCELLED AT after a message about a limit, so an earlier cause is
        # kept.
        /CANCELLED AT/ && !/DUE TO/ && state == "" { found("cancelled", "cancelled") }
        /oom[-_ ]kill|[Oo]ut [Oo]f [Mm]emory|[Ee]xceeded (job |step )?memory limit/ { found("limit", "memory limit") }
        END { if (state != "") print state }'
}

# record_cut_off: write the files `reason` and `finished` of a job that was ended by a limit or by
# another user, and whose wrapper has not recorded the end. The recorded end of a started job is
# its last sign of life, because the job may have ended long before this request. If the wrapper
# has recorded meanwhile that the script ended by itself, the recorded end is kept.
record_cut_off() {
    earlier_note=$note note=''
    ! { read_end && [ "$state" != '?' ]; } || return 0
    note=$earlier_note
    get_time
    in_same_job put_first reason "$now $listed_state $runtime: $reason"
    last_sign=$now
    [ -z "$started" ] || get_last_sign
    in_same_job put_end "$last_sign none 0 ask 0"
    read_end
}

# derive_ended_state: derive the state of a job whose script has ended. If the scheduler may
# have ended the script, the listing is checked for the cause.
derive_ended_state() {
    if ! is_later finished "$ended" && [ "$listing_result" = answer ]; then
        # The listing is older than the end of the script. Therefore the listing is
        # renewed unless it is at most $listing_max_age_short seconds old.
        ids=$nid max_age=$listing_max_age_short
        is_answered || renew_listing
        look_up "$nid" "$nickname"
        is_later finished "$ended" || listed_state=running
    fi
    case $listed_state in running | stopped | queued | silent | '') ;; *) find_cause ;; esac
    case $listed_state in
        running | stopped)
            keep_last_state
            note="it has ended, and $runtime is cleaning up"
            ;;
        silent | alive | '')
            # The end of the job is recorded, but the scheduler has not reported the
            # cause of the end.
            find_age finished "$ended"
            if [ "$age" -lt "$cause_awaited" ]; then
                keep_last_state "it has ended, and $runtime reports no reason yet"
            else
                listed_state=unanswered
                record_cause
            fi
            ;;
        queued)
            if [ -e "$job/requeue" ]; then
                keep_last_state
                state=queued note="$runtime $nid: requeued, and will run again from the start"
            else
                record_cause
            fi
            ;;
        *) record_cause ;;
    esac
}

# record_cause: write the file `reason` if it does not exist. If the job received a
# SIGTERM that tej did not send, the job was cut off, unless the scheduler reports that
# the job ended by itself.
record_cause() {
    now=''
    get_time
    set_cause
    in_same_job put_first reason "$now $cause"
    read_end
    [ "$state" = '?' ] || return 0
    # If `reason` could not be written because the disk is full, the cause is reported
    # now, and determined again at the next request.
    state=finished
    [ "$listed_state" != cancelled ] || state=killed
}

# set_cause: set $cause to the text KIND WORDS that record_cause writes to the job's file `reason`
# (scheduler.sh). The cause follows from the state that the scheduler reports, and from the
# signals that the job has received.
set_cause() {
    case $listed_state in
        cancelled | limit | cut) cause="$listed_state $runtime: $reason" ;;
        queued)
            # A scheduler sends SIGTERM to a running job that it requeues. Therefore the job was
            # cut off only if it has received SIGTERM.
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
