# Dependencies between jobs. A job that needs other jobs starts when all of them have
# succeeded. If one of them has failed, was killed, is lost or was deleted, the job ends
# without being started. When a job ends, its wrapper starts the jobs that waited for this
# job. Every client that uses the queue also starts the jobs whose needed jobs have ended,
# because the wrapper may have died.
# shellcheck shell=sh
#
#   jobs/ID/dependencies        lines `after OTHER`; `from OTHER/SOURCE`, then `to PATH`
#   jobs/ID/after/OTHER         ID waits for the job OTHER
#   dependents/OTHER/TOKEN.ID   ID, submitted with TOKEN, needs OTHER; removed when ID has
#                               copied its inputs or has ended
#   attempts/ID/restarting      link to the client that is replacing ID with a new attempt
#
# The end of a job cannot be missed: a submission first publishes its job and then checks
# the jobs that it needs. A wrapper first writes `finished` and then reads the directory
# `dependents`. Several processes may start or end the same waiting job at the same time.
# This does no harm: the removal of a file in `after` can be repeated, and only one
# process gets the lock and `claim`, which a start requires.
#
# Variables of this file begin with dep_, because load_job changes other variables.

# read_dependencies: set $dep_needs to the ids of the jobs that $job needs, and $dep_entry
# to the name of $job in `dependents/OTHER`.
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

# prepare_wait: make the uploaded job $job wait for the jobs that it needs. Called before
# the job is published, so that any client can start the published job. Returns 1 and
# sets $why and $dep_status (the exit status for the error) if the job cannot wait.
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

# waits_for_itself: check whether a job that $job needs waits, directly or indirectly,
# for a job with the id of $job. A cycle is possible only if $job is the new attempt of a job,
# because other jobs may already wait for its id.
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

# add_to_dependents: list $job in the directory `dependents` of each job that it needs.
# Called before and after the job is published. The second call restores an entry that
# was removed together with a deleted job. Returns 1 and sets $why on failure.
add_to_dependents() {
    read_dependencies
    why="cannot write to '$queue/dependents'"
    make_queue_directory dependents || return 1
    for dep_other in $dep_needs; do
        dep_tries=0
        # Another process may remove the empty directory between `mkdir` and `printf`.
        # Therefore both steps are repeated.
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

# note_waits: set $note to the jobs that $job waits for.
note_waits() {
    dep_waits='' dep_count=0
    for dep_wait in "$job/after"/*; do
        [ -e "$dep_wait" ] || continue
        dep_count=$((dep_count + 1))
        [ "$dep_count" -gt 3 ] || dep_waits="$dep_waits${dep_waits:+, }${dep_wait##*/}"
    done
    [ "$dep_count" -le 3 ] || dep_waits="$dep_waits and $((dep_count - 3)) more"
    [ -z "$dep_waits" ] || note="waits for $dep_waits"
}

# resolve_dependents ID: start or end the jobs that wait for the job ID, if ID has
# ended. If ID is empty, start or end the dependents of all jobs that have ended.
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
        # The jobs that have ended without being started may have dependents themselves.
        for dep_other in $dep_ended; do set -- "$@" "$dep_other"; done
    done
}

# has_unresolved DIRECTORY: check whether DIRECTORY (`dependents/OTHER`) contains a job
# that can start, or must end without being started, if OTHER has ended.
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

# check_dependency ID: set $dep_outcome to `pending`, `succeeded` or `failed`, and
# $dep_words to a description of the failure.
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
    # `restarting` is checked before the job, because it is removed only after the new attempt of
    # the job is published. Therefore, during a retry, one of the two checks succeeds.
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

# is_restarting ID: check whether a live client is replacing the job ID with a new attempt.
is_restarting() {
    [ -h "$queue/attempts/$1/restarting" ] && is_locked "$queue/attempts/$1/restarting" 300
}

# resolve_dependent ENTRY: start or end the job of ENTRY (TOKEN.ID), which needs the
# ended job $dep_origin. If the job ends without being started, adds the job's id to
# $dep_ended.
resolve_dependent() {
    id=${1#*.} job=$jobs/${1#*.}
    # If the token differs, jobs/ID belongs to another submission. The job of ENTRY
    # is then not published yet, or `tej retry` has archived the job as an attempt.
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

# start_ready_job: start $job, or put it on the waiting list of the job limit. If the job
# is not started because this process dies, the next client finds the empty directory
# `after` and starts the job.
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

# note_unstarted WORDS...: write the job's file `reason`. WORDS say why $job was not started. Must
# be called before `finished` is written.
note_unstarted() {
    put reason "$(date +%s) unstarted $*"
}

# end_unstarted WORDS...: record that the waiting job $job ended without being started, with
# WORDS as the reason. Returns 1 if another process has created `claim`, so that the job may
# start, or if the end cannot be recorded.
end_unstarted() {
    take_claim || return 1
    now=''
    get_time
    note_unstarted "$@" && put finished "$now none 0 killed 0" || {
        rm -f "$job/claim"
        return 1
    }
    leave_dependents
    read_end
    run_on_end_once
}

# take_inputs: copy the files that $job needs from other jobs into the stage of $job, and check
# the shared files of $job. Returns 1 and sets $why on failure. Called by the wrapper of $job. If
# $again is 1, inputs may exist already, because an earlier run of the wrapper copied them.
take_inputs() {
    find_changed_input
    [ -z "$changed" ] || {
        why="another job has changed the shared file '$changed'; a retry sends it again"
        leave_dependents
        return 1
    }
    # A job with the directory `after` also has the file `dependencies`. If the shell does not
    # find this file, the file cannot be read.
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

# copy_input ID SOURCE PATH: copy the file or directory SOURCE of the job ID to PATH in
# the stage of $job. Hard links are not used, because $job could then change the files
# of the job ID. The environment of `cp` contains the token of $job, so that `tej kill`
# also finds the process of `cp`.
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
            # If the file system supports it, --reflink (GNU) lets both files share their blocks
            # until one of the files is changed.
            cp --reflink=auto -RHp "$dep_source" "$dep_target" 2>/dev/null && exit
            [ ! -e "$dep_target" ] || remove "$dep_target"
            cp -RHp "$dep_source" "$dep_target"
        ) && why='' && return 0
        why="'$2' of $1 cannot be copied: ${why%%"$newline"*}"
    fi
    return 1
}

# find_pending_dependent: set $dependent to a job that needs the job $id and has not copied
# its inputs, or to '' if no such job exists.
find_pending_dependent() {
    dependent=''
    for dep_found in "$queue/dependents/$id"/*; do
        [ -f "$dep_found" ] || continue
        dep_found=${dep_found##*/}
        # load_job runs in a subshell, so that it does not change the variables of $job.
        ! (load_job "${dep_found#*.}" && ! is_final && { has_token "${dep_found%%.*}" && [ -z "$started" ] || [ -z "$spec" ]; }) ||
            dependent=${dep_found#*.}
    done
}
