# Submits several jobs to a scheduler as one job array, which is faster than separate
# submissions. To the user, each task of the array is a job of its own. Only jobs with the same
# resources and directives share an array. If the scheduler refuses the array, each job is
# submitted alone.
# shellcheck shell=sh
#
# A runtime that supports job arrays redefines these functions and variables:
#
#   scheduler_array_limit     set $array_limit to the maximum number of tasks of an array;
#                             return 1 if the limit is unknown or job arrays do not exist
#   scheduler_fits_array      return 1 if $job cannot be a task of an array
#   first_task                index of the first task
#   task_mark                 character between the array's id and the index in the id of a
#                             task
#   task_variable             name of the variable that contains the index in a task
#   task_pattern              placeholder of the index in the path of the log file
#
# Each job's file `submitting` contains the name of the array and the index of the job. If this
# client dies before the scheduler replies, other clients find the array by its name. So no job
# is submitted twice or lost.

scheduler_array_limit() { return 1; }
scheduler_fits_array() { :; }
first_task=0 task_mark=_ task_variable='' task_pattern=''

# is_array_refused: check whether the scheduler has refused the array of $job.
is_array_refused() {
    case $array_refused in *" $job_token "*) ;; *) return 1 ;; esac
}

array_refused='' # tokens of the jobs whose array was refused, each between spaces
array_tasks=''   # indexes of the array that is being submitted, or ''

# runtime_start_together ID TOKEN [ID TOKEN]...: submit those jobs that can share arrays. Then
# the caller calls runtime_start for all jobs, and runtime_start submits the rest.
runtime_start_together() {
    [ ! -e "$queue/max_running" ] && scheduler_array_limit && [ "$array_limit" -ge 2 ] || return 0
    groups=0
    while [ $# -gt 0 ]; do
        id=$1 job=$jobs/$1
        ! fits_array "$2" || add_to_group "$2"
        shift 2
    done
    group=0
    while [ "$group" -lt "$groups" ] && [ -n "$array_limit" ]; do
        group=$((group + 1))
        submit_group "$group"
    done
}

# fits_array TOKEN: check whether $job can be a task of an array. Sets $options and $directives.
fits_array() {
    has_token "$1" && [ ! -s "$job/finished" ] && [ ! -s "$job/native_id" ] || return 1
    [ ! -e "$job/submitting" ] && [ ! -e "$job/dependencies" ] || return 1
    runtime_check && ! names_cluster && scheduler_fits_array
}

# add_to_group TOKEN: add $job to the group of the jobs with the same options and directives.
# Group N has the variables group_options_N, group_jobs_N (ID TOKEN ID TOKEN ...) and
# group_name_N (the common beginning of the names of its jobs).
add_to_group() {
    equal="$options
$directives
$replaced $replaced_list"
    group=0
    while [ "$group" -lt "$groups" ]; do
        group=$((group + 1))
        eval "found=\$group_options_$group"
        [ "$found" != "$equal" ] || {
            eval "group_jobs_$group=\"\$group_jobs_$group \$id \$1\" found=\$group_name_$group"
            until [ "$found" = "${default_name%"${default_name#"$found"}"}" ]; do found=${found%?}; done
            eval "group_name_$group=\$found"
            return
        }
    done
    groups=$((groups + 1))
    eval "group_options_$groups=\$equal group_jobs_$groups=\"\$id \$1\" group_name_$groups=\$default_name"
}

# submit_group NUMBER: submit the jobs of the group in arrays of at most $array_limit tasks.
submit_group() {
    eval "equal=\$group_jobs_$1 common_name=\$group_name_$1"
    set -f
    # shellcheck disable=SC2086 # split into ids and tokens
    set -- $equal
    set +f
    while [ $# -gt 2 ] && [ -n "$array_limit" ]; do
        chunk='' tasks=0
        while [ $# -gt 0 ] && [ "$tasks" -lt "$array_limit" ]; do
            chunk="$chunk $1 $2" tasks=$((tasks + 1))
            shift 2
        done
        # If the scheduler refuses one array, do not try further arrays.
        submit_array "$chunk" || array_limit=''
    done
}

# submit_array JOBS: submit JOBS ("ID TOKEN ID TOKEN ...") as one array. Returns 1 if the
# scheduler has refused the array.
submit_array() {
    set -f
    # shellcheck disable=SC2086 # split into ids and tokens
    set -- $1
    set +f
    id=$1 job=$jobs/$1 spec=''
    set_name
    array=${lookup_name}_a tasks=0 table='' array_jobs=''
    me
    while [ $# -gt 0 ]; do
        id=$1 job=$jobs/$1 spec='' now=''
        get_time
        # A job with the same id and another token is the job of another client.
        if runtime_check && has_token "$2" && note_requeue &&
            put submitting "$now $array $who $((first_task + tasks))" && put queued "$now"; then
            quote "$id"
            table="$table    $((first_task + tasks))) set -- $quoted $2 ;;
"
            array_jobs="$array_jobs $id $2" tasks=$((tasks + 1))
        else
            array_refused="$array_refused $2 "
            # Remove the file, because the next job gets the index that the file contains.
            ! has_token "$2" || rm -f "$job/submitting"
        fi
        shift 2
    done
    set -f
    # shellcheck disable=SC2086 # split into ids and tokens
    set -- $array_jobs
    set +f
    submit_array_to_scheduler "$@"
}

# submit_array_to_scheduler ID TOKEN [ID TOKEN]...: submit the array, and write the file
# native_id of each job. Returns 1 if the scheduler has certainly not accepted the array.
submit_array_to_scheduler() {
    [ $# != 0 ] || return 1
    id=$1 job=$jobs/$1 index=$first_task lookup_name=$array native=''
    log_array
    [ -z "$default_name" ] || default_name=${common_name:-$array}
    array_tasks=$first_task-$((first_task + tasks - 1))
    if ! write_array; then
        array_id=refused
    elif submit_patiently is_overloaded; then
        array_id=$nid
    elif search_submitted; then
        array_id=${native#* }
    else
        array_id=refused
    fi
    array_tasks=''
    rm -f "$job/.submit_errors"
    case $array_id in
        refused)
            while [ $# -gt 0 ]; do
                array_refused="$array_refused $2 "
                shift 2
            done
            return 1
            ;;
        # The reply to the submission was lost, and the scheduler does not answer now. Later
        # requests search for the submitted array by its name.
        '') return 0 ;;
    esac
    index=$first_task
    while [ $# -gt 0 ]; do
        id=$1 job=$jobs/$1 job_token=$2
        set_task_id "$array_id"
        adopt_reply || :
        index=$((index + 1))
        shift 2
    done
}

# set_task_id ID: set $nid to the id of the task $index. ID is the id of the array or of one of
# its tasks, and may end in `;CLUSTER`.
set_task_id() {
    nid=${1%%[!0-9]*}$task_mark$index
    case $1 in *\;*) nid="$nid;${1#*;}" ;; esac
}

# log_array: set $log to the path of the tasks' log files. The scheduler replaces $task_pattern
# with the index. The job's wrapper moves the file into the job's directory.
log_array() {
    log=$queue/scheduler/$array.$task_pattern.log
    case $queue in *[!A-Za-zIi0-9_./,+=@-]*) log=/dev/null ;; esac
    mkdir "$queue/scheduler" 2>/dev/null
    return 0
}

# write_array: write the batch script of the array, which selects the job by its index.
write_array() {
    # shellcheck disable=SC2016 # expanded by the batch script
    begin_batch &&
        printf '%s\n' "case \$$task_variable in" "$table    *) exit 1 ;;" 'esac' >>"$job/batch" &&
        print_exec '"$1"' '"$2"' '' "$array" "${log%".$task_pattern.log"}" >>"$job/batch"
}
