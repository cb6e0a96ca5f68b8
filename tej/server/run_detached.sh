# run_detached.sh QUEUE ID HERE RUNTIME [ID]...: wrappers of jobs under the default runtime. A
# wrapper runs the script of one job, and records its start and exit status. It also writes the
# heartbeat, a file with the current time, which shows that the job is alive. The wrapper runs
# outside the job's session, so that signals to the job do not end it. HERE is the directory of
# the installed scripts.
#
# The wrappers of several jobs are subshells of this shell, which sources the library only once.
# With `--heartbeat PID START`, only writes the heartbeat of job ID, whose wrapper is the
# process PID (resume_heartbeat).

queue=$1 id=$2 here=$3 runtime=$4
shift 4
. "$here/lib/load.sh"
. "$here/lib/run_script.sh"
. "$here/lib/direct_start.sh"
. "$here/lib/group_heartbeat.sh"
. "$here/lib/time_limit.sh"
trap '' HUP
find_end_signal

no_wrapper='its wrapper could not be run: can this account start more processes (ulimit -u)?'

# search_failed: called if the processes cannot be listed. Then the job counts as alive.
search_failed() { :; }

# report_failure: EXIT trap: mark the job as lost if its script has not started. Uses only
# builtins, because most shells exit when a fork fails.
report_failure() {
    [ -s "$job/started" ] || [ -s "$job/finished" ] || [ -e "$job/lost" ] ||
        printf '%s\n' "${now:-0} $no_wrapper" >"$job/lost"
}

# before_heartbeat: set $span to the seconds until the next heartbeat, or until the time limit
# if it is earlier. The time limit is measured in uptime, because a change of the clock must not
# end a job.
before_heartbeat() {
    span=$heartbeat_interval
    [ -n "$r_walltime" ] || return 0
    get_uptime
    rest=$((began + r_walltime - uptime))
    [ "$rest" -ge "$span" ] || span=$((rest > 0 ? rest : 1))
}

# after_heartbeat: enforce the time limit. If a client requested a kill, and no live client on
# this host carries it out, kill the job.
after_heartbeat() {
    [ ! -e "$job/kill" ] || [ -s "$job/finished" ] || is_killed_here || apply_kill
    [ -z "$r_walltime" ] || enforce_time_limit
}

# apply_kill: stop all processes of the job, also those that outlive its script.
apply_kill() {
    read_facts
    [ -z "$grace" ] || stop_processes "$grace"
}

# after_wrapper: called by the heartbeat process after the wrapper was killed. Returns 0 if the
# job still has processes, so that the heartbeat continues: other hosts see only the heartbeat.
# Otherwise derives the state of the job and returns 1.
after_wrapper() {
    read_facts
    [ ! -s "$job/finished" ] && [ -n "$started" ] && has_processes && return 0
    now=''
    derive_state
    run_on_end_once
    tend_queue
    return 1
}

# run_job: run the job's script. Sets $end to `exit N` or `signal N`, or to '' if the exit
# status is unknown.
run_job() {
    [ -n "$is_prepared" ] || {
        find_session_program
        check_job_list
    }
    if [ -n "$jobs_reports_signals" ] && can_start_directly; then
        reserve_list
        # shellcheck disable=SC2086 # split into words
        start_directly $script_call &
        await_background
        return
    fi
    prepare_run
    if [ -n "$jobs_reports_signals" ]; then
        run_in_background
    else
        run_in_awk
        [ -n "$end" ] || [ -s "$job/started" ] || run_in_shell
    fi
}

# begin_wrapper: create the file `claim` of $job, then write its native id (the pid of this
# wrapper) and its first heartbeat. Exits if another process has created `claim`, or if a file
# cannot be written.
begin_wrapper() {
    enter_job || exit 0
    take_claim || exit 0
    spec=''
    read_clock
    me
    own_native="pid $who"
    is_wrapper=1
    # If $clock_date is set, read_clock has just read the uptime.
    [ -n "$clock_date" ] || get_uptime
    began=${uptime%%.*}
    trap report_failure EXIT
    # Clients check the heartbeat of a job as soon as `native_id` exists. Therefore the
    # heartbeat is written first.
    put_heartbeat
    if ! put_once native_id "$own_native" || ! reserve; then
        # On a full disk, this frees space for the file `lost`.
        rm -f "$job/native_id" "$job/heartbeat" "$job/.finished" "$job/.kill"
        exit 1
    fi
    [ -n "$is_prepared" ] || note_orphans
    read_resources
    [ -n "$is_prepared" ] && [ -z "$r_walltime" ] || start_heartbeat
}

# run_wrapper: run the job $id in this shell, and record its end.
run_wrapper() {
    begin_wrapper
    unready=''
    if [ -e "$job/kill" ]; then
        end='none 0'
    elif take_inputs; then
        run_job
    else
        end='none 0' unready=1
    fi
    trap - EXIT
    [ -z "$end" ] || can_read_start || await_directory
    stop_heartbeat
    now=''
    # If the exit status is unknown, clients derive the state from the job's processes.
    [ -n "$end" ] || exit 1
    [ -n "$unready" ] || ! has_not_started || {
        tend_queue
        exit 1
    }
    record_end
    [ ! -f "$job/on_end" ] || {
        read_facts
        run_on_end_once
    }
    runtime_tend
    start_jobs_after "$id"
    wait
}

# can_read_start: check whether the directory of the job can be read, by reading `started`.
# $spec must have been read before.
can_read_start() {
    [ -n "$spec" ] && [ -s "$job/started" ] && read -r started <"$job/started"
}

# record_end: write the file `finished`.
record_end() {
    # Count the processes that the script left running.
    left=0
    if [ -s "$job/started" ]; then
        read -r started where j_pid j_start <"$job/started"
        [ -n "$spec" ] || read_spec
        ! leaves_processes || count_processes
        left=${left:-0}
    fi
    set_end_cause
    read_clock
    ended=$now
    # On a full disk, even a rename can fail. The exit status must not be lost, so repeat until
    # `finished` is written.
    copy_facts
    until put_end "$ended $end $end_cause $left" "$copy"; do
        await_directory
        write_heartbeat
        sleep 5
        [ -n "$ended" ] || {
            read_clock
            ended=$now
        }
    done
}

# copy_facts: set $copy to a second line for `finished`, `TOKEN SUBMITTED STARTED HOST NATIVE_ID
# end`. Because of this line, ended_jobs.sh opens fewer files when it lists many jobs. Sets
# $copy to '' if the job has not started, or if its record also depends on other files.
copy_facts() {
    copy=''
    [ -s "$job/started" ] && [ -f "$job/submitted" ] || return 0
    [ ! -e "$job/ignored" ] && [ ! -e "$job/changed" ] && [ ! -e "$job/on_end" ] &&
        [ ! -e "$queue/attempts/$id/last" ] || return 0
    read -r submitted _ <"$job/submitted"
    is_number "$submitted" && is_number "$started" && [ -n "$where" ] || return 0
    copy=${spec#*token=}
    copy="${copy%% *} $submitted $started $where $own_native end"
}

# report_unstarted: EXIT trap of the shell that starts several wrappers. If a fork has failed,
# marks the jobs in $unstarted as lost, because they have no wrapper.
report_unstarted() {
    for id in $unstarted; do
        job=$jobs/$id
        [ ! -d "$job" ] || ! take_claim || report_failure
    done
}

# run_wrappers ID...: run the wrapper of each job in a subshell.
run_wrappers() {
    unstarted=$*
    trap report_unstarted EXIT
    job=$jobs/$1 wrappers=''
    prepare_wrappers
    note_orphans
    # The heartbeat process starts first, so that each job has a heartbeat even if this shell is
    # killed.
    keep_heartbeats "$@" &
    heart=$!
    for id in "$@"; do
        (
            trap - EXIT
            heart=''
            enter_subshell
            run_wrapper
        ) &
        wrappers="$wrappers $!"
        unstarted=${unstarted#"$id"} unstarted=${unstarted# }
    done
    # If this shell exited, its wrappers would become orphans, and note_orphans would not know
    # them.
    # shellcheck disable=SC2086 # split into pids
    wait $wrappers
    stop_heartbeat
}

case ${1-} in
    '') run_wrapper ;;
    --heartbeat) replace_heartbeat "$2" "$3" ;;
    *) run_wrappers "$id" "$@" ;;
esac
