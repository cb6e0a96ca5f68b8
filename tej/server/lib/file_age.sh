# Age of files in the queue, without comparing the clocks of two hosts. The age is the
# difference of two modification times on the same file system. A second check confirms that a
# file is old. The time between the checks is measured in uptime, which does not change with the
# clock.
# shellcheck shell=sh

# is_stale FACT SECONDS: check whether the job's file FACT has not been written for SECONDS.
# Sets $age to its age in seconds, or to '' if unknown. All files seem old after the clock was
# set forward. Therefore a second check must find the file unchanged (confirm_stale).
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
            # NFS clients cache modification times for up to a minute. Therefore the two checks
            # must be more than a minute apart.
            confirm_stale "$1" $((heartbeat_interval * 4))
            ;;
    esac
}

# confirm_stale FACT SECONDS: check whether the job's file FACT has not changed since a check on
# this host at least SECONDS ago. The first check of each version of FACT writes this host's
# uptime to the file `.look.FACT.HOST`.
confirm_stale() {
    get_host
    get_uptime
    look=$job/.look.$1.$host
    version="$file_time $boot"
    # If the modification time is unknown, the content of the heartbeat identifies its version.
    [ "$1" != heartbeat ] || [ -n "$file_time" ] || read -r version <"$job/heartbeat"
    if [ -f "$look" ] && read -r looked version_then <"$look" && is_number "$looked" &&
        [ "$version_then" = "$version" ] && [ "$looked" -le "$uptime" ]; then
        [ $((uptime - looked)) -ge "$2" ]
    else
        # Remove a FIFO: the shell would block if it opened one.
        [ -f "$look" ] || rm -f "$look"
        printf '%s\n' "$uptime $version" 2>/dev/null >"$look"
        return 1
    fi
}

# get_age PATH: set $file_time to the modification time of PATH, and $age to its age in seconds.
# Both use the clock of the file system. $age is negative if this clock was set back. Returns 1
# with an empty $age if a time is unknown.
get_age() {
    age=''
    get_file_time "$1"
    [ -n "$file_time" ] || return 1
    get_disk_time
    [ -n "$disk_time" ] || return 1
    age=$((disk_time - file_time))
}

# get_disk_time: set $disk_time to the time of the file system's clock, or to '' if no file can
# be written. In this case no heartbeat can be written either, and an old heartbeat proves
# nothing.
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

# agrees_with_disk: check whether the clocks of this host and of the file system differ by less
# than an hour. `find -mtime`, which compares the two clocks, is correct only in this case.
agrees_with_disk() {
    file_time=''
    get_disk_time
    [ -n "$disk_time" ] || return 1
    clock_difference=$((now - disk_time))
    [ "${clock_difference#-}" -lt 3600 ]
}

# get_file_time PATH: set $file_time to the modification time of PATH. Returns 1 if no program
# can report it.
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
