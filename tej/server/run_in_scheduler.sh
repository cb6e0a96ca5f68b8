# Wrapper of a job under a scheduler ("the runner"): run_in_scheduler.sh QUEUE ID HERE
# RUNTIME TOKEN [BY_CLUSTER]. Runs the job's script, writes the heartbeat, forwards
# signals and records the exit status. The runner and the script stay in the session that
# the scheduler created: a process outside it would survive `qdel`.
# shellcheck shell=sh

umask 022
. "$3/lib/environment.sh"
hide_environment
# shellcheck disable=SC2034 # by_cluster is used by scheduler_own_id
queue=$1 id=$2 here=$3 runtime=$4 token=$5 by_cluster=${6-}
unset TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_JOB_DIR
. "$here/lib/load.sh"
. "$here/lib/run.sh"
enter_job || exit 0
own_id=''
scheduler_own_id
me

# Signals that a scheduler or its user may send. None of them may end the runner.
signals='HUP INT QUIT USR1 USR2 TERM CONT XCPU'

# begin_again: the scheduler has started the job a second time. Allow the second run only
# if the user requested it (`requeue`) and the heartbeat of the first run has stopped;
# exit otherwise. The first run may still be active on a node that the scheduler has given
# up.
begin_again() {
    read_facts
    [ "${native%%;*}" = "$runtime ${own_id%%;*}" ] || exit 0
    [ ! -e "$job/finished" ] || { [ -e "$job/requeue" ] && [ "$whose" = ask ] && [ ! -e "$job/reason" ]; } || exit 0
    [ ! -e "$job/kill" ] || exit 0
    read_beat
    pulse_then=$pulse
    [ ! -e "$job/requeue" ] || [ -z "$pulse" ] || [ -e "$job/finished" ] || sleep $((heartbeat_interval + 5))
    read_beat
    if [ ! -e "$job/requeue" ] || [ "$pulse" != "$pulse_then" ]; then
        put rerun "$(date +%s) ${who%% *}"
        exit 0
    fi
    rm -f "$job/finished" "$job/started" "$job/missed" "$job/term" "$job/rerun" "$job/.end"
}

# note_native_id: write the fact native_id. An existing fact for the same scheduler id is
# kept, because it may also name the cluster.
note_native_id() {
    native=''
    [ ! -f "$job/native_id" ] || IFS= read -r native <"$job/native_id"
    case $native in
        "$runtime $own_id" | "$runtime $own_id;"*) ;;
        *) put native_id "$runtime $own_id" ;;
    esac
}

# set_submit_directory: set $PBS_O_WORKDIR and the like to the job's directory. Scripts
# written for a scheduler begin with `cd $PBS_O_WORKDIR` and expect their own directory.
set_submit_directory() {
    stage=$queue/jobs/$id/stage
    [ "$runtime" != pbs ] || PBS_O_WORKDIR=$stage
    for variable in PBS_O_WORKDIR SLURM_SUBMIT_DIR SGE_O_WORKDIR; do
        eval "[ -z \"\${$variable+set}\" ] || export $variable=\"\$stage\""
    done
}

# read_outcome: set end to `exit N` or `signal N`. Returns 1 if the script has not ended
# yet.
read_outcome() {
    read -r end <"$job/.end"
    [ -n "$end" ]
}

# keep_watch: in the background, write the heartbeat and record each signal that was sent
# to the whole session (.heard.SIGNAL). The script has received such a signal directly, so
# the runner must not forward it.
keep_watch() {
    nap=''
    for signal in $signals; do
        # shellcheck disable=SC2064 # the name of this signal
        trap ": 2>/dev/null >'$job/.heard.$signal'" "$signal"
    done
    trap '[ -z "$nap" ] || kill "$nap" 2>/dev/null; exit 0' ALRM
    while kill -0 $$ 2>/dev/null; do
        write_heartbeat
        sleep "$heartbeat_interval" &
        nap=$!
        wait "$nap"
        kill "$nap" 2>/dev/null
        # A signal that reaches the runner just before its `wait` is handled only when
        # `wait` returns. SIGALRM makes `wait` return.
        kill -s ALRM $$ 2>/dev/null
    done
}

# pass_on SIGNAL: forward SIGNAL to the script, unless the whole session received it.
# Slurm signals the runner alone for `--signal=B:USR1@60`. The pause gives keep_watch time
# to record the signal.
pass_on() {
    nap
    if [ -e "$job/.heard.$1" ]; then
        rm -f "$job/.heard.$1"
        return
    fi
    wait_for started 5 || return 0
    read -r _ _ leader leader_start _ <"$job/started"
    ! is_alive "$leader" "$leader_start" || kill -s "$1" "$leader" 2>/dev/null
}

# take_signals: handle the signals received since the last call.
take_signals() {
    while [ -n "$heard" ]; do
        pending=$heard heard=''
        for signal in $pending; do
            [ "$signal" != TERM ] || wind_down
            pass_on "$signal"
        done
    done
}

# wind_down: handle SIGTERM. Record its time, and forward it to the processes of the job
# that have left the session, which the scheduler does not reach.
wind_down() {
    [ -n "$told_at" ] || told_at=$(date +%s)
    [ -e "$job/kill" ] || put term "$told_at" 2>/dev/null
    find_job_processes
    get_start $$
    ours=$session strays=''
    for pid in $pids; do
        get_start "$pid"
        [ "$session" = "$ours" ] || strays="$strays $pid"
    done
    # shellcheck disable=SC2086 # pids
    [ -z "$proc" ] || [ -z "$strays" ] || kill -s TERM $strays 2>/dev/null
}

# end_after_grace: send SIGKILL when the grace period of `kill` is over.
end_after_grace() {
    nap
    read_facts
    [ -n "$grace" ] && [ $(($(date +%s) - told_at)) -ge "$grace" ] || return 0
    find_job_processes
    signal_processes KILL
}

# listen: in the background, poll for the fact `kill`, then send SIGTERM to the whole
# session. Used for a scheduler that cannot send SIGTERM.
listen() {
    until [ -e "$job/kill" ]; do
        kill -0 $$ 2>/dev/null || return
        sleep 2
    done
    find_job_processes
    get_start $$
    ours=$session told_first=''
    for pid in $pids; do
        get_start "$pid"
        [ "$session" != "$ours" ] || told_first="$told_first $pid"
    done
    : 2>/dev/null >"$job/.heard.TERM"
    # shellcheck disable=SC2086 # pids
    kill -s TERM $told_first $$ 2>/dev/null
}

# run_job: run the script until its exit status is known. Sets end.
run_job() {
    tej_session=''
    prepare_run
    # shellcheck disable=SC2086 # Ignored until handlers are installed.
    trap '' $signals
    {
        for signal in $signals; do trap : "$signal"; done
        run_in_shell
        # The space was allocated in advance, because the disk may be full now. `1<>`
        # opens the file without truncating it.
        printf '%s\n' "$end" 1<>"$job/.end"
    } &
    runner=$!
    keep_watch >/dev/null 2>&1 &
    watcher=$!
    for signal in $signals; do
        # shellcheck disable=SC2064 # the name of this signal
        trap "heard=\"\$heard $signal\"" "$signal"
    done
    trap : ALRM
    [ -z "${has_no_term-}" ] || {
        listen &
        listener=$!
    }
    until read_outcome || ! kill -0 "$runner" 2>/dev/null; do
        if [ -n "$told_at" ] && [ -e "$job/kill" ]; then end_after_grace; else wait "$runner"; fi
        take_signals
    done
    # The script may have ended on a SIGTERM before the runner handles its own.
    [ -n "$told_at" ] || nap
    case $heard in *TERM*) take_signals ;; esac
    [ -z "$listener" ] || kill "$listener" 2>/dev/null
    kill -s ALRM "$watcher" 2>/dev/null
}

# was_cut_off: check whether the scheduler may have ended the script. If so, `finished`
# records `ask`, and clients ask the scheduler for the cause.
was_cut_off() {
    [ -z "$told_at" ] || return 0
    case $end in 'signal 9' | 'signal 15' | 'exit 137' | 'exit 143') return 0 ;; esac
    [ -n "$r_walltime" ] && [ $(($(date +%s) - began)) -ge "$r_walltime" ]
}

# If the token differs, this runner belongs to an earlier submission that was archived.
has_token "$token" || exit 0
heard='' told_at='' listener=''
for signal in $signals; do
    # shellcheck disable=SC2064 # the name of this signal
    trap "heard=\"\$heard $signal\"" "$signal"
done
mkdir "$job/claim" 2>/dev/null || begin_again
note_native_id && reserve && printf '%-20s\n' '' >"$job/.end" || exit 1

end='' began=$(date +%s)
write_heartbeat
read_resources
if [ -e "$job/kill" ]; then
    end='none 0'
else
    set_submit_directory
    run_job
    [ -n "$end" ] || exit 1
fi

# If the scheduler sent SIGTERM before the script started, the job is not lost.
[ -n "$told_at" ] || ! has_not_begun || exit 1

whose=own
if [ -e "$job/kill" ]; then
    whose=killed
elif was_cut_off; then
    whose=ask
fi
# Stop the processes that the script left running, because some schedulers do not.
if [ -z "$told_at" ] && [ -e "$job/started" ]; then
    read_facts
    count_processes
    [ -z "$left" ] || stop_processes 2
fi
until put_reserved finished "$(date +%s)" "$end" "$whose" 0; do
    has_token "$token" || exit 1
    sleep 5
done
rm -f "$job/.end" "$job"/.heard.*
case $end in
    exit*) exit "${end#exit }" ;;
    signal*) exit $((128 + ${end#signal })) ;;
esac
