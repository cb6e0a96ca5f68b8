# State of a job. The state is not stored, but derived at each request from the job's
# fact files (facts.sh), the job's signs of life (signs_of_life.sh), and the runtime, in this
# order.
# shellcheck shell=sh
#
#   created   has a spec, but no native id   finished  the script ended by itself
#   queued    waits to start                 killed    ended after `kill` was requested
#   running   started, and alive             lost      outcome can no longer be determined
#
# A job with a sign of life is running, even if another source reports that the job is
# gone. A job is `lost` if the job shows no sign of life, and the runtime or the job's
# host reports that the job is gone. If the job's wrapper has recorded the end of the
# job, this end takes precedence over all other sources.

# is_final: check whether $state can no longer change.
is_final() {
    case $state in finished | killed | lost) ;; *) return 1 ;; esac
}

# has_succeeded: check whether the loaded job finished with exit code 0 and was not cut off.
has_succeeded() {
    [ "$state" = finished ] && [ -z "$cut_off" ] && [ "$how" = exit ] && [ "$number" = 0 ]
}

# read_facts: set $state and the other variables of the job from the job's fact files (facts.sh).
# $s_host to $s_start identify the shell that published the job, and $j_pid and $j_start
# identify the first process of the job. Sets $state to `?` if the runtime must check whether
# the job is alive, or why the job ended.
#
# The job's directory may be moved while the fact files are read, and another job with the same
# id may have its path afterwards (retry). Therefore `spec` is read again at the end.
read_facts() {
    read_each_fact
    # If the state is `?`, derive_state reads `spec` again.
    [ "$state" = '?' ] || is_same_job || read_each_fact
}

# read_each_fact: like read_facts, but does not check whether all fact files belong to the same
# job.
read_each_fact() {
    state='' how='' number='' left='' submitted='' started='' ended='' where='' native=''
    by='' grace='' kill_time='' cut_off='' evidence='' note='' seen='' beat='' spec='' damage=''
    j_pid='' j_start=''
    read_spec || damage=spec
    case $spec in *' end') ;; *) damage=spec ;; esac
    read_fact submitted && {
        read -r submitted s_host s_boot s_space s_pid s_start <"$job/submitted"
        is_number "$submitted" || damage=submitted submitted=''
    }
    read_fact started && {
        read -r started where j_pid j_start <"$job/started"
        is_number "$started" || damage=started started=''
    }
    read_native_id
    read_fact kill && {
        read -r kill_time grace by <"$job/kill"
        is_number "$kill_time" && is_number "$grace" || damage=kill by='' grace='' kill_time=''
    }
    read_end || derive_unended_state
}

# read_native_id: set $native from the file `native_id`, or to '' if the file is missing or
# damaged. $started must be set.
read_native_id() {
    if read_fact native_id; then
        IFS= read -r native <"$job/native_id"
        case $native in
            'pid '*' '*' '*' '*' '*) ;; # written by a wrapper of the default runtime
            'pid '*) damage=native_id native='' ;;
            *' '*) ;; # written by the runtime of a scheduler
            *) damage=native_id native='' ;;
        esac
    elif [ "$damage" = native_id ] && [ -z "$started" ]; then
        # An empty `native_id` is not damage before the start of the script: the wrapper may
        # be writing the file at this moment (put_once).
        damage=''
    fi
}

# derive_unended_state: set $state of a job whose end is not recorded, from the fact files that
# read_facts has read. Sets $state to `?` if only the runtime knows the state.
derive_unended_state() {
    if [ -n "$damage" ] || [ -z "$submitted" ]; then
        # The wrapper may just have been writing the damaged file. Therefore read the fact files
        # once more.
        [ -n "${read_twice-}" ] || [ ! -d "$job" ] || {
            read_twice=1
            read_each_fact
            read_twice=''
            return 0
        }
        derive_damaged_state
    elif [ -f "$job/lost" ]; then
        read -r ended evidence <"$job/lost"
        state=lost
        # If the heartbeat is newer than `lost`, or if this host shows a process of the
        # job, the job is alive: the file `lost` was wrong, or the job's host responds
        # again.
        if [ -n "$native" ] && { [ "$job/heartbeat" -nt "$job/lost" ] 2>/dev/null || is_seen_here; }; then
            state='?' ended='' note="it was reported as lost ($evidence)" evidence=''
        fi
    elif [ -z "$native" ] && [ -f "$job/submitting" ]; then
        state='?'
    elif [ -z "$native" ] && [ -f "$job/queued" ]; then
        state=queued
        [ ! -d "$job/after" ] || note_waits
        ! claim_is_stale || mark_lost "its wrapper died before it started the script"
    elif [ -z "$native" ]; then
        derive_unstarted_state
    else
        state='?'
    fi
}

# read_spec: set $spec to the content of the job's file `spec`. If the job is being removed, reads
# the renamed file (claim_removal). Returns 1 if the last line of the file is incomplete.
read_spec() {
    spec=''
    if [ -f "$job/spec" ]; then
        IFS= read -r spec <"$job/spec"
    else
        for item in "$job/.taken "*; do
            [ ! -f "$item" ] || IFS= read -r spec <"$item"
        done
    fi
}

# read_fact FACT: check whether the job's file FACT exists and is not empty. If the file is empty,
# sets $damage to FACT.
read_fact() {
    [ ! -s "$job/$1" ] || return 0
    [ ! -f "$job/$1" ] || damage=$1
    return 1
}

# read_end: set $state from the file `finished`, or to `?` if only the scheduler knows why the
# job ended. Returns 1 if no end is recorded. If other fact files are missing or damaged, sets
# their variables from the second line of `finished`, as a list of many jobs does (ended_jobs.sh).
read_end() {
    [ -s "$job/finished" ] || return 1
    read -r ended how number whose left _ <"$job/finished"
    case $how,$whose in
        exit,own | exit,killed | exit,ask | signal,own | signal,killed | signal,ask) ;;
        none,own | none,killed | none,ask) ;;
        *) number='' ;;
    esac
    is_number "$ended" && is_number "$number" || {
        damage=finished ended='' how='' number='' whose='' left=''
        return 1
    }
    if [ "$whose" = killed ]; then state=killed; else state=finished; fi
    [ "$left" != 0 ] || left=''
    [ -n "$submitted" ] && [ -n "$started" ] && [ -n "$where" ] && [ -n "$native" ] || read_copy
    if [ -f "$job/reason" ]; then
        read_reason
    elif [ "$whose" = ask ]; then
        state='?'
    fi
}

# read_copy: set the variables of other fact files from the second line of `finished`
# (copy_facts in run_detached.sh), if the file has this line.
read_copy() {
    {
        read -r _
        read -r copied_token copied_submitted copied_started copied_where copied_native
    } <"$job/finished"
    case $copied_native in 'pid '*' '*' '*' '*' '*' end') ;; *) return 0 ;; esac
    case $spec in "token=$copied_token "*) ;; *) return 0 ;; esac
    submitted=$copied_submitted started=$copied_started where=$copied_where
    native=${copied_native% end}
}

# read_reason: read the file `reason`, which states why the job ended. If the job was cancelled or
# cut off, or if the file cannot be read, sets $cut_off to `limit` or `other`. If the job was
# cancelled or not started, sets $state to `killed`.
read_reason() {
    kind='' # if the file cannot be opened, `read` changes nothing
    read -r _ kind note <"$job/reason"
    case $kind in
        cancelled) state=killed cut_off=other note="not by tej${note:+: $note}" ;;
        limit) cut_off=limit ;;
        cut) cut_off=other ;;
        unstarted) state=killed note="not started: $note" ;;
        other) ;;
        *) cut_off=other note="its file 'reason' is damaged or cannot be read" ;;
    esac
}

# derive_unstarted_state: derive the state of a job without a native id. The job is lost if the
# shell that submitted the job is gone.
derive_unstarted_state() {
    state=created
    if same_host "$s_host" "$s_boot" "$s_space"; then
        is_gone "$s_pid" "$s_start" || return 0
        # The submitting shell may have started the wrapper after the fact files were read.
        [ ! -s "$job/native_id" ] || {
            state='?'
            IFS= read -r native <"$job/native_id"
            return 0
        }
        ! runs_unrecorded "its file 'native_id' is missing" || return 0
    else
        get_age "$job/submitted" && [ "$age" -ge "$heartbeat_timeout" ] || return 0
    fi
    # A wrapper must create `claim` before it starts the script. If this client creates
    # `claim`, wrappers can no longer start the job.
    if in_same_job take_claim || [ ! -e "$job/claim" ] || claim_is_stale; then
        mark_lost "the submission was interrupted on $s_host before the job was started"
    fi
}

# mark_lost EVIDENCE...: set $state to `lost` and $ended to the time of the job's last
# sign of life, and write the file `lost`. If the end of the job was recorded meanwhile,
# sets $state to the recorded end instead. The caller must have checked that the job is gone. If
# fact files of the job cannot be read, its end may be recorded in one of them. Therefore the job
# is then not marked as lost (set_unknown).
mark_lost() {
    read_end && return 0
    can_read_facts || {
        set_unknown
        return 0
    }
    get_last_sign
    state=lost evidence=$* ended=$last_sign found_lost=1
    if [ ! -f "$job/lost" ]; then
        in_same_job put lost "$ended $evidence" 2>/dev/null
    elif [ "${note#it was reported as lost}" = "$note" ]; then
        # The wrapper has written `lost` since the fact files were read. Only the wrapper knows
        # the cause, so its evidence is used.
        read -r ended evidence <"$job/lost"
    fi
    return 0
}

# mark_killed: write the file `finished` of a killed job that is gone, and whose wrapper has not
# recorded the end.
mark_killed() {
    can_read_facts || {
        set_unknown
        return 0
    }
    get_last_sign
    # The job was alive when the kill was requested, so its end is not earlier.
    [ -z "$kill_time" ] || [ "$kill_time" -le "$last_sign" ] || last_sign=$kill_time
    in_same_job put_end "$last_sign none 0 killed 0"
    read_end
}

# derive_state: if the fact files do not determine the state of the job, let the runtime
# derive the state. For many jobs, call `query_runtime` first, which queries the runtime
# once for all jobs.
derive_state() {
    while [ "$state" = '?' ]; do
        known_end=$ended
        runtime_ask "$native"
        runtime_derive_state
        # If the state is still `?`, and the end was recorded during the query (mark_lost), the
        # next turn of the loop asks the scheduler for the cause. If no end was recorded, the fact
        # files contradict each other.
        [ "$state" != '?' ] || [ "$ended" != "$known_end" ] || state=lost evidence="${note:-its files on the server contradict each other}" note=''
        # Another client may have replaced the job while its state was derived.
        is_same_job || read_facts
    done
}

# query_runtime ID...: query the runtime once for all jobs in ID... that have a native id
# and are not lost. An ID may also be the path of a job's directory with a trailing
# slash.
query_runtime() {
    natives=''
    for entry in "$@"; do
        entry=${entry%/}
        ! find_job "${entry##*/}" || [ ! -s "$job/native_id" ] || [ -e "$job/lost" ] || {
            IFS= read -r native <"$job/native_id"
            natives="$natives $native"
        }
    done
    [ -z "$natives" ] || runtime_ask "$natives"
}

# load_job ID: set $state and the other variables of the job ID. Returns 1 if it is certain
# that the job does not exist.
load_job() {
    read_job "$1" || return 1
    derive_state
    [ -d "$job" ] || {
        read_job "$1" || return 1
        derive_state
    }
}

# read_job ID: like load_job, but sets $state to `?` if the runtime must derive the
# state.
read_job() {
    find_job "$1" || return 1
    read_facts
    # The job may have been removed or replaced while its fact files were read.
    [ -d "$job" ] || {
        find_job "$1" || return 1
        read_facts
    }
    return 0
}

# load_again ID WORDS: load the job ID if its `spec` contains WORDS, or else the archived
# attempt of ID whose `spec` contains WORDS. A caller uses load_again to return to a job, because
# meanwhile the job may have been archived, and another job may have its id. Sets $id to ID in
# every case, because the record of the job must have the id of the request. Returns 1 if no such
# job exists. If the `spec` of ID is damaged or cannot be read, ID is taken for the requested job.
load_again() {
    other_spec=''
    if load_job "$1"; then
        case $spec in *"$2"*) return 0 ;; esac
        [ -n "$spec" ] || can_read_facts || return 0
        other_spec=$spec
    fi
    for item in "$queue/attempts/${1%'#'*}"/*/job; do
        item=${item%/job}
        load_job "${1%'#'*}#${item##*/}" || continue
        case $spec in
            *"$2"*)
                id=$1
                return 0
                ;;
        esac
    done
    id=$1
    # Another client may have restored the requested job (restore_attempt) during the search.
    [ -z "$other_spec" ] && load_job "$1" || return 1
    # A job whose `spec` is damaged may be the requested job.
    case $spec in '' | *"$2"*) ;; *) return 1 ;; esac
}
