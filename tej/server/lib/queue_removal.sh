# Removal of a queue: close the queue to new jobs, and find the jobs that may still run.
# A queue with running jobs must not be removed.
# shellcheck shell=sh

# close_queue: close the queue to new jobs. Returns 1 if another client is removing the
# queue. A submission publishes its job before it checks for `closing`. A removal
# creates `closing` before it searches for jobs. Therefore either the submission finds
# `closing`, or the removal finds the job.
close_queue() {
    take_lock "$queue/closing" || return 1
    # shellcheck disable=SC2329 # called by run_search
    search_failed() { keep_queue 20 "$unlisted"; }
}

# is_closed: check whether a live client is removing the queue. If the client runs on
# another host, it counts as live for an hour.
is_closed() {
    [ -h "$queue/closing" ] && is_locked "$queue/closing" 3600
}

# keep_queue STATUS MESSAGE...: open the queue to new jobs again and quit with the
# message.
keep_queue() {
    rm -f "$queue/closing"
    quit "$@"
}

# check_listed DIRECTORY: open the queue to new jobs again and quit if DIRECTORY cannot be
# listed. The shell would treat DIRECTORY as empty, and the queue would be removed with its
# running jobs.
check_listed() {
    can_list "$1" || is_absent "$1" ||
        keep_queue 20 "'$1' cannot be read, so it is unknown whether jobs are running: check the directory on the server"
}

# find_unended: set $unended to the jobs and attempts that have not ended or have left
# processes running, and $jobs_there to the number of jobs.
find_unended() {
    check_listed "$jobs"
    check_listed "$queue/attempts"
    for entry in "$queue"/attempts/*/; do
        [ ! -d "$entry" ] || { [ -r "$entry" ] && [ -x "$entry" ]; } || check_listed "${entry%/}"
    done
    # The pattern `*/` would skip a job whose directory cannot be read.
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

# note_unended ID: add ID to $unended if the job has not ended, or if processes of the
# job still run.
note_unended() {
    load_job "$1" || return 0
    recount
    is_final && [ -z "$left" ] && ! has_sign_of_life || unended="$unended $id"
}

# has_sign_of_life: check whether a process of the loaded job is or may be alive,
# regardless of the job's state. Sets $sign and $advice for messages, like shows_life. If no
# process has the job's token, and the end of the job is not recorded, shows_life checks the job.
has_sign_of_life() {
    sign='' advice='kill it first'
    if has_live_token; then
        get_host
        sign="some of its processes run on $host"
    else
        [ ! -s "$job/finished" ] && shows_life
    fi
}

# has_live_token: check whether a process on this host had the token of the loaded job when
# the tokens of all processes were read. One search finds the tokens of all jobs. Also
# returns 0 if the tokens could not be read ($live_tokens is `unknown`).
has_live_token() {
    [ -n "${live_tokens+known}" ] || find_live_tokens
    mark=${spec#*token=}
    case $live_tokens in unknown | *"TEJ_JOB_TOKEN=${mark%% *}$newline"*) ;; *) return 1 ;; esac
}

# find_live_tokens: set $live_tokens to the job tokens of all processes on this host, one
# per line. If the processes cannot be listed, calls search_failed and sets $live_tokens to
# `unknown`.
find_live_tokens() {
    live_tokens=''
    [ -n "$proc" ] || return 0
    # The last file is stdin. Its line arrives only if cat has read all files before it. The
    # exit status does not show this: in uutils, it is the number of unreadable files.
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
