# Checks whether a job is alive: by its processes, if this host can see them, or by its
# heartbeat (heartbeat.sh), which the job's wrapper (the process that runs the script) writes.
# shellcheck shell=sh

# get_last_sign: set $last_sign to the last time at which the job was known to be alive, by the
# clock of the job's host.
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

# shows_life: check whether a process of the job is or may be alive, whatever the state of the
# job. Such a job must not be removed or replaced. For messages, sets $sign to a description,
# and, if a kill has no effect, $advice to what the user can do. The job must have been read
# (read_facts).
shows_life() {
    sign=''
    if has_processes; then
        sign="some of its processes run on $host"
    elif [ -s "$job/finished" ] || ended_with_boot; then
        return 1
    elif is_watched_here; then
        case $life in
            alive) sign="its wrapper runs on $host" ;;
            # A new heartbeat would have changed the state `lost`, so the heartbeat is old.
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
# heartbeat is newer than the boot, the job runs on another machine with the same name. Such a
# job writes a heartbeat soon. Therefore always returns 1 in the first $heartbeat_overdue
# seconds after the boot of this host.
was_restarted() {
    get_uptime
    [ "$uptime" -ge "$heartbeat_overdue" ] && get_age "$job/heartbeat" && [ "$age" -gt "$uptime" ]
}

# ended_with_boot: check whether the job ran on this machine before its last restart.
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
# queue of a group, the job may belong to another user, whose processes can be hidden (hidepid).
sees_processes() {
    # shellcheck disable=SC3067 # all shells that tej supports have -O
    [ -O "$job/native_id" ] || [ -r "$proc/1/environ" ]
}

# check_wrapper PID START: like check_process, for the wrapper of $job. Sets $life to `unsure`
# instead of `gone` if this account may not see the other processes of the job.
check_wrapper() {
    check_process "$1" "$2"
    [ "$life" != gone ] || sees_processes || life=unsure
}

# is_watched_here: check whether the job's wrapper was started on this host by the default
# runtime. If so, sets $life (check_wrapper).
is_watched_here() {
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $native
    set +f
    [ "${1-}" = pid ] && same_host "$2" "$3" "$4" && check_wrapper "$5" "$6"
}
