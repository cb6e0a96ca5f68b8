# Processes of a job: count, signal and stop them. process_search.sh finds the processes that
# belong to a job.
# shellcheck shell=sh

# find_job_processes: set $pids to the pids of all processes of $job on this host. Does not
# change a search that is being prepared for other jobs.
find_job_processes() {
    kept_wanted=$wanted kept_count=$wanted_count
    begin_search
    add_to_search alone
    run_search
    wanted=$kept_wanted wanted_count=$kept_count
    eval "pids=\$pids_alone"
}

# count_processes: set $left to the number of processes of $job, or to '' if there are none.
count_processes() {
    find_job_processes
    count_pids
}

# note_orphans: set $adopted to the current orphans (the children of process 1), or to '' if an
# unknown process will adopt the orphans of the job. Called once, by the shell $$ that runs or
# starts wrappers.
#
# Linux gives the children of an ended process to the nearest ancestor that adopts orphans, or
# to process 1. The parent of this shell ends early, so this shell is an orphan, too. Its new
# parent also adopts the orphans of the job. If the parent is not process 1, it may still be the
# old parent.
note_orphans() {
    adopted=''
    [ -n "$proc" ] || return 0
    get_start "$$"
    [ "$parent" != 1 ] || ! read_orphans || adopted=$orphans
}

# read_orphans: set $orphans to the children of process 1, each between spaces. Returns 1 if
# they are unknown.
read_orphans() {
    orphans=''
    [ -r "$proc/1/task/1/children" ] || return 1
    read -r orphans <"$proc/1/task/1/children" || [ -n "$orphans" ] || return 1
    orphans=" $orphans "
}

# leaves_processes: like may_have_left_processes, but after a kill, first wait up to 6 seconds.
# The job's other processes received the same signal as the script, and soon exit. Without this
# wait, the wrappers of many killed jobs would search all processes of the host at the same
# time.
leaves_processes() {
    for span in 0.2 0.4 0.8 1.6 3.2; do
        may_have_left_processes || return 1
        [ -e "$job/kill" ] || return 0
        sleep "$span" 2>/dev/null || sleep 1
    done
    may_have_left_processes
}

# may_have_left_processes: check whether the script of $job, which has ended, may have left
# processes running. Returns 0 if the caller must search all processes of the host.
#
# A process that outlives the script is an orphan now, or a descendant of an orphan. $adopted
# contains the orphans that existed before the start of the script. Therefore only new orphans
# and their descendants are checked. The kernel may omit a child from the list if another child
# ends at the same time, so the list is read twice. After a minute, a pid in $adopted may have
# been reused.
may_have_left_processes() {
    [ -n "$adopted" ] && is_number "$j_start" || return 0
    get_uptime
    [ $((uptime - began)) -le 60 ] || forget_ended_orphans
    environs=''
    for _ in 1 2; do
        find_new_orphans && [ "$new_count" -le 50 ] || return 0
        # shellcheck disable=SC2086 # split into pids
        check_descendants $new_orphans || return 0
    done
    [ -n "$environs" ] || return 1
    check_grep
    [ -n "$grep_reads_nul" ] || return 0
    environ_token=${spec#*token=}
    # shellcheck disable=SC2086 # split into paths
    grep -qsF "TEJ_JOB_TOKEN=${environ_token%% *}" $environs </dev/null
    # grep exits with 2 if a process has ended meanwhile, or is hidden.
    case $? in 1 | 2) return 1 ;; esac
}

# find_new_orphans: set $new_orphans to the orphans that are not in $adopted, and $new_count to
# their number. Returns 1 if the orphans are unknown.
find_new_orphans() {
    new_orphans='' new_count=0
    read_orphans || return 1
    [ "$orphans" != "$adopted" ] || return 0
    for pid in $orphans; do
        case "$adopted$$ " in
            *" $pid "*) ;;
            *) new_orphans="$new_orphans $pid" new_count=$((new_count + 1)) ;;
        esac
    done
}

# forget_ended_orphans: remove from $adopted the pids of processes that have ended, or are not
# older than the script.
forget_ended_orphans() {
    set --
    for pid in $adopted; do set -- "$@" "$proc/$pid/stat"; done
    # awk cannot parse the name of a process that contains a newline. The process is then
    # treated as a new orphan.
    adopted=" $(cat "$@" 2>/dev/null </dev/null | LC_ALL=C awk -v since="$j_start" '
        /^[0-9]+ [(].*[)] / {
            pid = $1
            sub(/^.*[)] /, "")
            if (split($0, field, " ") >= 20 && field[20] + 0 < since + 0) printf "%s ", pid
        }')"
}

# check_descendants PID...: add the environment files of these processes and their descendants
# to $environs. Returns 1 if one of these processes is in the session of the job, or if there
# are more than 50 processes.
check_descendants() {
    checked=0
    while [ $# -gt 0 ]; do
        pid=$1
        shift
        get_start "$pid"
        # A process that is older than the script does not belong to the job. The shell compares
        # the difference, because with 32-bit arithmetic (mksh) the times overflow after 248 days.
        [ -n "$start" ] && [ $((start - j_start)) -ge 0 ] || continue
        checked=$((checked + 1))
        [ "$session" != "$j_pid" ] && [ "$checked" -le 50 ] || return 1
        environs="$environs $proc/$pid/environ"
        for item in "$proc/$pid/task"/*/children; do
            children=''
            { read -r children <"$item"; } 2>/dev/null
            # shellcheck disable=SC2086 # split into pids
            set -- "$@" $children
        done
    done
}

# count_pids: set $left to the number of pids in $pids, or to '' if there are none. After a
# failed search, $left is at least 1, so that a client counts the processes again (recount).
count_pids() {
    left=''
    [ -n "$has_searched" ] || left=1
    for pid in $pids; do left=$((left + 1)); done
}

# has_processes: check whether the job has, or may have, processes on this host.
has_processes() {
    find_job_processes
    [ -n "$pids" ] || [ -z "$has_searched" ]
}

# recount: set $left to the number of processes that outlived the job's script and still run. If
# this host or account cannot count them, sets $elsewhere to the name of the job's host.
recount() {
    elsewhere=''
    [ -n "$left" ] && ran_here || return 0
    find_job_processes
    count_visible
}

# count_visible: like count_pids, if this account can see the processes that outlived the
# script. Otherwise sets $elsewhere to the name of this host, and keeps $left.
count_visible() {
    [ -z "$left" ] || [ -n "$pids" ] || sees_processes || {
        note_uncounted "$host"
        return 0
    }
    count_pids
}

# note_uncounted HOST: set $elsewhere to HOST, where the processes cannot be counted.
note_uncounted() {
    elsewhere=$1
    note="${note:+$note; }processes that it left running on $1 may have ended by now"
}

# ran_here: check whether the job ran on this host after the last boot. If the job ran on
# another host, sets $elsewhere to the name of that host. If it ran before a reboot, sets $left
# to ''.
ran_here() {
    get_host
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $native
    set +f
    # For a job under a scheduler, the file `native_id` does not contain the host.
    [ "${1-}" = pid ] || set -- '' "${where:-$host}" "$boot" "$space"
    ! same_host "$2" "$3" "$4" || return 0
    if is_past "${2-}" "${3-}"; then
        left=''
    else
        note_uncounted "$2"
    fi
    return 1
}

# note_killer: record in the file `.killer` that this shell kills $job, whose processes run on
# this host. Therefore the job's heartbeat process, which also reads the file `kill`, does not
# kill the job, and only one process searches for the job's processes. Called before `kill` is
# written. Does nothing for a job of another member of a group: only the owner can signal the
# processes, so the heartbeat process must kill the job.
note_killer() {
    # shellcheck disable=SC3067 # all shells that tej supports have -O
    [ -O "$job/heartbeat" ] || return 0
    me
    # Write only to a regular file: the shell would block if it opened a FIFO.
    [ ! -e "$job/.killer" ] || [ -f "$job/.killer" ] || return 0
    { printf '%s\n' "$who" >"$job/.killer"; } 2>/dev/null || :
}

# is_killed_here: check whether a live shell on this host kills $job (note_killer).
is_killed_here() {
    killer=''
    [ ! -f "$job/.killer" ] || read -r killer <"$job/.killer"
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $killer
    set +f
    [ $# = 5 ] && same_host "$1" "$2" "$3" && is_alive "$4" "$5"
}

# stop_processes GRACE: send SIGTERM to all processes of $job and, after GRACE seconds, SIGKILL.
# Sets $pids to the processes that remain. A stopped process handles SIGTERM only after SIGCONT.
stop_processes() {
    find_job_processes
    signal_processes TERM
    signal_processes CONT
    wait_for_processes "$1" && return 0
    wait_for_processes 10 KILL
}

# signal_processes SIGNAL: send SIGNAL to the processes in $pids. Without /proc, $pids contains
# only the first process of the job, so SIGNAL is also sent to its process group.
signal_processes() {
    # shellcheck disable=SC2086 # split into pids
    [ -z "$pids" ] || kill -s "$1" $pids 2>/dev/null
    [ -n "$proc" ] || [ -z "$pids" ] || kill -s "$1" -- "-$j_pid" 2>/dev/null
}

# wait_for_processes SECONDS [SIGNAL]: wait until the job has no processes. Returns 1 if some
# remain after SECONDS. Sends SIGNAL every 0.2 seconds, because a process may fork between two
# signals.
wait_for_processes() {
    rounds=0
    while find_job_processes && [ -n "$pids" ]; do
        [ $# = 1 ] || signal_processes "$2"
        [ "$rounds" -lt $(($1 * 5)) ] || return 1
        rounds=$((rounds + 1))
        nap
    done
}
