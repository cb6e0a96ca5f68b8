# Default runtime: a job starts at once, on the host that took it, as a process in a session
# of its own, with a wrapper outside that session that records its end.
# shellcheck shell=sh

# shellcheck source=job_limit.sh
. "$here/runtimes/default/job_limit.sh"

# runtime_here: can this machine run jobs this way?
runtime_here() { :; }

# runtime_start: start $job, or put it on the waiting list.  The wrapper writes `native_id`
# and `started`.
runtime_start() {
    read_resources && note_ignored || return 1
    if [ -f "$queue/max_running" ]; then
        enqueue || {
            why='it cannot be put on the waiting list'
            return 1
        }
        start_waiting
    else
        launch "$id" || {
            why='no process can be started there (ulimit -u)'
            return 1
        }
    fi
}

# note_ignored: note the resources that this runtime cannot give; the wrapper enforces
# the walltime.
note_ignored() {
    ignored=''
    for key in $r_given; do
        case "$ignored $key" in *" walltime" | *" $key "*) ;; *) ignored="$ignored $key" ;; esac
    done
    [ -z "$ignored" ] || put ignored "$ignored" || {
        why="cannot write to '$job'"
        return 1
    }
}

# runtime_limit N: let N jobs run at once, and start those that now may.
runtime_limit() {
    printf '%s\n' "$1" >"$queue/max_running.$$" &&
        mv -f "$queue/max_running.$$" "$queue/max_running" && runtime_tend
}

# runtime_tend: periodic work, done by whoever uses the queue.
runtime_tend() {
    [ ! -d "$queue/waiting" ] || start_waiting
}

# runtime_ask NATIVES: nothing to ask for many jobs at once.
runtime_ask() { :; }

# runtime_derive_state: state of a job whose own facts do not tell.
runtime_derive_state() {
    set -f
    # shellcheck disable=SC2086 # fields
    set -- $native
    set +f
    if ! same_host "$2" "$3" "$4"; then
        derive_state_elsewhere "$2" "$3"
        return
    fi
    check_process "$5" "$6"
    if [ "$life" = alive ]; then
        set_alive
    elif [ -n "$started" ] && { is_alive "$j_pid" "$j_start" || has_processes; }; then
        state=running
        note="${note:+$note; }the wrapper is gone (pid $5), so that the end will not be recorded"
    elif check_process "$5" "$6" && [ "$life" = unsure ]; then
        # Without a /proc or `ps` that can be read, the heartbeat has to do.
        if is_beating; then set_alive; else mark_silent "$2"; fi
    elif [ -e "$job/kill" ]; then
        mark_killed
    else
        mark_lost "the wrapper (pid $5 on $2) is gone and recorded no end"
    fi
}

# set_alive: state of a job whose wrapper is alive.
set_alive() {
    if [ -n "$started" ]; then state=running; else state=created; fi
}

# mark_silent HOST: the job's host cannot be asked, and has sent no heartbeat for long.
mark_silent() {
    mark_lost "no sign of life from $1 for ${seen:-$heartbeat_timeout} seconds"
}

# derive_state_elsewhere HOST BOOT: pids of another host say nothing here; the heartbeat does.
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

# is_silent: no heartbeat for long, also if the file itself was removed.
is_silent() {
    if [ -f "$job/heartbeat" ]; then
        ! is_beating
    else
        is_stale native_id "$heartbeat_timeout"
    fi
}

# was_restarted: this host was started after the last heartbeat.  One that is newer came
# from another machine of the same name.
was_restarted() {
    get_uptime
    get_age "$job/heartbeat" && [ "$age" -gt "$uptime" ]
}

# runtime_stop GRACE: end all of $job's processes, and leave in pids what resists.  Returns 1
# if only the job's wrapper can do it, which looks for `kill` at each heartbeat.
runtime_stop() {
    set -f
    # shellcheck disable=SC2086 # fields
    set -- "$1" $native
    set +f
    same_host "$3" "$4" "$5" || return 1
    find_job_processes
    [ -n "$pids" ] || {
        check_process "$6" "$7"
        [ "$life" != unsure ] || return 1
    }
    stop_processes "$1"
    return 0
}
