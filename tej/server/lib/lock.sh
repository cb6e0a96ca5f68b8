# Locks. A lock is a symbolic link whose target names the process that holds the lock. If that
# process is dead, another process may remove the lock.
# shellcheck shell=sh

# is_locked PATH SECONDS: check whether a live process holds the lock PATH. A process on another
# host counts as live for SECONDS. Sets $holder to the target of the link. Returns 1 if the
# process is dead, and 2 if there is no lock.
is_locked() {
    holder=$(ls -ld "$1" 2>/dev/null) || return 2
    holder=${holder#*" -> "} lock_path=$1 patient=$2
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $holder
    set +f
    if same_host "${2-}" "${3-}" "${4-}"; then
        check_process "${5-}" "${6-}"
        [ "$life" = gone ] || return 0
        return 1
    fi
    get_age "$lock_path" || {
        get_time
        ! is_number "${1-}" || age=$((now - $1))
    }
    # A process that acquired the lock before the last boot of this host is dead.
    if is_past "${2-}" "${3-}" && [ -n "$age" ]; then
        get_uptime
        [ "$age" -le "$uptime" ] || return 1
    fi
    [ -z "$age" ] || [ "$age" -le "$patient" ]
}

# remove_impostor: remove the file or empty directory at the path $lock. Returns 1 on failure,
# or if another process has created its lock at this path since the check. In the second case,
# `mv` has moved the new lock, which must be moved back.
remove_impostor() {
    mv "$lock" "$lock.$self.$unique" 2>/dev/null || return 1
    [ -h "$lock.$self.$unique" ] || ! { rm -f "$lock.$self.$unique" || rmdir "$lock.$self.$unique"; } 2>/dev/null || return 0
    mv "$lock.$self.$unique" "$lock"
    return 1
}

# take_lock PATH: acquire the lock PATH, after removing the lock of a dead process. Returns 1 if
# another process holds the lock.
take_lock() {
    me
    get_time
    lock=$1
    # A copy of the queue may contain a file or a directory in place of the link. In a
    # directory, `ln` would create the link inside it. The target of a lock does not exist, so
    # `-e` is false for a lock.
    [ ! -e "$lock" ] || remove_impostor || return 1
    ln -s "$now $who" "$lock" 2>/dev/null && return 0
    is_locked "$lock" 300
    [ $? = 1 ] && mv "$lock" "$lock.$self.$unique" 2>/dev/null || return 1
    # Since the check, another process may have replaced the lock with its own. Then `mv` has
    # moved the new lock, which must be moved back.
    moved=$(ls -ld "$lock.$self.$unique" 2>/dev/null)
    if [ "${moved#*" -> "}" != "$holder" ]; then
        mv "$lock.$self.$unique" "$lock"
        return 1
    fi
    rm -f "$lock.$self.$unique"
    ln -s "$now $who" "$lock" 2>/dev/null
}
