# Heartbeats of jobs that were started together (run_detached.sh): one process writes the
# heartbeats of all of these jobs. A wrapper is the process that runs a job's script.
# shellcheck shell=sh

# keep_heartbeats ID...: write the heartbeats of these jobs until all have ended, or until
# SIGTERM. The parent of this process, the shell $$, has started the wrappers. Each positional
# parameter is `ID`, or `ID PID START` once the wrapper of the job is known (find_wrapper).
keep_heartbeats() {
    in_hook='' orphaned=0
    trap - EXIT
    begin_sleeps
    trap leave_heartbeat TERM
    while [ $# -gt 0 ]; do
        sleep_until_signal "$heartbeat_interval"
        read_wrappers
        for item in "$@"; do
            shift
            ! keeps_running "$item" || set -- "$@" "$item"
        done
    done
}

# read_wrappers: set $wrappers to the children of the shell $$, each between spaces. If they are
# unknown, or if $$ has ended, sets $wrappers to '' and increases $orphaned.
read_wrappers() {
    wrappers='' now=''
    { read -r wrappers <"$proc/$$/task/$$/children"; } 2>/dev/null
    [ -n "$wrappers" ] || orphaned=$((orphaned + 1))
    wrappers=" $wrappers "
}

# keeps_running ITEM: write the heartbeat of one job. Sets $item to `ID PID START` if its
# wrapper is known by now. Returns 1 if the job has ended, or if another process now writes its
# heartbeat.
keeps_running() {
    id=${1%% *} job=$jobs/${1%% *}
    # The directory seems to be missing while a network file system fails.
    [ -d "$job" ] || {
        may_have_wrapper "$1"
        return
    }
    [ ! -s "$job/finished" ] || return 1
    if [ "$1" = "$id" ]; then
        find_wrapper || {
            may_have_wrapper "$1"
            return
        }
        # The wrapper of a job with a time limit writes the heartbeat itself.
        read_resources && [ -z "$r_walltime" ] || return 1
    fi
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $item
    set +f
    if may_have_wrapper "$item" && { [ ! -e "$job/kill" ] || is_killed_here; }; then
        write_heartbeat
    elif [ ! -s "$job/finished" ]; then
        take_heartbeat "$2" "$3" &
        return 1
    fi
} 2>/dev/null

# may_have_wrapper ITEM: check whether the wrapper of a job may be alive, without reading the
# job's directory.
may_have_wrapper() {
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $1
    set +f
    # A wrapper that does not write the file `native_id` within a minute is dead
    # (claim_is_stale). Therefore give up at the fourth check after the end of the shell $$.
    [ $# = 3 ] || {
        [ "$orphaned" -lt 4 ]
        return
    }
    # A pid is not reused until the parent waits for the process. Therefore a child of $$ with
    # the pid of the wrapper is the wrapper. This test is faster than is_gone.
    case $wrappers in *" $2 "*) return 0 ;; esac
    ! is_gone "$2" "$3"
}

# find_wrapper: set $item to `ID PID START`, with the pid and the start time of the job's
# wrapper. Returns 1 if the job has no wrapper on this host yet.
find_wrapper() {
    [ -s "$job/native_id" ] && IFS= read -r native <"$job/native_id" || return 1
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $native
    set +f
    [ $# = 6 ] && same_host "$2" "$3" "$4" || return 1
    item="$id $5 $6"
}

# take_heartbeat PID START: write the heartbeat of one job in a separate process. Called if the
# job's wrapper (PID and its start time START) was killed. Also called if a kill was requested, but
# no live client on this host carries it out: after_heartbeat then kills the job.
take_heartbeat() {
    trap - TERM
    enter_subshell
    enter_job && read_resources && IFS= read -r own_native <"$job/native_id" || exit 0
    continue_heartbeat "$1" "$2"
}

# replace_heartbeat PID START: write the heartbeat of the job whose directory is the working
# directory. Called if the process that wrote the heartbeat was killed. PID and START identify
# the job's wrapper.
replace_heartbeat() {
    job=.
    read_facts
    own_native=$native
    # Only one process may replace the heartbeat process.
    [ -n "$started" ] && [ ! -s "$job/finished" ] && read_resources && take_lock "$job/.heartbeat" || exit 0
    trap 'rm -f "$job/.heartbeat"' EXIT
    get_uptime
    # The time limit counts from the start of the script. $j_start is in clock ticks.
    began=$uptime ticks=$(getconf CLK_TCK 2>/dev/null) || ticks=100
    ! is_number "$j_start" || began=$((j_start / ticks))
    continue_heartbeat "$1" "$2"
}

# continue_heartbeat PID START: write a heartbeat now, and then periodically (keep_heartbeat).
continue_heartbeat() {
    ! is_gone "$1" "$2" || after_wrapper || exit 0
    write_heartbeat
    after_heartbeat
    keep_heartbeat "$1" "$2"
}
