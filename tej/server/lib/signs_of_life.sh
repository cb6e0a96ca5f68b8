# Signs of life of a job: check whether the job is alive by its heartbeat (heartbeat.sh), or
# by its processes if this host can see them (process_identity.sh). A job has no sign of life if
# its machine was rebooted.
# shellcheck shell=sh

heartbeat_timeout=900 # heartbeat age in seconds from which an unreachable job counts as lost
heartbeat_overdue=90  # heartbeat age in seconds from which the heartbeat process counts as dead

# is_beating [SECONDS]: check whether the job has written a heartbeat within SECONDS
# (default $heartbeat_timeout). Also returns 0 if the age of the last heartbeat is unknown.
# Sets $seen to the age in seconds, and $beat to the time of the last heartbeat by the clock
# of the job's host. Both are '' if unknown.
is_beating() {
    seen='' beat=''
    [ -f "$job/heartbeat" ] || return 1
    ! is_stale heartbeat "${1:-$heartbeat_timeout}"
    silent=$?
    seen=$age
    [ -z "$seen" ] || read -r beat <"$job/heartbeat"
    return "$silent"
}

# get_last_sign: set $last_sign to the last time at which the job was known to be alive,
# by the clock of the job's host. If the end of a job was not recorded, $last_sign is
# used as the time of the end.
get_last_sign() {
    last_sign=${started:-$submitted}
    beat_time=''
    [ ! -f "$job/heartbeat" ] || {
        read -r beat_time <"$job/heartbeat"
        ! is_number "$beat_time" || last_sign=$beat_time
    }
    get_time
    [ -n "$last_sign" ] || last_sign=$now
}

# shows_life: check whether a process of the job is or may be alive, regardless of the
# job's state. The job's fact files must have been read before. For messages, sets $sign to
# a description of the sign of life, and $advice to what the user can do. A job that shows a sign
# of life must not be removed or replaced.
shows_life() {
    sign='' advice='kill it first'
    if has_processes; then
        sign="some of its processes run on $host"
    elif [ -s "$job/finished" ] || ended_with_boot; then
        return 1
    elif is_watched_here; then
        case $life in
            alive) sign="its wrapper runs on $host" ;;
            # The heartbeat of a lost job is older than the file `lost`. A newer heartbeat would
            # have changed the state.
            unsure) [ "$state" = lost ] || ! is_beating || sign="it was seen on $host${seen:+ $seen seconds ago}" ;;
        esac
    elif is_beating; then
        sign="it was seen${where:+ on $where}${seen:+ $seen seconds ago}"
        # A kill has no effect on a lost job, so advise the user to wait.
        [ "$state" != lost ] || advice="try again $heartbeat_timeout seconds after it was last seen"
    fi
    [ -n "$sign" ]
}

# was_restarted: check whether this host was booted after the job's last heartbeat. If the
# heartbeat is newer than the boot of this host, the job runs on another machine with
# the same name. Such a job may not have written a heartbeat yet in the first seconds after
# the boot of this host.
was_restarted() {
    get_uptime
    [ "$uptime" -ge "$heartbeat_overdue" ] && get_age "$job/heartbeat" && [ "$age" -gt "$uptime" ]
}

# ended_with_boot: check whether the job ran on this machine before the machine was
# restarted. No process survives a restart.
ended_with_boot() {
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $native
    set +f
    [ "${1-}" = pid ] && is_past "$2" "$3" && was_restarted
}

# is_seen_here: check whether a process of a started job runs on this host under the default
# runtime.
is_seen_here() {
    [ -n "$started" ] && is_watched_here || return 1
    [ "$life" = alive ] || { is_number "$j_start" && is_alive "$j_pid" "$j_start"; } || has_live_token
}

# sees_processes: check whether this account can see all processes of $job on this host. In a
# queue of a group, the processes of another user's job can be hidden (hidepid), and only their
# owner and root can read the token in their environments.
sees_processes() {
    # shellcheck disable=SC3067 # all shells that tej supports have -O
    [ -O "$job/native_id" ] || [ -r "$proc/1/environ" ]
}

# check_wrapper PID START: like check_process, for the wrapper of $job. Sets $life to `unsure`
# if the wrapper is gone, but this account may not see the other processes of the job.
check_wrapper() {
    check_process "$1" "$2"
    [ "$life" != gone ] || sees_processes || life=unsure
}

# is_watched_here: check whether the job's wrapper was started on this host by the default
# runtime. If so, sets $life to `alive`, `gone` or `unsure` (check_wrapper).
is_watched_here() {
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $native
    set +f
    [ "${1-}" = pid ] && same_host "$2" "$3" "$4" && check_wrapper "$5" "$6"
}
