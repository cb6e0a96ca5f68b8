# A lock that whoever died holding it does not keep: a link to who has it.
# shellcheck shell=sh

# is_locked PATH SECONDS: somebody has it (holder=what the link says), and lives as far as
# is known: SECONDS long, on another host.  2 if it is not there at all.
is_locked() {
    holder=$(ls -ld "$1" 2>/dev/null) || return 2
    holder=${holder#*" -> "} patient=$2
    # shellcheck disable=SC2086 # fields
    set -- $holder
    if same_host "${2-}" "${3-}" "${4-}"; then
        is_alive "${5-}" "${6-}"
    else
        get_time
        ! is_number "${1-}" || [ $((now - $1)) -le "$patient" ]
    fi
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
