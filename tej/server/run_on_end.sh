# Process that runs the command of `--on-end` of a job that has ended (lib/on_end.sh):
# run_on_end.sh QUEUE ID HERE RUNTIME STATE CODE SIGNAL. The process starts in the job's
# directory, and stops the command after $on_end_limit seconds. The variable TEJ_JOB_TOKEN is not
# set, so that the processes of the command do not count as processes of the job.
# shellcheck shell=sh

on_end_limit=60 # seconds after which the command is stopped

queue=$1 id=$2 here=$3 runtime=$4
TEJ_JOB_STATE=$5 TEJ_JOB_EXIT_CODE=$6 TEJ_JOB_SIGNAL=$7
. "$here/lib/load.sh"
. "$here/lib/run_script.sh"
find_job "$id"
TEJ_JOB_ID=$id TEJ_QUEUE=$queue TEJ_JOB_DIR=$job/stage
export TEJ_JOB_ID TEJ_QUEUE TEJ_JOB_DIR TEJ_JOB_STATE TEJ_JOB_EXIT_CODE TEJ_JOB_SIGNAL
# A retry can move the job's directory, and another job can then have its old path. The
# working directory is still the directory of this job.
job=.

# search_failed: called if the processes cannot be listed. Does nothing, so that still_runs
# checks only the command itself.
search_failed() { :; }

# still_runs: check whether the command, or a process that it has started, is running.
still_runs() {
    is_alive "$j_pid" "$j_start" && return 0
    find_job_processes
    [ -n "$pids" ]
}

find_session_program
tej_here=$here
# The command sees only variables and functions of the user, as the job does.
# shellcheck disable=SC2016,SC2089 # expanded by another shell
tej_command='
    . "$tej_here/lib/user_environment.sh"
    restore_environment
    unset -f hide_environment restore_environment
    unset tej_here tej_command
    . ./on_end_environment
    # If the job has removed its directory, the command starts in an empty directory. In any
    # other directory, a command such as `rm -f *` would remove files.
    cd ./stage 2>/dev/null || { mkdir -p ./on_end_stage && cd ./on_end_stage; } || exit
    . ../on_end'
# shellcheck disable=SC2090
export tej_here tej_command
$tej_session /bin/sh -c "$tej_command" </dev/null >on_end_log 2>&1 &
# Describe the command with the variables of a wrapper, so that still_runs and stop_processes
# apply to the command.
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
    # Most commands end within a second, so the first pauses are short.
    if [ $((uptime - began)) -lt 2 ]; then nap; else sleep 2; fi
done
wait "$j_pid"
code=$?
if [ -n "$stopped" ]; then
    printf 'tej: the command of --on-end was stopped after %s seconds\n' "$on_end_limit"
elif [ "$code" != 0 ]; then
    printf 'tej: the command of --on-end ended with exit code %s\n' "$code"
fi >>on_end_log
