# Starts a user's `--on-end` command, which runs on the server when a job has ended.
# run_on_end.sh runs the command. Clients look for on_end.sh by its name (FEATURES in
# wire/requests.py), so the name cannot change.
# shellcheck shell=sh
#
# Files in the directory of a job:
#   on_end              the command, for sh
#   on_end_environment  the variables of the job, for sh
#   on_end_started      a directory: a process has started the command
#   on_end_stage        where the command starts if the job has removed its working directory
#   on_end_log          the output of the command
#
# Usually the job's wrapper (the process that runs the script) starts the command. If the
# wrapper was killed, the next program that finds the job's end starts the command. The command
# starts at most once, because only one process can create on_end_started (`mkdir`).

on_end_pids='' # processes that await_on_end waits for

# run_on_end_once: start the on_end command of $job if the job has ended and the command was not
# started before.
run_on_end_once() {
    ! is_final || start_on_end
}

# start_on_end: start the on_end command of $job in the background, unless it was started
# before. $state, $how and $number must describe the end of the job.
start_on_end() {
    # Other members of a group that shares the queue must not run the owner's command. If the
    # queue was moved while this shell ran, run_on_end.sh is not found at $here. The next
    # request of a client then starts the command.
    # shellcheck disable=SC3067 # all shells that tej supports have -O
    [ -f "$job/on_end" ] && [ -O "$job/on_end" ] && [ -f "$here/run_on_end.sh" ] && mkdir "$job/on_end_started" 2>/dev/null || return 0
    case $how in
        exit) set -- "$number" '' ;;
        signal) set -- '' "$number" ;;
        *) set -- '' '' ;;
    esac
    set -- "$here/run_on_end.sh" "$queue" "$id" "$here" "$runtime" "$state" "$@"
    if [ -n "${is_in_scheduler-}" ]; then
        # Schedulers kill processes that outlive the batch script. Therefore await_on_end waits
        # for this command.
        (cd "$job" && exec /bin/sh "$@" </dev/null >/dev/null 2>&1) &
        on_end_pids="$on_end_pids $!"
    else
        (cd "$job" && detach "$@")
    fi
}

# await_on_end: wait for the commands that start_on_end has started as children of this shell.
await_on_end() {
    for on_end_pid in $on_end_pids; do
        # A signal interrupts `wait`.
        while kill -0 "$on_end_pid" 2>/dev/null; do wait "$on_end_pid"; done
    done
    on_end_pids=''
}
