# Locks: a lock is a symbolic link whose target names the holder, so that the lock of a
# dead process can be broken.
# shellcheck shell=sh

# is_locked PATH SECONDS: check whether the lock is held by a live process. Sets
# holder=the text of the link. A holder on another host counts as live for SECONDS.
# Returns 1 if the holder is dead, 2 if the lock does not exist.
is_locked() {
    holder=$(ls -ld "$1" 2>/dev/null) || return 2
    holder=${holder#*" -> "} lock_path=$1 patient=$2
    set -f
    # shellcheck disable=SC2086 # fields
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
    [ -z "$age" ] || [ "$age" -le "$patient" ]
}

# take_lock PATH: acquire the lock, or break the lock of a dead holder. Returns 1 if
# another process holds the lock.
take_lock() {
    me
    get_time
    lock=$1
    ln -s "$now $who" "$lock" 2>/dev/null && return 0
    is_locked "$lock" 300
    [ $? = 1 ] && mv "$lock" "$lock.$$" 2>/dev/null || return 1
    # Race: another process may have broken the lock and acquired it before this `mv`.
    # Then the link that was moved is that process's lock: put it back.
    moved=$(ls -ld "$lock.$$" 2>/dev/null)
    if [ "${moved#*" -> "}" != "$holder" ]; then
        mv "$lock.$$" "$lock"
        return 1
    fi
    rm -f "$lock.$$"
    ln -s "$now $who" "$lock" 2>/dev/null
}
