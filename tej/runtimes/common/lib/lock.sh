# A lock that whoever died holding it does not keep: a link to who has it.
# shellcheck shell=sh

# is_locked PATH: somebody has it, and lives as far as is known: an hour, on another host.
is_locked() {
    [ -h "$1" ] && holder=$(ls -ld "$1" 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # fields
    set -- ${holder#*" -> "}
    if same_host "${2-}" "${3-}" "${4-}"; then
        is_alive "${5-}" "${6-}"
    else
        get_time
        is_number "${1-}" && [ $((now - $1)) -lt 3600 ]
    fi
}

# is_closing: the queue is being removed, or is not there any more.
is_closing() {
    [ ! -f "$queue/version" ] || is_locked "$queue/closing"
}

# take_lock PATH: 1 if somebody else has it and is alive.
take_lock() {
    me
    get_time
    lock=$1
    ln -s "$now $who" "$lock" 2>/dev/null && return 0
    holder=$(ls -ld "$lock" 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # fields
    set -- ${holder#*" -> "}
    if same_host "${2-}" "${3-}" "${4-}"; then
        ! is_alive "${5-}" "${6-}" || return 1
    else
        is_number "${1-}" && [ $((now - $1)) -gt 300 ] || return 1
    fi
    mv "$lock" "$lock.$$" 2>/dev/null || return 1
    # Meanwhile somebody else may have done the same: then what was moved is theirs.
    moved=$(ls -ld "$lock.$$" 2>/dev/null)
    if [ "${moved#*" -> "}" != "${holder#*" -> "}" ]; then
        mv "$lock.$$" "$lock"
        return 1
    fi
    rm -f "$lock.$$"
    ln -s "$now $who" "$lock" 2>/dev/null
}
