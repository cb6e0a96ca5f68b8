# Runtimes for schedulers. The `runtime.sh` of each scheduler sources this file and defines
# the functions below; docs/runtimes.md describes them. This file contains the names, the
# batch script and the options of a job. The other files contain the submission
# (scheduler_submit.sh), job arrays (scheduler_array.sh), the kill (scheduler_kill.sh), the
# state of a job (scheduler_state.sh), the cause of its end (scheduler_end_cause.sh) and the
# list of jobs (scheduler_cache.sh).
# shellcheck shell=sh
#
#   scheduler_here [auto]     returns 0 if the scheduler answers, 1 if it is not installed; 2,
#                             with a message, if it does not answer. `auto`: the user has not
#                             selected this runtime by name
#   scheduler_options         set $options to the arguments for $job's resources; or set $why and
#                             return 1
#   scheduler_submit NAME     submit $job/batch with $options; print the scheduler's id
#   scheduler_list [ID...]    print ID|STATE|NAME|WORDS for these jobs (more are allowed), or
#                             for all jobs; return 1 if the scheduler did not answer. STATE:
#                             queued, running, stopped (suspended), over (ended somehow), ended
#                             (by itself), limit, cut (node failure, preemption, ...),
#                             cancelled, moved (to another cluster), unknown or silent (no
#                             information)
#   scheduler_listed_all [ID] return 0 if a job missing from that list is unknown to the scheduler
#   scheduler_term ID         send SIGTERM to all processes of the job; return 1 if unsupported
#   scheduler_cancel ID       dequeue or end the job; return 1 on failure
#   scheduler_history ID      print STATE|WORDS of a job that is no longer listed. STATE may
#                             also be alive, if the accounting knows no end of the job
#   scheduler_node_down ID    return 0 if a node of the ended job may be down, so that the job may
#                             still have processes
#   scheduler_report ID       print the scheduler's reports about the job with print_report
#                             (commands/scheduler_log)
#   scheduler_own_id          set $own_id to the id of the job that this code runs in
#   scheduler_warning SIGNAL  called in the job. Return 0 if the scheduler announces the end
#                             of the job by SIGNAL; set $warning to KIND WORDS, see `reason`
#
# Facts in addition to those in facts.sh:
#   submitting TIME NAME HOST BOOT SPACE PID START [INDEX]   written before the job is
#                               submitted; INDEX: in a job array, see scheduler_array.sh
#   missed     TIME STATE BEAT WORDS   the job was gone, with no recorded end; the answer
#                               of the scheduler and its reason. BEAT: the heartbeat or `-`
#   rerun      TIME HOST        the scheduler restarted the job, and the wrapper refused to run it
#   requeue    TIME             the user allows a second run by the scheduler
#   clusters   NAMES            clusters of Slurm that the environment of the submission selected;
#                               only if the job had to wait
#   ending     TIME term|cancel [requeued]   the last step of a kill; requeued: the scheduler had
#                               put the started job back into its queue
#   term       TIME [KIND WORDS]   the job's wrapper received a SIGTERM, or another signal
#                               that announces the end of the job
#   reason     TIME KIND WORDS  why the job ended: cancelled, limit, cut, other

. "$here/lib/scheduler_cache.sh"
. "$here/lib/scheduler_state.sh"
. "$here/lib/scheduler_end_cause.sh"
. "$here/lib/scheduler_submit.sh"
. "$here/lib/scheduler_array.sh"
. "$here/lib/scheduler_kill.sh"

confirmation_delay=30 # minimum seconds between the two queries that must agree before a job counts as gone
cause_awaited=120     # seconds to wait for a silent scheduler to report why a job ended
busy_awaited=60       # seconds for which a submission is retried while the scheduler is too busy

runtime_here() { scheduler_here "${1-}"; }
scheduler_listed_all() { :; }
scheduler_term() { return 1; }
scheduler_history() { return 1; }
scheduler_node_down() { return 1; }
scheduler_report() { :; }
scheduler_warning() { return 1; }
scheduler_options() { options=''; }

command_timeout=60 # seconds for which a command of the scheduler may run

# patiently COMMAND...: run the command. If `timeout` is installed, the command has a
# time limit of $command_timeout seconds, because the client commands of a scheduler hang
# if the scheduler's server hangs.
patiently() {
    if command -v timeout >/dev/null 2>&1; then timeout "$command_timeout" "$@"; else "$@"; fi
}

# find_program NAME: check whether the program NAME is installed. If only login shells have
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

# read_setup NAME: set $noted to the recorded property NAME of the scheduler, or to '' if
# NAME was not recorded.
read_setup() {
    noted=''
    [ ! -f "$queue/scheduler/$1" ] || IFS= read -r noted <"$queue/scheduler/$1"
}

read_setup path
[ -z "$noted" ] || PATH=$PATH:$noted

# find_variables NAME...: read the variables NAME... from a login shell, export them, and
# record their values in the queue. On some servers, only login shells set the variables
# that the commands of the scheduler need. Returns 1 if no variable is set.
find_variables() {
    found=1
    for variable in "$@"; do
        value=$(patiently /bin/sh -lc "printf '\n%s\n' \"\${$variable-}\"" </dev/null 2>/dev/null | tail -n 1)
        [ -z "$value" ] || {
            eval "$variable=\$value && export $variable"
            note_setup "$variable" "$value"
            found=0
        }
    done
    return "$found"
}

# load_variables NAME...: export the values of NAME... that find_variables has recorded.
load_variables() {
    for variable in "$@"; do
        read_setup "$variable"
        [ -z "$noted" ] || eval "$variable=\$noted && export $variable"
    done
}

# is_id WORD: check whether WORD is the id of a scheduler's job and not part of an error
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

# set_name: set $nickname to the name of $job under the scheduler. The name has 14
# characters, which every scheduler allows. Seven of the characters are random. If the
# job was submitted in a job array, sets $nickname to the name of the array, and $index to
# the index of the job.
set_name() {
    [ -n "$spec" ] || read_spec
    job_token=${spec#*token=} job_token=${job_token%% *}
    index=''
    if [ -f "$job/submitting" ] && ! is_array_refused; then
        read -r _ nickname _ _ _ _ _ index <"$job/submitting"
        [ -z "$index" ] || return 0
    fi
    # The name contains the first three letters or digits of the id. Letters of `job` are
    # used if the id has fewer.
    nickname='' letters=${id}job
    while [ "${#nickname}" -lt 3 ]; do
        case $letters in [A-Za-z0-9]*) nickname=$nickname${letters%"${letters#?}"} ;; esac
        letters=${letters#?}
    done
    nickname=tej_$nickname${job_token%"${job_token#???????}"}
}

# quote WORD: set $quoted to WORD in single quotes for a shell.
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
    case $requested_options in *umask=*) mask=: ;; esac
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

# names_cluster: check whether the user has selected the cluster of the job. Sets
# $user_clusters to the clusters in the environment of the submission.
names_cluster() {
    [ "$runtime" = slurm ] || return 1
    user_clusters=${tej_kept_SLURM_CLUSTERS:-${tej_kept_SBATCH_CLUSTERS-}}
    # The program that starts a waiting job has the environment of another submission.
    [ -z "${has_waited-}" ] || {
        user_clusters=''
        [ ! -f "$job/clusters" ] || IFS= read -r user_clusters <"$job/clusters"
    }
    is_requested -M --clusters --cluster || [ -n "$user_clusters" ]
}

# log_file: set $log to the path of the file for the scheduler's messages. If a scheduler
# could interpret the path as a pattern or a host name, sets $log to /dev/null.
log_file() {
    case $job in
        *[!A-Za-z0-9_./,+=@-]*) log=/dev/null ;;
        *) log=$job/$nickname.log ;;
    esac
}

# name_job: add `-N NAME` to the options of qsub, unless the script sets a name. Torque
# accepts names of up to 15 characters. Torque and Grid Engine refuse a name with a
# leading digit.
name_job() {
    [ -n "$r_name" ] || ! is_requested -N || return 0
    name=${r_name:-${r_default_name:-$nickname}}
    # If $log is /dev/null, tej can find a job after a lost reply only by the job's name.
    # Therefore the job is then submitted with the name $nickname.
    [ -n "$r_name" ] || [ "$log" != /dev/null ] || name=$nickname
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
        is_requested -m -M || prepend -m n
    fi
    case $r_requeue in
        1) prepend -r y ;;
        0) prepend -r n ;;
        *) is_requested -r || prepend -r n ;;
    esac
}
