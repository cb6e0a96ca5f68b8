# Derives the state of a job under a scheduler from the job's own files, and then from the
# scheduler's list of jobs. A job counts as gone only if two queries, some time apart, show that
# it is gone, and its heartbeat does not change between them. If the job's node has not confirmed
# the end, the heartbeat must also be old (set_silence). The heartbeat is a file that the job's
# wrapper (the process that runs the script) rewrites regularly.
# shellcheck shell=sh

confirmation_delay=30 # minimum seconds between two queries that show that a job is gone
max_node_queries=20   # queries about the nodes of gone jobs, for each listing
node_queries=0        # such queries since the listing was loaded

# runtime_derive_state: derive the state of a job whose own files do not determine it.
runtime_derive_state() {
    set_name
    nid=''
    [ -z "$native" ] || nid=${native#* }
    if [ -n "$nid" ]; then
        look_up "$nid" "$lookup_name"
    elif ! derive_submission_state; then
        return
    fi
    if [ -s "$job/finished" ]; then
        # The end may have been recorded since the files were read, so read it now.
        read_end || :
        [ "$state" != '?' ] || derive_ended_state
        return
    fi
    case $listed_state in
        queued) derive_queued_state ;;
        running | stopped)
            clear_missed
            state=running
            # The scheduler has started the job, but the script has not started yet.
            [ -n "$started" ] || {
                state=queued
                note_scheduler_id
            }
            [ "$listed_state" = running ] || note="suspended by $runtime"
            [ ! -e "$job/requeue" ] || [ ! -e "$job/rerun" ] ||
                note="$runtime has started the job again; the second run waits until it is certain that the first run has ended"
            ;;
        over | ended | limit | cut | cancelled | moved | unknown) derive_gone_state ;;
        *)
            why_silent=${listing_error:-$reason}
            keep_last_state "$runtime does not answer${why_silent:+ ($why_silent)}"
            ;;
    esac
    [ ! -e "$job/kill" ] || is_final || retry_kill
}

# note_scheduler_id: set $note to the runtime's name, the scheduler's id of the job, and the
# reason why the job waits, if there is one.
note_scheduler_id() {
    note="$runtime $nid${reason:+: $reason}"
}

# keep_last_state [NOTE]: set $state to the last known state of the job, and $note to NOTE.
keep_last_state() {
    if [ -n "$started" ]; then
        state=running
    elif [ -n "$native" ]; then
        state=queued
        note_scheduler_id
    else
        state=created
    fi
    [ -z "${1-}" ] || note="$1; last known: $state"
    how='' number='' ended=''
}

# find_age FACT [TIME]: set $age to the seconds since the job's file FACT was written. The
# clocks of compute nodes and login nodes differ, so the clock of the file system is used. If
# that clock cannot be read, uses TIME, the time in the file.
find_age() {
    get_time
    get_age "$job/$1" || age=$((now - ${2:-0}))
}

# is_later FACT [TIME]: check whether the listing is newer than the job's file FACT (see
# find_age).
is_later() {
    find_age "$@"
    [ "$age" -gt $((now - listed_at)) ]
}

# read_heartbeat: set $last_heartbeat to the time of the job's last heartbeat, or to ''.
read_heartbeat() {
    last_heartbeat=''
    [ ! -f "$job/heartbeat" ] || read -r last_heartbeat _ <"$job/heartbeat"
}

# is_confirmed WORDS: check whether an earlier query also found the job gone (file `missed`), at
# least $confirmation_delay seconds ago and with the same heartbeat, and whether the job has been
# silent for long enough. If not, sets $state to the last known state and returns 1. The first
# query that finds the job gone writes `missed`. WORDS are the scheduler's answer, for $note.
is_confirmed() {
    read_heartbeat
    # Begins the two checks of an old heartbeat, even if no earlier query found the job gone.
    fallen_silent=''
    ! has_fallen_silent || fallen_silent=1
    if [ -f "$job/missed" ]; then
        if [ "$last_heartbeat" != "$earlier_heartbeat" ]; then
            note_missed
            keep_last_state
            note="$runtime $1, but the job gives signs of life"
            return 1
        fi
        find_age missed "$missed"
        [ -n "$fallen_silent" ] && [ $((age - (now - listed_at))) -ge "$confirmation_delay" ] && return 0
    else
        note_missed
    fi
    keep_last_state
    outcome=lost
    has_begun || outcome='not started'
    [ ! -e "$job/kill" ] || outcome=killed
    note="$runtime $1; checking again before the job counts as $outcome"
    [ "$silence" = 0 ] || note="$note, after $silence seconds without a heartbeat"
    return 1
}

# has_begun: check whether the wrapper of the job may have begun to run. Also returns 0 if the
# scheduler's id of the job is unknown.
has_begun() {
    [ -z "$native" ] || [ -n "$started$last_heartbeat" ] || [ -e "$job/claim" ]
}

# is_end_assumed STATE WORDS: check whether the scheduler has reported this end without an answer
# from the job's node: after a node failure or a deletion by force.
is_end_assumed() {
    case $1,$2 in cut,*'node failure'* | cancelled,*'by force'*) ;; *) return 1 ;; esac
}

# has_fallen_silent: check whether the last heartbeat is old enough for the scheduler's report that
# the job is over. Sets $silence (set_silence), and the variables of read_missed.
has_fallen_silent() {
    silence=0
    read_missed
    # Without these files, the wrapper has never started.
    [ -f "$job/heartbeat" ] || [ -f "$job/claim" ] || return 0
    set_silence
    [ "$silence" = 0 ] || is_silent "$silence"
}

# set_silence: set $silence to the seconds without a heartbeat that the end of the job needs.
#   0                    the scheduler has reported the end, and the job's nodes respond
#   $heartbeat_overdue   the scheduler has not reported the end of this run of the job, and nothing
#                        is known of its node
#   $heartbeat_timeout   a node does not respond, so the job may run there, and a heartbeat may be
#                        late. Or the limit of queries is reached (max_node_queries)
set_silence() {
    silence=$heartbeat_timeout
    ! is_end_assumed "$listed_state" "$reason" || return 0
    [ "$listed_state" != unknown ] || ! is_end_assumed "$missed_state" "$missed_words" || return 0
    [ "$node_queries" -lt "$max_node_queries" ] || return 0
    node_queries=$((node_queries + 1))
    # After a second start, the scheduler names the nodes of the second run.
    node_id=$nid
    [ ! -e "$job/rerun" ] || case $nid in *\;*) node_id=";${nid#*;}" ;; *) node_id='' ;; esac
    scheduler_node_down "$node_id" "$where"
    node_status=$?
    [ "$node_status" != 0 ] || return 0
    silence=$heartbeat_overdue
    [ "$node_status" = 1 ] || return 0
    is_unlisted || [ "$listed_state" = queued ] || [ -e "$job/rerun" ] || was_requeued || silence=0
}

# read_missed: set $missed (time), $missed_state, $earlier_heartbeat and $missed_words from the
# file `missed`, or to ''.
read_missed() {
    missed='' missed_state='' earlier_heartbeat='' missed_words=''
    [ ! -f "$job/missed" ] || read -r missed missed_state earlier_heartbeat missed_words <"$job/missed"
    [ "$earlier_heartbeat" != - ] || earlier_heartbeat=''
}

# is_silent SECONDS: check whether the job has written no heartbeat for SECONDS. If the job has
# never written a heartbeat, checks the age of the file `claim`, which the job's wrapper creates
# before the first heartbeat.
is_silent() {
    last_fact=heartbeat
    [ -f "$job/heartbeat" ] || last_fact=claim
    [ ! -f "$job/$last_fact" ] || is_stale "$last_fact" "$1"
}

# note_missed: record the query in the file `missed`. If the scheduler no longer lists the job,
# keeps the state and the reason that an earlier query found.
note_missed() {
    case $listed_state in
        unknown) ;;
        *) missed_state=$listed_state missed_words=$reason ;;
    esac
    in_same_job put missed "$listed_at ${missed_state:-unknown} ${last_heartbeat:--} $missed_words" 2>/dev/null
}

# recall_missed: if the scheduler no longer lists the job, use the state and reason in the file
# `missed`. Between the two queries, a scheduler can remove an ended job from its list.
recall_missed() {
    [ "$listed_state" = unknown ] || return 0
    case $missed_state in
        over | ended | limit | cut | cancelled) listed_state=$missed_state reason=$missed_words ;;
    esac
}

# clear_missed: remove the file `missed`, because the scheduler lists the job again.
clear_missed() {
    [ ! -e "$job/missed" ] || rm -f "$job/missed"
}

# derive_submission_state: derive the state of a job whose scheduler id is not recorded. Returns
# 0 if the scheduler lists a job with its name. Otherwise sets $state and returns 1.
derive_submission_state() {
    s_time='' # if the file cannot be opened, `read` changes nothing
    read -r s_time _ s_host s_boot s_space s_pid s_start _ <"$job/submitting"
    # Only the file `submitting` names the submitting shell and the job array.
    [ -n "$s_time" ] || can_read_facts || {
        set_unknown
        return 1
    }
    keep_last_state
    if same_host "$s_host" "$s_boot" "$s_space" && is_alive "$s_pid" "$s_start"; then
        return 1
    fi
    # A submission on another host may still be in progress: wait until it has timed out.
    find_age submitting "$s_time"
    if [ "$s_host" != "$host" ] && [ "$age" -lt "$submission_timeout" ]; then return 1; fi
    [ "$listing_result" = answer ] || {
        keep_last_state "$runtime does not answer${listing_error:+ ($listing_error)}"
        return 1
    }
    adopt_by_name || list_clusters || {
        keep_last_state "$runtime does not answer for another cluster of the job"
        return 1
    }
    listed_state=unknown
    if [ -n "$native" ] || adopt_by_name; then
        nid=${native#* }
        look_up "$nid" "$lookup_name"
        return 0
    fi
    is_later submitting "$s_time" && is_confirmed "lists no job with the name $lookup_name" || return 1
    if [ -e "$job/kill" ]; then
        record_killed
    elif in_same_job take_claim || claim_is_stale; then
        mark_lost "the submission to $runtime was interrupted on $s_host, and $runtime does not list the job"
    fi
    return 1
}

# derive_queued_state: derive the state of a job that the scheduler reports as queued. A job
# that has already started was requeued.
derive_queued_state() {
    if [ -e "$job/requeue" ]; then
        clear_missed
        keep_last_state
        [ -z "$started" ] || state=queued note="$runtime $nid: requeued, and will run again from the start"
        return
    fi
    if [ -e "$job/claim" ] && [ -n "$started" ] && is_later started "$started"; then
        is_confirmed "has requeued the job" || return 0
        mark_lost "$runtime requeued the job after it had started, and tej does not run it a second time${reason:+ ($reason)}"
        return 0
    fi
    clear_missed
    keep_last_state
}

# derive_gone_state: derive the state of a job that the scheduler reports as over or unknown,
# although the job has recorded no end.
derive_gone_state() {
    is_later submitted "$submitted" || {
        keep_last_state
        return
    }
    if [ -e "$job/kill" ]; then
        # A listing that is older than the kill does not show its effect.
        if ! is_later kill "$kill_time"; then
            keep_last_state
        elif is_end_certain || is_confirmed "no longer lists the job as active"; then
            record_killed
        fi
        return
    fi
    case $listed_state in
        cancelled | limit)
            # Only the process that creates the file `claim` may start the script. If this
            # client creates it, no second query is necessary.
            ! in_same_job take_claim || {
                record_cut_off
                return
            }
            ;;
    esac
    is_confirmed "no longer lists the job as active${reason:+ ($reason)}" || {
        record_early_end
        return 0
    }
    # Some sites answer `squeue` from a cache, which shows a new job only after a minute or
    # more. So ask the scheduler about this job alone.
    ! { is_unlisted && scheduler_has "$nid"; } || {
        keep_last_state
        note="$runtime does not list the job, but reports its state as $reason"
        return 0
    }
    recall_missed
    find_cause
    ! is_end_assumed "$listed_state" "$reason" || is_silent "$heartbeat_timeout" || {
        keep_last_state
        note="$runtime says $reason; checking again before the job counts as lost, after $heartbeat_timeout seconds without a heartbeat"
        return 0
    }
    case $listed_state in
        cancelled | limit) record_cut_off ;;
        alive | moved) derive_contradicted_state ;;
        *) mark_gone ;;
    esac
}

# mark_gone: record the end of a job, because neither the scheduler nor the job has recorded how
# the job ended. If this client can create the file `claim`, the script has not started and can
# no longer start. Otherwise the job is lost.
mark_gone() {
    if ! has_begun; then
        in_same_job take_claim || {
            # The wrapper has just created `claim`.
            keep_last_state "$runtime no longer lists the job"
            return 0
        }
        record_cut_off "unstarted $runtime ${reason:+says }${reason:-no longer lists the job}"
    elif [ -f "$job/rerun" ]; then
        mark_lost "$runtime started the job a second time, tej did not run it again, and the first run recorded no end"
    elif [ -n "$reason" ]; then
        mark_lost "$runtime says $reason, and the job recorded no exit status"
    else
        mark_lost "$runtime no longer lists the job, and the job recorded no exit status"
    fi
}

# record_early_end: record the end without a second query if the accounting reports who ended
# the job, and the heartbeat stopped long ago. The accounting alone is not enough: the job's
# processes may run on a node that the scheduler cannot reach.
record_early_end() {
    is_unlisted && [ -n "$last_heartbeat" ] || return 0
    find_age heartbeat "$last_heartbeat"
    [ "$age" -ge "$heartbeat_timeout" ] || return 0
    find_cause
    case $listed_state in cancelled | limit) record_cut_off ;; esac
}

# is_end_certain: check whether the scheduler's report that the killed job is over proves that
# no process of the job can run.
is_end_certain() {
    has_fallen_silent && [ "$silence" = 0 ]
}

# was_requeued: check whether the scheduler had requeued the started job before tej cancelled
# it.
was_requeued() {
    requeued=''
    [ ! -f "$job/ending" ] || read -r _ _ requeued <"$job/ending"
    [ -n "$requeued" ]
}

# is_unlisted: check whether the scheduler does not know the job, or knows only that the job has
# moved to another cluster.
is_unlisted() {
    case $listed_state in unknown | moved) ;; *) return 1 ;; esac
}

# derive_contradicted_state: derive the state of an unlisted job that is not over according to
# the accounting ($listed_state is `alive`), or that has moved to another cluster (`moved`). The
# accounting may miss the end of a job. So the job is lost after $heartbeat_timeout seconds
# without a heartbeat.
derive_contradicted_state() {
    why_unlisted="$runtime no longer lists the job"
    [ "$listed_state" = alive ] || why_unlisted="the job has moved to another cluster"
    find_age missed "$missed"
    if [ "$age" -ge "$heartbeat_timeout" ]; then
        mark_lost "$why_unlisted, and the job recorded no exit status${reason:+ ($reason)}"
    else
        keep_last_state
        note="$why_unlisted${reason:+, and its accounting says $reason}"
    fi
}

# record_killed: write the file `finished` of a job that is gone after a kill. First kills the
# job's processes on this host, because a scheduler does not find all of them. Returns 1 if some
# remain.
record_killed() {
    wait_for_processes 5 KILL || {
        keep_last_state
        note="$runtime has ended the job, but some of its processes run on $host"
        return 1
    }
    in_same_job take_claim
    mark_killed
}
