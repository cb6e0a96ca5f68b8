# Processes of a job: find, count, signal and stop them.
# shellcheck shell=sh

# find_job_processes: set pids to the pids of all processes of $job on this host. The
# job's facts must have been read before. If the script runs on another host, its pid is
# not valid on this host, and only the job's token identifies processes of the job.
find_job_processes() {
    mark=${spec#*token=}
    get_host
    if [ "${where:-$host}" = "$host" ]; then
        find_processes "${mark%% *}" "$j_pid" "$j_start"
    else
        find_processes "${mark%% *}" - -
    fi
}

# count_processes: set left to the number of processes of $job, or to '' if there are
# none.
count_processes() {
    find_job_processes
    count_pids
}

# count_pids: set left to the number of pids in $pids, or to '' if $pids is empty.
count_pids() {
    left=''
    for pid in $pids; do left=$((left + 1)); done
}

# has_processes: check whether the job has processes on this host.
has_processes() {
    find_job_processes
    [ -n "$pids" ]
}

# recount: set left to the number of processes that outlived the job's script and still
# run. Only the job's own host can count these processes. On any other host, sets
# elsewhere to the name of the job's host.
recount() {
    elsewhere=''
    [ -n "$left" ] || return 0
    get_host
    set -f
    # shellcheck disable=SC2086 # fields
    set -- $native
    set +f
    # The native id of a job under a scheduler does not contain the host of the job.
    [ "${1-}" = pid ] || set -- '' "${where:-$host}" "$boot" "$space"
    if same_host "$2" "$3" "$4"; then
        count_processes
    elif is_past "${2-}" "${3-}"; then
        left=''
    else
        elsewhere=$2
        note="${note:+$note; }what it left running was on $2, and may be gone by now"
    fi
}

# stop_processes GRACE: stop all processes of $job with SIGTERM and, after GRACE
# seconds, SIGKILL. Sets pids to the processes that remain. SIGCONT is sent as well,
# because a stopped process cannot handle SIGTERM.
stop_processes() {
    find_job_processes
    signal_processes TERM
    signal_processes CONT
    wait_for_processes "$1" && return 0
    wait_for_processes 10 KILL
}

# signal_processes SIGNAL: send SIGNAL to the processes in pids. Without /proc, pids
# contains only the first process of the job. Therefore SIGNAL is also sent to the job's
# process group.
signal_processes() {
    # shellcheck disable=SC2086 # pids
    [ -z "$pids" ] || kill -s "$1" $pids 2>/dev/null
    [ -n "$proc" ] || [ -z "$pids" ] || kill -s "$1" -- "-$j_pid" 2>/dev/null
}

# wait_for_processes SECONDS [SIGNAL]: wait until the job has no processes. Returns 1 if
# processes of the job remain after SECONDS. SIGNAL is sent every 0.2 seconds, because a
# process may fork between two signals.
wait_for_processes() {
    rounds=0
    while find_job_processes && [ -n "$pids" ]; do
        [ $# = 1 ] || signal_processes "$2"
        [ "$rounds" -lt $(($1 * 5)) ] || return 1
        rounds=$((rounds + 1))
        nap
    done
}
