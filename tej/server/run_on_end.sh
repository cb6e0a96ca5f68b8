# run_on_end.sh QUEUE ID HERE RUNTIME STATE CODE SIGNAL: run the user's command of `--on-end`,
# after the job has ended. Stops the command after $on_end_limit seconds. The variable
# TEJ_JOB_TOKEN marks the processes of the job, and is not set for the command.
# shellcheck shell=sh

on_end_limit=60 # seconds after which the command is stopped

queue=$1 id=$2 here=$3 runtime=$4
TEJ_JOB_STATE=$5 TEJ_JOB_EXIT_CODE=$6 TEJ_JOB_SIGNAL=$7
. "$here/lib/load.sh"
. "$here/lib/run_script.sh"
find_job "$id"
TEJ_JOB_ID=$id TEJ_QUEUE=$queue TEJ_JOB_DIR=$job/stage
export TEJ_JOB_ID TEJ_QUEUE TEJ_JOB_DIR TEJ_JOB_STATE TEJ_JOB_EXIT_CODE TEJ_JOB_SIGNAL
# A retry can move the job's directory. So use the working directory, which stays the same.
job=.

# search_failed: called if the processes cannot be listed. Then still_runs checks only the first
# process of the command.
search_failed() { :; }

# still_runs: check whether the command, or a process started by it, is running.
still_runs() {
    is_alive "$j_pid" "$j_start" && return 0
    find_job_processes
    [ -n "$pids" ]
}

find_session_program
tej_here=$here
# The command sees only the user's variables and functions.
# shellcheck disable=SC2016,SC2089 # expanded by another shell
tej_command='
    . "$tej_here/lib/user_environment.sh"
    restore_environment
    unset -f hide_environment restore_environment
    unset tej_here tej_command
    . ./on_end_environment
    # If the job has removed its directory, use an empty directory. A command such as `rm -f *`
    # must not run anywhere else.
    cd ./stage 2>/dev/null || { mkdir -p ./on_end_stage && cd ./on_end_stage; } || exit
    . ../on_end'
# shellcheck disable=SC2090
export tej_here tej_command
$tej_session /bin/sh -c "$tej_command" </dev/null >on_end_log 2>&1 &
# still_runs and stop_processes expect the variables of a wrapper.
is_wrapper=1 spec='' where='' j_pid=$!
get_start "$j_pid"
j_start=${start:--}
get_uptime
began=$uptime stopped=''
while still_runs; do
    get_uptime
    if [ $((uptime - began)) -ge "$on_end_limit" ]; then
        stopped=1
        stop_processes 5
        break
    fi
    # Most commands end within a second.
    if [ $((uptime - began)) -lt 2 ]; then nap; else sleep 2; fi
done
wait "$j_pid"
code=$?
if [ -n "$stopped" ]; then
    printf 'tej: the command of --on-end was stopped after %s seconds\n' "$on_end_limit"
elif [ "$code" != 0 ]; then
    printf 'tej: the command of --on-end ended with exit code %s\n' "$code"
fi >>on_end_log
