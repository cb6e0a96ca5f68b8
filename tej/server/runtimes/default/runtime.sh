# The default runtime: a job starts at once, on the machine that took it, as a process
# in a session of its own, with a wrapper outside it that writes down its end.
# shellcheck shell=sh

# shellcheck source=waiting.sh
. "$here/runtimes/default/waiting.sh"

beat=20    # seconds between two heartbeats of a wrapper
silent=900 # seconds without one, after which another host gives a job up

# runtime_here: can this machine run jobs this way?
runtime_here() { :; }

# runtime_start: start $job, or let it wait for its turn.  The wrapper writes `native_id`
# and `started`.
runtime_start() {
    read_resources && note_ignored || return 1
    if [ -f "$queue/max_running" ]; then
        enqueue || {
            why='it cannot be put in line'
            return 1
        }
        start_waiting
    else
        launch "$id"
    fi
}

# note_ignored: what is asked for and nobody here can give; the wrapper sees to walltime.
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

# runtime_tend: what is to be done from time to time, by whoever is here.
runtime_tend() {
    [ ! -d "$queue/waiting" ] || start_waiting
}

# runtime_ask NATIVES: nothing to ask for many jobs at once.
runtime_ask() { :; }

# runtime_derive_state: state of a job whose own facts do not tell: is its wrapper alive?
runtime_derive_state() {
    # shellcheck disable=SC2086 # fields
    set -- $native
    if ! same_host "$2" "$3" "$4"; then
        judge_elsewhere "$2" "$3" "$4"
    elif is_alive "$5" "$6"; then
        if [ -n "$started" ]; then state=running; else state=created; fi
    elif [ -n "$started" ] && { is_alive "$j_pid" "$j_start" || has_processes; }; then
        state=running
        note="the wrapper is gone (pid $5), so that the end will not be recorded"
    elif [ -e "$job/kill" ]; then
        # Without its wrapper nobody else writes down that it came to the end asked for.
        get_time
        put_reserved finished "$now none 0 killed 0"
        read_end
    else
        mark_lost "the wrapper (pid $5 on $2) is gone and wrote no end"
    fi
}

# judge_elsewhere HOST BOOT SPACE: pids from there say nothing here; the heartbeat does.
judge_elsewhere() {
    get_time
    last=${started:-$submitted}
    [ ! -f "$job/heartbeat" ] || {
        read -r last <"$job/heartbeat"
        # It was there a moment ago, and is being written.
        is_number "$last" || last=$now
    }
    seen=$((now > last ? now - last : 0))
    where=$1
    if is_past "$1" "$2"; then
        get_boot_time
        # A beat after this machine came up is from another machine of the same name.
        [ -z "$boot_time" ] || [ "$last" -ge "$boot_time" ] || {
            mark_lost "$host was restarted while the job ran"
            return
        }
    fi
    if [ "$seen" -ge "$silent" ]; then
        # Not written down: it may come back.
        read_end || state=lost evidence="no sign of life from $1 for $seen seconds"
    elif [ -n "$started" ]; then
        state=running
    else
        state=created
    fi
}

# runtime_stop GRACE: end all of $job's processes, and leave in pids what resists.
# Returns 1 if that is another host's to do: its wrapper looks for `kill` at each beat.
runtime_stop() {
    # shellcheck disable=SC2086 # fields
    set -- "$1" $native
    same_host "$3" "$4" "$5" || return 1
    stop_processes "$1"
    return 0
}
