# Removal of a queue or a job: what must not be removed, because it may still run.
# shellcheck shell=sh

# close_queue: from now on no job is started.  Returns 1 if another client removes the queue.
# A submission publishes its job first and then looks for this; a removal looks for jobs
# after it has made this.
close_queue() {
    take_lock "$queue/closing"
}

# is_closed: by a client that is alive; for one of another host, that is assumed for an hour.
is_closed() {
    [ -h "$queue/closing" ] && is_locked "$queue/closing" 3600
}

# keep_queue STATUS WORDS...: end the removal, and say why.
keep_queue() {
    rm -f "$queue/closing"
    quit "$@"
}

# find_unended: unended=the jobs and attempts that have not ended or left something running;
# jobs_there=how many jobs there are.
find_unended() {
    set -- "$jobs"/*/
    [ -d "$1" ] || set --
    jobs_there=$# unended=''
    unset live_tokens
    ask_for_all "$@"
    for entry in "$@"; do
        entry=${entry%/}
        note_unended "${entry##*/}"
    done
    for entry in "$queue"/attempts/*/*/; do
        entry=${entry%/}
        attempt=${entry##*/} entry=${entry%/*}
        note_unended "${entry##*/}#$attempt"
    done
}

# note_unended ID
note_unended() {
    load_job "$1" || return 0
    recount
    is_final && [ -z "$left" ] && ! has_sign_of_life || unended="$unended $id"
}

# has_sign_of_life: something of the job loaded is alive, or may be, whatever its state is;
# sign=what.  One look at all processes serves any number of jobs; only where no end was
# written, each job needs a look of its own.
has_sign_of_life() {
    [ -n "${live_tokens+known}" ] || find_live_tokens
    mark=${spec#*token=} sign=''
    case $live_tokens in
        *"TEJ_JOB_TOKEN=${mark%% *}$newline"*)
            get_host
            sign="processes of it run on $host"
            return 0
            ;;
    esac
    [ ! -f "$job/finished" ] && shows_life
}

# find_live_tokens: live_tokens=a line for each process of this host that belongs to a job.
find_live_tokens() {
    live_tokens=''
    [ -z "$proc" ] || live_tokens=$(
        cat "$proc"/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep '^TEJ_JOB_TOKEN='
        printf .
    )
}

newline='
'
