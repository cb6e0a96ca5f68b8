# Submission and kill of jobs under a scheduler. The `runtime.sh` of each scheduler
# sources this file and defines the functions below; docs/runtimes.md describes them.
# shellcheck shell=sh
#
#   scheduler_here [auto]     returns 0 if the scheduler answers, 1 if it is not installed; 2,
#                             with a message, if it does not answer. `auto`: the user has not
#                             selected this runtime by name
#   scheduler_options         set options to the arguments for $job's resources; or set why and
#                             return 1
#   scheduler_submit NAME     submit $job/batch with $options; print the scheduler's id
#   scheduler_list [ID...]    print ID|STATE|NAME|WORDS for these jobs (more are allowed), or
#                             for all jobs; return 1 if the scheduler did not answer. STATE:
#                             queued, running, stopped (suspended), over (ended somehow), ended
#                             (by itself), limit, cut (node failure, preemption, ...),
#                             cancelled, unknown or silent (no information)
#   scheduler_listed_all [ID] return 0 if a job missing from that list is unknown to the scheduler
#   scheduler_term ID         send SIGTERM to all processes of the job; return 1 if unsupported
#   scheduler_cancel ID       dequeue or end the job; return 1 on failure
#   scheduler_history ID      print STATE|WORDS of a job that is no longer listed
#   scheduler_report ID       print the scheduler's reports about the job with print_report
#                             (commands/scheduler_log)
#   scheduler_own_id          set own_id to the id of the job that this code runs in
#
# Facts in addition to those in facts.sh:
#   submitting TIME NAME HOST BOOT SPACE PID START   written before the job is submitted
#   missed     TIME STATE BEAT  the job was gone and had recorded no end
#   rerun      TIME HOST        the scheduler restarted the job, and the wrapper refused to run it
#   requeue    TIME             the user allows a second run by the scheduler
#   ending     TIME term|cancel the last step of a kill
#   term       TIME             the job's wrapper received a SIGTERM
#   reason     TIME KIND WORDS  why the job ended: cancelled, limit, cut, other

. "$here/lib/scheduler_cache.sh"
. "$here/lib/scheduler_state.sh"
. "$here/lib/scheduler_array.sh"

second_look=30    # minimum seconds between the two answers that are needed to give up a job
cause_awaited=120 # seconds to wait for a silent scheduler to report why a job ended
busy_awaited=60   # seconds for which a submission is retried while the scheduler is too busy

runtime_here() { scheduler_here "${1-}"; }
scheduler_listed_all() { :; }
scheduler_term() { return 1; }
scheduler_history() { return 1; }
scheduler_report() { :; }
scheduler_options() { options=''; }

# patiently COMMAND...: run the command. If `timeout` is installed, the command has a
# time limit of 60 seconds, because the client commands of a scheduler hang if the
# scheduler's server hangs.
patiently() {
    if command -v timeout >/dev/null 2>&1; then timeout 60 "$@"; else "$@"; fi
}

# find_program NAME: check that the program NAME is installed. If only login shells have
# NAME on their PATH, adds its directory to PATH and records the directory in the queue.
# Returns 1 if NAME is not installed.
find_program() {
    ! command -v "$1" >/dev/null 2>&1 || return 0
    dir=$(patiently /bin/sh -lc "command -v $1" </dev/null 2>/dev/null | tail -n 1)
    case $dir in /*/"$1") dir=${dir%/*} ;; *) return 1 ;; esac
    PATH=$PATH:$dir
    note_setup path "$dir"
}

# note_setup NAME WORDS: record WORDS as the property NAME of the scheduler, in the
# queue's directory `scheduler`.
note_setup() {
    make_queue_directory scheduler
    printf '%s\n' "$2" >"$queue/scheduler/.$1.$$" && mv -f "$queue/scheduler/.$1.$$" "$queue/scheduler/$1"
}

# read_setup NAME: set noted to the recorded property NAME of the scheduler, or to '' if
# NAME was not recorded.
read_setup() {
    noted=''
    [ ! -f "$queue/scheduler/$1" ] || IFS= read -r noted <"$queue/scheduler/$1"
}

read_setup path
[ -z "$noted" ] || PATH=$PATH:$noted

# is_id WORD: check that WORD is the id of a scheduler's job and not part of an error
# message.
is_id() {
    case $1 in [0-9]*) ;; *) return 1 ;; esac
    case $1 in *[!A-Za-z0-9._\;-]*) return 1 ;; esac
    case ${1%%[.;]*} in *[!0-9]*) return 1 ;; esac
}

# put_first FACT WORDS: write the fact FACT if it does not exist. FACT may exist
# already, because the job can write the fact before the scheduler's reply arrives.
put_first() {
    [ ! -e "$job/$1" ] || return 0
    printf '%s\n' "$2" >"$job/.$1.$$" || return 1
    ln "$job/.$1.$$" "$job/$1" 2>/dev/null || [ -e "$job/$1" ] || mv "$job/.$1.$$" "$job/$1"
    rm -f "$job/.$1.$$"
    [ -e "$job/$1" ]
}

# set_name: set nickname to the name of $job under the scheduler. The name has 14
# characters, which every scheduler allows. Seven of the characters are random. If the
# job was submitted in a job array, sets nickname to the name of the array, and index to
# the index of the job.
set_name() {
    [ -n "$spec" ] || read_spec
    job_token=${spec#*token=} job_token=${job_token%% *}
    index=''
    if [ -f "$job/submitting" ] && ! is_array_refused; then
        read -r _ nickname _ _ _ _ _ index <"$job/submitting"
        [ -z "$index" ] || return 0
    fi
    nickname='' letters=${id}job
    while [ "${#nickname}" -lt 3 ]; do
        case $letters in [A-Za-z0-9]*) nickname=$nickname${letters%"${letters#?}"} ;; esac
        letters=${letters#?}
    done
    nickname=tej_$nickname${job_token%"${job_token#???????}"}
}

# quote WORD: set quoted to WORD in single quotes for a shell.
quote() {
    case $1 in
        *\'*) quoted=$(printf '%s=' "$1" | sed "s/'/'\\\\''/g") quoted="'${quoted%=}'" ;;
        *) quoted="'$1'" ;;
    esac
}

# write_batch: write the batch script $job/batch. The batch script contains only
# absolute paths, so that the scheduler can run it in any directory.
write_batch() {
    by_cluster=''
    ! names_cluster || by_cluster=1
    quote "$id"
    begin_batch && print_exec "$quoted" "$job_token" "$by_cluster" >>"$job/batch"
}

# begin_batch: write the first lines of $job/batch, with the directives of the script.
# PBS and Grid Engine set a umask of their own. Therefore the batch script sets the umask
# of the user, unless the script requests a umask (#PBS -W umask=...).
begin_batch() {
    mask="umask $(umask)"
    case $asked in *umask=*) mask=: ;; esac
    printf '%s\n' '#!/bin/sh' >"$job/batch" && copy_directives >>"$job/batch" &&
        printf '%s\n' "$mask" >>"$job/batch"
}

# print_exec ID TOKEN [WORD...]: print the command that runs the wrapper of the job. ID
# and TOKEN are inserted as they are. The further arguments of the wrapper are WORD...
print_exec() {
    line="exec /bin/sh"
    for word in "$here/run_in_scheduler.sh" "$queue"; do
        quote "$word"
        line="$line $quoted"
    done
    quote "$here"
    line="$line $1 $quoted $runtime $2"
    shift 2
    for word in "$@"; do
        quote "$word"
        line="$line $quoted"
    done
    printf '%s\n' "$line"
}

# names_cluster: check whether the job can be submitted to another cluster.
names_cluster() {
    [ "$runtime" = slurm ] || return 1
    is_asked -M --clusters --cluster || [ -n "${SLURM_CLUSTERS-}${SBATCH_CLUSTERS-}" ]
}

# log_file: set log to the path of the file for the scheduler's messages. If a scheduler
# could interpret the path as a pattern or a host name, sets log to /dev/null.
log_file() {
    case $job in
        *[!A-Za-z0-9_./,+=@-]*) log=/dev/null ;;
        *) log=$job/$nickname.log ;;
    esac
}

# split_options: make the shell split words only at newlines. end_split: restore the
# default word splitting.
split_options() {
    set -f
    IFS='
'
}
end_split() {
    unset IFS
    set +f
}

# name_job: add `-N NAME` to the options of qsub, unless the script sets a name. Torque
# accepts names of up to 15 characters. Torque and Grid Engine refuse a name with a
# leading digit.
name_job() {
    [ -n "$r_name" ] || ! is_asked -N || return 0
    name=${r_name:-${r_default_name:-$nickname}}
    # If log is /dev/null, or if the scheduler is Grid Engine, tej can find a job after
    # a lost reply only by the job's name. Therefore the name must be $nickname.
    [ -n "$r_name" ] || { [ "$log" != /dev/null ] && [ "$runtime" != sge ]; } || name=$nickname
    [ "${dialect-}" = openpbs ] || case $name in [0-9]*) name=j$name ;; esac
    [ "${dialect-}" != torque ] || name=$(printf '%.15s' "$name")
    prepend -N "$name"
}

# mail_and_rerun: add -M, -m and -r to the options of qsub, unless the script sets these
# options.
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

# runtime_start: submit $job to the scheduler. The fact `submitting` is written before
# the submission. If this client dies before it receives the scheduler's reply, other
# clients find the job by the name in `submitting`. Returns 1 and sets why on failure.
runtime_start() {
    native=''
    set_name
    [ ! -f "$job/submitting" ] || is_array_refused || {
        ! find_submitted || return 0
        array_refused="$array_refused $job_token "
    }
    runtime_check || return 1
    me
    now=''
    get_time
    note_requeue && write_batch && put submitting "$now $nickname $who" && put queued "$now" || {
        why="cannot write to '$job'"
        return 1
    }
    hand_over || {
        # The scheduler has not accepted the job. A waiting job can be submitted later.
        rm -f "$job/submitting"
        return 1
    }
}

# runtime_check: set options to the arguments for the scheduler's submit command. Returns
# 1 and sets why if the scheduler cannot provide the requested resources.
runtime_check() {
    options='' replaced='' replaced_list='' prepended=''
    set_name
    log_file
    read_resources && check_directives && scheduler_options
}

# runtime_may_retry: check whether the scheduler may accept a waiting job later. A
# scheduler can refuse submissions from compute nodes. Therefore a job that is refused
# there waits for the next client.
runtime_may_retry() {
    [ -n "${in_scheduler_job-}" ] || is_busy || [ "${listing:-answer}" != answer ]
}

# note_requeue: write the fact `requeue` if the user has allowed the scheduler to run
# the job a second time.
note_requeue() {
    case $r_requeue$asked in
        0*) ;;
        1* | *' --requeue='* | *' -r=y'*) put requeue "$now" ;;
    esac
}

# find_submitted: check whether an earlier submission of $job to the scheduler
# succeeded. Returns 0 if the earlier submission succeeded or may still succeed.
find_submitted() {
    read_facts
    [ -z "$native" ] || return 0
    read -r s_time _ s_host s_boot s_space s_pid s_start _ <"$job/submitting"
    if same_host "$s_host" "$s_boot" "$s_space"; then
        ! is_alive "$s_pid" "$s_start" || return 0
    else
        # A client on another host may still be waiting for the scheduler's reply.
        now=''
        get_time
        [ $((now - s_time)) -ge 90 ] || return 0
    fi
    ask_anew
    [ "$listing" = answer ] || return 0
    adopt_by_name
}

# hand_over: submit the job to the scheduler, and retry the submission while the
# scheduler is busy. Returns 1 if the scheduler has certainly not accepted the job.
hand_over() {
    submit_patiently is_busy
    submitted_ok=$?
    rm -f "$job/.said"
    if [ "$submitted_ok" = 0 ]; then adopt_reply; else look_for_submitted; fi
}

# submit_patiently CHECK: submit the job or the array, and retry the submission while the
# function CHECK finds that the scheduler may accept it later. All submissions of a
# request together are retried for $busy_awaited seconds. Returns 1 if the scheduler's
# reply contained no id.
submit_patiently() {
    retry_pause=2
    : "${retry_until:=$(($(date +%s) + busy_awaited))}"
    until submit_once; do
        "$1" && [ "$(date +%s)" -lt "$retry_until" ] || return 1
        # Without keep-alives, the client would close the connection during a long
        # retry.
        [ -n "${talker-}" ] || keep_talking
        sleep "$retry_pause"
        retry_pause=$((retry_pause < 16 ? retry_pause * 2 : 16))
    done
}

# submit_once: submit the job once. Sets nid to the id in the scheduler's reply. If the
# reply contains no id, sets why to the error message and returns 1.
submit_once() {
    # shellcheck disable=SC2030 # the new job must not inherit these variables
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

# is_busy: check whether the error message in $why means that the scheduler may accept
# the job later.
is_busy() {
    is_overloaded && return 0
    case $why in
        *MaxSubmit* | *'ubmit limit'* | *'would exceed'*limit* | *'per-user limit'* | *'too many jobs'*) ;;
        *) return 1 ;;
    esac
}

# is_overloaded: check whether the error message in $why means that the scheduler cannot
# accept any job at the moment.
is_overloaded() {
    case $why in
        *emporarily\ u* | *'socket temporarily'* | *'unable to accept job'*) ;;
        *) return 1 ;;
    esac
}

# adopt_reply: write the fact native_id with the id in the scheduler's reply. If the job
# was killed or removed during the submission, cancels the job.
adopt_reply() {
    # During the submission, another client may have killed the job, or removed it and
    # submitted another job with the same id.
    if ! has_token "$job_token" || [ -e "$job/finished" ]; then
        scheduler_cancel "$nid" >/dev/null 2>&1 </dev/null
        has_token "$job_token" || {
            why="it was taken away while $runtime was asked"
            return 1
        }
    fi
    put_first native_id "$runtime $nid"
    # The scheduler's reply may contain the cluster of the job, which native_id may lack
    # if the job has written native_id.
    case $nid in *\;*) put native_id "$runtime $nid" ;; esac
    native="$runtime $nid"
}

# look_for_submitted: search the scheduler's list for the job's name. Called if the
# scheduler's reply contained no id: either the scheduler refused the job, or the reply
# was lost. Returns 1 if the scheduler refused the job.
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

# is_in_doubt: check whether the scheduler may have accepted the job although its reply
# contained no id.
is_in_doubt() {
    case "$status $why" in
        124* | *imed\ out* | *'no id in the answer') ;;
        *) return 1 ;;
    esac
}

# adopt_by_name: if the scheduler lists a job or an array with the name $nickname, write
# the id of the job to the fact native_id. Returns 1 if the scheduler lists no job with this
# name.
adopt_by_name() {
    eval "nid=\${n_$nickname-}"
    [ -n "$nid" ] || return 1
    [ -z "$index" ] || set_task_id "$nid"
    put_first native_id "$runtime $nid"
    native="$runtime $nid"
}

# runtime_tell: request the end of the job, once per program. Returns 0 if the job has
# ended or will never start. Otherwise returns 1, and sets told_KEY to the time of the
# SIGTERM, to 0 if the job was cancelled without SIGTERM, or to `not` if neither was
# possible.
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
        # If the scheduler did not cancel the job, `claim` is removed. Then the wrapper,
        # which checks for `kill` before it starts the script, or a later request of a
        # client completes the kill.
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

# ask_to_end: send SIGTERM to the job through the scheduler. If the scheduler cannot
# send SIGTERM, or if the job is suspended and would not handle SIGTERM, cancels the
# job. Sets told to the time of the SIGTERM, or to 0 if the job was cancelled. Returns 1
# if the job could not be cancelled.
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

# cancel_job: cancel the job through the scheduler. Returns 1 if the scheduler did not
# answer or refused to cancel the job.
cancel_job() {
    refusal=$(scheduler_cancel "$nid" 2>&1 </dev/null) || {
        # If the job is already over, the scheduler reports an error, but cancel_job
        # returns 0.
        ask_anew "$nid"
        look_up "$nid" ''
        case $says in over | ended | limit | cut | cancelled | unknown) ;; *) return 1 ;; esac
    }
    put ending "$(date +%s) cancel" 2>/dev/null || :
}

# runtime_stop GRACE: like runtime_tell, then wait for the end of the job. Returns 1 if
# the end of the job was not found in time. Sets refused to 1 if the scheduler did not
# accept the kill, so that the caller does not wait for the end.
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
            # If many jobs are killed, all of them receive SIGTERM before the first
            # wait. Therefore the grace period is counted from the SIGTERM.
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

# wait_for_end ID: wait until the job has recorded its end, or until the scheduler
# reports that the job has ended. If the scheduler does not know the job, also waits
# until the job's heartbeat has stopped.
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
        ! settle_killed || return 0
    done
    return 1
}
