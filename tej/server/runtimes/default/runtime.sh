# Default runtime: starts a job at once on this host, in a new session. The job's wrapper, a
# process outside that session, runs the script and records its end.
# shellcheck shell=sh

# runtime_here: check whether this host can run jobs; always true.
runtime_here() { :; }

# runtime_start: start the wrapper of $job. Returns 1 and sets $why on failure.
runtime_start() {
    runtime_check && detach_wrappers "$id"
}

# runtime_start_together ID TOKEN [ID TOKEN]...: start the wrappers of many jobs from one
# process. Sets $started_together to the ids of the started jobs, each preceded by a space. For
# the other jobs, the caller calls runtime_start, which reports errors.
runtime_start_together() {
    [ -n "$proc" ] && [ ! -e "$queue/max_running" ] || return 0
    is_usual=''
    [ -z "${usual_uploads-}" ] || ! are_published "$@" || is_usual=1
    while [ $# -gt 0 ]; do
        id=$1 job=$jobs/$1 spec=''
        # A job with the same id and another token is the job of another client.
        [ -z "$is_usual" ] && { ! has_token "$2" || ! runtime_check; } ||
            started_together="$started_together $id"
        shift 2
    done
    set -f
    # shellcheck disable=SC2086 # split into ids
    set -- $started_together
    set +f
    [ $# -gt 1 ] && detach_wrappers "$@" || started_together=''
}

# detach_wrappers ID...: start the wrappers of these jobs in the background.
detach_wrappers() {
    first=$1
    shift
    detach "$here/run_detached.sh" "$queue" "$first" "$here" "$runtime" "$@" || {
        why='no process can be started on the server: can this account start more processes (ulimit -u)?'
        return 1
    }
}

# runtime_prepare: set $logout_guard, a command prefix with which wrappers survive the logout.
runtime_prepare() {
    [ -n "${logout_guard+known}" ] || find_logout_guard
}

# runtime_check: read the requested resources, and note those that are ignored.
runtime_check() {
    read_resources && note_ignored
}

# runtime_ask NATIVES: do nothing, because there is no scheduler to query.
runtime_ask() { :; }

# query_runtime ID...: do nothing. This function replaces the function in state.sh, which would
# read the native ids of all jobs.
query_runtime() { :; }

# runtime_derive_state: set $state if the files of the job do not determine it.
runtime_derive_state() {
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $native
    set +f
    if ! same_host "$2" "$3" "$4"; then
        derive_state_elsewhere "$2" "$3"
        return
    fi
    check_process "$5" "$6"
    if [ "$life" = alive ]; then
        set_alive
        resume_heartbeat "$5" "$6"
    elif [ -n "$started" ] && { is_alive "$j_pid" "$j_start" || has_processes; }; then
        state=running
        note="${note:+$note; }the wrapper is gone (pid $5), so the end of the job will not be recorded"
        resume_heartbeat "$5" "$6"
    elif check_wrapper "$5" "$6" && [ "$life" = unsure ]; then # is_alive has changed $life
        # This account cannot see whether the job is alive, so check the heartbeat.
        if is_beating; then set_alive; else mark_silent "$2"; fi
    elif [ -e "$job/kill" ]; then
        mark_killed
    else
        mark_lost "the wrapper (pid $5 on $2) is gone and recorded no end"
    fi
}

# resume_heartbeat PID START: if the job's heartbeat process was killed, start a new one.
# Otherwise other hosts would consider the job lost. PID and START identify the job's wrapper.
resume_heartbeat() {
    [ -n "$proc" ] && [ -n "$started" ] && [ -f "$job/heartbeat" ] || return 0
    # This host wrote the last heartbeat, so the clock of this host determines its age.
    read -r beat_time <"$job/heartbeat"
    get_time
    is_number "$beat_time" && [ $((now - beat_time)) -ge "$heartbeat_overdue" ] || return 0
    # In a queue of a group, only a process of the job's owner can carry out a kill. So only the
    # owner restarts the heartbeat process.
    # shellcheck disable=SC3067 # all shells that tej supports have -O
    [ -O "$job/heartbeat" ] && is_stale heartbeat "$heartbeat_overdue" || return 0
    (cd "$job" && detach "$here/run_detached.sh" "$queue" "$id" "$here" "$runtime" --heartbeat "$1" "$2")
}

# set_alive: set the state of a job whose wrapper is alive. Before the script starts, the
# wrapper may be copying inputs.
set_alive() {
    state=created
    [ ! -e "$job/queued" ] || state=queued
    [ -z "$started" ] || state=running
}

# mark_silent HOST: mark a job as lost, because its heartbeat has stopped, and its processes on
# HOST cannot be checked.
mark_silent() {
    mark_lost "no sign of life from $1 for ${seen:-$heartbeat_timeout} seconds"
}

# derive_state_elsewhere HOST BOOT: set $state of a job on another host from its heartbeat. A
# pid of another host means nothing here.
derive_state_elsewhere() {
    where=$1
    if is_past "$1" "$2" && was_restarted && ! has_processes; then
        mark_lost "$host was restarted while the job ran"
    elif is_silent; then
        mark_silent "$1"
    else
        set_alive
    fi
}

# is_silent: check whether the job's heartbeat has stopped. If the file `heartbeat` was removed,
# checks the age of `native_id`.
is_silent() {
    if [ -f "$job/heartbeat" ]; then
        ! is_beating
    else
        is_stale native_id "$heartbeat_timeout"
    fi
}

# runtime_stop GRACE: stop all processes of $job, and set $pids to those that remain. Returns 1
# if only the job's wrapper can stop the processes: at each heartbeat, the wrapper looks for the
# file `kill`.
runtime_stop() {
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- "$1" $native
    set +f
    same_host "$3" "$4" "$5" || return 1
    find_job_processes
    [ -n "$pids" ] || {
        check_wrapper "$6" "$7"
        [ "$life" != unsure ] || return 1
    }
    stop_processes "$1"
    return 0
}
