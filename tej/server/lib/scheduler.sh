# What runtimes share that hand jobs to a scheduler: such a `runtime.sh` sources this and
# says how its scheduler is spoken to.  docs/runtimes.md tells it from its side.
# shellcheck shell=sh
#
#   scheduler_here [auto]     0 it answers, 1 it is not installed, 2 and words: it does not
#                             answer; `auto`: nobody has asked for it
#   scheduler_options         options=what $job's resources are there; or `why` and 1
#   scheduler_submit NAME     hand $job/batch over, with $options; prints the id
#   scheduler_list [ID...]    print those jobs, maybe more, or all: ID|STATE|NAME|WORDS, STATE one of
#                             queued, running, over, cancelled, unknown; 0 if it answered
#   scheduler_listed_all      0 if what is not in its answer is unknown to it
#   scheduler_term ID         SIGTERM to all of it; 1 if that cannot be had
#   scheduler_cancel ID       take it out of the queue, or end it
#   scheduler_history ID      print STATE|WORDS of one that is not listed any more
#   scheduler_own_id          own_id=the job's id, where it runs
#
# Facts beside those in facts.sh:
#   submitting TIME NAME HOST BOOT SPACE PID START   before the scheduler is asked
#   missed     TIME            it was not there, or over, and has written no end
#   rerun      TIME HOST       it was started a second time
#   reason     TIME KIND WORDS why it ended: cancelled, limit, other

. "$here/lib/scheduler_cache.sh"
. "$here/lib/scheduler_state.sh"

second_look=30    # seconds between two answers before a job is given up
cause_awaited=120 # seconds that a silent scheduler is waited for to say why a job ended

runtime_here() { scheduler_here "${1-}"; }
runtime_tend() { :; }
scheduler_listed_all() { :; }
scheduler_term() { return 1; }
scheduler_history() { return 1; }
scheduler_options() { options=''; }

# patiently COMMAND...: with an end, where that can be had: a server that hangs lets its
# clients hang.
patiently() {
    if command -v timeout >/dev/null 2>&1; then timeout 60 "$@"; else "$@"; fi
}

# find_program NAME: is it to be had?  Where PATH is set for login shells only, what it
# needs is kept for later.
find_program() {
    ! command -v "$1" >/dev/null 2>&1 || return 0
    dir=$(patiently /bin/sh -lc "command -v $1" </dev/null 2>/dev/null | tail -n 1)
    case $dir in /*/"$1") dir=${dir%/*} ;; *) return 1 ;; esac
    PATH=$PATH:$dir
    note_setup path "$dir"
}

# note_setup NAME WORDS: keep what was found out about the scheduler.
note_setup() {
    mkdir "$queue/scheduler" 2>/dev/null
    printf '%s\n' "$2" >"$queue/scheduler/.$1.$$" && mv -f "$queue/scheduler/.$1.$$" "$queue/scheduler/$1"
}

# read_setup NAME: noted=it, or nothing.
read_setup() {
    noted=''
    [ ! -f "$queue/scheduler/$1" ] || IFS= read -r noted <"$queue/scheduler/$1"
}

read_setup path
[ -z "$noted" ] || PATH=$PATH:$noted

# is_id WORD: a scheduler's, not words of an error.
is_id() {
    case $1 in [0-9]*) ;; *) return 1 ;; esac
    case $1 in *[!A-Za-z0-9._\;-]*) return 1 ;; esac
    case ${1%%[.;]*} in *[!0-9]*) return 1 ;; esac
}

# put_first FACT WORDS: as `put`, but what is there stays: the job itself may have been
# quicker than the scheduler's reply.
put_first() {
    [ ! -e "$job/$1" ] || return 0
    printf '%s\n' "$2" >"$job/.$1.$$" || return 1
    ln "$job/.$1.$$" "$job/$1" 2>/dev/null || [ -e "$job/$1" ] || mv "$job/.$1.$$" "$job/$1"
    rm -f "$job/.$1.$$"
    [ -e "$job/$1" ]
}

# set_name: nickname=$job's for the scheduler: 14 characters that all of them allow, of
# which some are random.
set_name() {
    [ -n "$spec" ] || read_spec
    job_token=${spec#*token=} job_token=${job_token%% *}
    nickname='' letters=${id}job
    while [ "${#nickname}" -lt 3 ]; do
        case $letters in [A-Za-z0-9]*) nickname=$nickname${letters%"${letters#?}"} ;; esac
        letters=${letters#?}
    done
    nickname=tej_$nickname${job_token%"${job_token#???????}"}
}

# quote WORD: quoted=it, for a shell.
quote() {
    case $1 in
        *\'*) quoted=$(printf '%s=' "$1" | sed "s/'/'\\\\''/g") quoted="'${quoted%=}'" ;;
        *) quoted="'$1'" ;;
    esac
}

# write_batch: $job/batch=what the scheduler runs.  It may be run from anywhere.
write_batch() {
    line='exec /bin/sh'
    for word in "$here/run_in_scheduler.sh" "$queue" "$id" "$here" "$runtime" "$job_token"; do
        quote "$word"
        line="$line $quoted"
    done
    printf '%s\n' '#!/bin/sh' >"$job/batch" && copy_directives >>"$job/batch" &&
        printf '%s\n' "$line" >>"$job/batch"
}

# log_file: log=where the scheduler may write what it has to say; only a path that needs
# no quotes, which some of them mark_lost.
log_file() {
    case $job in
        *[!A-Za-z0-9_./,+=@:-]*) log=/dev/null ;;
        *:*) log=/dev/null ;;
        *) log=$job/scheduler_log ;;
    esac
}

# runtime_start: hand $job over.  That it is being done is written down first, so that
# it can be found by its name if nobody lives to hear the answer.
runtime_start() {
    native='' options=''
    set_name
    [ ! -f "$job/submitting" ] || { find_submitted && return; }
    read_resources && scheduler_options && check_directives || return 1
    me
    now=''
    get_time
    write_batch && put submitting "$now $nickname $who" && put queued "$now" || {
        why="cannot write to '$job'"
        return 1
    }
    hand_over
}

# find_submitted: an earlier try has begun: 0 if it was, or may yet be, successful.
find_submitted() {
    read_facts
    [ -z "$native" ] || return 0
    read -r s_time _ s_host s_boot s_space s_pid s_start <"$job/submitting"
    if same_host "$s_host" "$s_boot" "$s_space"; then
        ! is_alive "$s_pid" "$s_start" || return 0
    else
        # Who is at it there is given the time that the scheduler is.
        now=''
        get_time
        [ $((now - s_time)) -ge 90 ] || return 0
    fi
    ask_anew
    [ "$listing" = answer ] || return 0
    adopt_by_name
}

# hand_over: 1 if the scheduler has surely not taken it.
hand_over() {
    # shellcheck disable=SC2030 # what a job of its own has in its environment is not this one's
    reply=$(
        unset TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_JOB_DIR
        scheduler_submit "$nickname" </dev/null 2>"$job/.said"
    )
    status=$?
    nid=${reply##*
}
    # Slurm may add the cluster's name.
    nid=${nid%%;*}
    if [ "$status" = 0 ] && is_id "$nid"; then
        rm -f "$job/.said"
        # While it was asked, somebody may have killed the job, and begun another one.
        has_token "$job_token" || {
            scheduler_cancel "$nid" >/dev/null 2>&1 </dev/null
            why="it was taken away while $runtime was asked"
            return 1
        }
        put_first native_id "$runtime $nid"
        return 0
    fi
    said=$(cat "$job/.said")
    rm -f "$job/.said"
    why="$runtime: ${said:-${reply:-no id in the answer}}"
    look_for_submitted
}

# look_for_submitted: it was refused, or the answer was lost, which is not the same.
look_for_submitted() {
    looks=0
    while :; do
        ask_anew
        [ "$listing" = answer ] || break
        ! adopt_by_name || return 0
        is_in_doubt && [ "$looks" -lt 3 ] || return 1
        looks=$((looks + 1))
        sleep 2
    done
    is_in_doubt
}

# is_in_doubt: the reply to a submission leaves open whether it came through.
is_in_doubt() {
    case "$status $why" in
        124* | *imed\ out* | *'no id in the answer') ;;
        *) return 1 ;;
    esac
}

# adopt_by_name: native=that of the job that has $nickname there; 1 if none has.
adopt_by_name() {
    eval "nid=\${n_$nickname-}"
    [ -n "$nid" ] || return 1
    put_first native_id "$runtime $nid"
    native="$runtime $nid"
}

# runtime_tell: what has not begun never will: then 0; what runs is told to end, once.
# told_NUMBER=when that was, 0 if there is nothing gentler than the end itself.
runtime_tell() {
    nid=${native#* }
    [ ! -e "$job/finished" ] || return 0
    if mkdir "$job/claim" 2>/dev/null; then
        [ -z "$nid" ] || scheduler_cancel "$nid" >/dev/null 2>&1 </dev/null
        now=''
        get_time
        put_reserved finished "$now none 0 killed 0"
        return 0
    fi
    [ -n "$nid" ] || return 1
    eval "told=\${told_${nid%%[!0-9]*}-}"
    [ -z "$told" ] || return 1
    told=0
    if [ "$state" != lost ] && scheduler_term "$nid" >/dev/null 2>&1 </dev/null; then
        told=$(date +%s)
    else
        scheduler_cancel "$nid" >/dev/null 2>&1 </dev/null
    fi
    eval "told_${nid%%[!0-9]*}=\$told"
    return 1
}

# runtime_stop GRACE: the same, and its end is waited for, whatever it takes.
runtime_stop() {
    pids=''
    [ ! -e "$job/finished" ] || return 0
    [ -n "$native" ] || {
        set_name
        ask_anew
        adopt_by_name || :
    }
    ! runtime_tell || return 0
    [ -n "$nid" ] || return 1
    # Of many that were told, all have had the time that the first was waited for.
    if [ "$told" != 0 ]; then
        ! wait_for finished $((told + $1 + 5 - $(date +%s))) || return 0
        scheduler_cancel "$nid" >/dev/null 2>&1 </dev/null
    fi
    [ "$state" = lost ] || wait_for_end "$nid"
}

# wait_for_end ID: until its end is written, or the scheduler has no more of it.
wait_for_end() {
    looks=0
    while [ "$looks" -lt 12 ]; do
        ! wait_for finished 5 || return 0
        looks=$((looks + 1))
        ask_anew "$1"
        look_up "$1" ''
        case $says in
            over | cancelled | unknown)
                now=''
                get_time
                put_reserved finished "$now none 0 killed 0"
                return 0
                ;;
        esac
    done
    return 1
}
