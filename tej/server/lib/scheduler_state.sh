# From a job's facts and the scheduler's word to its state.  The facts win; "not there"
# is believed when it was said twice, some time apart.
# shellcheck shell=sh

# runtime_derive_state: state of a job whose own facts do not tell.
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
        running)
            forget_missed
            state=running
            # It was put there, and has not told yet.
            [ -n "$started" ] || {
                state=queued
                say_where
            }
            ;;
        over | cancelled | unknown) judge_gone ;;
        *) keep_last "$runtime does not answer${silence:+ ($silence)}" ;;
    esac
}

# say_where: note=the scheduler's id and reason.
say_where() {
    note="$runtime $nid${reason:+: $reason}"
}

# keep_last [WORDS]: what was known last is still the best answer.
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

# is_later TIME: the listing is about what was so after that.
is_later() {
    [ "$listed_at" -gt "${1:-0}" ]
}

# is_second_look: the same was said before, long enough ago.
is_second_look() {
    if [ -f "$job/missed" ]; then
        read -r missed _ <"$job/missed"
        is_number "$missed" && [ $((listed_at - missed)) -ge "$second_look" ] && return 0
    else
        put missed "$listed_at $says" 2>/dev/null
    fi
    keep_last
    note="$runtime has $1; looking again before it is given up"
    return 1
}

forget_missed() {
    [ ! -e "$job/missed" ] || rm -f "$job/missed"
}

# judge_submission: nobody has heard an id yet; 0 if one was found.
judge_submission() {
    read -r s_time _ s_host s_boot s_space s_pid s_start <"$job/submitting"
    keep_last
    if same_host "$s_host" "$s_boot" "$s_space" && is_alive "$s_pid" "$s_start"; then
        return 1
    fi
    # Of another machine's submission we know only how long it may take.
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

# judge_queued: in the queue; one that has started was put back there.
judge_queued() {
    get_time
    if [ -e "$job/claim" ] && is_later "${started:-$now}"; then
        is_second_look "put it back into the queue" || return 0
        mark_lost "$runtime has put it back into its queue after it had started, and a second run is not made${reason:+ ($reason)}"
        return 0
    fi
    forget_missed
    keep_last
}

# judge_gone: over or unknown there, and no end here.
judge_gone() {
    is_later "$submitted" || {
        keep_last
        return
    }
    if [ -e "$job/kill" ]; then
        # An older answer may be from before it was there.
        if is_later "$kill_time"; then settle_killed; else keep_last; fi
    elif [ "$says" = cancelled ] && mkdir "$job/claim" 2>/dev/null; then
        settle_cancelled
    elif is_second_look "it no more${reason:+ ($reason)}"; then
        ask_history
        if [ "$says" = cancelled ]; then
            settle_cancelled
        elif [ -f "$job/rerun" ]; then
            mark_lost "$runtime has started it a second time, which was not done, and the first run wrote no end"
        elif [ -n "$reason" ]; then
            mark_lost "$runtime says $reason, and it wrote no end"
        else
            mark_lost "$runtime knows it no more, and it wrote no end"
        fi
    fi
}

# ask_history: says and reason of one of which the listing tells no more, if something does.
ask_history() {
    case $says,$reason in unknown,* | over,) ;; *) return 0 ;; esac
    listed=$(scheduler_history "$nid" 2>/dev/null </dev/null) && [ -n "$listed" ] || return 0
    says=${listed%%|*} reason=${listed#*|}
}

# settle_killed: `kill` was asked for, and it is gone.
settle_killed() {
    get_time
    mkdir "$job/claim" 2>/dev/null
    put_reserved finished "$now none 0 killed 0"
    read_end
}

# settle_cancelled: somebody else has ended it, and it wrote nothing itself.
settle_cancelled() {
    get_time
    put_first reason "$now cancelled $reason"
    put_reserved finished "$now none 0 ask 0"
    read_end
    state=killed
}

# judge_end: the script has ended after a SIGTERM, or by a SIGKILL: whose was it?
judge_end() {
    get_time
    if ! is_later "$ended" && [ "$listing" = answer ]; then
        # What is under way is asked after sooner.
        ids=$nid patience=$keep_hasty
        is_answered || renew_listing
        look_up "$nid" "$nickname"
        is_later "$ended" || says=running
    fi
    case $says in
        running)
            keep_last
            note="it has ended, and $runtime is clearing up"
            ;;
        silent | '')
            # Its end is on file: what is not known is only whose that was.
            if [ $((now - ended)) -lt "$cause_awaited" ]; then
                keep_last "it has ended, and $runtime does not say why"
            else
                put_first reason "$now other $runtime could not be asked why it ended"
                read_end
                [ "$state" != '?' ] || state=finished
            fi
            ;;
        *)
            ask_history
            get_time
            case $says in
                cancelled) put_first reason "$now cancelled $reason" ;;
                queued) put_first reason "$now other $runtime has put it back into its queue" ;;
                *) put_first reason "$now other ${reason:+$runtime: $reason}" ;;
            esac
            read_end
            # The disk may be full: then it is asked again, and told all the same.
            [ "$state" != '?' ] || state=finished
            [ "$says" != cancelled ] || state=killed
            ;;
    esac
}
