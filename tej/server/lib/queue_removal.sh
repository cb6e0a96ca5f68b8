# Before a queue is removed: nobody may begin a job in it any more, and none may be left
# that has not ended.
# shellcheck shell=sh

# close_queue: from here on nothing is started.  Returns 1 if somebody else removes it.
# Who submits publishes first and looks for this then; we look after it is there.
close_queue() {
    take_lock "$queue/closing"
}

# is_closed: by somebody who lives as far as is known, an hour on another host.
is_closed() {
    [ -h "$queue/closing" ] && is_locked "$queue/closing" 3600
}

# keep_queue STATUS WORDS...: it stays, for that reason.
keep_queue() {
    rm -f "$queue/closing"
    quit "$@"
}

# find_unended: unended=the jobs, attempts too, that have not ended or have left something
# running; jobs_there=how many jobs there are.
find_unended() {
    set -- "$jobs"/*/
    [ -d "$1" ] || set --
    jobs_there=$# unended=''
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

# note_unended ID: to unended, if it is one.
note_unended() {
    load_job "$1" || return 0
    recount
    is_final && [ -z "$left" ] || unended="$unended $id"
}
