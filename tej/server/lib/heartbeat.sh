# Heartbeat of a job, and other signs of life: check whether a job is alive.
# shellcheck shell=sh
#
# The wrapper of a job (run_detached.sh, run_in_scheduler.sh) writes the fact
# `heartbeat` every $heartbeat_interval seconds. Readers never compare the clocks of two
# hosts. Instead, readers compare the modification times of two files on the same file
# system. If a heartbeat seems too old, readers check the heartbeat a second time, and
# measure the time between the two checks in uptime.

heartbeat_interval=20 # seconds between two heartbeats
heartbeat_timeout=900 # age of the heartbeat, in seconds, at which an unreachable job is lost
heartbeat_overdue=90  # age of the heartbeat, in seconds, at which its process is missing

# write_heartbeat: record the current time in the job's heartbeat file. The file is
# overwritten in place (`1<>`), so that the heartbeat file is never empty, even if the
# disk is full.
write_heartbeat() {
    kept_now=${now-}
    read_clock
    printf '%s\n' "$now" 1<>"$job/heartbeat"
    now=$kept_now
}

# start_heartbeat: start a background process that writes the heartbeat while this shell
# lives. Sets $heart to the pid of the background process.
start_heartbeat() {
    me
    write_heartbeat
    keep_heartbeat "$self" "$own_start" &
    heart=$!
}

heart='' # pid of the process that start_heartbeat has started

# stop_heartbeat: stop the background process, if any, and wait until it has exited. A
# process that was stopped (SIGSTOP) receives SIGTERM only after SIGCONT.
stop_heartbeat() {
    [ -n "$heart" ] || return 0
    kill "$heart" 2>/dev/null
    kill -s CONT "$heart" 2>/dev/null
    wait "$heart" 2>/dev/null
}

# Hooks that the wrapper may redefine:
# before_heartbeat: set $span to the seconds until the next heartbeat.
before_heartbeat() { span=$heartbeat_interval; }
# after_heartbeat: do other periodic work.
after_heartbeat() { :; }
# after_wrapper: called when the wrapper was killed. Returns 0 to continue the heartbeat.
after_wrapper() { return 1; }

# keep_heartbeat PID START: write the heartbeat until the process PID is gone, or until
# keep_heartbeat receives SIGTERM. If a hook is running when SIGTERM arrives, the hook
# is completed first.
keep_heartbeat() {
    in_hook='' stopped=''
    begin_sleeps
    trap leave_heartbeat TERM
    while :; do
        before_heartbeat
        sleep_until_signal "$span"
        # Check the wrapper before the heartbeat is written, because a heartbeat means
        # that the job was alive at that time.
        ! is_gone "$1" "$2" || after_wrapper || exit 0
        write_heartbeat
        in_hook=1
        after_heartbeat
        in_hook=''
        [ -z "$stopped" ] || exit 0
    done
}

# leave_heartbeat: SIGTERM trap of keep_heartbeat. Exits at once, or after the hook if a
# hook is running.
leave_heartbeat() {
    stopped=1
    [ -n "$in_hook" ] || {
        end_sleep
        exit 0
    }
}

# is_beating [SECONDS]: check whether the job has written a heartbeat within SECONDS
# (default $heartbeat_timeout). Sets $seen to the age of the last heartbeat in seconds,
# and $beat to the time of the last heartbeat by the clock of the job's host. Returns 1 if
# the heartbeat has stopped or never started. Returns 0 if the age of the heartbeat is
# unknown.
is_beating() {
    seen='' beat=''
    [ -f "$job/heartbeat" ] || return 1
    ! is_stale heartbeat "${1:-$heartbeat_timeout}"
    silent=$?
    seen=$age
    [ -z "$seen" ] || read -r beat <"$job/heartbeat"
    return "$silent"
}

# is_stale FACT SECONDS: check whether the fact FACT was not written for SECONDS. Sets $age
# to the age of the fact in seconds, or to '' if the age is unknown. If the clock is set
# forward, every file seems old, and if the clock is set back, every file seems new.
# Therefore a fact is stale only if a second check finds the fact unchanged. The time
# between the two checks is measured in uptime.
is_stale() {
    get_age "$job/$1"
    case $age in
        '') confirm_stale "$1" "$2" ;;
        -*)
            age=0
            confirm_stale "$1" "$2"
            ;;
        *)
            [ "$age" -ge "$2" ] || return 1
            # NFS clients cache file attributes for up to a minute.
            confirm_stale "$1" $((heartbeat_interval * 4))
            ;;
    esac
}

# confirm_stale FACT SECONDS: check whether this host first read the current version of the
# fact at least SECONDS ago. The file `.look.FACT.HOST` records the uptime of the first
# check.
confirm_stale() {
    get_host
    get_uptime
    look=$job/.look.$1.$host
    version="$file_time $boot"
    # If file times are unavailable, the content of the heartbeat identifies the version.
    [ "$1" != heartbeat ] || [ -n "$file_time" ] || read -r version <"$job/heartbeat"
    if [ -f "$look" ] && read -r looked version_then <"$look" && is_number "$looked" &&
        [ "$version_then" = "$version" ] && [ "$looked" -le "$uptime" ]; then
        [ $((uptime - looked)) -ge "$2" ]
    else
        # The shell would block if it opened a FIFO.
        [ -f "$look" ] || rm -f "$look"
        printf '%s\n' "$uptime $version" 2>/dev/null >"$look"
        return 1
    fi
}

# get_age PATH: set $file_time to the modification time of the file PATH, and $age to
# the age of PATH in seconds. $file_time and $age use the clock of the file system. $age
# is negative if the clock was set back. Sets $age to '' and returns 1 if the
# modification time or the current time is unavailable.
get_age() {
    age=''
    get_file_time "$1"
    [ -n "$file_time" ] || return 1
    get_disk_time
    [ -n "$disk_time" ] || return 1
    age=$((disk_time - file_time))
}

# get_disk_time: set $disk_time to the current time of the clock that dates the queue's
# files. If no file can be written in the queue, sets $disk_time to ''. If no file can
# be written, no heartbeat can be written, either.
get_disk_time() {
    get_time
    [ "${disk_time_at-}" != "$now" ] || return 0
    disk_time='' disk_time_at=$now wanted_time=$file_time
    { printf '\n' 1<>"$jobs/.clock"; } 2>/dev/null && {
        get_file_time "$jobs/.clock"
        disk_time=$file_time
    }
    file_time=$wanted_time
}

# get_file_time PATH: set $file_time to the modification time of the file PATH. Returns 1
# if no program can report the modification time.
get_file_time() {
    file_time=''
    for file_clock in ${file_clock:-gnu bsd date perl}; do
        case $file_clock in
            gnu) file_time=$(stat -c %Y "$1" 2>/dev/null) ;;
            bsd) file_time=$(stat -f %m "$1" 2>/dev/null) ;;
            date) file_time=$(date -r "$1" +%s 2>/dev/null) ;;
            perl) file_time=$(perl -e 'print((lstat shift)[9])' "$1" 2>/dev/null) ;;
        esac
        ! is_number "$file_time" || return 0
    done
    file_time='' file_clock=''
    return 1
}

# get_last_sign: set $last_sign to the last time at which the job was known to be alive,
# by the clock of the job's host. If the end of a job was not recorded, $last_sign is
# used as the time of the end.
get_last_sign() {
    last_sign=${started:-$submitted}
    [ ! -f "$job/heartbeat" ] || {
        read -r beat_time <"$job/heartbeat"
        ! is_number "$beat_time" || last_sign=$beat_time
    }
    get_time
    [ -n "$last_sign" ] || last_sign=$now
}

# shows_life: check whether a process of the job is or may be alive, independent of the
# job's state. The job's facts must have been read before. Sets $sign to a description
# of the sign of life for messages. A job that shows a sign of life must not be removed
# or replaced.
shows_life() {
    sign=''
    if has_processes; then
        sign="some of its processes run on $host"
    elif [ -s "$job/finished" ] || ended_with_boot; then
        return 1
    elif is_watched_here; then
        case $life in
            alive) sign="its wrapper runs on $host" ;;
            unsure) ! is_beating || sign="it was seen on $host${seen:+ $seen seconds ago}" ;;
        esac
    elif is_beating; then
        sign="it was seen${where:+ on $where}${seen:+ $seen seconds ago}"
    fi
    [ -n "$sign" ]
}

# was_restarted: check whether this host was booted after the job's last heartbeat. If the
# heartbeat is newer than the boot of this host, the job runs on another machine with
# the same name.
was_restarted() {
    get_uptime
    get_age "$job/heartbeat" && [ "$age" -gt "$uptime" ]
}

# ended_with_boot: check whether the job ran on this machine before the machine was
# restarted. No process survives a restart.
ended_with_boot() {
    set -f
    # shellcheck disable=SC2086 # fields
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

# is_watched_here: check whether the job's wrapper runs on this host under the default
# runtime. Sets $life to the result of check_process for the wrapper.
is_watched_here() {
    set -f
    # shellcheck disable=SC2086 # fields
    set -- $native
    set +f
    [ "${1-}" = pid ] && same_host "$2" "$3" "$4" && check_process "$5" "$6"
}
