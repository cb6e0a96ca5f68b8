# Grid Engine runtime: SGE, Son of Grid Engine, UGE and compatible schedulers.
# shellcheck shell=sh
#
# Grid Engine kills a job with SIGKILL, without a warning signal (qdel(1)). Therefore
# the job's wrapper polls for the fact `kill`. A job that has ended is listed only in
# the accounting file (qacct(1)), and only after a few seconds.

# shellcheck source=../../lib/scheduler.sh
. "$here/lib/scheduler.sh"

directive_marks='#$'
scheduler='Grid Engine'
# shellcheck disable=SC2034 # used by run_in_scheduler.sh
has_no_term=1
# Grid Engine puts a job that exits with 99 back into the queue, and never removes a job that
# exits with 100 from the queue (state Eqw), even with `-r n`. Therefore the wrapper of a job
# exits with 1 if the exit code of the script is one of these codes.
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

# scheduler_own_id: set $own_id to ID, or to ID.INDEX in a task of an array that tej has
# submitted.
scheduler_own_id() {
    own_id=${JOB_ID-}
    [ -z "${array-}" ] || own_id=$own_id.$SGE_TASK_ID
}

# scheduler_array_limit: set $array_limit from the site's max_aj_tasks. The value 0 means
# that the number of tasks is not limited.
scheduler_array_limit() {
    array_limit=$(patiently qconf -sconf 2>/dev/null </dev/null | awk '$1 == "max_aj_tasks" { print $2 }')
    [ "$array_limit" != 0 ] || array_limit=75000
    is_number "$array_limit"
}

# scheduler_fits_array: check whether tej may select the name of $job, because scheduler_list
# recognizes the arrays that tej has submitted by their names.
scheduler_fits_array() { ! has_own_name; }

# has_own_name: check whether the user has selected the name of $job.
has_own_name() { [ -n "$r_name" ] || is_requested -N; }

# scheduler_options: refuse requests for nodes, CPUs and GPUs, because each Grid Engine
# site uses different names for these resources.
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

# scheduler_submit NAME: submit the batch script, or the array with the indexes
# $array_tasks. Unless the user has selected a name, the name is NAME, because tej can find
# a job after a lost reply only by its name. `-b n -sync n` overrides ~/.sge_request and
# the site's sge_request: qsub must copy the script, and must not wait for the job. qsub reads
# .sge_request of the working directory, too. In $HOME, qsub would read the same file twice,
# and one `-sync n` does not override two `-sync y`.
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

# scheduler_list: print a line for each job of the user, and for each task of an array that
# tej has submitted. The XML output of qstat is used, because the table of qstat truncates job names. The
# XML output has one element per line. `-s prs -q *` overrides the options of the site and of
# the user in sge_qstat and ~/.sge_qstat, with which qstat may omit some of the jobs.
scheduler_list() {
    patiently qstat -xml -s prs -q '*' -u "$(id -un)" >"$fresh.said" && grep -q '</job_info>' "$fresh.said" || {
        rm -f "$fresh.said"
        return 1
    }
    list_errors >"$fresh.errors"
    awk -F'|' -v errors="$fresh.errors" '
        function text() {
            sub(/^[^>]*>/, "")
            sub(/<.*/, "")
            return $0
        }
        # The waiting tasks of an array are one entry, with their indexes as 1-4:1,7.
        function print_tasks(list,    ranges, count, i, range, index_now) {
            count = split(list, ranges, ",")
            for (i = 1; i <= count; i++) {
                split(ranges[i] "-" ranges[i] "-", range, "-")
                split(range[2] ":1", last, ":")
                for (index_now = range[1] + 0; index_now <= last[1] + 0; index_now += last[2])
                    print id "." index_now "|" state "|" name "|" words
            }
        }
        BEGIN { while ((getline line <errors) > 0) { split(line, part, "|"); why[part[1]] = part[2] } }
        /<job_list/ { tasks = "" }
        /<JB_job_number>/ { id = text() }
        /<JB_name>/ { name = text() }
        /<state>/ { letters = text() }
        /<tasks>/ { tasks = text() }
        /<\/job_list>/ {
            words = ""
            if (letters ~ /h/) words = "held"
            if (letters ~ /E/)
                words = "in error" (why[id] == "" ? "" : " (" why[id] ")") ": does not start before `qmod -cj " id "`"
            state = "running"
            # Suspended by a user or the queue (s, S), or by a load threshold (T).
            if (letters ~ /[sST]/) state = "stopped"
            if (letters ~ /w|^Rq/) state = "queued"
            if (tasks != "" && name ~ /^tej_.*_a$/) print_tasks(tasks)
            else print id "|" state "|" name "|" words
        }' "$fresh.said" && rm -f "$fresh.said" "$fresh.errors"
}

# list_errors: print ID|REASON for each job that Grid Engine does not start because of an
# error, such as a working directory that does not exist (state Eqw).
list_errors() {
    failed=$(awk '
        /<JB_job_number>/ { gsub(/[^0-9]/, ""); id = $0 }
        /<state>.*E.*<\/state>/ { print id }' "$fresh.said" | paste -sd , -)
    [ -z "$failed" ] || patiently qstat -j "$failed" 2>/dev/null | awk '
        $1 == "job_number:" { id = $2 }
        /^error reason/ {
            # Remove the date, and the user and the process that reported the error.
            sub(/^[^:]*:[ \t]*/, "")
            sub(/^[^][]*\[[0-9:]*\]: */, "")
            sub(/^error: */, "")
            gsub(/[|[:cntrl:]]/, " ")
            print id "|" $0
        }'
}

scheduler_term() { :; }

# scheduler_warning SIGNAL: check whether Grid Engine announces the end of the job by SIGNAL.
# Sets $warning to the kind of the end and the reason. The accounting does not mention a soft
# limit, and does not mention qdel if the script ends after the announcement.
scheduler_warning() {
    case $1 in USR1 | USR2) check_directives || : ;; esac
    case $1 in
        USR2) is_requested -notify && warning='cut SIGUSR2 announced SIGKILL (-notify)' ;;
        USR1) has_exceeded_s_rt && warning='limit the soft time limit was exceeded (s_rt)' ;;
        XCPU) warning='limit a soft limit was exceeded (SIGXCPU)' ;;
        *) return 1 ;;
    esac
}

# has_exceeded_s_rt: check whether the job has run for the time in its request `-l s_rt`.
# With -notify, SIGUSR1 also announces a suspension.
has_exceeded_s_rt() {
    case $requested_options in *s_rt=*) ;; *) return 1 ;; esac
    rest=${requested_options##*s_rt=} limit=0
    rest=${rest%%[!0-9:]*}:
    while [ -n "$rest" ]; do
        # A number with a leading zero would count as octal.
        part=${rest%%:*} rest=${rest#*:}
        part=${part#0}
        limit=$((limit * 60 + ${part:-0}))
    done
    [ $(($(date +%s) - began)) -ge "$limit" ]
}

scheduler_cancel() {
    patiently qdel "$1"
}

# run_qacct ID: print the accounting entries of a job, or of a task of an array (ID.INDEX).
run_qacct() {
    case $1 in
        *.*) patiently qacct -j "${1%%.*}" -t "${1#*.}" ;;
        *) patiently qacct -j "$1" ;;
    esac
}

# scheduler_history ID: print STATE|WORDS from the accounting entry of the job. qacct
# prints an entry for every job that ever had this id. The last entry of this user and
# with the name of this job is used. If the user has chosen the name, the name does not
# distinguish this job from earlier jobs, and is not compared.
scheduler_history() {
    command -v qacct >/dev/null 2>&1 || return 1
    # The exit status is 124 if qacct, which reads the whole accounting file, is too slow.
    said=$(run_qacct "$1" 2>/dev/null) || return
    own_name=$nickname
    read_resources && check_directives && ! has_own_name || own_name=''
    code=$(printf '%s\n' "$said" | awk -v me="$(id -un)" -v own="$own_name" '
        $1 == "owner" { owner = $2 }
        $1 == "jobname" { name = $2 }
        $1 == "failed" && (owner == "" || owner == me) && (own == "" || name == own) { code = $2 }
        /^===/ { owner = name = "" }
        END { print code }')
    case $code in
        '' | 0) return 1 ;;
        37) printf '%s\n' "limit|a limit was exceeded (qacct: failed 37)" ;;
        # Code 100: the job was killed while it ran, and the cause was not a limit.
        100) printf '%s\n' "cancelled|it was deleted or killed" ;;
        *) printf '%s\n' "over|it failed with code $code, see qacct -j ${1%%.*}" ;;
    esac
}

scheduler_report() {
    print_report 'qstat -j' patiently qstat -j "${1%%.*}" || print_report 'qacct -j' run_qacct "$1"
}
