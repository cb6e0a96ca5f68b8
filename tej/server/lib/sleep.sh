# Functions that sleep until a signal arrives, end background processes, or wait for a file of a
# job.
# shellcheck shell=sh

# nap: sleep for 0.2 seconds, or for one second if `sleep` takes no fractions.
nap() {
    sleep 0.2 2>/dev/null || sleep 1
}

# begin_sleeps: must be called first in a background process that uses sleep_until_signal.
# Before the first sleep, $! is the pid of another process, which end_sleep must not kill.
begin_sleeps() { slept=$!; }

# sleep_until_signal SECONDS: sleep, or return early if a trap runs. A shell delays its traps
# until a foreground command ends, so `sleep` runs in the background. Without `exec`, yash would
# run `sleep` as a child of the background process.
sleep_until_signal() {
    exec sleep "$1" >/dev/null 2>&1 &
    # A login may have set SIGTERM to be ignored, so send SIGKILL.
    wait "$!" || kill -s KILL "$!" 2>/dev/null
    slept=$!
}

# end_sleep: end the `sleep` of sleep_until_signal, in a trap that exits. The trap may run as
# soon as `sleep` has started, so use $!, which the shell sets at once. Before its exec, the
# child can still catch and discard a SIGTERM, so send SIGKILL.
end_sleep() {
    # Wait for the ended `sleep`, so that it does not become an orphan. Because of an orphan,
    # jobs that end at the same time would search all processes (may_have_left_processes).
    [ "$!" = "$slept" ] || {
        kill -s KILL "$!"
        wait "$!"
    } 2>/dev/null
}

end_signal=TERM # signal with which end_background ends a process

# find_end_signal: set $end_signal to KILL if this shell was started with SIGTERM ignored. Such
# a shell cannot catch SIGTERM (POSIX), and its background processes ignore it, too. Must not be
# called in a subshell.
find_end_signal() {
    end_signal=KILL
    trap 'end_signal=TERM' TERM
    kill -s TERM $$
    trap - TERM
}

# end_background PID: end the background process PID of this shell, and wait until it has
# exited. A stopped process (SIGSTOP) receives SIGTERM only after SIGCONT.
end_background() {
    kill -s "$end_signal" "$1" 2>/dev/null
    kill -s CONT "$1" 2>/dev/null
    [ -z "${KSH_VERSION-}" ] || repeat_end_signal "$1"
    wait "$1" 2>/dev/null
}

# repeat_end_signal PID: signal the process PID until it has exited. mksh loses a SIGTERM that
# reaches a new process before the process has set its trap. `wait` would then never return.
repeat_end_signal() {
    get_start "$1"
    background_start=$start
    # Compare the start times: mksh reaps an ended process at once, and its pid may be reused.
    while [ -n "$start" ] && [ "$start" = "$background_start" ]; do
        kill -s "$end_signal" "$1" 2>/dev/null
        sleep 0.05 2>/dev/null || sleep 1
        get_start "$1"
    done
}

# wait_for FACT SECONDS: wait until the job has the file FACT, has finished, or (unless FACT is
# `finished`) is lost. Returns 1 after SECONDS, or if the job was removed.
wait_for() {
    rounds=0
    until [ -s "$job/$1" ] || [ -s "$job/finished" ] || { [ "$1" != finished ] && [ -e "$job/lost" ]; }; do
        [ -d "$job" ] && [ "$rounds" -lt $(($2 * 20)) ] || return 1
        rounds=$((rounds + 1))
        sleep 0.05 2>/dev/null || sleep 1
    done
}
