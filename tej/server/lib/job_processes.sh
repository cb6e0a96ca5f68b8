# Processes of a job: find, count, signal and stop them.
# shellcheck shell=sh

# find_job_processes: set pids to the processes of $job. Expects the job's facts.
find_job_processes() {
    mark=${spec#*token=}
    find_processes "${mark%% *}" "$j_pid" "$j_start"
}

# count_processes: set left to the number of processes of $job, or to '' if there are
# none.
count_processes() {
    left=''
    find_job_processes
    for pid in $pids; do left=$((left + 1)); done
}

# has_processes: check whether the job has processes on this host.
has_processes() {
    find_job_processes
    [ -n "$pids" ]
}

# recount: update left, the number of processes that outlived the job's script: some may
# have exited since. Only the job's own host can count them; on any other host, sets
# elsewhere=the job's host.
recount() {
    elsewhere=''
    [ -n "$left" ] || return 0
    set -f
    # shellcheck disable=SC2086 # fields
    set -- $native
    set +f
    if [ -z "$native" ] || same_host "$2" "$3" "$4"; then
        count_processes
    elif is_past "${2-}" "${3-}"; then
        left=''
    else
        elsewhere=$2
        note="${note:+$note; }what it left running was on $2, and may be gone by now"
    fi
}

# stop_processes GRACE: stop all processes of $job with SIGTERM and, after GRACE seconds,
# SIGKILL. Sets pids=the processes that remain. SIGCONT lets a stopped process handle
# SIGTERM.
stop_processes() {
    find_job_processes
    signal_processes TERM
    signal_processes CONT
    wait_for_processes "$1" && return 0
    wait_for_processes 10 KILL
}

# signal_processes SIGNAL: signal the processes in pids. Without /proc, pids holds only
# the first process of the job, so the signal is also sent to the job's process group.
signal_processes() {
    # shellcheck disable=SC2086 # pids
    [ -z "$pids" ] || kill -s "$1" $pids 2>/dev/null
    [ -n "$proc" ] || [ -z "$pids" ] || kill -s "$1" -- "-$j_pid" 2>/dev/null
}

# wait_for_processes SECONDS [SIGNAL]: wait until the job has no processes. Returns 1 if
# some remain after SECONDS. SIGNAL is sent in every round, because a process may fork
# between two rounds.
wait_for_processes() {
    rounds=0
    while find_job_processes && [ -n "$pids" ]; do
        [ $# = 1 ] || signal_processes "$2"
        [ "$rounds" -lt $(($1 * 5)) ] || return 1
        rounds=$((rounds + 1))
        nap
    done
}
