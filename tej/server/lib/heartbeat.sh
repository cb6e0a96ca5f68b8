# Heartbeat of a job: the wrapper of the job (run_detached.sh, run_in_scheduler.sh) writes
# the file `heartbeat` every $heartbeat_interval seconds. Readers use signs_of_life.sh.
# shellcheck shell=sh

heartbeat_interval=20 # seconds between two heartbeats

# write_heartbeat: record the current time in the job's heartbeat file.
write_heartbeat() {
    kept_now=${now-}
    read_clock
    put_heartbeat
    now=$kept_now
}

# put_heartbeat: record the time $now in the job's heartbeat file. The file is overwritten in
# place (`1<>`), so that the heartbeat file is never empty, even if the disk is full.
put_heartbeat() {
    printf '%s\n' "$now" 1<>"$job/heartbeat"
}

# return_to_job: if the working directory no longer exists, but the directory of the job does,
# enter the directory of the job again. A restored network file system can have new directories at
# the old paths (ESTALE).
return_to_job() {
    [ "$job" != . ] || [ -f ./heartbeat ] || is_removed || :
}

# start_heartbeat: start a background process that writes the heartbeat while this shell
# lives. Sets $heart to the pid of the background process.
start_heartbeat() {
    me
    write_heartbeat
    keep_heartbeat "$self" "$own_start" &
    heart=$!
}

heart='' # pid of the process that start_heartbeat has started

# stop_heartbeat: stop the background process, if any, and wait until it has exited.
stop_heartbeat() {
    [ -z "$heart" ] || end_background "$heart"
}

# Hooks that the wrapper may redefine:
# before_heartbeat: set $span to the seconds until the next heartbeat.
before_heartbeat() { span=$heartbeat_interval; }
# after_heartbeat: do the periodic work of the wrapper, such as enforcing the time limit.
after_heartbeat() { :; }
# after_wrapper: called when the wrapper was killed. Returns 0 to continue the heartbeat.
after_wrapper() { return 1; }

# keep_heartbeat PID START: write the heartbeat until the process PID is gone, or until
# keep_heartbeat receives SIGTERM. If a hook is running when SIGTERM arrives, the hook
# is completed first.
keep_heartbeat() {
    in_hook='' stopped=''
    begin_sleeps
    trap leave_heartbeat TERM
    while :; do
        before_heartbeat
        sleep_until_signal "$span"
        # Check the wrapper before the heartbeat is written, because a heartbeat means
        # that the job was alive at that time.
        ! is_gone "$1" "$2" || after_wrapper || exit 0
        write_heartbeat
        return_to_job
        in_hook=1
        after_heartbeat
        in_hook=''
        [ -z "$stopped" ] || exit 0
    done
}

# leave_heartbeat: SIGTERM trap of keep_heartbeat. Exits immediately, or after the hook if
# a hook is running.
leave_heartbeat() {
    stopped=1
    [ -n "$in_hook" ] || {
        end_sleep
        exit 0
    }
}
