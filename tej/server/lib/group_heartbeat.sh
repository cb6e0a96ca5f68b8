# Heartbeats of several jobs: one process writes the heartbeats of all jobs whose wrappers
# were started by one shell (run_detached.sh), so that a running job needs fewer processes.
# shellcheck shell=sh

# keep_heartbeats ID...: write the heartbeats of the jobs ID... until all of them have
# ended, or until the process that runs keep_heartbeats receives SIGTERM. The parent of this
# process is the shell $$, which has started the wrappers. A wrapper writes the first heartbeat
# of its job.
#
# Each positional parameter is the id of a job or, once the job has a native id,
# `ID PID START` (find_wrapper).
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

# read_wrappers: set $wrappers to the children of the shell $$, each between spaces. If
# the children are unknown, or if $$ has ended, sets $wrappers to '' and increases
# $orphaned.
read_wrappers() {
    wrappers='' now=''
    { read -r wrappers <"$proc/$$/task/$$/children"; } 2>/dev/null
    [ -n "$wrappers" ] || orphaned=$((orphaned + 1))
    wrappers=" $wrappers "
}

# keeps_running ITEM: write the heartbeat of one job. If ITEM is only the id of the job, and
# the job has a wrapper by now, sets $item to `ID PID START`. Returns 1 if the job has ended,
# or if another process has taken over its heartbeat.
keeps_running() {
    id=${1%% *} job=$jobs/${1%% *}
    # While a network file system fails, the directory seems to be missing. The heartbeat must
    # continue afterwards.
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
# directory of the job.
may_have_wrapper() {
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $1
    set +f
    # A wrapper that does not write its native id within a minute is dead (claim_is_stale).
    # Therefore give up the job at the fourth check after the shell $$ has ended.
    [ $# = 3 ] || {
        [ "$orphaned" -lt 4 ]
        return
    }
    # $wrappers lists the children of $$. The pid of a child is not reused until its parent
    # waits for it. Therefore, a pid in the list proves that the wrapper exists. This check
    # costs less than is_gone.
    case $wrappers in *" $2 "*) return 0 ;; esac
    ! is_gone "$2" "$3"
}

# find_wrapper: set $item to `ID PID START`: the id of the job, and the pid and start time of
# its wrapper. Returns 1 if the job has no wrapper on this host yet.
find_wrapper() {
    [ -s "$job/native_id" ] && IFS= read -r native <"$job/native_id" || return 1
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $native
    set +f
    [ $# = 6 ] && same_host "$2" "$3" "$4" || return 1
    item="$id $5 $6"
}

# take_heartbeat PID START: write the heartbeat of one job in a process of its own. Called
# if the wrapper PID was killed, or if the processes of the job must be stopped and no
# live client on this host stops them.
take_heartbeat() {
    trap - TERM
    enter_subshell
    enter_job && read_resources && IFS= read -r own_native <"$job/native_id" || exit 0
    continue_heartbeat "$1" "$2"
}

# replace_heartbeat PID START: write the heartbeat of the job in the working directory, in
# place of the job's heartbeat process, which was killed.
replace_heartbeat() {
    job=.
    read_facts
    own_native=$native
    # Only one process replaces the heartbeat process of a job.
    [ -n "$started" ] && [ ! -s "$job/finished" ] && read_resources && take_lock "$job/.heartbeat" || exit 0
    trap 'rm -f "$job/.heartbeat"' EXIT
    get_uptime
    # The time limit counts from the start of the script. The start time is in clock ticks.
    began=$uptime ticks=$(getconf CLK_TCK 2>/dev/null) || ticks=100
    ! is_number "$j_start" || began=$((j_start / ticks))
    continue_heartbeat "$1" "$2"
}

# continue_heartbeat PID START: write a heartbeat immediately, and then further heartbeats.
continue_heartbeat() {
    ! is_gone "$1" "$2" || after_wrapper || exit 0
    write_heartbeat
    after_heartbeat
    keep_heartbeat "$1" "$2"
}
