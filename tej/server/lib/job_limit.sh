# Job limit of a queue: start a job now, or put it on a waiting list. There is no daemon. When a
# wrapper (the process that runs a job's script) ends, it starts the next jobs. Every client
# that uses the queue also starts waiting jobs.
# shellcheck shell=sh
#
#   max_running              the job limit; absent (or 0, from an older tej): no limit
#   waiting/TIME.COUNT.ID    a job that waits because of the job limit
#   running/ID               a job that counts towards the job limit
#   lock                     locked while jobs move from `waiting` to `running`
#
# If a process dies after it has moved a job to `running`, the next process starts this job. A
# job starts only once, because its wrapper must first create the file `claim` (start_claim.sh).

# start_job: start $job, or let it wait for other jobs (dependencies.sh) or the job limit. The
# caller must call start_waiting_jobs afterwards. Returns 1 and sets $why on failure.
start_job() {
    if [ -f "$job/dependencies" ]; then
        runtime_check && runtime_defer && add_to_dependents
    elif [ -e "$queue/max_running" ]; then
        runtime_check && runtime_defer || return 1
        enqueue || {
            why='it cannot be put on the waiting list'
            return 1
        }
    else
        runtime_start
    fi
}

# start_waiting_jobs: start the waiting jobs that can start now.
start_waiting_jobs() {
    start_jobs_after ''
}

# start_jobs_after ID: start the waiting jobs that can start because the job ID has ended. Runs
# in a subshell, and changes no variables. Returns 0 even if the subshell fails or is killed: the
# request itself has succeeded, and the next client starts the jobs.
start_jobs_after() {
    [ -d "$queue/waiting" ] || [ -d "$queue/dependents" ] || return 0
    (
        resolve_dependents "$1"
        start_below_limit
        await_on_end
    ) || :
}

# tend_queue: start waiting jobs, and do the periodic work of the runtime (such as slurm).
tend_queue() {
    runtime_tend
    start_waiting_jobs
}

# set_limit N: set the job limit to N, or remove it if N is 0, and start the jobs that can now
# start.
#
# A file that other users can write to would make the queue untrusted (trust.sh). Therefore the
# file is moved into the queue only after its mode is set.
set_limit() {
    [ "$1" != 0 ] || {
        rm -f "$queue/max_running" && tend_queue
        return
    }
    fresh=$incoming/max_running.$unique
    printf '%s\n' "$1" >"$fresh" &&
        { [ -n "${shared-}" ] || chmod go-w "$fresh"; } &&
        replace_file "$fresh" "$queue/max_running" || {
        rm -f "$fresh"
        return 1
    }
    # Count the jobs that were started without a limit. If `running` is missing, enqueue counts
    # them.
    [ ! -d "$queue/running" ] || count_running_jobs
    tend_queue
}

# enqueue: put $job on the waiting list. Returns nonzero if a file cannot be written.
enqueue() {
    ! is_waiting_or_running || return 0
    get_time
    came=$((${came:-0} + 1))
    # Remove the entry of an earlier job with this id, which would count towards the limit.
    rm -f "$queue/running/$id"
    [ -d "$queue/running" ] || count_running_jobs
    # With the file `queued` but without an entry in `waiting`, a job would wait forever.
    # Therefore the entry is written first. dash would exit if a redirection of `:` failed, so
    # `printf` creates it.
    make_queue_directory waiting && make_queue_directory running &&
        printf '' >"$queue/waiting/$now.$(printf '%06d' "$came").$id" && put queued "$now"
}

# is_waiting_or_running: check whether $job is already in `waiting` or `running`. This is
# possible, because a client repeats a request whose reply was lost.
is_waiting_or_running() {
    [ -e "$job/queued" ] || return 1
    [ ! -e "$queue/running/$id" ] || return 0
    for item in "$queue/waiting"/*."$id"; do
        [ -e "$item" ] || continue
        item=${item##*/} item=${item#*.}
        [ "${item#*.}" != "$id" ] || return 0
    done
    # The entry may have moved to `running` meanwhile, so look there, too.
    [ -e "$queue/running/$id" ]
}

# count_running_jobs: create the entries in `running` of jobs that were started before the limit
# was set.
count_running_jobs() {
    make_queue_directory running || return 1
    for item in "$jobs"/*/; do
        [ -d "$item" ] || continue
        item=${item%/} item=${item##*/}
        # A job without the file `native_id` is still being submitted, and its submission calls
        # enqueue.
        [ ! -s "$jobs/$item/native_id" ] || [ -s "$jobs/$item/finished" ] || printf '' >"$queue/running/$item"
    done
    return 0
}

# start_below_limit: start as many waiting jobs as the limit allows. Returns at once if another
# process holds the lock, because that process looks for waiting jobs again after it releases
# the lock.
start_below_limit() {
    [ -d "$queue/waiting" ] || return 0
    rescued=''
    while remove_ended_entries; do
        has_free_slot || { [ -z "$rescued" ] && has_unstarted; } || return 0
        rescued=1
        take_lock "$queue/lock" || return 0
        fill_slots
        filled=$?
        ! has_lock || rm -f "$queue/lock"
        [ "$filled" = 0 ] || return 0
    done
}

# has_unstarted: check whether a job in `running` has not been started. Another process may be
# about to start the job, or may have died before the start.
has_unstarted() {
    for item in "$queue/running"/*; do
        [ ! -e "$item" ] || [ -s "$jobs/${item##*/}/native_id" ] ||
            [ -e "$jobs/${item##*/}/claim" ] || return 0
    done
    return 1
}

# has_lock: check whether this process still holds the lock. Another process removes the lock of
# a process that it considers dead.
has_lock() {
    case $(ls -ld "$queue/lock" 2>/dev/null) in *" -> $now $who") ;; *) return 1 ;; esac
}

# remove_ended_entries: remove the entries of ended jobs from `running`.
remove_ended_entries() {
    query_runtime "$queue/running"/*
    for item in "$queue/running"/*; do
        [ -e "$item" ] || continue
        # The subshell keeps the variables of the current job unchanged. If load_job quits
        # (search_failed), the status of the subshell is not 1, and the entry is kept.
        (load_job "${item##*/}" && ! has_ended)
        [ $? != 1 ] || rm -f "$item"
    done
}

# has_ended: check whether the script of the loaded job has ended and will not run again. Does
# not wait for the scheduler's report about the cause: the job's wrapper calls this function
# before the report.
has_ended() {
    is_final || { [ -s "$job/finished" ] && [ ! -e "$job/requeue" ]; }
}

# read_limit: set $max to the job limit, or to 0 if there is none. Returns 1 if the limit cannot
# be read.
read_limit() {
    max=0
    [ -f "$queue/max_running" ] || {
        [ ! -e "$queue/max_running" ]
        return
    }
    max=''
    read -r max <"$queue/max_running" || [ -n "$max" ] || cat "$queue/max_running" >/dev/null 2>&1 || {
        max=0
        [ ! -e "$queue/max_running" ]
        return
    }
    is_number "$max" || max=0
}

# has_free_slot: check whether a job waits and the limit allows its start. Returns 1 if the
# limit cannot be read.
has_free_slot() {
    read_limit || return 1
    count_in waiting
    [ "$count" -gt 0 ] || return 1
    count_in running
    [ "$max" = 0 ] || [ "$count" -lt "$max" ]
}

# count_in DIRECTORY: set $count to the number of entries of DIRECTORY.
count_in() {
    set -- "$queue/$1"/*
    count=$#
    [ -e "$1" ] || count=0
}

# fill_slots: start waiting jobs until the limit is reached. The caller must hold the lock.
# Returns nonzero if an entry cannot be moved, or if the runtime cannot start jobs now. The job
# then stays in `running`, and the next client starts it (has_unstarted).
fill_slots() {
    make_queue_directory running || return
    for item in "$queue/running"/*; do
        next=${item##*/}
        if [ -e "$item" ] && [ ! -s "$jobs/$next/native_id" ]; then
            launch "$next" || return
        fi
    done
    for item in "$queue/waiting"/*; do
        [ -e "$item" ] || continue
        has_free_slot && has_lock || return 0
        # The name of the entry is TIME.COUNT.ID.
        next=${item##*/} next=${next#*.} next=${next#*.}
        if ! find_job "$next" || [ -s "$jobs/$next/finished" ]; then
            rm -f "$item" || return
        else
            mv "$item" "$queue/running/$next" || return
            launch "$next" || return
        fi
    done
    return 0
}

# launch ID: start the waiting job ID. If its runtime refuses the job, ends the job. Returns 1
# if the runtime cannot start jobs now.
launch() {
    # The NUL shows the client that the connection works. The start of many jobs takes long.
    [ -n "$is_wrapper${is_in_scheduler-}" ] || printf '\0'
    runtime_prepare
    (
        find_job "$1" || exit 0
        read_facts
        # This client usually serves another request, and does not wait for a busy scheduler.
        # shellcheck disable=SC2034 # used by the runtimes
        why='' listing_result='' busy_awaited=0 retry_until='' has_waited=1
        # Do not start a job without its token in `spec`. If its files cannot be read, the job
        # may already have been started. A job with a heartbeat was started.
        [ -z "$native" ] && [ ! -f "$job/heartbeat" ] && [ ! -s "$job/finished" ] && [ -n "$spec" ] && can_read_facts || exit 0
        ! runtime_start || exit 0
        ! runtime_may_retry || exit 1
        end_unstarted "$why"
        await_on_end
    )
}
