# Derives the state of a job at each request, because the state is not stored. First reads the
# job's fact files, which are small files that record its progress (facts.sh). If they do not
# determine the state, checks whether the job shows signs of life (signs_of_life.sh), and asks
# its runtime. A runtime is the code for one way to start jobs, such as Slurm.
# shellcheck shell=sh
#
#   created   has a spec, but no native id   finished  the script ended by itself
#   queued    waits to start                 killed    ended after `kill` was requested
#   running   started, and alive             lost      outcome can no longer be determined
#
# The native id is a pid or the scheduler's id. The wrapper is the process that runs the job's
# script. An end that the wrapper has recorded overrides all other sources. A job with a sign of
# life is running, even if another source says that it is gone. A job is lost if it shows no
# sign of life, and the runtime or the job's host says that it is gone.

# is_final: check whether $state can no longer change.
is_final() {
    case $state in finished | killed | lost) ;; *) return 1 ;; esac
}

# has_succeeded: check whether the loaded job finished with exit code 0 and was not cut off.
has_succeeded() {
    [ "$state" = finished ] && [ -z "$cut_off" ] && [ "$how" = exit ] && [ "$number" = 0 ]
}

# read_facts: set $state and the other variables of the job from its fact files. Sets $state to
# `?` if the runtime must check whether the job is alive, or why it ended. $s_host to $s_start
# identify the shell that published the job, and $j_pid and $j_start the first process of the
# job.
#
# During the reads, a retry may move the job, and a new job may get its path. So `spec` is read
# again at the end.
read_facts() {
    read_each_fact
    # If the state is `?`, derive_state reads `spec` again.
    [ "$state" = '?' ] || is_same_job || read_each_fact
}

# read_each_fact: like read_facts, but does not check whether all files belong to the same job.
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
        # The script has not started, and the wrapper may just be writing the file (put_once).
        damage=''
    fi
}

# derive_unended_state: set $state of a job whose end is not recorded, from its fact files. Sets
# $state to `?` if only the runtime knows the state.
derive_unended_state() {
    if [ -n "$damage" ] || [ -z "$submitted" ]; then
        # The wrapper may just have been writing the file, so read once more.
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
        # A newer heartbeat or a process on this host shows that the job is alive. Either the
        # file `lost` was wrong, or the job's host responds again.
        if [ -n "$native" ] && { [ "$job/heartbeat" -nt "$job/lost" ] 2>/dev/null || is_seen_here; }; then
            state='?' ended='' note="it was reported as lost ($evidence)" evidence=''
        fi
    elif [ -z "$native" ] && [ -f "$job/submitting" ]; then
        state='?'
    elif [ -z "$native" ] && { [ -f "$job/queued" ] || [ -d "$job/after" ]; }; then
        # A job with the directory `after` is queued, even if its file `queued` was lost.
        state=queued
        if [ -d "$job/after" ]; then
            note_waits
        elif [ -f "$job/dependencies" ]; then
            note="it cannot start, because its directory 'after' is missing: kill it, then retry it"
        fi
        ! claim_is_stale || mark_lost "its wrapper died before it started the script"
    elif [ -z "$native" ]; then
        derive_unstarted_state
    else
        state='?'
    fi
}

# read_spec: set $spec from the job's file `spec`, which has another name while the job is being
# removed (claim_removal). Returns 1 if the last line of the file is incomplete. Ignores a
# symbolic link, like read_fact.
read_spec() {
    spec=''
    if [ -f "$job/spec" ] && [ ! -h "$job/spec" ]; then
        IFS= read -r spec <"$job/spec"
    else
        for item in "$job/.taken "*; do
            [ ! -f "$item" ] || IFS= read -r spec <"$item"
        done
    fi
}

# read_fact FACT: check whether the job's file FACT exists and is not empty. For an empty file and
# for a symbolic link, sets $damage to FACT. tej writes no links, and a link may lead to a file of
# another job, whose processes a kill would then end.
read_fact() {
    [ ! -s "$job/$1" ] || [ -h "$job/$1" ] || return 0
    [ ! -f "$job/$1" ] || damage=$1
    return 1
}

# read_end: set $state from the file `finished`, or to `?` if only the scheduler knows why the
# job ended. Returns 1 if no end is recorded. If other fact files are missing, uses the copies
# in `finished`, as ended_jobs.sh does.
read_end() {
    [ -s "$job/finished" ] || return 1
    read -r ended how number end_cause left _ <"$job/finished"
    case $how,$end_cause in
        exit,own | exit,killed | exit,ask | signal,own | signal,killed | signal,ask) ;;
        none,own | none,killed | none,ask) ;;
        *) number='' ;;
    esac
    is_number "$ended" && is_number "$number" || {
        damage=finished ended='' how='' number='' end_cause='' left=''
        return 1
    }
    if [ "$end_cause" = killed ]; then state=killed; else state=finished; fi
    [ "$left" != 0 ] || left=''
    [ -n "$submitted" ] && [ -n "$started" ] && [ -n "$where" ] && [ -n "$native" ] || read_copy
    if [ -f "$job/reason" ]; then
        read_reason
    elif [ "$end_cause" = ask ]; then
        state='?'
    fi
}

# read_copy: set the variables of other fact files from the second line of `finished`
# (copy_facts in run_detached.sh), if it exists.
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

# read_reason: read the file `reason`, which states why the job ended. For a job that was
# cancelled or cut off, sets $cut_off to `limit` or `other`. For a job that was cancelled or not
# started, sets $state to `killed`. If the file cannot be read, the job counts as cut off.
read_reason() {
    kind='' # if the file cannot be opened, `read` changes nothing
    read -r _ kind note <"$job/reason"
    case $kind in
        cancelled) state=killed cut_off=other note="not by tej${note:+: $note}" ;;
        killed) state=killed ;;
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
        # The wrapper may have started since the files were read: read its native id.
        [ ! -s "$job/native_id" ] || {
            state='?'
            IFS= read -r native <"$job/native_id"
            return 0
        }
    else
        get_age "$job/submitted" && [ "$age" -ge "$heartbeat_timeout" ] || return 0
    fi
    # The server may have deleted the old files of a running job.
    ! is_unrecorded "its file 'native_id' is missing" || return 0
    # Only the process that creates the file `claim` may start the script. If this client
    # creates it, the job cannot start any more.
    if in_same_job take_claim || [ ! -e "$job/claim" ] || claim_is_stale; then
        mark_lost "the submission was interrupted on $s_host before the job was started"
    fi
}

# mark_lost EVIDENCE...: set $state to `lost` and $ended to the last sign of life, and write the
# file `lost`. The caller must have checked that the job is gone. If the end was recorded
# meanwhile, sets $state to the recorded end. If a fact file cannot be read, it may contain the
# end, and the state is unknown (set_unknown).
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
        # The wrapper has written `lost` meanwhile. Only the wrapper knows the cause.
        read -r ended evidence <"$job/lost"
    fi
    return 0
}

# mark_killed: write the file `finished` of a killed job that is gone, and whose wrapper has not
# written the file.
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

# derive_state: let the runtime derive the state if it is `?`. For many jobs, call query_runtime
# first.
derive_state() {
    while [ "$state" = '?' ]; do
        known_end=$ended
        runtime_ask "$native"
        runtime_derive_state
        # If the end was recorded meanwhile (mark_lost), the next iteration asks the scheduler
        # for the cause. Otherwise the fact files contradict each other.
        [ "$state" != '?' ] || [ "$ended" != "$known_end" ] || state=lost evidence="${note:-its files on the server contradict each other}" note=''
        # If another client has replaced the job meanwhile, read the new job.
        is_same_job || read_facts
    done
}

# query_runtime ID...: query the runtime once for all these jobs. ID may also be the path of a
# job's directory with a trailing slash.
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

# load_job ID: set $state and the other variables of the job. Returns 1 if the job certainly
# does not exist.
load_job() {
    read_job "$1" || return 1
    derive_state
    [ -d "$job" ] || {
        read_job "$1" || return 1
        derive_state
    }
}

# read_job ID: like load_job, but sets $state to `?` if only the runtime knows the state.
read_job() {
    find_job "$1" || return 1
    read_facts
    # If the job was removed or replaced during the reads, read again.
    [ -d "$job" ] || {
        find_job "$1" || return 1
        read_facts
    }
    return 0
}

# load_again ID WORDS: load the job with ID and with WORDS in its `spec`. If a new job has this
# ID, looks for the job among the archived attempts (retry). Returns 1 if the job no longer
# exists. A job whose `spec` is damaged or unreadable counts as the right job. Sets $id to ID in
# every case, for the reply.
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
    # Look again in `jobs`: another client may have moved the job back (restore_attempt).
    [ -z "$other_spec" ] && load_job "$1" || return 1
    # A job whose `spec` is damaged may be the right job.
    case $spec in '' | *"$2"*) ;; *) return 1 ;; esac
}
