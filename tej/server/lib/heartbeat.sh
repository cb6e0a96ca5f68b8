# Heartbeat of a job: a file with the current time, which shows that the job is alive. The
# wrapper of the job (run_detached.sh, run_in_scheduler.sh) writes it every $heartbeat_interval
# seconds. Other programs check its age (is_beating).
# shellcheck shell=sh

heartbeat_interval=20 # seconds between two heartbeats
heartbeat_timeout=900 # age of the heartbeat in seconds at which an unreachable job counts as lost
heartbeat_overdue=90  # age of the heartbeat in seconds at which its process counts as dead

# is_beating [SECONDS]: check whether the last heartbeat is at most SECONDS (default
# $heartbeat_timeout) old. Also returns 0 if its age is unknown. Sets $seen to the age of the
# heartbeat in seconds, and $beat to its time by the clock of the job's host. If the age is
# unknown, sets both to ''.
is_beating() {
    seen='' beat=''
    [ -f "$job/heartbeat" ] || return 1
    ! is_stale heartbeat "${1:-$heartbeat_timeout}"
    silent=$?
    seen=$age
    [ -z "$seen" ] || read -r beat <"$job/heartbeat"
    return "$silent"
}

# write_heartbeat: write the current time to the job's heartbeat file.
write_heartbeat() {
    kept_now=${now-}
    read_clock
    put_heartbeat
    now=$kept_now
}

# put_heartbeat: write the time $now to the job's heartbeat file. `1<>` overwrites the file in
# place, so that it is never empty, even if the disk is full.
put_heartbeat() {
    printf '%s\n' "$now" 1<>"$job/heartbeat"
}

# return_to_job: enter the directory of the job again, if the working directory no longer
# exists. A restored network file system can have new directories at the old paths (ESTALE).
return_to_job() {
    [ "$job" != . ] || [ -f ./heartbeat ] || is_removed || :
}

# start_heartbeat: start a background process that writes the heartbeat while this shell lives.
# Sets $heart to its pid.
start_heartbeat() {
    me
    write_heartbeat
    keep_heartbeat "$self" "$own_start" &
    heart=$!
}

heart='' # pid of the process that start_heartbeat has started

# stop_heartbeat: stop the process that start_heartbeat has started, if any, and wait for its
# end.
stop_heartbeat() {
    [ -z "$heart" ] || end_background "$heart"
}

# A wrapper may redefine the next three functions. before_heartbeat: set $span to the seconds
# until the next heartbeat.
before_heartbeat() { span=$heartbeat_interval; }
# after_heartbeat: do the periodic work of the wrapper, such as enforcing the time limit.
after_heartbeat() { :; }
# after_wrapper: called after the wrapper was killed. Returns 0 to continue the heartbeat.
after_wrapper() { return 1; }

# keep_heartbeat PID START: write the heartbeat until SIGTERM, or until the process with this pid
# and start time is gone.
# If SIGTERM arrives during after_heartbeat, this function is completed first.
keep_heartbeat() {
    in_hook='' stopped=''
    begin_sleeps
    trap leave_heartbeat TERM
    while :; do
        before_heartbeat
        sleep_until_signal "$span"
        # A heartbeat means that the job was alive at this time. Therefore check the wrapper
        # first.
        ! is_gone "$1" "$2" || after_wrapper || exit 0
        write_heartbeat
        return_to_job
        in_hook=1
        after_heartbeat
        in_hook=''
        [ -z "$stopped" ] || exit 0
    done
}

# leave_heartbeat: SIGTERM trap. Exits immediately. While after_heartbeat is running, waits for
# its end first.
leave_heartbeat() {
    stopped=1
    [ -n "$in_hook" ] || {
        end_sleep
        exit 0
    }
}
