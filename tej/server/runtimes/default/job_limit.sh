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
    ! is_in_line || return 0
    get_time
    came=$((${came:-0} + 1))
    # Of an earlier job of that name, which would count for ever.
    rm -f "$queue/running/$id"
    [ -d "$queue/running" ] || count_those_that_run
    # First in line, then told so: one that is only told so would wait for ever.
    mkdir -p "$queue/waiting" "$queue/running" &&
        : >"$queue/waiting/$now.$(printf '%06d' "$came").$id" && put queued "$now"
}

# is_in_line: it was put there before, by a try whose reply was lost.
is_in_line() {
    [ -e "$job/queued" ] || return 1
    [ ! -e "$queue/running/$id" ] || return 0
    for item in "$queue/waiting"/*."$id"; do
        item=${item##*/} item=${item#*.}
        [ "${item#*.}" != "$id" ] || return 0
    done
    # It may have been moved meanwhile.
    [ -e "$queue/running/$id" ]
}

# count_those_that_run: what was started before there was a limit counts, too.
count_those_that_run() {
    mkdir -p "$queue/running" || return 1
    for item in "$jobs"/*/; do
        [ -d "$item" ] || continue
        item=${item%/} item=${item##*/}
        # What nobody has taken up yet is on its way here.
        [ ! -f "$jobs/$item/native_id" ] || [ -f "$jobs/$item/finished" ] || : >"$queue/running/$item"
    done
    return 0
}

# start_waiting: start as many as the limit allows.  Who finds the lock taken may leave:
# who has it looks again after letting it go.
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

# has_stranded: one was moved to those that run, and whoever did that died before it
# started it, or is just about to.
has_stranded() {
    for item in "$queue/running"/*; do
        [ ! -e "$item" ] || [ -e "$jobs/${item##*/}/native_id" ] ||
            [ -d "$jobs/${item##*/}/claim" ] || return 0
    done
    return 1
}

# has_lock: nobody has taken us for dead and begun to do our work.
has_lock() {
    case $(ls -ld "$queue/lock" 2>/dev/null) in *" -> $now $who") ;; *) return 1 ;; esac
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

# fill_room: with the lock; 1 if what is to be moved cannot be.
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

# launch ID
launch() {
    detach "$here/run_detached.sh" "$queue" "$1" "$here" "$runtime"
}
