# Facts of a job: small files of one line, each written once, by rename.
# shellcheck shell=sh
#
#   spec       words KEY=VALUE, percent-encoded, the last one is "end"   the client
#   submitted  TIME HOST BOOT SPACE PID START   the shell that publishes it
#   native_id  pid HOST BOOT SPACE PID START, or NAME ID   the wrapper; the scheduler's
#   queued     TIME                             it waits for its turn
#   started    TIME HOST PID START              the job's own first process
#   heartbeat  TIME                             the wrapper, again and again (heartbeat.sh)
#   kill       TIME GRACE BY                    who asks for its end
#   finished   TIME exit|signal|none N own|killed|ask LEFT   the wrapper
#   reason     TIME cancelled|limit|other WORDS   who learns why it ended
#   ignored    WORDS                            the runtime: which resources it cannot give
#   lost       TIME EVIDENCE                    who finds it so; TIME of the last sign of life
#
# TIME is in seconds since 1970, GRACE in seconds; HOST to START say who a process is
# (process.sh); `ask` marks an end whose cause only the scheduler knows; LEFT counts the
# processes that outlived the script.  BY and EVIDENCE are the rest of the line.

# get_time: now=seconds since 1970; asked once per program.
get_time() {
    [ -n "${now-}" ] || now=$(date +%s)
}

# put FACT WORDS...: write it whole or not at all.  Returns 1 if that fails.
put() {
    fact_name=$1
    shift
    printf '%s\n' "$*" >"$job/.$fact_name.$$" &&
        mv -f "$job/.$fact_name.$$" "$job/$fact_name" && return 0
    rm -f "$job/.$fact_name.$$"
    return 1
}

# is_number WORD: digits only, and some; no more than shells can calculate with, and no
# leading zero, which some take for octal.
is_number() {
    case $1 in '' | *[!0-9]* | 0?* | ????????????????*) return 1 ;; esac
}

# reserve: allocate disk space for `finished` and `kill` while there is some, so that they can
# be written on a disk that is full.
reserve() {
    printf '%-60s\n' '' >"$job/.finished" && printf '%-250s\n' '' >"$job/.kill"
}

# put_reserved FACT WORDS...: write it into the space kept for it.  The first one counts.
put_reserved() {
    [ ! -e "$job/$1" ] || return 0
    if [ -f "$job/.$1" ]; then
        fact_name=$1
        shift
        { printf '%s\n' "$*" 1<>"$job/.$fact_name" && mv "$job/.$fact_name" "$job/$fact_name"; } 2>/dev/null ||
            [ -e "$job/$fact_name" ]
    else
        put "$@"
    fi
}
