# A limit on the jobs that run at once, without a daemon: those above it wait in
# `waiting`, in the order they came; whoever ends a job, or asks for one, starts the next.
# shellcheck shell=sh
#
#   max_running              the limit
#   waiting/TIME.COUNT.ID    one that waits
#   running/ID               one that counts
#   lock                     a link to who moves them from here to there
#
# Whoever dies on the way loses nothing: what is in `running` and was never started is
# started by the next one, once, since a wrapper claims its job.

# enqueue: $job waits for its turn.
enqueue() {
    get_time
    came=$((${came:-0} + 1))
    mkdir -p "$queue/waiting" "$queue/running" && put queued "$now" &&
        : >"$queue/waiting/$now.$(printf '%06d' "$came").$id"
}

# start_waiting: start as many as the limit allows.  Who finds the lock taken may leave:
# who has it looks again after letting it go.
start_waiting() {
    [ -d "$queue/waiting" ] || return 0
    while forget_ended && is_room; do
        take_lock || return 0
        fill_room
        rm -f "$queue/lock"
    done
}

# forget_ended: what has ended does not count.
forget_ended() {
    for item in "$queue/running"/*; do
        [ -e "$item" ] || continue
        # A subshell: the job in hand stays in hand.
        (load_job "${item##*/}" && ! is_final) || rm -f "$item"
    done
}

# is_room: somebody waits, and fewer run than may.
is_room() {
    max=0
    [ ! -f "$queue/max_running" ] || read -r max <"$queue/max_running"
    is_number "$max" || max=0
    count_in waiting
    [ "$count" -gt 0 ] || return 1
    count_in running
    [ "$max" = 0 ] || [ "$count" -lt "$max" ]
}

# count_in DIRECTORY: count=how many are in it.
count_in() {
    set -- "$queue/$1"/*
    count=$#
    [ -e "$1" ] || count=0
}

# fill_room: with the lock.
fill_room() {
    for item in "$queue/running"/*; do
        [ ! -e "$item" ] || [ -e "$jobs/${item##*/}/native_id" ] || launch "${item##*/}"
    done
    for item in "$queue/waiting"/*; do
        [ -e "$item" ] || continue
        [ "$max" = 0 ] || [ "$count" -lt "$max" ] || return 0
        next=${item##*/} next=${next#*.} next=${next#*.}
        if [ ! -d "$jobs/$next" ] || [ -e "$jobs/$next/finished" ]; then
            rm -f "$item"
        else
            mv "$item" "$queue/running/$next" && launch "$next" && count=$((count + 1))
        fi
    done
}

# launch ID
launch() {
    detach "$here/wrapper.sh" "$queue" "$1" "$here" "$runtime"
}

# take_lock: 1 if somebody else has it and is alive.
take_lock() {
    me
    get_time
    ln -s "$now $who" "$queue/lock" 2>/dev/null && return 0
    holder=$(ls -ld "$queue/lock" 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # fields
    set -- ${holder#*" -> "}
    if same_host "${2-}" "${3-}" "${4-}"; then
        ! is_alive "${5-}" "${6-}" || return 1
    else
        is_number "${1-}" && [ $((now - $1)) -gt 300 ] || return 1
    fi
    mv "$queue/lock" "$queue/lock.$$" 2>/dev/null && rm -f "$queue/lock.$$" &&
        ln -s "$now $who" "$queue/lock" 2>/dev/null
}
