# Job limit of a queue, without a daemon: jobs above the limit wait in `waiting`, in the
# order of submission. A wrapper that ends, or any client that uses the queue, starts the
# next job.
# shellcheck shell=sh
#
#   max_running              the limit
#   waiting/TIME.COUNT.ID    a waiting job
#   running/ID               a job that counts towards the limit
#   lock                     held while jobs move from `waiting` to `running`
#
# If a process dies while it moves a job, the next process starts the jobs in `running`
# that were never started. A job is started only once, because its wrapper claims the job.

# enqueue: put $job on the waiting list.
enqueue() {
    ! is_in_line || return 0
    get_time
    came=$((${came:-0} + 1))
    # Remove the entry of an earlier job with this id, which would count forever.
    rm -f "$queue/running/$id"
    [ -d "$queue/running" ] || count_those_that_run
    # Write the list before the fact: a job that only has the fact would wait forever.
    mkdir -p "$queue/waiting" "$queue/running" &&
        : >"$queue/waiting/$now.$(printf '%06d' "$came").$id" && put queued "$now"
}

# is_in_line: check whether an earlier request, whose reply was lost, has enqueued $job.
is_in_line() {
    [ -e "$job/queued" ] || return 1
    [ ! -e "$queue/running/$id" ] || return 0
    for item in "$queue/waiting"/*."$id"; do
        item=${item##*/} item=${item#*.}
        [ "${item#*.}" != "$id" ] || return 0
    done
    # The entry may have moved to `running` during the search.
    [ -e "$queue/running/$id" ]
}

# count_those_that_run: create entries for jobs that were started before the limit was
# set.
count_those_that_run() {
    mkdir -p "$queue/running" || return 1
    for item in "$jobs"/*/; do
        [ -d "$item" ] || continue
        item=${item%/} item=${item##*/}
        # A job without a native id is being submitted, and enqueues itself.
        [ ! -f "$jobs/$item/native_id" ] || [ -f "$jobs/$item/finished" ] || : >"$queue/running/$item"
    done
    return 0
}

# start_waiting: start as many jobs as the limit allows. A process that finds the lock
# taken returns at once: the holder checks again after it has released the lock.
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

# has_stranded: check whether a job in `running` was not started. The process that moved
# the job has died, or is about to start it.
has_stranded() {
    for item in "$queue/running"/*; do
        [ ! -e "$item" ] || [ -e "$jobs/${item##*/}/native_id" ] ||
            [ -d "$jobs/${item##*/}/claim" ] || return 0
    done
    return 1
}

# has_lock: check that this process still holds the lock. Another process that took this
# one for dead may have broken the lock.
has_lock() {
    case $(ls -ld "$queue/lock" 2>/dev/null) in *" -> $now $who") ;; *) return 1 ;; esac
}

# forget_ended: remove the entries of jobs that have ended.
forget_ended() {
    for item in "$queue/running"/*; do
        [ -e "$item" ] || continue
        # A subshell keeps the variables of the current job.
        (load_job "${item##*/}" && ! is_final) || rm -f "$item"
    done
}

# is_room: check that a job waits, and that fewer jobs run than the limit allows.
is_room() {
    max=0
    [ ! -f "$queue/max_running" ] || read -r max <"$queue/max_running"
    is_number "$max" || max=0
    count_in waiting
    [ "$count" -gt 0 ] || return 1
    count_in running
    [ "$max" = 0 ] || [ "$count" -lt "$max" ]
}

# count_in DIRECTORY: set count to the number of entries of DIRECTORY.
count_in() {
    set -- "$queue/$1"/*
    count=$#
    [ -e "$1" ] || count=0
}

# fill_room: start jobs up to the limit. The caller holds the lock. Returns nonzero if an
# entry cannot be moved.
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

# launch ID: start the wrapper of a job. Returns nonzero if fork fails.
launch() {
    detach "$here/run_detached.sh" "$queue" "$1" "$here" "$runtime"
}
