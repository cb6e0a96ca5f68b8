# State of a damaged job: a job of which a file is missing, damaged or unreadable.
# shellcheck shell=sh

# derive_damaged_state: set $state for a damaged job, and $evidence to a message that names the
# file.
derive_damaged_state() {
    can_read_facts || {
        set_unknown
        return
    }
    # A directory with neither a `spec` nor a heartbeat was not created by tej.
    [ "$damage" != spec ] || [ -n "$spec" ] || [ -f "$job/spec" ] || [ -f "$job/heartbeat" ] || damage=''
    if [ -z "$damage" ] && [ -z "$spec" ]; then
        evidence="not a job of tej: it has no file 'spec'"
    else
        evidence="damaged: its file '${damage:-submitted}' is missing or cannot be read"
    fi
    state=lost
    # The job may be alive. If its native id is known (its pid, or its id at the scheduler), ask
    # the runtime.
    if [ -n "$native" ]; then
        note=$evidence evidence='' state='?'
    elif is_unrecorded "$evidence"; then
        evidence=''
    fi
}

# can_read_facts: check whether the files that determine the state of $job can be read. Only
# then is a file certainly missing if the shell does not find it.
can_read_facts() {
    names=$(list_names "$job") || return 1
    set --
    for fact in spec submitted queued resources clusters submitting native_id started kill finished lost; do
        case $newline$names$newline in *"$newline$fact$newline"*) ;; *) continue ;; esac
        # `cat` would block at a FIFO. A file that is not regular is damaged.
        [ ! -f "$job/$fact" ] || set -- "$@" "$job/$fact"
        [ -e "$job/$fact" ] || return 1
    done
    [ $# = 0 ] || cat "$@" >/dev/null 2>&1
}

# set_unknown: set $state to `created` or `running`, and $note to a message, for a job whose
# files cannot be read. Neither state is final, so no client deletes or retries the job.
set_unknown() {
    state=created note="its files in '$job' cannot be read, so its state is unknown"
    [ -d "$job" ] || [ ! -h "$queue/attempts/$id/restarting" ] ||
        note="it is being replaced by a new attempt, so its state is unknown"
    [ -z "$started" ] || state=running
}

# is_unrecorded NOTE: check whether a job without a native id may be alive. If so, sets $state to
# `running` and $note to NOTE.
is_unrecorded() {
    runs_unrecorded "$1" || beats_unrecorded "$1"
}

# runs_unrecorded NOTE: check whether a job without a native id is alive: it has processes on
# this host, or a heartbeat from another host. If so, sets $state to `running` and $note to
# NOTE.
runs_unrecorded() {
    [ -s "$job/started" ] && [ -n "$spec" ] || return 1
    get_host
    if has_processes; then
        # The pid and the start time of the wrapper are unknown.
        native="pid $host $boot $space - -"
    elif [ -z "$submitted" ] || same_host "$s_host" "$s_boot" "$s_space" || ! is_beating; then
        return 1
    fi
    note=$1 state=running
}

# beats_unrecorded NOTE: for a job whose processes are unknown because files are missing, check
# whether the job may be alive: it has a heartbeat, and no end is recorded. If so, sets $state
# to `running` and $note to NOTE. A server that deletes old files deletes the other files of a
# job that runs for weeks, but not its heartbeat, which is always new.
beats_unrecorded() {
    [ -z "$spec" ] || [ ! -s "$job/started" ] || [ "$where" != "$host" ] || return 1
    [ ! -e "$job/finished" ] && is_beating || return 1
    note=$1 state=running
}
