# Age of files in the queue, without comparing the clocks of two hosts. The age is the
# difference between the modification times of two files on the same file system. A file
# that seems too old is checked again later. The time between the two checks is measured by
# the uptime, which a change of the clock does not affect.
# shellcheck shell=sh

# is_stale FACT SECONDS: check whether the job's file FACT has not been written for SECONDS. Sets
# $age to the age of the file in seconds, or to '' if the age is unknown. If the clock is set
# forward, every file seems old, and if the clock is set back, every file seems new. Therefore a
# file is stale only if a second check finds the file unchanged. The time between the two checks
# is measured in uptime.
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
            # NFS clients cache file attributes for up to a minute. Therefore the two checks
            # must be more than a minute apart.
            confirm_stale "$1" $((heartbeat_interval * 4))
            ;;
    esac
}

# confirm_stale FACT SECONDS: check whether this host first read the current version of the job's
# file FACT at least SECONDS ago. The file `.look.FACT.HOST` records the uptime of the first
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
        # Remove a file that is not regular, because the shell would block if it opened a FIFO.
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

# get_disk_time: set $disk_time to the current time of the clock of the queue's file system. If no
# file can be written in the queue, sets $disk_time to '': then no heartbeat can be written
# either, and its age proves nothing.
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

# agrees_with_disk: check whether the clock of this host differs by less than an hour from the
# clock of the queue's file system. `find -mtime` compares the two clocks.
agrees_with_disk() {
    file_time=''
    get_disk_time
    [ -n "$disk_time" ] || return 1
    clock_difference=$((now - disk_time))
    [ "${clock_difference#-}" -lt 3600 ]
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
