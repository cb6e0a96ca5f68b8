# Damaged job: state of a job whose fact files are missing, damaged or cannot be read.
# shellcheck shell=sh

# derive_damaged_state: set $state for a job with a damaged fact file. Sets $evidence to a
# message that contains the name of this file.
derive_damaged_state() {
    can_read_facts || {
        set_unknown
        return
    }
    # A directory without `spec` is not a damaged job, because tej has not created it.
    [ "$damage" != spec ] || [ -n "$spec" ] || [ -f "$job/spec" ] || damage=''
    if [ -z "$damage" ] && [ -z "$spec" ]; then
        evidence="not a job of tej: it has no file 'spec'"
    else
        evidence="damaged: its file '${damage:-submitted}' is missing or cannot be read"
    fi
    state=lost
    # The job may still be alive. If its native id is known, the runtime checks whether it is.
    if [ -n "$native" ]; then
        note=$evidence evidence='' state='?'
    elif runs_unrecorded "$evidence"; then
        evidence=''
    fi
}

# can_read_facts: check whether the fact files of $job that determine its state or its submission
# to the runtime can be read. If so, a fact file that the shell does not find is certainly
# missing.
can_read_facts() {
    names=$(list_names "$job") || return 1
    set --
    for fact in spec submitted queued resources clusters submitting native_id started kill finished lost; do
        case $newline$names$newline in *"$newline$fact$newline"*) ;; *) continue ;; esac
        # Read only regular files. Any other fact file is damaged, and `cat` would block at a
        # FIFO.
        [ ! -f "$job/$fact" ] || set -- "$@" "$job/$fact"
        [ -e "$job/$fact" ] || return 1
    done
    [ $# = 0 ] || cat "$@" >/dev/null 2>&1
}

# set_unknown: if the fact files of a job cannot be read, set $state to the last known state,
# `created` or `running`. Neither state is final, so that no client deletes or retries the job.
# Sets $note to a message that the state is unknown.
set_unknown() {
    state=created note="its files in '$job' cannot be read, so its state is unknown"
    [ -d "$job" ] || [ ! -h "$queue/attempts/$id/restarting" ] ||
        note="it is being replaced by a new attempt, so its state is unknown"
    [ -z "$started" ] || state=running
}

# runs_unrecorded NOTE: check whether the job has processes on this host, or a heartbeat
# from another host, although no fact file identifies its wrapper. If so, sets $state to `running`
# and $note to NOTE.
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
