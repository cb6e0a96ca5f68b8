# State of a job under a scheduler. The state is derived from the job's facts and the
# scheduler's list of jobs. The facts take precedence over the list. A job counts as
# gone only if two queries of the scheduler, some time apart, show that it is gone, and
# its heartbeat has not changed between the two queries.
# shellcheck shell=sh

# runtime_derive_state: derive the state of a job whose own facts do not determine it.
runtime_derive_state() {
    set_name
    nid=''
    [ -z "$native" ] || nid=${native#* }
    if [ -n "$nid" ]; then
        look_up "$nid" "$nickname"
    elif ! judge_submission; then
        return
    fi
    if [ -e "$job/finished" ]; then
        judge_end
        return
    fi
    case $says in
        queued) judge_queued ;;
        running | stopped)
            forget_missed
            state=running
            # If the scheduler has started the job but the script has not started yet,
            # the state is `queued`.
            [ -n "$started" ] || {
                state=queued
                say_where
            }
            [ "$says" = running ] || note="suspended by $runtime"
            ;;
        over | ended | limit | cut | cancelled | unknown) judge_gone ;;
        *) keep_last "$runtime does not answer${silence:+ ($silence)}" ;;
    esac
    [ ! -e "$job/kill" ] || is_final || pursue_kill
}

# say_where: set note to the runtime, the scheduler's id of the job, and the reason for
# which the job waits.
say_where() {
    note="$runtime $nid${reason:+: $reason}"
}

# keep_last [NOTE]: set state to the last known state of the job, and note to NOTE.
keep_last() {
    if [ -n "$started" ]; then
        state=running
    elif [ -n "$native" ]; then
        state=queued
        say_where
    else
        state=created
    fi
    [ -z "${1-}" ] || note="$1; last known: $state"
    how='' number='' ended=''
}

# is_later TIME: check that the scheduler was queried for the listing after TIME.
is_later() {
    [ "$listed_at" -gt "${1:-0}" ]
}

# read_beat: set pulse to the last heartbeat of the job, or to '' if there is none.
read_beat() {
    pulse=''
    [ ! -f "$job/heartbeat" ] || read -r pulse _ <"$job/heartbeat"
}

# is_second_look WORDS: check that an earlier query, at least $second_look seconds ago,
# also found that the job is gone (fact `missed`), and that the heartbeat has not
# changed since the earlier query. Otherwise writes the state that the scheduler reports
# to the fact `missed`, sets state to the last known state of the job, and returns 1.
is_second_look() {
    read_beat
    pulse_then=''
    if [ -f "$job/missed" ]; then
        read -r missed _ pulse_then _ <"$job/missed"
        if [ "$pulse" != "$pulse_then" ]; then
            put missed "$listed_at $says $pulse" 2>/dev/null
            keep_last
            note="$runtime has $1, but the job gives signs of life"
            return 1
        fi
        is_number "$missed" && [ $((listed_at - missed)) -ge "$second_look" ] && return 0
    else
        put missed "$listed_at $says $pulse" 2>/dev/null
    fi
    keep_last
    note="$runtime has $1; looking again before it is given up"
    return 1
}

# forget_missed: remove the fact `missed`, because the scheduler lists the job again.
forget_missed() {
    [ ! -e "$job/missed" ] || rm -f "$job/missed"
}

# judge_submission: derive the state of a job whose scheduler id is not recorded.
# Returns 0 if the scheduler lists the job under its name. Otherwise sets state and
# returns 1.
judge_submission() {
    read -r s_time _ s_host s_boot s_space s_pid s_start _ <"$job/submitting"
    keep_last
    if same_host "$s_host" "$s_boot" "$s_space" && is_alive "$s_pid" "$s_start"; then
        return 1
    fi
    # A submission on another host may still be in progress.
    get_time
    if [ "$s_host" != "$host" ] && [ $((now - s_time)) -lt 900 ]; then return 1; fi
    [ "$listing" = answer ] || {
        keep_last "$runtime does not answer${silence:+ ($silence)}"
        return 1
    }
    says=unknown
    if adopt_by_name; then
        nid=${native#* }
        look_up "$nid" "$nickname"
        return 0
    fi
    is_later "$s_time" && is_second_look "no job of that name ($nickname)" || return 1
    if [ -e "$job/kill" ]; then
        settle_killed
    elif mkdir "$job/claim" 2>/dev/null || claim_is_stale; then
        mark_lost "the submission to $runtime broke off on $s_host, and it has no job of that name"
    fi
    return 1
}

# judge_queued: derive the state of a job that the scheduler reports as queued. If the
# job has already started, the scheduler has put it back into its queue.
judge_queued() {
    get_time
    if [ -e "$job/requeue" ]; then
        forget_missed
        keep_last
        [ -z "$started" ] || state=queued note="$runtime $nid: put back into the queue, to run again from the start"
        return
    fi
    if [ -e "$job/claim" ] && is_later "${started:-$now}"; then
        is_second_look "put it back into the queue" || return 0
        mark_lost "$runtime has put it back into its queue after it had started, and a second run is not made${reason:+ ($reason)}"
        return 0
    fi
    forget_missed
    keep_last
}

# judge_gone: derive the state of a job that has recorded no end, although the scheduler
# reports that the job is over or unknown.
judge_gone() {
    is_later "$submitted" || {
        keep_last
        return
    }
    if [ -e "$job/kill" ]; then
        # If the listing is older than the kill, it does not show the effect of the
        # kill.
        if ! is_later "$kill_time"; then
            keep_last
        elif [ "$says" != unknown ] || [ ! -e "$job/heartbeat" ] || is_second_look "no such job"; then
            settle_killed
        fi
        return
    fi
    case $says in
        cancelled | limit)
            ! mkdir "$job/claim" 2>/dev/null || {
                settle_cut_off
                return
            }
            ;;
    esac
    is_second_look "it no more${reason:+ ($reason)}" || return 0
    find_cause
    case $says in
        cancelled | limit) settle_cut_off ;;
        *)
            if [ -f "$job/rerun" ]; then
                mark_lost "$runtime has started it a second time, which was not done, and the first run wrote no end"
            elif [ -n "$reason" ]; then
                mark_lost "$runtime says $reason, and the job recorded no exit status"
            else
                mark_lost "$runtime no longer lists the job, and the job recorded no exit status"
            fi
            ;;
    esac
}

# find_cause: if the listing does not contain why the job is over, set says and reason
# from the scheduler's accounting, or from the scheduler's messages in the job's log.
find_cause() {
    case $says,$reason in
        unknown,* | over, | over,'exit status '*) ;;
        *) return 0 ;;
    esac
    listed=$(scheduler_history "$nid" 2>/dev/null </dev/null) && [ -n "$listed" ] ||
        listed=$(cause_in_log) && [ -n "$listed" ] || return 0
    says=${listed%%|*} reason=${listed#*|}
}

# find_log: set log to the file with the scheduler's messages for $job. Returns 1 if
# there are no messages.
find_log() {
    for log in "$job"/tej_*.log "$job/scheduler_log"; do
        [ ! -s "$log" ] || return 0
    done
    return 1
}

# cause_in_log: print STATE|WORDS for the cause of the job's end in the scheduler's
# messages in the job's log.
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
        /CANCELLED AT/ && !/DUE TO/ { found("cancelled", "cancelled") }
        /oom[-_ ]kill|[Oo]ut [Oo]f [Mm]emory|[Ee]xceeded (job|step) memory limit/ { found("limit", "memory limit") }
        END { if (state != "") print state }'
}

# settle_killed: write the fact `finished` for a job that is gone after a kill. Processes
# of the job that run on this host are killed first, because a scheduler does not find
# all processes of a job. Returns 1 if such processes remain.
settle_killed() {
    wait_for_processes 5 KILL || {
        keep_last
        note="$runtime has ended the job, but processes of it run on $host"
        return 1
    }
    get_time
    mkdir "$job/claim" 2>/dev/null
    put_reserved finished "$now none 0 killed 0"
    read_end
}

# settle_cut_off: write the facts `reason` and `finished` for a job that was ended by a
# limit or by another user, and whose wrapper has not recorded the end.
settle_cut_off() {
    get_time
    put_first reason "$now $says $runtime: $reason"
    put_reserved finished "$now none 0 ask 0"
    read_end
}

# judge_end: derive the state of a job whose script has ended. If the scheduler may have
# ended the script, the listing is checked for the cause.
judge_end() {
    get_time
    if ! is_later "$ended" && [ "$listing" = answer ]; then
        # The listing is older than the end of the script. Therefore use a listing that
        # is at most $keep_hasty seconds old.
        ids=$nid patience=$keep_hasty
        is_answered || renew_listing
        look_up "$nid" "$nickname"
        is_later "$ended" || says=running
    fi
    case $says in
        running | stopped)
            keep_last
            note="it has ended, and $runtime is clearing up"
            ;;
        silent | '')
            # The end of the job is recorded, but the scheduler has not reported the
            # cause of the end.
            if [ $((now - ended)) -lt "$cause_awaited" ]; then
                keep_last "it has ended, and $runtime does not say why"
            else
                says=unanswered
                record_cause
            fi
            ;;
        queued)
            if [ -e "$job/requeue" ]; then
                keep_last
                state=queued note="$runtime $nid: put back into the queue, to run again from the start"
            else
                record_cause
            fi
            ;;
        *)
            find_cause
            record_cause
            ;;
    esac
}

# record_cause: write the fact `reason` if it does not exist. If the job received a
# SIGTERM that tej did not send, the job was cut off, unless the scheduler reports that
# the job ended by itself.
record_cause() {
    now=''
    get_time
    case $says in
        cancelled | limit | cut) cause="$says $runtime: $reason" ;;
        queued) cause="other $runtime has put it back into its queue" ;;
        ended)
            case $reason in COMPLETED | FAILED) reason='' ;; esac
            cause="other ${reason:+$runtime: $reason}"
            ;;
        *)
            case $reason in 'exit status '*) reason='' ;; esac
            if [ -e "$job/term" ] && [ "$says" = unanswered ]; then
                cause="cut it was sent SIGTERM, and $runtime could not be asked why"
            elif [ -e "$job/term" ]; then
                cause="cut it was sent SIGTERM, and $runtime does not say why"
            elif [ "$says" = unanswered ]; then
                cause="other $runtime could not be asked why it ended"
            else
                cause="other ${reason:+$runtime: $reason}"
            fi
            ;;
    esac
    put_first reason "$now $cause"
    read_end
    [ "$state" = '?' ] || return 0
    # If `reason` could not be written because the disk is full, the cause is reported
    # now, and determined again at the next request.
    state=finished
    [ "$says" != cancelled ] || state=killed
}

# pursue_kill: retry a kill that failed or was not completed. Every client that reads
# the job's state calls pursue_kill. The fact `ending` contains the last step of the
# kill.
pursue_kill() {
    note="asked to end${by:+ by $by}, not ended yet${note:+; $note}"
    [ "$listing" = answer ] && [ -n "$nid" ] || return 0
    get_time
    ending_time=0 ending=''
    [ ! -f "$job/ending" ] || read -r ending_time ending _ <"$job/ending"
    case $ending in
        term) [ $((now - ending_time)) -ge $((${grace:-0} + 10)) ] || return 0 ;;
        cancel) [ $((now - ending_time)) -ge 60 ] || return 0 ;;
    esac
    if [ -n "$ending" ] || [ ! -e "$job/claim" ]; then
        cancel_job || :
    else
        ask_to_end || :
    fi
}
