# Grid Engine runtime: SGE, Son of Grid Engine, UGE and compatible schedulers.
# shellcheck shell=sh
#
# qdel kills a job with SIGKILL and without a warning. So `tej kill` first writes the file
# `kill`, and the job's wrapper (the process that runs the script) polls for this file. An ended
# job is listed only in the accounting (qacct), and only after a few seconds.

# shellcheck source=../../lib/scheduler.sh
. "$here/lib/scheduler.sh"
# shellcheck source=job_states.sh
. "$here/runtimes/sge/job_states.sh"

directive_marks='#$'
scheduler='Grid Engine'
# shellcheck disable=SC2034 # used by run_in_scheduler.sh
has_no_term=1
# Grid Engine requeues a job that exits with 99, and keeps a job that exits with 100 in an error
# state, even with `-r n`. For these exit codes of the script, the wrapper exits with 1.
# shellcheck disable=SC2034 # used by run_in_scheduler.sh
reserved_codes='99 100'

# shellcheck disable=SC2016,SC2034 # used by scheduler_array.sh; expanded by Grid Engine
first_task=1 task_mark=. task_variable=SGE_TASK_ID task_pattern='$TASK_ID'

# The commands of Grid Engine need these variables.
variables='SGE_ROOT SGE_CELL SGE_CLUSTER_NAME SGE_QMASTER_PORT SGE_EXECD_PORT'
# shellcheck disable=SC2086 # split into names
load_variables $variables

scheduler_here() {
    find_program qconf && find_program qsub && find_program qstat || return 1
    # shellcheck disable=SC2086 # split into names
    [ -n "${SGE_ROOT-}" ] || find_variables $variables
    ! patiently qstat >/dev/null 2>&1 </dev/null || return 0
    printf '%s\n' "Grid Engine is installed, but its master does not answer"
    return 2
}

# scheduler_own_id: set $own_id to ID, or to ID.INDEX in an array that tej has submitted.
scheduler_own_id() {
    own_id=${JOB_ID-}
    [ -z "${array-}" ] || own_id=$own_id.$SGE_TASK_ID
}

# scheduler_array_limit: set $array_limit from the site's max_aj_tasks. 0 means no limit, and
# becomes 75000.
scheduler_array_limit() {
    array_limit=$(patiently qconf -sconf 2>/dev/null </dev/null | LC_ALL=C awk '$1 == "max_aj_tasks" { print $2 }')
    [ "$array_limit" != 0 ] || array_limit=75000
    is_number "$array_limit"
}

# scheduler_fits_array: return 1 if the user has selected the name of $job. scheduler_list
# recognizes tej's arrays by their names.
scheduler_fits_array() { ! has_own_name; }

# has_own_name: check whether the user has selected the name of $job.
has_own_name() { [ -n "$r_name" ] || is_requested -N; }

# scheduler_options: refuse requests for nodes, CPUs and GPUs, because their names differ
# between sites.
scheduler_options() {
    for key in nodes tasks tasks_per_node cpus; do
        eval "value=\$r_$key"
        case $value in '' | 1) continue ;; esac
        why="Grid Engine requests '$key' through a parallel environment, whose name depends on the site: use --scheduler-option '-pe NAME $value'"
        return 1
    done
    [ -z "$r_gpus" ] || {
        why="Grid Engine requests GPUs by a name that depends on the site: use --scheduler-option '-l NAME=$r_gpus'"
        return 1
    }
    refuse_resources qos constraint exclusive || return 1
    options=$r_options
    [ -z "$r_account" ] || prepend -A "$r_account"
    [ -z "$r_partition" ] || prepend -q "$r_partition"
    [ -z "$r_reservation" ] || prepend -ar "$r_reservation"
    [ -z "$r_priority" ] || prepend -p "$r_priority"
    [ -z "$r_begin" ] || {
        set_begin
        prepend -a "${begin%??}.${begin#????????????}"
    }
    [ -z "$r_walltime" ] || {
        as_clock
        prepend -l "h_rt=$clock"
    }
    [ -z "$r_memory$r_memory_per_cpu" ] || {
        in_megabytes "${r_memory:-$r_memory_per_cpu}"
        prepend -l "h_vmem=${megabytes}M"
    }
    mail_and_rerun
    [ -z "$r_name" ] || name_job
}

# scheduler_submit NAME: submit the batch script, or the array with the indexes $array_tasks. By
# default, the job gets the name NAME, so that tej can find the job if the reply of qsub is
# lost.
#
# `-b n -sync n` overrides the files sge_request of the site and the user: qsub must copy the
# script, and must not wait for the job. qsub also reads .sge_request in the working directory.
# In $HOME, it would read the same file twice, and one `-sync n` does not override two `-sync
# y`. So qsub runs in $job.
scheduler_submit() {
    name_there=$1
    split_lines
    # shellcheck disable=SC2086 # split into options
    set -- $options -terse -S /bin/sh -j y -o "$log" -b n -sync n
    end_split
    has_own_name || set -- "$@" -N "$name_there"
    cd "$job" || return 1
    [ -n "$array_tasks" ] || {
        patiently qsub "$@" "$job/batch"
        return
    }
    # The reply for an array is ID.FIRST-LAST:STEP.
    answer=$(patiently qsub "$@" -t "$array_tasks" "$job/batch") || return
    printf '%s\n' "$answer" | sed 's/^\([0-9][0-9]*\)\.[0-9]*-[0-9]*:[0-9]*$/\1/'
}

scheduler_term() { :; }

# scheduler_warning SIGNAL: check whether SIGNAL announces the end of the job, and set $warning
# to the reason. The accounting does not mention soft limits. It also misses a qdel if the
# script ends after the warning.
scheduler_warning() {
    case $1 in USR1 | USR2) check_directives || : ;; esac
    case $1 in
        USR2) is_requested -notify && warning='cut SIGUSR2 announced SIGKILL (-notify)' ;;
        USR1) has_exceeded_s_rt && warning='limit the soft time limit was exceeded (s_rt)' ;;
        XCPU) warning='limit a soft limit was exceeded (SIGXCPU)' ;;
        *) return 1 ;;
    esac
}

# has_exceeded_s_rt: check whether the job has run for the time in its request `-l s_rt`. With
# -notify, SIGUSR1 also announces a suspension.
has_exceeded_s_rt() {
    case $requested_options in *s_rt=*) ;; *) return 1 ;; esac
    rest=${requested_options##*s_rt=} limit=0
    rest=${rest%%[!0-9:]*}:
    while [ -n "$rest" ]; do
        # Strip a leading zero: the number would count as octal.
        part=${rest%%:*} rest=${rest#*:}
        part=${part#0}
        limit=$((limit * 60 + ${part:-0}))
    done
    [ $(($(date +%s) - began)) -ge "$limit" ]
}

scheduler_cancel() {
    patiently qdel "$1"
}

# scheduler_node_down ID HOST: see lib/scheduler.sh. qhost prints `-` as the load of a host that
# has not reported for some minutes.
scheduler_node_down() {
    [ -n "$2" ] && patiently qhost -h "$2" 2>/dev/null </dev/null | LC_ALL=C awk '
        $1 == "HOSTNAME" { for (i = 1; i <= NF; i++) if ($i ~ /^N?LOAD$/) column = i; next }
        column && $1 != "global" && $column == "-" { is_down = 1 }
        END { exit !is_down }'
}

scheduler_report() {
    print_report 'qstat -j' patiently qstat -j "${1%%.*}" || print_report 'qacct -j' run_qacct "$1"
}
