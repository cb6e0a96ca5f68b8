# Dependencies between jobs. A job starts after all jobs that it needs have succeeded. If one of
# them does not succeed, the waiting job ends without being started. When a job ends, its
# wrapper (the process that runs its script) starts the next jobs. Every client that uses the
# queue also starts these jobs, because a wrapper may have died.
# shellcheck shell=sh
#
#   jobs/ID/dependencies        lines `after OTHER`; `from OTHER/SOURCE`, then `to PATH`
#   jobs/ID/after/OTHER         ID waits for the job OTHER
#   dependents/OTHER/TOKEN.ID   ID, submitted with TOKEN, needs OTHER; removed when ID has
#                               copied its inputs or has ended
#   attempts/ID/restarting      link to the client that is replacing ID with a new attempt
#
# No end of a job can be missed. A submission publishes its job, then checks the jobs that it
# needs. A wrapper writes `finished`, then reads `dependents`. Several processes may try to
# start the same job, but only one of them can create the file `claim`, which a start requires.
#
# Variables of this file begin with dep_, because load_job changes other variables.

# read_dependencies: set $dep_needs to the ids of the jobs that $job needs, and $dep_entry to
# the name of $job in `dependents/OTHER`.
read_dependencies() {
    dep_needs=''
    read_spec
    dep_entry=${spec#*token=}
    dep_entry="${dep_entry%% *}.$id"
    while IFS= read -r line; do
        case $line in
            'after '*) line=${line#after } ;;
            'from '*) line=${line#from } line=${line%%/*} ;;
            *) continue ;;
        esac
        case "$dep_needs " in *" $line "*) ;; *) dep_needs="$dep_needs $line" ;; esac
    done <"$job/dependencies"
}

# prepare_wait: make $job wait for the jobs that it needs. Called after the upload and before
# $job is published. On failure, returns 1, and sets $why and $dep_status (the exit status of
# the error).
prepare_wait() {
    [ -f "$job/dependencies" ] || return 0
    dep_status=20
    read_dependencies
    for dep_other in $dep_needs; do
        if [ "$dep_other" != "$id" ]; then
            if [ -d "$jobs/$dep_other" ] || is_restarting "$dep_other" || ! is_absent "$jobs/$dep_other"; then continue; fi
        fi
        why="it needs job '$dep_other'${newline}Job '$dep_other' is not in queue $queue"
        dep_status=3
        return 1
    done
    ! waits_for_itself || {
        why="job '$id' and the jobs that it needs would wait for each other"
        return 1
    }
    why="cannot write to '$incoming'"
    mkdir "$job/after" && printf '%s\n' "$now" >"$job/queued" && add_to_dependents || return 1
    for dep_other in $dep_needs; do printf '' >"$job/after/$dep_other" || return 1; done
}

# waits_for_itself: check whether one of the jobs that $job needs is waiting, directly or
# indirectly, for the id of $job. Such a cycle is possible only in a retry, because other jobs
# may already wait for its id.
waits_for_itself() {
    [ -d "$queue/dependents/$id" ] || return 1
    dep_seen=''
    # shellcheck disable=SC2086 # split into ids
    set -- $dep_needs
    while [ $# -gt 0 ]; do
        dep_other=$1
        shift
        [ "$dep_other" != "$id" ] || return 0
        case "$dep_seen " in *" $dep_other "*) continue ;; esac
        dep_seen="$dep_seen $dep_other"
        [ ! -s "$jobs/$dep_other/finished" ] || continue
        for dep_wait in "$jobs/$dep_other/after"/*; do
            [ ! -e "$dep_wait" ] || set -- "$@" "${dep_wait##*/}"
        done
    done
    return 1
}

# add_to_dependents: list $job in `dependents/OTHER` for each job OTHER that it needs. Called
# again after the job is published, because a deletion of OTHER may have removed the entry.
# Returns 1 and sets $why on failure.
add_to_dependents() {
    read_dependencies
    why="cannot write to '$queue/dependents'"
    make_queue_directory dependents || return 1
    for dep_other in $dep_needs; do
        dep_tries=0
        # Retry: another process may remove the empty directory between `mkdir` and `printf`.
        until { printf '' >"$queue/dependents/$dep_other/$dep_entry"; } 2>/dev/null; do
            dep_tries=$((dep_tries + 1))
            [ "$dep_tries" -lt 10 ] && mkdir -p "$queue/dependents/$dep_other" || return 1
        done
    done
    why=''
}

# leave_dependents: remove $job from the directories `dependents/OTHER`.
leave_dependents() {
    [ -f "$job/dependencies" ] || return 0
    read_dependencies
    set --
    for dep_other in $dep_needs; do set -- "$@" "$queue/dependents/$dep_other/$dep_entry"; done
    rm -f "$@"
    set --
    for dep_other in $dep_needs; do set -- "$@" "$queue/dependents/$dep_other"; done
    rmdir "$@" 2>/dev/null || :
}

# note_waits: set $note to the jobs that $job waits for. Without an entry of $job in
# `dependents/OTHER`, the end of OTHER would not start $job. Therefore creates a missing entry
# again.
note_waits() {
    dep_waits='' dep_count=0 dep_entry=${spec#*token=}
    dep_entry="${dep_entry%% *}.$id" dep_unlisted=''
    for dep_wait in "$job/after"/*; do
        [ -e "$dep_wait" ] || continue
        [ -e "$queue/dependents/${dep_wait##*/}/$dep_entry" ] || dep_unlisted=1
        dep_count=$((dep_count + 1))
        [ "$dep_count" -gt 3 ] || dep_waits="$dep_waits${dep_waits:+, }${dep_wait##*/}"
    done
    [ "$dep_count" -le 3 ] || dep_waits="$dep_waits and $((dep_count - 3)) more"
    [ -z "$dep_waits" ] || note="waits for $dep_waits"
    [ -z "$dep_unlisted" ] || [ ! -f "$job/dependencies" ] || in_same_job restore_entries || :
}

# restore_entries: list $job in `dependents/OTHER` again. Another process may have started the
# job meanwhile, and the job's wrapper may already have removed the job from these directories
# (take_inputs).
restore_entries() {
    add_to_dependents || :
    [ ! -e "$job/.inputs" ] && [ ! -s "$job/finished" ] || leave_dependents
}

# resolve_dependents ID: if the job ID has ended, start or end the jobs that wait for it. With
# an empty ID, starts or ends the jobs that wait for any ended job.
resolve_dependents() {
    [ -n "$1" ] || {
        dep_todo=''
        for dep_other in "$queue/dependents"/*/; do
            dep_other=${dep_other%/}
            ! has_unresolved "$dep_other" || dep_todo="$dep_todo ${dep_other##*/}"
        done
        set -f
        # shellcheck disable=SC2086 # split into ids
        set -- $dep_todo
        set +f
        query_runtime "$@"
    }
    while [ $# -gt 0 ]; do
        dep_origin=$1 dep_ended=''
        shift
        has_unresolved "$queue/dependents/$dep_origin" || continue
        check_dependency "$dep_origin"
        [ "$dep_outcome" != pending ] || continue
        for dep_other in "$queue/dependents/$dep_origin"/*; do
            [ ! -f "$dep_other" ] || resolve_dependent "${dep_other##*/}"
        done
        # Other jobs may wait for a job that has ended without being started.
        for dep_other in $dep_ended; do set -- "$@" "$dep_other"; done
    done
}

# has_unresolved DIRECTORY: check whether DIRECTORY, which is `dependents/OTHER`, lists a job that
# must be started or ended once OTHER has ended.
has_unresolved() {
    for dep_item in "$1"/*; do
        dep_job=${dep_item##*/} dep_job=$jobs/${dep_job#*.}
        if [ -s "$dep_job/finished" ] || [ -e "$dep_job/lost" ]; then
            return 0
        elif [ -d "$dep_job/after" ] && [ ! -s "$dep_job/native_id" ] && [ ! -e "$dep_job/claim" ]; then
            [ ! -e "$dep_job/after/${1##*/}" ] || return 0
            ! is_ready "$dep_job" || return 0
        fi
    done
    return 1
}

# is_ready PATH: check whether the job at PATH waits for no other job.
is_ready() {
    for dep_wait in "$1/after"/*; do [ ! -e "$dep_wait" ] || return 1; done
}

# check_dependency ID: set $dep_outcome to `pending`, `succeeded` or `failed`, and $dep_words to
# the reason of a failure.
check_dependency() {
    dep_outcome=pending
    if load_job "$1"; then
        is_final || return 0
        dep_outcome=failed
        case $state in
            killed) dep_words="$1 was killed" ;;
            lost) dep_words="$1 is lost" ;;
            *) dep_words="$1 failed" ;;
        esac
        ! has_succeeded || dep_outcome=succeeded
    # A retry removes `restarting` only after the new job is published. Therefore check for
    # `restarting` first: then one of the two checks always finds the job.
    elif ! is_restarting "$1" && ! find_job "$1"; then
        dep_outcome=failed dep_words="$1 was deleted"
    fi
}

# end_dependents: end the jobs that wait for the job $id, which could not be started and was
# removed. Changes $id and $job.
end_dependents() {
    [ -d "$queue/dependents/$id" ] && ! find_job "$id" || return 0
    dep_origin=$id dep_outcome=failed dep_words="$id could not be started" dep_ended=''
    for dep_other in "$queue/dependents/$dep_origin"/*; do
        [ ! -f "$dep_other" ] || resolve_dependent "${dep_other##*/}"
    done
    for dep_other in $dep_ended; do resolve_dependents "$dep_other"; done
    await_on_end
}

# is_restarting ID: check whether a live client is replacing this job with a new attempt.
is_restarting() {
    [ -h "$queue/attempts/$1/restarting" ] && is_locked "$queue/attempts/$1/restarting" 300
}

# resolve_dependent ENTRY: start or end the job of ENTRY (TOKEN.ID), which needs the ended job
# $dep_origin. If the job ends without being started, adds its id to $dep_ended.
resolve_dependent() {
    id=${1#*.} job=$jobs/${1#*.}
    # If jobs/ID has another token, it is another job. The job of ENTRY is then not published
    # yet, or was archived by a retry.
    has_token "${1%%.*}" || return 0
    if [ -s "$job/finished" ] || [ -e "$job/lost" ]; then
        leave_dependents
    elif [ -e "$job/claim" ] || [ -s "$job/native_id" ]; then
        :
    elif [ "$dep_outcome" = failed ]; then
        ! end_unstarted "$dep_words" || dep_ended="$dep_ended $id"
    else
        rm -f "$job/after/$dep_origin"
        ! is_ready "$job" || start_ready_job
    fi
}

# start_ready_job: start $job, or put it on the waiting list of the job limit. If this process
# dies before the start, the next client starts the job, because the job's directory `after` is
# empty.
start_ready_job() {
    ! is_waiting_or_running || return 0
    take_lock "$job/.starting" || return 0
    if [ -e "$queue/max_running" ]; then
        enqueue
    else
        launch "$id" || :
    fi
    rm -f "$job/.starting"
}

# note_unstarted WORDS...: write the file `reason` of a job that was not started. Must be called
# before `finished` is written.
note_unstarted() {
    get_time
    put reason "${now:-0} unstarted $*"
}

# end_unstarted WORDS...: end the waiting job $job without starting it. WORDS are the reason.
# Returns 1 if the job may start, if a file cannot be written, or if `date` fails.
end_unstarted() {
    take_claim || return 1
    now=''
    get_time
    [ -n "$now" ] && note_unstarted "$@" && put finished "$now none 0 killed 0" || {
        rm -f "$job/claim"
        return 1
    }
    leave_dependents
    read_end
    run_on_end_once
}

# take_inputs: copy the files that $job needs from other jobs, and check its shared files.
# Called by the wrapper of $job. Returns 1 and sets $why on failure. If $again is 1, an earlier
# run of the wrapper may have copied some of the files.
take_inputs() {
    find_changed_input
    [ -z "$changed" ] || {
        why="another job has changed the shared file '$changed'; a retry sends it again"
        leave_dependents
        return 1
    }
    # A job with the directory `after` always has the file `dependencies`.
    [ -f "$job/dependencies" ] || [ ! -d "$job/after" ] || {
        why="its file '$job/dependencies' cannot be read"
        return 1
    }
    [ -f "$job/dependencies" ] && [ ! -e "$job/.inputs" ] || return 0
    while IFS= read -r line; do
        case $line in
            'from '*) dep_from=${line#from } ;;
            'to '*) copy_input "${dep_from%%/*}" "${dep_from#*/}" "${line#to }" || {
                leave_dependents
                return 1
            } ;;
        esac
    done <"$job/dependencies"
    printf '' >"$job/.inputs"
    leave_dependents
}

# copy_input ID SOURCE PATH: copy SOURCE of the job ID to PATH of $job. A hard link would let
# $job change the file of ID. TEJ_JOB_TOKEN marks `cp` as a process of $job, so that `tej kill`
# finds it.
copy_input() {
    dep_source=$jobs/$1/stage/$2 dep_target=$job/stage/$3
    [ -z "${again-}" ] || remove "$dep_target"
    if is_absent "$dep_source"; then
        why="$1 has no file '$2'"
    elif [ -e "$dep_target" ] || [ -h "$dep_target" ]; then
        why="its own files contain '$3', which is also an input from $1"
    else
        read_spec
        dep_token=${spec#*token=}
        why=$(
            exec </dev/null 2>&1
            TEJ_JOB_TOKEN=${dep_token%% *}
            export TEJ_JOB_TOKEN
            mkdir -p "${dep_target%/*}" || exit 1
            # With --reflink (GNU), both files share their blocks until one of them is changed.
            cp --reflink=auto -RHp "$dep_source" "$dep_target" 2>/dev/null && exit
            [ ! -e "$dep_target" ] || remove "$dep_target"
            cp -RHp "$dep_source" "$dep_target"
        ) && why='' && return 0
        why="'$2' of $1 cannot be copied: ${why%%"$newline"*}"
    fi
    return 1
}

# find_pending_dependent: set $dependent to a job that needs the job $id and has not copied
# files from $id yet, or to ''.
find_pending_dependent() {
    dependent=''
    for dep_found in "$queue/dependents/$id"/*; do
        [ -f "$dep_found" ] || continue
        dep_found=${dep_found##*/}
        ! (load_job "${dep_found#*.}" && ! is_final && { has_token "${dep_found%%.*}" && [ -z "$started" ] || [ -z "$spec" ]; }) ||
            dependent=${dep_found#*.}
    done
}
