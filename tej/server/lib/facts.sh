# Fact files: files of one line that record the progress of a job. Most are written only once,
# to a temporary file that is then renamed, so that readers find a complete file. Only
# `finished` may have a second line (copy_facts in run_detached.sh). The wrapper is the process
# that runs the job's script and records its end.
# shellcheck shell=sh
#
#   FACT       CONTENT                                       WRITTEN BY
#   spec       KEY=VALUE words, percent-encoded, then "end"  the client
#   submitted  TIME HOST BOOT SPACE PID START                the shell that publishes the job
#   native_id  pid HOST BOOT SPACE PID START, or NAME ID     the wrapper; a scheduler's runtime
#   queued     TIME                                          the submission, if the job must wait
#   started    TIME HOST PID START                           the first process of the job
#   heartbeat  TIME                                          the wrapper, periodically
#   kill       TIME GRACE BY                                 the client that kills the job
#   finished   TIME END N CAUSE LEFT                         the wrapper
#   reason     TIME KIND WORDS                               a process that learns the cause
#   ignored    WORDS                                         the runtime: ignored resources
#   parameters KEY=VALUE words, as in spec                   a sweep that finds the job
#   downloaded TIME BY                                       a client with a complete download
#   changed    PATH                                          the wrapper: a shared file was changed
#   lost       TIME EVIDENCE                                 a process that finds the job lost
#
# TIME is in seconds since 1970. In `lost`, TIME is the last sign of life. GRACE is in seconds.
# HOST, BOOT, SPACE, PID and START identify a process (process_identity.sh). END is exit, signal
# or none, and N the exit code or signal number. CAUSE is own, killed or ask. With `ask`, only
# the scheduler knows the cause of the end. LEFT counts the processes that outlived the script.
# KIND is cancelled, limit, cut, other or unstarted (read_reason). BY, WORDS and EVIDENCE extend
# to the end of the line.

# $unique is part of the names of temporary files. Clients in several containers may have the
# same pid. Therefore a request uses its random marker.
unique=${marker:-$$}

# get_time: set $now to the seconds since 1970, if $now is empty.
get_time() {
    [ -n "${now-}" ] || read_date
}

# read_date: set $now to the seconds since 1970, or to '' if `date` fails twice. One call
# may fail by accident, for example if the kernel kills `date` because the memory is full.
read_date() {
    now=$(date +%s) || now=$(date +%s) || now=''
}

# read_clock: set $now to the seconds since 1970. Runs the slow program `date` at most once in
# 30 seconds, and otherwise adds the elapsed uptime to the last time. The uptime is read after
# `date`, so $now is never ahead of the clock.
read_clock() {
    if read_centiseconds && [ -n "${clock_date-}" ]; then
        elapsed=$((centiseconds - clock_uptime))
        [ "$elapsed" -lt 0 ] || [ "$elapsed" -ge 3000 ] || {
            now=$((clock_date + elapsed / 100))
            return 0
        }
    fi
    clock_date=''
    read_date
    ! is_number "$now" || ! read_centiseconds || clock_date=$now clock_uptime=$centiseconds
}

# replace_file FRESH PATH: rename the file FRESH to PATH. Returns 1 if PATH is a directory,
# because `mv` would move FRESH into it.
replace_file() {
    [ ! -d "$2" ] && mv -f "$1" "$2"
}

# put FACT WORDS...: write WORDS to the job's file FACT by a rename, which is atomic. Returns 1 on
# failure.
put() {
    fact_name=$1
    shift
    printf '%s\n' "$*" >"$job/.$fact_name.$self.$unique" &&
        replace_file "$job/.$fact_name.$self.$unique" "$job/$fact_name" && return 0
    rm -f "$job/.$fact_name.$self.$unique"
    return 1
}

# put_once FACT WORDS...: like `put`, for a file that only this process writes, and only once.
# Wrappers that were started together write without a rename, which saves a `mv`. A reader may
# find the file empty, and treats it as missing. A reader never finds half a line, because one
# system call writes the line.
put_once() {
    [ -n "${is_prepared-}" ] || {
        put "$@"
        return
    }
    fact_name=$1
    shift
    { printf '%s\n' "$*" >"$job/$fact_name"; } 2>/dev/null && return 0
    rm -f "$job/$fact_name"
    return 1
}

# make_queue_directory NAME: create the directory $queue/NAME, if it is missing. A umask of 000
# would let other users write to it (trust.sh), so the mode is explicit.
make_queue_directory() {
    [ ! -d "$queue/$1" ] || return 0
    access=700
    [ -z "${shared-}" ] || access=2770
    mkdir -m "$access" "$queue/$1" 2>/dev/null || [ -d "$queue/$1" ]
}

# split_lines: make the shell split words only at newlines. end_split restores the default.
split_lines() {
    set -f
    IFS='
'
}
end_split() {
    unset IFS
    set +f
}

# is_number WORD: check whether WORD is a decimal number for shell arithmetic. A leading zero is
# refused, because some shells read it as octal.
is_number() {
    case $1 in '' | *[!0-9]* | 0?* | ????????????????*) return 1 ;; esac
}

# reserve: allocate disk space for the files `finished` and `kill`, which must be written even
# if the disk is full later.
reserve() {
    printf '%-500s\n' '' >"$job/.finished" && printf '%-250s\n' '' >"$job/.kill"
}

# put_reserved FACT WORDS...: write WORDS to the job's file FACT, in the space that `reserve`
# allocated, unless the file has content. `1<>` opens a file without truncating it.
put_reserved() {
    [ ! -s "$job/$1" ] || return 0
    [ -z "${is_prepared-}" ] || ! put_exclusively "$@" || return 0
    if [ -f "$job/.$1" ]; then
        fact_name=$1
        shift
        { printf '%s\n' "$*" 1<>"$job/.$fact_name" && mv "$job/.$fact_name" "$job/$fact_name"; } 2>/dev/null ||
            [ -s "$job/$fact_name" ]
    else
        put "$@"
    fi
}

# put_end WORDS [COPY]: write the file `finished`, with the line WORDS and the optional line
# COPY. If a client waits for many jobs (commands/wait), also writes the id and WORDS to
# `jobs/.ended`. This file is overwritten in place, which needs no space on the disk. Returns 1
# if WORDS have no time, because `date` has failed: such a file would be damaged.
put_end() {
    is_number "${1%% *}" && put_reserved finished "$1${2:+$newline$2}" || return 1
    [ ! -f "$jobs/.ended" ] || { printf '%s\n' "$id $1" 1<>"$jobs/.ended"; } 2>/dev/null || :
}

# put_exclusively FACT WORDS...: create the job's file FACT without a rename (put_once). Returns
# 1 if the file exists or cannot be written. On a full disk, an empty file may remain.
put_exclusively() {
    fact_name=$1
    shift
    # `set -C` protects only regular files. Refuse others: the shell would block at a FIFO.
    [ ! -e "$job/$fact_name" ] || [ -f "$job/$fact_name" ] || return 1
    set -C
    { printf '%s\n' "$*" >"$job/$fact_name"; } 2>/dev/null
    put_status=$?
    set +C
    return "$put_status"
}
