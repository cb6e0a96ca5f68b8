# Job limit of a queue, without a daemon: jobs above the limit wait in `waiting`, in the order
# they came; a wrapper at its end, or any client that uses the queue, starts the next.
# shellcheck shell=sh
#
#   max_running              the limit
#   waiting/TIME.COUNT.ID    a job that waits
#   running/ID               a job that counts
#   lock                     held while jobs move from `waiting` to `running`
#
# A process that dies while it moves a job loses nothing: the next one starts what is in
# `running` and was never started.  It is started once, since a wrapper claims its job.

# enqueue: put $job on the waiting list.
enqueue() {
    ! is_in_line || return 0
    get_time
    came=$((${came:-0} + 1))
    # An entry of an earlier job of that id would count for ever.
    rm -f "$queue/running/$id"
    [ -d "$queue/running" ] || count_those_that_run
    # The list before the fact: a job with the fact alone would wait for ever.
    mkdir -p "$queue/waiting" "$queue/running" &&
        : >"$queue/waiting/$now.$(printf '%06d' "$came").$id" && put queued "$now"
}

# is_in_line: an earlier request, whose reply was lost, has put $job on the list.
is_in_line() {
    [ -e "$job/queued" ] || return 1
    [ ! -e "$queue/running/$id" ] || return 0
    for item in "$queue/waiting"/*."$id"; do
        item=${item##*/} item=${item#*.}
        [ "${item#*.}" != "$id" ] || return 0
    done
    # It may just have been moved.
    [ -e "$queue/running/$id" ]
}

# count_those_that_run: jobs that were started before there was a limit count, too.
count_those_that_run() {
    mkdir -p "$queue/running" || return 1
    for item in "$jobs"/*/; do
        [ -d "$item" ] || continue
        item=${item%/} item=${item##*/}
        # A job without a native id is being submitted, and comes to the list itself.
        [ ! -f "$jobs/$item/native_id" ] || [ -f "$jobs/$item/finished" ] || : >"$queue/running/$item"
    done
    return 0
}

# start_waiting: start as many as the limit allows.  A process that finds the lock taken may
# leave: the holder looks again after it has released the lock.
start_waiting() {
    [ -d "$queue/waiting" ] || return 0
    rescued=''
    while forget_ended; do
        is_room || { [ -z "$rescued" ] && has_stranded; } || return 0
        rescued=1
        take_lock "$queue/lock" || return 0
        fill_room
        filled=$?
        ! has_lock || rm -f "$queue/lock"
        [ "$filled" = 0 ] || return 0
    done
}

# has_stranded: a job in `running` was not started: the process that moved it has died, or is
# about to start it.
has_stranded() {
    for item in "$queue/running"/*; do
        [ ! -e "$item" ] || [ -e "$jobs/${item##*/}/native_id" ] ||
            [ -d "$jobs/${item##*/}/claim" ] || return 0
    done
    return 1
}

# has_lock: the lock is still ours; no other process took us for dead.
has_lock() {
    case $(ls -ld "$queue/lock" 2>/dev/null) in *" -> $now $who") ;; *) return 1 ;; esac
}

# forget_ended: jobs that have ended no longer count.
forget_ended() {
    for item in "$queue/running"/*; do
        [ -e "$item" ] || continue
        # In a subshell, to keep the variables of the job in hand.
        (load_job "${item##*/}" && ! is_final) || rm -f "$item"
    done
}

# is_room: a job waits, and fewer run than the limit allows.
is_room() {
    max=0
    [ ! -f "$queue/max_running" ] || read -r max <"$queue/max_running"
    is_number "$max" || max=0
    count_in waiting
    [ "$count" -gt 0 ] || return 1
    count_in running
    [ "$max" = 0 ] || [ "$count" -lt "$max" ]
}

# count_in DIRECTORY: count=the number of its entries.
count_in() {
    set -- "$queue/$1"/*
    count=$#
    [ -e "$1" ] || count=0
}

# fill_room: start jobs up to the limit, with the lock; 1 if an entry cannot be moved.
fill_room() {
    mkdir -p "$queue/running" || return
    for item in "$queue/running"/*; do
        [ ! -e "$item" ] || [ -e "$jobs/${item##*/}/native_id" ] || launch "${item##*/}"
    done
    for item in "$queue/waiting"/*; do
        [ -e "$item" ] || continue
        is_room && has_lock || return 0
        next=${item##*/} next=${next#*.} next=${next#*.}
        if [ ! -d "$jobs/$next" ] || [ -e "$jobs/$next/finished" ]; then
            rm -f "$item" || return
        else
            mv "$item" "$queue/running/$next" || return
            launch "$next"
        fi
    done
    return 0
}

# launch ID: start the wrapper of a job; 1 if no process can be started.
launch() {
    detach "$here/run_detached.sh" "$queue" "$1" "$here" "$runtime"
}
