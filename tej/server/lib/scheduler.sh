# Submission, kill and end of jobs under a scheduler.  The `runtime.sh` of a scheduler
# sources this file and defines the functions below; docs/runtimes.md describes them.
# shellcheck shell=sh
#
#   scheduler_here [auto]     0 it answers, 1 it is not installed, 2 and words: it does not
#                             answer; `auto`: no user has named this runtime
#   scheduler_options         options=arguments for $job's resources; or `why` and 1
#   scheduler_submit NAME     submit $job/batch with $options; prints the id
#   scheduler_list [ID...]    print those jobs, maybe more, or all: ID|STATE|NAME|WORDS; 0 if it
#                             answered.  STATE: queued, running, stopped (suspended), over, or, if
#                             it is known how: ended (by itself), limit, cut (node failure,
#                             preemption, ...), cancelled; or unknown, silent
#   scheduler_listed_all [ID] 0 if a job that is not in the answer is unknown to the scheduler
#   scheduler_term ID         SIGTERM to all of the job; 1 if that cannot be had
#   scheduler_cancel ID       remove it from the queue, or end it; 1 if that failed
#   scheduler_history ID      print STATE|WORDS of a job that is not listed any more
#   scheduler_own_id          own_id=the id of the job that this runs in
#
# Facts beside those in facts.sh:
#   submitting TIME NAME HOST BOOT SPACE PID START   before the scheduler is asked
#   missed     TIME STATE BEAT  the job was gone, and has written no end
#   rerun      TIME HOST        the scheduler started it again, and that was not done
#   requeue    TIME             the user wants a second run if the scheduler makes one
#   ending     TIME term|cancel how far a kill came
#   term       TIME             the job's runner got a SIGTERM
#   reason     TIME KIND WORDS  why it ended: cancelled, limit, cut, other

. "$here/lib/scheduler_cache.sh"
. "$here/lib/scheduler_state.sh"

second_look=30    # seconds between two answers before a job is given up
cause_awaited=120 # seconds that a silent scheduler is waited for to say why a job ended
busy_awaited=60   # seconds in which a submission that the scheduler is too busy for is retried

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
    by_cluster=''
    [ "$runtime" != slurm ] || {
        ! is_asked -M --clusters --cluster && [ -z "${SLURM_CLUSTERS-}${SBATCH_CLUSTERS-}" ] || by_cluster=1
    }
    for word in "$here/run_in_scheduler.sh" "$queue" "$id" "$here" "$runtime" "$job_token" "$by_cluster"; do
        quote "$word"
        line="$line $quoted"
    done
    printf '%s\n' '#!/bin/sh' >"$job/batch" && copy_directives >>"$job/batch" &&
        printf '%s\n' "$line" >>"$job/batch"
}

# log_file: log=the file for messages of the scheduler, named after the submission; only a
# path that no scheduler takes for a pattern or a host.
log_file() {
    case $job in
        *[!A-Za-z0-9_./,+=@-]*) log=/dev/null ;;
        *) log=$job/$nickname.log ;;
    esac
}

# split_options, end_split: let unquoted words be split at line ends alone.
split_options() {
    set -f
    IFS='
'
}
end_split() {
    unset IFS
    set +f
}

# name_job: `-N NAME` for a qsub, unless the script gives one.  Torque takes 15 characters,
# and like Grid Engine no digit as the first.
name_job() {
    [ -n "$r_name" ] || ! is_asked -N || return 0
    name=${r_name:-${r_default_name:-$nickname}}
    # Without a log, the submission can be found by its name alone.
    [ -n "$r_name" ] || [ "$log" != /dev/null ] && [ "$runtime" != sge ] || name=$nickname
    [ "${dialect-}" = openpbs ] || case $name in [0-9]*) name=j$name ;; esac
    [ "${dialect-}" != torque ] || name=$(printf '%.15s' "$name")
    prepend -N "$name"
}

# mail_and_rerun: -M, -m and -r for a qsub, unless the script gives them.
mail_and_rerun() {
    if [ -n "$r_mail" ]; then
        letters=''
        case $r_mail_on in *begin*) letters=b ;; esac
        case $r_mail_on in *end*) letters=${letters}e ;; esac
        case $r_mail_on in *fail*) letters=${letters}a ;; esac
        prepend -M "$r_mail" -m "$letters"
    else
        is_asked -m -M || prepend -m n
    fi
    case $r_requeue in
        1) prepend -r y ;;
        0) prepend -r n ;;
        *) is_asked -r || prepend -r n ;;
    esac
}

# runtime_start: hand $job over.  That it is being done is written down first, so that
# it can be found by its name if nobody lives to hear the answer.
runtime_start() {
    native='' options=''
    set_name
    [ ! -f "$job/submitting" ] || { find_submitted && return; }
    log_file
    replaced='' replaced_list='' prepended=''
    read_resources && check_directives && scheduler_options || return 1
    me
    now=''
    get_time
    note_requeue && write_batch && put submitting "$now $nickname $who" && put queued "$now" || {
        why="cannot write to '$job'"
        return 1
    }
    hand_over
}

# note_requeue: the fact `requeue`, if the user wants a second run after a preemption.
note_requeue() {
    case $r_requeue$asked in
        0*) ;;
        1* | *' --requeue='* | *' -r=y'*) put requeue "$now" ;;
    esac
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
    retry_pause=2 retry_until=$(($(date +%s) + busy_awaited))
    until submit_once; do
        is_busy && [ "$(date +%s)" -lt "$retry_until" ] || break
        # Nothing else is said while this waits: the client must not take that for the end.
        [ -n "${talker-}" ] || keep_talking
        sleep "$retry_pause"
        retry_pause=$((retry_pause < 16 ? retry_pause * 2 : 16))
    done
    if [ -n "$nid" ]; then
        rm -f "$job/.said"
        adopt_reply
        return
    fi
    rm -f "$job/.said"
    look_for_submitted
}

# submit_once: nid=the id in the scheduler's reply, or `why` and 1.
submit_once() {
    # shellcheck disable=SC2030 # the environment of a job that submits is not the new job's
    reply=$(
        unset TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_JOB_DIR
        scheduler_submit "$nickname" </dev/null 2>"$job/.said"
    )
    status=$?
    nid=${reply##*
}
    [ "$status" != 0 ] || ! is_id "$nid" || return 0
    nid='' said=$(cat "$job/.said")
    why="$runtime: ${said:-${reply:-no id in the answer}}"
    return 1
}

# is_busy: the scheduler has refused the job for now, by its own words.
is_busy() {
    case $why in
        *emporarily\ u* | *MaxSubmit* | *'ubmit limit'* | *'would exceed'*limit* | *'per-user limit'* | \
            *'socket temporarily'* | *'too many jobs'* | *'unable to accept job'*) ;;
        *) return 1 ;;
    esac
}

# adopt_reply: native_id from the reply; the job itself may have been quicker.
adopt_reply() {
    # While the scheduler was asked, the job may have been killed, and another one begun.
    if ! has_token "$job_token" || [ -e "$job/finished" ]; then
        scheduler_cancel "$nid" >/dev/null 2>&1 </dev/null
        has_token "$job_token" || {
            why="it was taken away while $runtime was asked"
            return 1
        }
    fi
    put_first native_id "$runtime $nid"
    # Only the reply knows the cluster.
    case $nid in *\;*) put native_id "$runtime $nid" ;; esac
    native="$runtime $nid"
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

# runtime_tell: 0 if the job is over, or will never begin; else it is asked to end, once.
# told_KEY=when it got SIGTERM; 0 if it was cancelled at once; `not` if neither was done.
runtime_tell() {
    nid=${native#* }
    [ ! -e "$job/finished" ] || return 0
    if mkdir "$job/claim" 2>/dev/null; then
        if [ -z "$nid" ] || cancel_job; then
            now=''
            get_time
            put_reserved finished "$now none 0 killed 0"
            return 0
        fi
        # Left to the job, which looks for `kill` before it begins, and to later looks.
        rmdir "$job/claim"
    fi
    [ -n "$nid" ] || return 1
    set_key "$nid"
    eval "told=\${told_$key-}"
    [ -z "$told" ] || return 1
    ask_to_end || told=not
    set_key "$nid"
    eval "told_$key=\$told"
    return 1
}

# ask_to_end: SIGTERM to all of the job, or the end itself where SIGTERM cannot be had: a
# suspended process does not act on it.  told=the time, or 0; 1 if neither was done.
ask_to_end() {
    look_up "$nid" ''
    if [ "$state" != lost ] && [ "$says" != stopped ] && scheduler_term "$nid" >/dev/null 2>&1 </dev/null; then
        told=$(date +%s)
        put ending "$told term" 2>/dev/null || :
    else
        told=0
        cancel_job
    fi
}

# cancel_job: 1 if the scheduler could not be asked, or refused.
cancel_job() {
    refusal=$(scheduler_cancel "$nid" 2>&1 </dev/null) || {
        # A job that is over cannot be cancelled.
        ask_anew "$nid"
        look_up "$nid" ''
        case $says in over | ended | limit | cut | cancelled | unknown) ;; *) return 1 ;; esac
    }
    put ending "$(date +%s) cancel" 2>/dev/null || :
}

# runtime_stop GRACE: the same, and wait for the end.  refused=1 if the scheduler could not
# be asked: then waiting is of no use.
runtime_stop() {
    pids='' refused=''
    [ ! -e "$job/finished" ] || return 0
    [ -n "$native" ] || {
        set_name
        ask_anew
        adopt_by_name || :
    }
    ! runtime_tell || return 0
    [ -n "$nid" ] || return 1
    case $told in
        not) ;;
        0) ;;
        *)
            # Of many jobs, all have had the time that the first was waited for.
            ! wait_for finished $((told + $1 + 5 - $(date +%s))) || return 0
            cancel_job || told=not
            ;;
    esac
    [ "$told" != not ] || {
        refused=1
        return 1
    }
    [ "$state" = lost ] || wait_for_end "$nid"
}

# wait_for_end ID: until the job has written its end, or the scheduler says that it is over.
# A scheduler that does not know the job is believed when the heartbeat has stopped, too.
wait_for_end() {
    looks=0 still=0
    read_beat
    pulse_then=$pulse
    while [ "$looks" -lt 12 ]; do
        ! wait_for finished 5 || return 0
        looks=$((looks + 1)) still=$((still + 1))
        read_beat
        [ "$pulse" = "$pulse_then" ] || still=0
        pulse_then=$pulse
        ask_anew "$1"
        look_up "$1" ''
        case $says in
            over | ended | limit | cut | cancelled) ;;
            unknown) [ -z "$pulse" ] || [ "$still" -ge 5 ] || continue ;;
            *) continue ;;
        esac
        now=''
        get_time
        put_reserved finished "$now none 0 killed 0"
        return 0
    done
    return 1
}
