# Submits a job to a scheduler at most once, even if the scheduler's reply is lost or the client
# dies.
# shellcheck shell=sh

busy_awaited=60        # seconds for which a submission is retried while the scheduler is too busy
submission_timeout=900 # seconds for which a submission on another host counts as in progress

# runtime_start: submit $job to the scheduler. Writes the job's file `submitting` first. If this
# client dies before the scheduler replies, other clients find the job by the name in this file.
# Returns 1 and sets $why on failure.
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
    note_requeue && runtime_defer && write_batch && put submitting "$now $lookup_name $who" && put queued "$now" || {
        why="cannot write to '$job'"
        return 1
    }
    submit_to_scheduler || {
        # The scheduler has not accepted the job. A waiting job can be submitted later.
        rm -f "$job/submitting"
        return 1
    }
}

# runtime_check: set $options to the arguments for the scheduler's submit command. Returns 1 and
# sets $why if the scheduler cannot provide the requested resources.
runtime_check() {
    options='' replaced='' replaced_list='' prepended=''
    set_name
    log_file
    read_resources && check_directives && scheduler_options
}

# runtime_may_retry: check whether the scheduler may accept a waiting job later. A scheduler may
# refuse submissions from compute nodes, so a job that is refused there waits for the next
# client.
runtime_may_retry() {
    [ -n "${in_scheduler_job-}" ] || is_busy || is_unreachable || is_reply_lost ||
        [ "${listing_result:-answer}" != answer ]
}

# is_unreachable: check whether $why, the message of the failed submission, means that the
# scheduler's server was unreachable. The server may have answered a later query.
is_unreachable() {
    case $why in
        *'controller does not answer'* | *'ontact slurm controller'*) ;;
        *'cannot connect to server'* | *'Server shutting down'*) ;;
        *'to qmaster using port'* | *'contact qmaster using port'*) ;;
        *) return 1 ;;
    esac
}

# note_requeue: write the file `requeue` if the user allows the scheduler to run the job again.
note_requeue() {
    case $r_requeue$requested_options in
        0*) ;;
        1* | *' --requeue='* | *' -r=y'*) put requeue "$now" ;;
    esac
}

# find_submitted: check whether an earlier submission of $job has succeeded or may still
# succeed.
find_submitted() {
    read_facts
    [ -z "$native" ] || return 0
    s_time=''
    read -r s_time _ s_host s_boot s_space s_pid s_start _ <"$job/submitting"
    [ -n "$s_time" ] || return 0
    if same_host "$s_host" "$s_boot" "$s_space"; then
        ! is_alive "$s_pid" "$s_start" || return 0
    else
        # A client on another host may still wait for the scheduler's reply: give it 90 seconds.
        now=''
        find_age submitting "$s_time"
        [ "$age" -ge 90 ] || return 0
    fi
    query_again
    [ "$listing_result" = answer ] || return 0
    adopt_by_name || ! list_clusters || adopt_by_name
}

# submit_to_scheduler: submit the job, and retry while the scheduler is busy. Returns 1 if the
# scheduler has certainly not accepted the job.
submit_to_scheduler() {
    submit_patiently is_busy
    submitted_ok=$?
    rm -f "$job/.submit_errors"
    if [ "$submitted_ok" = 0 ]; then adopt_reply; else search_submitted; fi
}

# submit_patiently CHECK: submit the job or the array, and retry while the function CHECK
# returns 0. All submissions of one request together are retried for $busy_awaited seconds.
# Returns 1 if no id was received.
submit_patiently() {
    retry_pause=2
    : "${retry_until:=$(($(date +%s) + busy_awaited))}"
    until submit_once; do
        "$1" && [ "$(date +%s)" -lt "$retry_until" ] || return 1
        # During a long retry, the client needs keep-alives, or it closes the connection.
        start_keepalives
        sleep "$retry_pause"
        retry_pause=$((retry_pause < 16 ? retry_pause * 2 : 16))
    done
}

# submit_once: submit the job or the array once. Sets $nid to the id in the scheduler's reply.
# Without an id, sets $why to the error message and returns 1.
submit_once() {
    # shellcheck disable=SC2030 # the new job must not inherit these variables
    reply=$(
        unset_job_identity
        unset_job_variables
        scheduler_submit "$lookup_name" </dev/null 2>"$job/.submit_errors"
    )
    status=$?
    [ "$status" != 0 ] || ! find_id "$reply" || return 0
    # After a message about an option, the qsub of PBS prints all its options.
    nid='' submit_errors=$(sed '/^usage: /,$d' "$job/.submit_errors")
    why="$runtime: ${submit_errors:-${reply:-the reply contains no job id}}"
    return 1
}

# find_id REPLY: set $nid to the id in the scheduler's reply. Returns 1 unless exactly one line
# can be an id. Some sites print further lines, which may be numbers, too.
find_id() {
    nid=''
    split_lines
    # shellcheck disable=SC2086 # split into lines
    set -- $1
    end_split
    for line in "$@"; do
        ! is_id "$line" || nid="$nid $line"
    done
    nid=${nid# }
    case $nid in '' | *' '*) return 1 ;; esac
}

# unset_job_variables: if this shell runs in a job of Slurm or PBS, unset the variables of that
# job. sbatch passes its environment to the new job. The new job would then use the id of the
# outer job as its own, and `srun` and MPI programs would join the outer job.
unset_job_variables() {
    [ -n "${SLURM_JOB_ID-}${PBS_JOBID-}" ] || return 0
    for variable in $(env | LC_ALL=C awk -F= '/^(SLURM|SRUN|PBS|PMI|PMIX)_[A-Za-z0-9_]*=/ { print $1 }'); do
        case $variable in
            SLURM_CONF | SLURM_UMASK | PBS_CONF_FILE | PBS_EXEC | PBS_HOME | PBS_SERVER | PBS_DEFAULT) ;;
            *) unset "$variable" ;;
        esac
    done
}

# is_busy: check whether the message in $why means that the scheduler may accept the job later.
is_busy() {
    is_overloaded && return 0
    case $why in
        *MaxSubmit* | *MaxJobCount* | *'ubmit limit'* | *'would exceed'*limit* | *'per-user limit'*) ;;
        *'too many jobs'* | *'Maximum number of jobs '*'already in '* | *'jobs are allowed per '*) ;;
        *) return 1 ;;
    esac
}

# is_overloaded: check whether the message in $why means that the scheduler cannot accept any
# job now.
is_overloaded() {
    case $why in
        *emporarily\ u* | *'socket temporarily'* | *'unable to accept job'*) ;;
        *'job queue full'* | *'temporarily disabled'* | *'Rate limit exceeded'*) ;;
        *'connection table full'* | *'No free connections'*) ;;
        # PBS also prints this message if too many submissions arrive at the same time.
        *'nvalid credential'*) ;;
        *) return 1 ;;
    esac
}

# adopt_reply: write the file native_id with the id in the scheduler's reply. If the job was
# killed or removed during the submission, cancels the job.
adopt_reply() {
    # If another client has removed the job, and submitted a job with its id, cancel $nid.
    if is_replaced "$job_token"; then
        scheduler_cancel "$nid" >/dev/null 2>&1 </dev/null
        why="it was removed during its submission to $runtime"
        return 1
    fi
    ! was_killed_unstarted || scheduler_cancel "$nid" >/dev/null 2>&1 </dev/null
    put_first native_id "$runtime $nid"
    # The job may have started already and written `native_id` without the name of the
    # cluster. So write the file again.
    case $nid in *\;*) put native_id "$runtime $nid" ;; esac
    native="$runtime $nid"
}

# was_killed_unstarted: check whether a client has killed the job before its script started. A
# short job may end before the scheduler's reply arrives. Such a job must not be cancelled: the
# scheduler would then report a cancelled job.
was_killed_unstarted() {
    [ -s "$job/finished" ] || return 1
    end_kind=''
    read -r _ end_kind _ end_source _ <"$job/finished"
    [ "$end_kind $end_source" = 'none killed' ]
}

# search_submitted: search for the job by its name, because the reply contained no id. Returns 1
# if the scheduler refused the job.
search_submitted() {
    looks=0
    while :; do
        query_again
        [ "$listing_result" = answer ] || break
        ! adopt_by_name || return 0
        list_clusters || break
        ! adopt_by_name || return 0
        is_in_doubt && [ "$looks" -lt 3 ] || return 1
        looks=$((looks + 1))
        sleep 2
    done
    is_in_doubt
}

# is_in_doubt: check whether the scheduler may have accepted the job although its reply
# contained no id.
is_in_doubt() { [ "$status" = 0 ] || [ "$status" = 124 ] || is_reply_lost; }

# is_reply_lost: check whether the message in $why means that the scheduler has received the
# submission, but its reply was lost.
is_reply_lost() {
    case $why in
        *'receive failure'* | *'remature end of message'*) ;;
        # If the background process of qsub has lost the reply, qsub itself tries to connect to
        # the server, which may fail.
        *'from background qsub'* | *'failed receiving gdi request'*) ;;
        # The server has not received the submission, even if the message contains `Connection
        # timed out`.
        *'cannot connect to server'*) return 1 ;;
        *imed\ out*) ;;
        *) return 1 ;;
    esac
}

# print_cluster_ids: print a line `0;CLUSTER` for each cluster of Slurm that the user has
# selected for $job. No job has the number 0. Prints `?` if the user has selected all clusters
# and their names are unknown. Must be called in a subshell, because it changes variables of the
# current submission.
print_cluster_ids() {
    # shellcheck disable=SC2034 # used by names_cluster
    has_waited=1
    read_resources && check_directives && names_cluster || return 0
    set -f
    for word in $requested_options; do
        case $word in -M=* | --cluster=* | --clusters=*) user_clusters="$user_clusters,${word#*=}" ;; esac
    done
    set +f
    case ,$user_clusters, in
        *,[Aa][Ll][Ll],*) user_clusters=$(patiently sacctmgr -n -P show clusters format=cluster 2>/dev/null </dev/null) && [ -n "$user_clusters" ] || printf '?' ;;
    esac
    printf '%s\n' "$user_clusters" | tr ',' '\n' | sed -n 's/^[A-Za-z0-9._-][A-Za-z0-9._-]*$/0;&/p'
}

# list_clusters: if the user has selected other clusters of Slurm for $job, add their jobs to
# the listing. Returns 1 if a cluster does not answer, or if the names of all clusters are
# needed but unknown.
list_clusters() {
    # A query for the id 0;CLUSTER, which belongs to no job, lists all jobs of the user on that
    # cluster.
    search_ids=$(print_cluster_ids)
    case $search_ids in '?'*) return 1 ;; esac
    [ -n "$search_ids" ] || return 0
    runtime_ask "$runtime $(printf '%s' "$search_ids" | tr '\n' ' ' | sed "s/ / $runtime /g")"
    [ "$listing_result" = answer ] || return 1
    set -f
    # shellcheck disable=SC2086 # split into ids
    set -- $search_ids
    set +f
    for item in "$@"; do
        look_up "$item" ''
        [ "$listed_state" = unknown ] || return 1
    done
}

# adopt_by_name: if the scheduler lists a job or an array with the name $lookup_name, write the id
# of the job to the file native_id. Otherwise returns 1.
adopt_by_name() {
    eval "nid=\${n_$lookup_name-}"
    [ -n "$nid" ] || return 1
    [ -z "$index" ] || set_task_id "$nid"
    put_first native_id "$runtime $nid"
    native="$runtime $nid"
}
