# run_in_scheduler.sh QUEUE ID HERE RUNTIME TOKEN [BY_CLUSTER [ARRAY LOG]]: wrapper of a job
# under a scheduler ("the runner"). It runs the job's script, forwards signals, and records the
# exit status. It also writes the heartbeat, a file with the current time, which shows that the
# job is alive. The runner and the script stay in the scheduler's session, because processes
# outside it would survive `qdel`.
#
# HERE is the directory of the installed scripts. TOKEN identifies the submission. BY_CLUSTER is
# 1 if the id of the job at the scheduler contains the cluster. ARRAY and LOG are the name and
# the log file of the job array (lib/scheduler_array.sh).
# shellcheck shell=sh

. "$3/lib/user_environment.sh"
hide_environment
# shellcheck disable=SC2034 # by_cluster is used by scheduler_own_id
queue=$1 id=$2 here=$3 runtime=$4 token=$5 by_cluster=${6-} array=${7-} array_log=${8-}
marker=$token
. "$here/lib/load.sh"
. "$here/lib/run_script.sh"
. "$here/lib/limit_kill.sh"
unset_job_identity
enter_readable_job
is_in_scheduler=1
own_id=''
scheduler_own_id
own_native="$runtime $own_id"
me

# A scheduler or its user may send these signals. The runner must survive all of them.
signals='HUP INT QUIT USR1 USR2 TERM XCPU'
# ksh93 sends SIGCONT together with every other signal. The SIGALRM of watch_session would
# continue a stopped script.
case ${KSH_VERSION-} in *' 93'*) ;; *) signals="$signals CONT" ;; esac

# search_failed: called if the processes cannot be listed. The runner must still record the end.
search_failed() { :; }

# await_spec: wait until the file `spec` of the job can be read. Exits with 0 if the job has
# another token, because a newer submission uses the same id. Exits with 1 if `spec` is damaged
# or was removed, so that the scheduler does not report a success.
await_spec() {
    until has_token "$token"; do
        [ -z "$spec" ] || exit 0
        { cat "$job/spec" >/dev/null 2>&1 || is_absent "$job/spec"; } && ! has_token "$token" && exit 1
        sleep 5
    done
}

# begin_second_run: called if the scheduler has started the job again. Waits until the first run
# has certainly ended (may_run_again), because it may still be active on a node that the
# scheduler cannot reach.
begin_second_run() {
    unset first_heartbeat
    until may_run_again; do
        sleep "$heartbeat_interval"
        case $heard in *TERM*) exit 1 ;; esac
    done
    again=1
    rm -f "$job/finished" "$job/started" "$job/missed" "$job/term" "$job/rerun" "$job/.end"
}

# may_run_again: check whether the first run has recorded its end, or has been silent for long
# enough. Exits if the user did not allow a second run (`requeue`), if the first run is alive,
# or if its end also ended the job.
may_run_again() {
    read_facts
    [ "${native%%;*}" = "$runtime ${own_id%%;*}" ] && [ ! -e "$job/kill" ] || exit 0
    if [ -s "$job/finished" ]; then
        [ -e "$job/requeue" ] && [ "$end_cause" = ask ] && [ ! -e "$job/reason" ] || exit 0
        return 0
    fi
    put_first rerun "$(date +%s) ${who%% *}"
    read_heartbeat
    [ -e "$job/requeue" ] && [ "$last_heartbeat" = "${first_heartbeat-$last_heartbeat}" ] || exit 0
    # The scheduler has not reported the end of the first run.
    # shellcheck disable=SC2034 # used by has_fallen_silent
    first_heartbeat=$last_heartbeat now='' nid=$own_id listed_state='' reason='' node_queries=0
    has_fallen_silent
}

# note_native_id: write the file `native_id`, the job's id at the scheduler. An existing file
# with the same id is not changed, because it may also contain the cluster.
note_native_id() {
    native=''
    [ ! -s "$job/native_id" ] || IFS= read -r native <"$job/native_id"
    case $native in
        "$own_native" | "$own_native;"*) ;;
        *) put native_id "$own_native" ;;
    esac
}

# set_submit_directory: set $PBS_O_WORKDIR, $SLURM_SUBMIT_DIR and $SGE_O_WORKDIR to the
# directory of the job's files. Many scripts begin with `cd $PBS_O_WORKDIR`.
set_submit_directory() {
    stage=$queue/jobs/$id/stage
    [ "$runtime" != pbs ] || PBS_O_WORKDIR=$stage
    for variable in PBS_O_WORKDIR SLURM_SUBMIT_DIR SGE_O_WORKDIR; do
        eval "[ -z \"\${$variable+set}\" ] || export $variable=\"\$stage\""
    done
}

# leave_array: move the scheduler's log file into the job's directory, and hide the job array
# from the script. The results of the script must not depend on the jobs that were submitted
# with it.
leave_array() {
    mv -f "$array_log.${own_id##*[_.]}.log" "$job/$array.log" 2>/dev/null
    unset SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_COUNT SLURM_ARRAY_TASK_MAX \
        SLURM_ARRAY_TASK_MIN SLURM_ARRAY_TASK_STEP
    # Grid Engine sets these variables to `undefined` in a job without an array.
    for variable in SGE_TASK_ID SGE_TASK_FIRST SGE_TASK_LAST SGE_TASK_STEPSIZE; do
        eval "[ -z \"\${$variable+set}\" ] || export $variable=undefined"
    done
}

# watch_session: write the heartbeat, in a background process. This process also creates the
# file .heard.SIGNAL when the whole session receives a signal. The script has then received the
# signal itself, and the runner must not forward it.
watch_session() {
    begin_sleeps
    for signal in $signals; do
        # shellcheck disable=SC2064 # expand the name of the signal now
        trap "note_heard $signal" "$signal"
    done
    trap 'end_sleep; exit 0' ALRM
    until is_gone $$ "$runner_start"; do
        write_heartbeat
        return_to_job
        sleep_until_signal "$heartbeat_interval"
        # A signal that arrives just before the `wait` of the runner is handled only when `wait`
        # returns. SIGALRM makes `wait` return.
        kill -s ALRM $$ 2>/dev/null
    done
}

# note_heard SIGNAL: create the file .heard.SIGNAL, if possible. Uses printf: on a full disk, the
# redirection of the special builtin `:` would end the shell.
note_heard() {
    { printf '' >"$job/.heard.$1"; } 2>/dev/null || :
}

# forward_signal SIGNAL: forward SIGNAL to the script, unless the whole session received it.
# Slurm sends the signal of `--signal=B:USR1@60` only to the runner. Sleeps first, so that
# watch_session can record the signal.
forward_signal() {
    nap
    if [ -e "$job/.heard.$1" ]; then
        rm -f "$job/.heard.$1"
        return
    fi
    wait_for started 5 || return 0
    read -r _ _ first_pid first_start _ <"$job/started"
    ! is_alive "$first_pid" "$first_start" || kill -s "$1" "$first_pid" 2>/dev/null
}

# handle_signals: handle the signals in $heard, which the runner has received.
handle_signals() {
    while [ -n "$heard" ]; do
        pending=$heard heard=''
        for signal in $pending; do
            [ "$signal" != TERM ] || handle_sigterm
            ! scheduler_warning "$signal" || note_warning
            forward_signal "$signal"
        done
    done
}

# note_warning: write the time and the reason ($warning, set by scheduler_warning) to the file
# `term`. Called after the scheduler has announced the end of the job with a signal other than
# SIGTERM.
note_warning() {
    [ -n "$sigterm_time" ] || sigterm_time=$(date +%s)
    [ -e "$job/kill" ] || put term "$sigterm_time $warning" 2>/dev/null
}

# handle_sigterm: record the time of a SIGTERM, and send SIGTERM to the processes of the job
# that have left the session, because the scheduler does not signal these processes.
handle_sigterm() {
    [ -n "$sigterm_time" ] || sigterm_time=$(date +%s)
    [ -e "$job/kill" ] || [ -e "$job/term" ] || put term "$sigterm_time" 2>/dev/null
    find_job_processes
    get_start $$
    ours=$session strays=''
    for pid in $pids; do
        get_start "$pid"
        [ "$session" = "$ours" ] || strays="$strays $pid"
    done
    # shellcheck disable=SC2086 # split into pids
    [ -z "$proc" ] || [ -z "$strays" ] || kill -s TERM $strays 2>/dev/null
}

# end_after_grace: send SIGKILL after the grace period of `tej kill`.
end_after_grace() {
    nap
    read_facts
    [ -n "$grace" ] && [ $(($(date +%s) - sigterm_time)) -ge "$grace" ] || return 0
    find_job_processes
    signal_processes KILL
}

# end_leftovers: end the processes that the script left running on this node, because some
# schedulers do not. Sets $left to the number of processes that remain. After a SIGTERM, waits
# for the rest of the grace period. Its length is 5 seconds, unless `tej kill` has set another
# length.
end_leftovers() {
    left=''
    [ -s "$job/started" ] || return 0
    read_facts
    if [ -n "$sigterm_time" ]; then
        rest=$((sigterm_time + ${grace:-5} - $(date +%s)))
        # A process may fork between the search and its SIGKILL. Therefore SIGKILL is repeated.
        wait_for_processes $((rest > 0 ? rest : 0)) || wait_for_processes 10 KILL
    else
        find_job_processes
        [ -z "$pids" ] || stop_processes 2
    fi
    count_pids
}

# watch_kill_fact: background process for schedulers that cannot send SIGTERM. Waits for the
# file `kill`, then sends SIGTERM to all processes in the session.
watch_kill_fact() {
    until [ -e "$job/kill" ]; do
        ! is_gone $$ "$runner_start" || return
        sleep 2
    done
    find_job_processes
    get_start $$
    ours=$session session_pids=''
    for pid in $pids; do
        get_start "$pid"
        [ "$session" != "$ours" ] || session_pids="$session_pids $pid"
    done
    note_heard TERM
    # shellcheck disable=SC2086 # split into pids
    kill -s TERM $session_pids $$ 2>/dev/null
}

# run_job: run the job's script, and wait until its exit status is known. Sets $end to `exit N`
# or `signal N`.
run_job() {
    tej_session=''
    prepare_run
    # Ignore the signals until the handlers are installed.
    # shellcheck disable=SC2086 # split into signal names
    trap '' $signals
    {
        for signal in $signals; do trap : "$signal"; done
        run_in_shell
        # The disk may be full now. The space of .end was allocated before, and `1<>` does not
        # truncate the file.
        until { printf '%s\n' "$end" 1<>"$job/.end"; } 2>/dev/null; do
            await_directory
            sleep 5
        done
    } &
    runner=$!
    # A later process may get the same pid. The start time distinguishes it from this runner.
    get_start $$
    runner_start=${start:--}
    watch_session >/dev/null 2>&1 &
    watcher=$!
    for signal in $signals; do
        # shellcheck disable=SC2064 # expand the name of the signal now
        trap "heard=\"\$heard $signal\"" "$signal"
    done
    trap : ALRM
    [ -z "${has_no_term-}" ] || {
        watch_kill_fact &
        listener=$!
    }
    until script_has_ended; do
        if [ -n "$sigterm_time" ] && [ -e "$job/kill" ]; then end_after_grace; else wait "$runner"; fi
        handle_signals
    done
    # After a SIGTERM to the whole session, the script may end before the runner handles the
    # signal.
    [ -n "$sigterm_time" ] || nap
    case $heard in *TERM*) handle_signals ;; esac
    [ -z "$listener" ] || kill "$listener" 2>/dev/null
    kill -s ALRM "$watcher" 2>/dev/null
}

# was_cut_off: check whether the scheduler may have ended the script. If so, `finished` contains
# `ask`, and clients ask the scheduler for the cause.
was_cut_off() {
    [ -z "$sigterm_time" ] || return 0
    case $end in 'signal 9' | 'signal 15' | 'exit 137' | 'exit 143') return 0 ;; esac
    [ -n "$r_walltime" ] && [ $(($(date +%s) - began)) -ge "$r_walltime" ]
}

# start_next_jobs: start the jobs that waited for the end of this job.
start_next_jobs() (
    # shellcheck disable=SC2034 # used by scheduler.sh
    in_scheduler_job=1
    start_jobs_after "$id"
)

# run_own_on_end: run the user's command of `--on-end`, and wait for it. If only the scheduler
# knows the cause of the end, the command gets the state `unknown`: the scheduler answers only
# after this runner has exited. If the job may run again, the command is not run now.
run_own_on_end() {
    read_facts
    [ "$state" != '?' ] || [ -e "$job/requeue" ] || state=unknown
    if [ "$state" = unknown ]; then start_on_end; else run_on_end_once; fi
    await_on_end
}

await_directory
await_spec
[ -z "$array" ] || leave_array
heard='' sigterm_time='' listener=''
for signal in $signals; do
    # shellcheck disable=SC2064 # expand the name of the signal now
    trap "heard=\"\$heard $signal\"" "$signal"
done
take_claim || begin_second_run
note_native_id && reserve && printf '%-20s\n' '' >"$job/.end" || exit 1

end='' unready='' began=$(date +%s)
write_heartbeat
read_resources
if [ -e "$job/kill" ]; then
    end='none 0'
elif take_inputs; then
    set_submit_directory
    run_job
    await_directory
    [ -n "$end" ] || read_outcome || exit 1
    note_memory_kill
    note_cpu_kill
else
    end='none 0'
    case $heard in
        *TERM*) sigterm_time=$(date +%s) ;;
        *) unready=1 ;;
    esac
fi

# If the script has not started, mark the job as lost. After a SIGTERM, or if the job's inputs
# are missing ($unready), record an end instead.
[ -n "$sigterm_time$unready" ] || ! has_not_started || exit 1

set_end_cause
[ "$end_cause" != own ] || ! was_cut_off || end_cause=ask
# After a SIGTERM, the scheduler soon sends SIGKILL. Therefore the end is recorded first.
left=''
[ "$end_cause" = ask ] || end_leftovers
until put_end "$(date +%s) $end $end_cause ${left:-0}"; do
    await_directory
    sleep 5
done
[ "$end_cause" != ask ] || end_leftovers
rm -f "$job/.end" "$job"/.heard.*
start_next_jobs
run_own_on_end
case $end in
    exit*)
        case " ${reserved_codes-} " in *" ${end#exit } "*) exit 1 ;; esac
        exit "${end#exit }"
        ;;
    signal*) exit $((128 + ${end#signal })) ;;
esac
