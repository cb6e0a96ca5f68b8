# A job's processes: find, count, signal and stop them.
# shellcheck shell=sh

# find_job_processes: pids=the processes of $job, whose facts have been read.
find_job_processes() {
    mark=${spec#*token=}
    find_processes "${mark%% *}" "$j_pid" "$j_start"
}

# count_processes: left=how many of $job's processes there are; empty for none.
count_processes() {
    left=''
    find_job_processes
    for pid in $pids; do left=$((left + 1)); done
}

# has_processes: the job has processes on this host.
has_processes() {
    find_job_processes
    [ -n "$pids" ]
}

# recount: what an ended job had left running may be gone by now, as its own host knows;
# elsewhere=that host, if it is not this one.
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

# stop_processes GRACE: end all processes of $job, by SIGTERM and, after GRACE seconds, SIGKILL.
# pids=those that are left.
stop_processes() {
    find_job_processes
    signal_processes TERM
    signal_processes CONT
    wait_for_processes "$1" && return 0
    wait_for_processes 10 KILL
}

# signal_processes SIGNAL: to all in pids; without /proc, which shows the others, to the
# process group, too.
signal_processes() {
    # shellcheck disable=SC2086 # pids
    [ -z "$pids" ] || kill -s "$1" $pids 2>/dev/null
    [ -n "$proc" ] || [ -z "$pids" ] || kill -s "$1" -- "-$j_pid" 2>/dev/null
}

# wait_for_processes SECONDS [SIGNAL]: 0 as soon as none is left, 1 if some are left then.  They
# get SIGNAL each time that they are found, since they may have forked since the last time.
wait_for_processes() {
    rounds=0
    while find_job_processes && [ -n "$pids" ]; do
        [ $# = 1 ] || signal_processes "$2"
        [ "$rounds" -lt $(($1 * 5)) ] || return 1
        rounds=$((rounds + 1))
        nap
    done
}
