# Locks: a symbolic link whose text names the holder, so that a dead holder loses it.
# shellcheck shell=sh

# is_locked PATH SECONDS: somebody holds the lock (holder=the text of the link) and is alive
# as far as is known; on another host, for SECONDS.  2 if there is no such lock.
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

# take_lock PATH: 1 if somebody else has it and is alive.
take_lock() {
    me
    get_time
    lock=$1
    ln -s "$now $who" "$lock" 2>/dev/null && return 0
    is_locked "$lock" 300
    [ $? = 1 ] && mv "$lock" "$lock.$$" 2>/dev/null || return 1
    # Meanwhile somebody else may have done the same: then what was moved is theirs.
    moved=$(ls -ld "$lock.$$" 2>/dev/null)
    if [ "${moved#*" -> "}" != "$holder" ]; then
        mv "$lock.$$" "$lock"
        return 1
    fi
    rm -f "$lock.$$"
    ln -s "$now $who" "$lock" 2>/dev/null
}
