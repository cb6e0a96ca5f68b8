# The common part of the runtimes for schedulers (Slurm, PBS, Grid Engine). The runtime.sh of
# each scheduler sources this file, and defines the functions below. See also docs/runtimes.md.
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
#   scheduler_listed_all [ID] return 0 if scheduler_list would list every job of the user (or the
#                             job ID), so that a missing job is unknown to the scheduler
#   scheduler_term ID         send SIGTERM to all processes of the job; return 1 if unsupported
#   scheduler_cancel ID       dequeue or end the job; return 1 on failure
#   scheduler_history ID      print STATE|WORDS of a job that is no longer listed. STATE may
#                             also be alive, if the accounting has no end of the job
#   scheduler_has ID          return 0 if the scheduler has the job, although its list does not
#                             contain the job; set $reason to the state of the job
#   scheduler_node_down ID HOST   return 0 if a node of the job does not respond, so that the job
#                             may still have processes; 1 if the nodes respond, or if the scheduler
#                             reports an end only after the nodes have confirmed it; 2 if unknown.
#                             HOST: the node of the job's script. ID is empty if the nodes that
#                             the scheduler names are not those of this run
#   scheduler_report ID       print the scheduler's reports about the job with print_report
#                             (commands/scheduler_log)
#   scheduler_own_id          set $own_id to the id of the job that this code runs in
#   scheduler_warning SIGNAL  called in the job. Return 0 if the scheduler announces the end
#                             of the job by SIGNAL; set $warning to KIND WORDS, see `reason`
#
# Fact files (files in a job's directory that record its progress), in addition to facts.sh:
#   submitting TIME NAME HOST BOOT SPACE PID START [INDEX]   written before the job is
#                               submitted; INDEX: in a job array, see scheduler_array.sh
#   missed     TIME STATE BEAT WORDS   the scheduler reported that the job is gone, and the
#                               job had recorded no end. STATE and WORDS: the scheduler's
#                               answer and its reason. BEAT: the heartbeat or `-`
#   rerun      TIME HOST        the scheduler restarted the job, and the wrapper refused to run it,
#                               or waits until the first run has certainly ended
#   requeue    TIME             the user allows a second run by the scheduler
#   clusters   NAMES            clusters of Slurm that the environment of the submission selected
#   ending     TIME STEP [requeued]   the last step of a kill: term or cancel. requeued: the
#                               scheduler had requeued the job after it started
#   term       TIME [KIND WORDS]   the job's wrapper received a SIGTERM, or another signal
#                               that announces the end of the job
#   reason     TIME KIND WORDS  why the job ended: killed, cancelled, limit, cut, unstarted, other

. "$here/lib/scheduler_commands.sh"
. "$here/lib/scheduler_job_name.sh"
. "$here/lib/scheduler_batch_script.sh"
. "$here/lib/scheduler_mail_and_rerun.sh"
. "$here/lib/scheduler_cache.sh"
. "$here/lib/scheduler_state.sh"
. "$here/lib/scheduler_end_cause.sh"
. "$here/lib/scheduler_submit.sh"
. "$here/lib/scheduler_array.sh"
. "$here/lib/scheduler_kill.sh"

runtime_here() { scheduler_here "${1-}"; }
scheduler_listed_all() { :; }
scheduler_term() { return 1; }
scheduler_history() { return 1; }
scheduler_has() { return 1; }
scheduler_node_down() { return 1; }
scheduler_report() { :; }
scheduler_warning() { return 1; }
scheduler_options() { options=''; }

# is_id WORD: check whether WORD is the id of a scheduler's job, and not part of an error
# message.
is_id() {
    case $1 in [0-9]*) ;; *) return 1 ;; esac
    case $1 in *[!A-Za-zIi0-9._\;-]*) return 1 ;; esac
    case ${1%%[.;]*} in *[!0-9]*) return 1 ;; esac
}

# put_first FACT WORDS: write WORDS to the job's file FACT, unless it exists. The job itself may
# write the file before the scheduler's reply arrives.
put_first() {
    [ ! -e "$job/$1" ] || return 0
    printf '%s\n' "$2" >"$job/.$1.$unique" || return 1
    ln "$job/.$1.$unique" "$job/$1" 2>/dev/null || [ -e "$job/$1" ] || mv "$job/.$1.$unique" "$job/$1"
    rm -f "$job/.$1.$unique"
    [ -e "$job/$1" ]
}

# names_cluster: check whether the user has selected a cluster of Slurm for the job. Sets
# $user_clusters to the clusters in the environment of the submission.
names_cluster() {
    [ "$runtime" = slurm ] || return 1
    user_clusters=${tej_kept_SLURM_CLUSTERS:-${tej_kept_SBATCH_CLUSTERS-}}
    # A waiting job is started by a program with another environment, so read the clusters that
    # were recorded at the submission.
    # shellcheck disable=SC2031 # list_clusters sets the variable in a subshell
    [ -z "${has_waited-}" ] || {
        user_clusters=''
        [ ! -f "$job/clusters" ] || IFS= read -r user_clusters <"$job/clusters"
    }
    is_requested -M --clusters --cluster || [ -n "$user_clusters" ]
}

# log_file: set $log to the path of the file for the scheduler's messages. A scheduler could
# interpret special characters in the path as a pattern or a host name. For a path with special
# characters, sets $log to /dev/null.
log_file() {
    case $job in
        *[!A-Za-zIi0-9_./,+=@-]*) log=/dev/null ;;
        *) log=$job/$lookup_name.log ;;
    esac
}
