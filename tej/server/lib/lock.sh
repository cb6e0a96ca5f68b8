# Locks: a lock is a symbolic link. The target of the link identifies the process that
# holds the lock, so that the lock of a dead process can be removed.
# shellcheck shell=sh

# is_locked PATH SECONDS: check whether a live process holds the lock PATH. Sets $holder
# to the target of the link. If the process runs on another host, it counts as live for
# SECONDS. Returns 1 if the process is dead, and 2 if the lock does not exist.
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
    # If this host was booted after the lock was acquired, the process is dead.
    if is_past "${2-}" "${3-}" && [ -n "$age" ]; then
        get_uptime
        [ "$age" -le "$uptime" ] || return 1
    fi
    [ -z "$age" ] || [ "$age" -le "$patient" ]
}

# take_lock PATH: acquire the lock PATH. If a dead process holds the lock, the lock is
# removed first. Returns 1 if another process holds the lock.
take_lock() {
    me
    get_time
    lock=$1
    ln -s "$now $who" "$lock" 2>/dev/null && return 0
    is_locked "$lock" 300
    [ $? = 1 ] && mv "$lock" "$lock.$self.$unique" 2>/dev/null || return 1
    # Another process may have removed and acquired the lock before this `mv`. If so,
    # `mv` has moved the lock of the other process, and the lock is moved back.
    moved=$(ls -ld "$lock.$self.$unique" 2>/dev/null)
    if [ "${moved#*" -> "}" != "$holder" ]; then
        mv "$lock.$self.$unique" "$lock"
        return 1
    fi
    rm -f "$lock.$self.$unique"
    ln -s "$now $who" "$lock" 2>/dev/null
}
