# Heartbeat and other signs of life: is a job alive, whatever a listing or another host says?
# shellcheck shell=sh
#
# Whoever runs a job's script (run_detached.sh, run_in_scheduler.sh) writes the fact
# `heartbeat` every $heartbeat_interval seconds.  Readers never compare the clocks of two
# hosts: they compare two times that the same file system has given to two files, or look
# twice at the heartbeat, some time of their own uptime apart.

heartbeat_interval=20 # seconds between two heartbeats
heartbeat_timeout=900 # seconds without a heartbeat, after which a silent host's job is lost

# write_heartbeat: in place, so that no reader finds the file empty, even on a full disk.
write_heartbeat() {
    printf '%s\n' "$(date +%s)" 1<>"$job/heartbeat"
}

# start_heartbeat: write the heartbeat in the background for as long as this shell lives;
# heart=the background process.
start_heartbeat() {
    get_start $$
    write_heartbeat
    keep_heartbeat $$ "${start:--}" &
    heart=$!
}

# stop_heartbeat: returns when the heartbeat's process, and what it had begun, is over.
stop_heartbeat() {
    kill "$heart" 2>/dev/null
    wait "$heart" 2>/dev/null
}

# Hooks for whoever keeps the heartbeat; redefine what differs.
# before_heartbeat: span=seconds until the next heartbeat.
before_heartbeat() { span=$heartbeat_interval; }
# after_heartbeat: what else is due from time to time.
after_heartbeat() { :; }
# after_wrapper: the shell that began it was killed; 0 if the heartbeat has to go on.
after_wrapper() { return 1; }

# keep_heartbeat PID START: until that process is gone or sends SIGTERM.  Work that a hook
# has begun is finished before.
keep_heartbeat() {
    nap='' in_hook='' stopped=''
    trap leave_heartbeat TERM
    while :; do
        before_heartbeat
        # In the background: a shell delays its traps until a foreground command ends.
        sleep "$span" &
        nap=$!
        wait "$nap"
        nap=''
        # Before it is written: a heartbeat says that the job was alive at that time.
        ! is_gone "$1" "$2" || after_wrapper || exit 0
        write_heartbeat
        in_hook=1
        after_heartbeat
        in_hook=''
        [ -z "$stopped" ] || exit 0
    done
}

leave_heartbeat() {
    stopped=1
    [ -z "$nap" ] || kill "$nap" 2>/dev/null
    [ -n "$in_hook" ] || exit 0
}

# is_beating [SECONDS]: the job has written a heartbeat in that time ($heartbeat_timeout, if
# none is given), or that cannot be told; seen=how many seconds ago the last one was.
# Returns 1 if it has fallen silent, or has never had a heartbeat.
is_beating() {
    seen=''
    [ -f "$job/heartbeat" ] || return 1
    ! is_stale heartbeat "${1:-$heartbeat_timeout}"
    silent=$?
    seen=$age
    return "$silent"
}

# is_stale FACT SECONDS: the job's file was not written for that long, as sure as can be
# known; age=for how many seconds, or empty.  A clock that was set forward makes each file
# look old and one that was set back makes each look new; so the file has to be found
# unchanged a second time, later by the uptime of this host.
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
            # NFS clients show a file as it was up to a minute ago.
            confirm_stale "$1" $((heartbeat_interval * 4))
            ;;
    esac
}

# confirm_stale FACT SECONDS: this host has found the file as it is now that long ago.
confirm_stale() {
    get_host
    get_uptime
    look=$job/.look.$1.$host
    version="$file_time $boot"
    # Where no file time can be had, a heartbeat still has another text each time.
    [ "$1" != heartbeat ] || [ -n "$file_time" ] || read -r version <"$job/heartbeat"
    if [ -f "$look" ] && read -r looked version_then <"$look" && is_number "$looked" &&
        [ "$version_then" = "$version" ] && [ "$looked" -le "$uptime" ]; then
        [ $((uptime - looked)) -ge "$2" ]
    else
        printf '%s\n' "$uptime $version" 2>/dev/null >"$look"
        return 1
    fi
}

# get_age PATH: file_time=when the file was written, by its file system's clock; age=how
# many seconds ago, by the same clock; negative if the clock was set back; both empty if they
# cannot be told.
get_age() {
    age=''
    get_file_time "$1"
    [ -n "$file_time" ] || return 1
    get_disk_time
    [ -n "$disk_time" ] || return 1
    age=$((disk_time - file_time))
}

# get_disk_time: disk_time=now, by the clock that dates the queue's files; empty if nothing
# can be written there: then the heartbeats cannot be, either.
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

# get_file_time PATH: file_time=when it was last written; empty if no program can say.
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

# get_last_sign: last_sign=the time, by the job's own host, at which it was last known to be
# alive: for ends that nobody has written down.
get_last_sign() {
    last_sign=${started:-$submitted}
    [ ! -f "$job/heartbeat" ] || {
        read -r beat_time <"$job/heartbeat"
        ! is_number "$beat_time" || last_sign=$beat_time
    }
    get_time
    [ -n "$last_sign" ] || last_sign=$now
}

# shows_life: something of the job whose facts were read is alive, or may be, whatever its
# state is; sign=words for what.  Nothing may remove or replace the job then.
shows_life() {
    sign=''
    if has_processes; then
        sign="processes of it run on $host"
    elif [ -f "$job/finished" ]; then
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

# is_watched_here: this host can see the wrapper of the job; life=what it sees.
is_watched_here() {
    set -f
    # shellcheck disable=SC2086 # fields
    set -- $native
    set +f
    [ "${1-}" = pid ] && same_host "$2" "$3" "$4" && check_process "$5" "$6"
}
