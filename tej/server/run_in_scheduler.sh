# Wrapper of a job under a scheduler ("the runner"): run_in_scheduler.sh QUEUE ID HERE
# RUNTIME TOKEN [BY_CLUSTER [ARRAY LOG]]. HERE is the directory of tej's scripts. BY_CLUSTER is 1
# if the native id of the job contains the cluster. ARRAY is the name of the job array that
# contains the job, and LOG its log file; see lib/scheduler_array.sh. The runner executes the job's script, writes the
# heartbeat, forwards signals and records the exit status. The runner and the script
# stay in the session that the scheduler created, because a process outside this session
# would survive `qdel`.
# shellcheck shell=sh

. "$3/lib/user_environment.sh"
hide_environment
# shellcheck disable=SC2034 # by_cluster is used by scheduler_own_id
queue=$1 id=$2 here=$3 runtime=$4 token=$5 by_cluster=${6-} array=${7-} array_log=${8-}
marker=$token
. "$here/lib/load.sh"
. "$here/lib/run_script.sh"
. "$here/lib/memory_kill.sh"
unset_job_identity
enter_readable_job
is_in_scheduler=1
own_id=''
scheduler_own_id
own_native="$runtime $own_id"
me

# Signals that a scheduler or its user may send. The runner must survive all of these
# signals.
signals='HUP INT QUIT USR1 USR2 TERM XCPU'
# The `kill` of ksh93 also sends SIGCONT. The SIGALRM of watch_session would otherwise continue a
# stopped script at each heartbeat.
case ${KSH_VERSION-} in *' 93'*) ;; *) signals="$signals CONT" ;; esac

# search_failed: called if the processes cannot be listed. Does nothing, because the runner
# must record the end of the job even then.
search_failed() { :; }

# await_spec: wait until the `spec` of the job can be read. Exits with 0 if the job has another
# token: this runner belongs to an earlier submission with the same id. Exits with 1 if `spec`
# is damaged or was removed, because the scheduler would report a success otherwise.
await_spec() {
    until has_token "$token"; do
        [ -z "$spec" ] || exit 0
        { cat "$job/spec" >/dev/null 2>&1 || is_absent "$job/spec"; } && ! has_token "$token" && exit 1
        sleep 5
    done
}

# begin_second_run: called if the scheduler has started the job a second time. Exits unless
# the user requested a second run (`requeue`) and the heartbeat of the first run has
# stopped. The first run may still be active on a node that the scheduler cannot reach.
begin_second_run() {
    read_facts
    [ "${native%%;*}" = "$runtime ${own_id%%;*}" ] || exit 0
    [ ! -s "$job/finished" ] || { [ -e "$job/requeue" ] && [ "$whose" = ask ] && [ ! -e "$job/reason" ]; } || exit 0
    [ ! -e "$job/kill" ] || exit 0
    read_heartbeat
    earlier_heartbeat=$last_heartbeat
    [ ! -e "$job/requeue" ] || [ -z "$last_heartbeat" ] || [ -s "$job/finished" ] || sleep $((heartbeat_interval + 5))
    read_heartbeat
    if [ ! -e "$job/requeue" ] || [ "$last_heartbeat" != "$earlier_heartbeat" ]; then
        put rerun "$(date +%s) ${who%% *}"
        exit 0
    fi
    again=1
    rm -f "$job/finished" "$job/started" "$job/missed" "$job/term" "$job/rerun" "$job/.end"
}

# note_native_id: write the file native_id. If native_id already contains the same
# scheduler id, the file is not changed, because it may also contain the cluster.
note_native_id() {
    native=''
    [ ! -s "$job/native_id" ] || IFS= read -r native <"$job/native_id"
    case $native in
        "$own_native" | "$own_native;"*) ;;
        *) put native_id "$own_native" ;;
    esac
}

# set_submit_directory: set $PBS_O_WORKDIR, $SLURM_SUBMIT_DIR and $SGE_O_WORKDIR to the
# stage of the job. Many scripts for a scheduler begin with `cd $PBS_O_WORKDIR`, and
# expect to enter the directory of the script.
set_submit_directory() {
    stage=$queue/jobs/$id/stage
    [ "$runtime" != pbs ] || PBS_O_WORKDIR=$stage
    for variable in PBS_O_WORKDIR SLURM_SUBMIT_DIR SGE_O_WORKDIR; do
        eval "[ -z \"\${$variable+set}\" ] || export $variable=\"\$stage\""
    done
}

# leave_array: make the job independent of its job array. Moves the scheduler's log file
# into the job's directory, and hides the array from the script, whose results must not
# depend on the jobs that were submitted with it.
leave_array() {
    mv -f "$array_log.${own_id##*[_.]}.log" "$job/$array.log" 2>/dev/null
    unset SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_COUNT SLURM_ARRAY_TASK_MAX \
        SLURM_ARRAY_TASK_MIN SLURM_ARRAY_TASK_STEP
    # In a job without an array, Grid Engine sets these variables to `undefined`.
    for variable in SGE_TASK_ID SGE_TASK_FIRST SGE_TASK_LAST SGE_TASK_STEPSIZE; do
        eval "[ -z \"\${$variable+set}\" ] || export $variable=undefined"
    done
}

# watch_session: write the heartbeat, in a background process. When a signal is sent to the whole
# session, this process also creates the file .heard.SIGNAL. The runner must not forward a
# recorded signal, because the script has received the signal directly.
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
        # A signal that reaches the runner just before its `wait` is handled only when
        # `wait` returns. SIGALRM makes `wait` return.
        kill -s ALRM $$ 2>/dev/null
    done
}

# note_heard SIGNAL: create the file .heard.SIGNAL. Does nothing if the file cannot be created,
# for example because the disk is full. The redirection of a special builtin such as `:` would
# then end the shell.
note_heard() {
    { printf '' >"$job/.heard.$1"; } 2>/dev/null || :
}

# forward_signal SIGNAL: forward SIGNAL to the script, unless the whole session received
# SIGNAL. For example, Slurm sends the signal of `--signal=B:USR1@60` to the runner
# only. forward_signal first sleeps, so that watch_session has time to record the signal.
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

# handle_signals: handle the signals that the runner has received since the last call to
# handle_signals.
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

# note_warning: record that the scheduler has announced the end of the job by a signal other
# than SIGTERM, and the reason in $warning.
note_warning() {
    [ -n "$sigterm_time" ] || sigterm_time=$(date +%s)
    [ -e "$job/kill" ] || put term "$sigterm_time $warning" 2>/dev/null
}

# handle_sigterm: handle SIGTERM. Records the time of the SIGTERM, and sends SIGTERM to all
# processes of the job that have left the session, because the scheduler does not signal
# these processes.
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

# end_after_grace: send SIGKILL when the grace period of `kill` is over.
end_after_grace() {
    nap
    read_facts
    [ -n "$grace" ] && [ $(($(date +%s) - sigterm_time)) -ge "$grace" ] || return 0
    find_job_processes
    signal_processes KILL
}

# end_leftovers: end the processes that the script left running on this node, because
# some schedulers do not end these processes. Sets $left to the number of processes that
# remain. Processes that have received SIGTERM keep the rest of their grace period.
# The whole period is 5 seconds unless `tej kill` sent the SIGTERM.
end_leftovers() {
    left=''
    [ -s "$job/started" ] || return 0
    read_facts
    if [ -n "$sigterm_time" ]; then
        rest=$((sigterm_time + ${grace:-5} - $(date +%s)))
        # The script may have started a process between the search for its processes and
        # their SIGKILL. Therefore SIGKILL is repeated.
        wait_for_processes $((rest > 0 ? rest : 0)) || wait_for_processes 10 KILL
    else
        find_job_processes
        [ -z "$pids" ] || stop_processes 2
    fi
    count_pids
}

# watch_kill_fact: wait for the file `kill`, in a background process, and then send SIGTERM to
# all processes in the session. The runner starts watch_kill_fact only if the scheduler
# cannot send SIGTERM.
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

# run_job: run the job's script and wait until the exit status is known. Sets $end to
# `exit N` or `signal N`.
run_job() {
    tej_session=''
    prepare_run
    # Ignore the signals until the handlers are installed.
    # shellcheck disable=SC2086 # split into signal names
    trap '' $signals
    {
        for signal in $signals; do trap : "$signal"; done
        run_in_shell
        # The disk may be full now. Therefore the runner has allocated the space of .end
        # in advance, and `1<>` opens .end without truncating the file.
        until { printf '%s\n' "$end" 1<>"$job/.end"; } 2>/dev/null; do
            await_directory
            sleep 5
        done
    } &
    runner=$!
    # The start time distinguishes this runner from a later process with the same pid, which
    # must not keep the heartbeat alive.
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
    # If the session received a SIGTERM, the script may end before the runner has
    # handled the SIGTERM. Therefore wait a moment.
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

# run_own_on_end: run the command `on_end` of this job, and wait until it ends. If only
# the scheduler knows the cause of the end, the command gets the state `unknown`, because
# the scheduler answers only after this runner has exited. If the job may run again, the
# command is not started now.
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
else
    end='none 0'
    case $heard in
        *TERM*) sigterm_time=$(date +%s) ;;
        *) unready=1 ;;
    esac
fi

# If the script has not started, the job is marked lost, unless the scheduler sent
# SIGTERM before the start.
[ -n "$sigterm_time$unready" ] || ! has_not_started || exit 1

set_whose
[ "$whose" != own ] || ! was_cut_off || whose=ask
# If the scheduler has sent SIGTERM, SIGKILL follows soon. Therefore the end is recorded before
# the leftover processes are ended.
left=''
[ "$whose" = ask ] || end_leftovers
until put_end "$(date +%s) $end $whose ${left:-0}"; do
    await_directory
    sleep 5
done
[ "$whose" != ask ] || end_leftovers
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
