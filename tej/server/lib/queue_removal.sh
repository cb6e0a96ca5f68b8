# Prepares the removal of a queue: closes the queue to new jobs, and searches for jobs that
# still run.
# shellcheck shell=sh

# close_queue: close the queue to new jobs with the lock `closing`. Returns 1 if another client
# is removing the queue. A submission adds its job before it checks for `closing`, and a removal
# searches for jobs after it has created `closing`. So one of the two always finds the other.
close_queue() {
    take_lock "$queue/closing" || return 1
    # shellcheck disable=SC2329 # called by run_search
    search_failed() { keep_queue 20 "$unlisted"; }
}

# is_closed: check whether a live client is removing the queue. A client on another host counts
# as live for an hour.
is_closed() {
    [ -h "$queue/closing" ] && is_locked "$queue/closing" 3600
}

# keep_queue STATUS MESSAGE...: open the queue to new jobs again, and quit.
keep_queue() {
    rm -f "$queue/closing"
    quit "$@"
}

# check_listed DIRECTORY: call keep_queue if DIRECTORY exists but cannot be listed. To the
# shell, such a directory looks empty, and the queue would be removed with its running jobs.
check_listed() {
    can_list "$1" || is_absent "$1" ||
        keep_queue 20 "'$1' cannot be read, so it is unknown whether jobs are running: check the directory on the server"
}

# find_unended: set $unended to the ids of the jobs that have not ended or have left processes
# running, and $jobs_there to the number of jobs. Includes the earlier attempts of retried jobs.
find_unended() {
    check_listed "$jobs"
    check_listed "$queue/attempts"
    for entry in "$queue"/attempts/*/; do
        [ ! -d "$entry" ] || { [ -r "$entry" ] && [ -x "$entry" ]; } || check_listed "${entry%/}"
    done
    # Use `*`: the pattern `*/` would skip a job whose directory cannot be read.
    set -- "$jobs"/*
    [ -e "$1" ] || [ "$1" != "$jobs/*" ] || set --
    jobs_there=$# unended=''
    unset live_tokens
    query_runtime "$@"
    for entry in "$@"; do
        entry=${entry%/}
        note_unended "${entry##*/}"
    done
    for entry in "$queue"/attempts/*/[0-9]*; do
        [ "$entry" != "$queue/attempts/*/[0-9]*" ] || continue
        attempt=${entry##*/} entry=${entry%/*}
        note_unended "${entry##*/}#$attempt"
    done
}

# note_unended ID: add ID to $unended if the job has not ended, or if its processes still run.
note_unended() {
    load_job "$1" || return 0
    recount
    is_final && [ -z "$left" ] && ! has_sign_of_life || unended="$unended $id"
}

# has_sign_of_life: check whether a process of the loaded job is or may be alive, whatever the
# state of the job. For messages, sets $sign to a description, and $advice to what the user
# can do.
has_sign_of_life() {
    advice='kill it first'
    if has_live_token; then
        get_host
        sign="some of its processes run on $host"
    else
        [ ! -s "$job/finished" ] && shows_life
    fi
}

# has_live_token: check whether the environment of a process on this host has the token of the
# loaded job. Also returns 0 if the environments could not be read.
has_live_token() {
    [ -n "${live_tokens+known}" ] || find_live_tokens
    environ_token=${spec#*token=}
    case $live_tokens in unknown | *"TEJ_JOB_TOKEN=${environ_token%% *}$newline"*) ;; *) return 1 ;; esac
}

# find_live_tokens: set $live_tokens to the tokens of all processes on this host, one per line.
# If the processes cannot be listed, sets $live_tokens to `unknown` and calls search_failed.
find_live_tokens() {
    live_tokens=''
    [ -n "$proc" ] || return 0
    # `cat` prints the line from stdin only after all other files. The exit status of `cat` is
    # no proof: in uutils, it is the number of unreadable files.
    live_tokens=$(
        printf '\nTEJ_JOB_TOKEN= \n' | cat "$proc"/[0-9]*/environ - 2>/dev/null |
            tr '\0' '\n' | grep '^TEJ_JOB_TOKEN='
    )
    case $live_tokens in
        *'TEJ_JOB_TOKEN= ') live_tokens=${live_tokens%TEJ*} ;;
        *)
            live_tokens=unknown
            search_failed
            ;;
    esac
}

newline='
'
