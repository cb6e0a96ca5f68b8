# Processes of a job: find, count, signal and stop them.
# shellcheck shell=sh

# find_job_processes: set $pids to the pids of all processes of $job on this host. The
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

# count_processes: set $left to the number of processes of $job, or to '' if there are
# none.
count_processes() {
    find_job_processes
    count_pids
}

# note_orphans: set $adopted to the present orphans, or to '' if the process that will adopt
# the orphans of the jobs is unknown. Called once by the shell $$ that runs the wrapper of a
# job, or has started the wrappers of several jobs.
#
# When a process ends, Linux makes its children the children of its nearest ancestor
# that adopts orphans ("subreaper"), or of process 1. The original parent of this shell
# has ended, so this shell was adopted by the process that will also adopt the orphans
# of the jobs. If the present parent is not process 1, the original parent may be about
# to end, and the adopting process is unknown.
note_orphans() {
    adopted=''
    [ -n "$proc" ] || return 0
    get_start "$$"
    [ "$parent" != 1 ] || ! read_orphans || adopted=$orphans
}

# read_orphans: set $orphans to the children of process 1, each between blanks. Returns
# 1 if the children of process 1 are unknown.
read_orphans() {
    orphans=''
    [ -r "$proc/1/task/1/children" ] || return 1
    read -r orphans <"$proc/1/task/1/children" || [ -n "$orphans" ] || return 1
    orphans=" $orphans "
}

# may_have_left_processes: check whether the script of $job, which has ended, may have
# left processes running. $adopted contains the orphans before the start of the script,
# or is empty if these orphans are unknown. If a process of the job runs, the process
# itself or one of its ancestors in the job is an orphan now, and was no orphan before.
# Therefore only the new orphans and their descendants are checked, and the end of a job
# does not read the files of all processes of the host. Returns 0 if the caller must
# search all processes: if a process of the job is found, or if the orphans are unknown
# or have many descendants.
#
# The kernel may omit a child from the list if another child ends at the same time.
# Therefore the list is read twice. If the job ran for more than a minute, all processes are
# searched: a former orphan may have ended since, and a process of the job may have its pid.
may_have_left_processes() {
    [ -n "$adopted" ] && is_number "$j_start" || return 0
    get_uptime
    [ $((uptime - began)) -le 60 ] || return 0
    environs=''
    for _ in 1 2; do
        read_orphans || return 0
        [ "$orphans" != "$adopted" ] || continue
        set --
        for pid in $orphans; do
            case "$adopted$$ " in *" $pid "*) ;; *) set -- "$@" "$pid" ;; esac
        done
        check_descendants "$@" || return 0
    done
    [ -n "$environs" ] || return 1
    mark=${spec#*token=}
    # shellcheck disable=SC2086 # paths
    grep -qsF "TEJ_JOB_TOKEN=${mark%% *}" $environs </dev/null
    # grep exits with 2 if one of the processes has ended meanwhile, or is hidden.
    case $? in 1 | 2) return 1 ;; esac
}

# check_descendants PID...: add the environment files of these processes and their
# descendants to $environs. Returns 1 if one of the processes is in the session of the
# job, or if there are more than 50 processes.
check_descendants() {
    checked=0
    while [ $# -gt 0 ]; do
        pid=$1
        shift
        get_start "$pid"
        # A process that is older than the script does not belong to the job.
        [ -n "$start" ] && [ "$start" -ge "$j_start" ] || continue
        checked=$((checked + 1))
        [ "$session" != "$j_pid" ] && [ "$checked" -le 50 ] || return 1
        environs="$environs $proc/$pid/environ"
        for item in "$proc/$pid/task"/*/children; do
            children=''
            { read -r children <"$item"; } 2>/dev/null
            # shellcheck disable=SC2086 # pids
            set -- "$@" $children
        done
    done
}

# count_pids: set $left to the number of pids in $pids, or to '' if $pids is empty.
count_pids() {
    left=''
    for pid in $pids; do left=$((left + 1)); done
}

# has_processes: check whether the job has processes on this host.
has_processes() {
    find_job_processes
    [ -n "$pids" ]
}

# recount: set $left to the number of processes that outlived the job's script and still
# run. Only the job's own host can count these processes. On any other host, sets
# $elsewhere to the name of the job's host.
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
        note="${note:+$note; }processes that it left running on $2 may have ended by now"
    fi
}

# stop_processes GRACE: stop all processes of $job with SIGTERM and, after GRACE
# seconds, SIGKILL. Sets $pids to the processes that remain. SIGCONT is sent as well,
# because a stopped process cannot handle SIGTERM.
stop_processes() {
    find_job_processes
    signal_processes TERM
    signal_processes CONT
    wait_for_processes "$1" && return 0
    wait_for_processes 10 KILL
}

# signal_processes SIGNAL: send SIGNAL to the processes in $pids. Without /proc, $pids
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
