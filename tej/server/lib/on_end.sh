# Start of the command of `--on-end`, a user's command that runs on the server when a job has
# ended: decides which process starts the command. run_on_end.sh sets the variables of the
# command, and stops the command at its time limit. Clients check that this file is installed
# (FEATURES in wire/requests.py), so its name cannot change.
# shellcheck shell=sh
#
#   on_end              the command, for sh
#   on_end_environment  the variables of the job, for sh
#   on_end_started      a directory: a process has started the command
#   on_end_stage        where the command starts if the job has removed its `stage`
#   on_end_log          the output of the command
#
# The job's wrapper starts the command after it has written `finished`. If the wrapper
# has not started the command (because it was killed, for example), the command is
# started by the next program that reports the end of the job. `mkdir` is atomic, so
# that the command is started at most once.

on_end_pids='' # processes that await_on_end waits for

# run_on_end_once: start the command of $job if the state of $job is final and the command
# was not started before.
run_on_end_once() {
    ! is_final || start_on_end
}

# start_on_end: start the command of $job in the background, unless it was started
# before. $state, $how and $number must describe the end of the job.
start_on_end() {
    # In a queue of a group, only programs of the job's owner may run the command. If the queue
    # was moved, the scripts are no longer at $here, and the next client starts the command.
    # shellcheck disable=SC3067 # all shells that tej supports have -O
    [ -f "$job/on_end" ] && [ -O "$job/on_end" ] && [ -f "$here/run_on_end.sh" ] && mkdir "$job/on_end_started" 2>/dev/null || return 0
    case $how in
        exit) set -- "$number" '' ;;
        signal) set -- '' "$number" ;;
        *) set -- '' '' ;;
    esac
    set -- "$here/run_on_end.sh" "$queue" "$id" "$here" "$runtime" "$state" "$@"
    if [ -n "${is_in_scheduler-}" ]; then
        # Many schedulers kill the processes that outlive the batch script. Therefore the
        # command is not detached, and the wrapper waits for the command (await_on_end).
        (cd "$job" && exec /bin/sh "$@" </dev/null >/dev/null 2>&1) &
        on_end_pids="$on_end_pids $!"
    else
        (cd "$job" && detach "$@")
    fi
}

# await_on_end: wait until the commands that start_on_end has started in this shell have
# ended. Does not wait for detached commands.
await_on_end() {
    for on_end_pid in $on_end_pids; do
        # A signal interrupts `wait`, so `wait` is repeated.
        while kill -0 "$on_end_pid" 2>/dev/null; do wait "$on_end_pid"; done
    done
    on_end_pids=''
}
