# Sleep: pauses that a signal ends, and waiting for a fact file of a job.
# shellcheck shell=sh

# nap: sleep for 0.2 seconds, or for one second if `sleep` takes no fractions.
nap() {
    sleep 0.2 2>/dev/null || sleep 1
}

# begin_sleeps: prepare a background process that calls sleep_until_signal. The process
# has inherited $!, the pid of another process, from its parent. Without begin_sleeps,
# end_sleep would kill that process instead of a `sleep`.
begin_sleeps() { slept=$!; }

# sleep_until_signal SECONDS: sleep, or return early if a trap runs. `sleep` runs in the
# background, because a shell delays its traps until a foreground command ends. Without
# `exec`, yash would run `sleep` as a child of another process, and end_sleep would kill only
# that process.
sleep_until_signal() {
    exec sleep "$1" >/dev/null 2>&1 &
    # SIGKILL is used, because a login may have set SIGTERM to be ignored.
    wait "$!" || kill -s KILL "$!" 2>/dev/null
    slept=$!
}

# end_sleep: end the `sleep` of sleep_until_signal, in a trap that exits. The trap may run
# as soon as `sleep` has started. Therefore the pid is read from $!, which the shell sets
# together with the start, and not from a variable that is assigned later. SIGKILL is used
# because, until the child calls exec, the signal handler inherited from the shell could
# catch and discard a SIGTERM, and `sleep` would continue.
end_sleep() {
    # Without `wait`, the ended `sleep` would become an orphan, and each job that ends at
    # the same time would search all processes (may_have_left_processes).
    [ "$!" = "$slept" ] || {
        kill -s KILL "$!"
        wait "$!"
    } 2>/dev/null
}

end_signal=TERM # signal with which end_background ends a process

# find_end_signal: set $end_signal to KILL if the login has started this shell with SIGTERM
# ignored. POSIX does not allow this shell to catch SIGTERM then, and its background processes
# would ignore SIGTERM, too. Must not be called in a subshell.
find_end_signal() {
    end_signal=KILL
    trap 'end_signal=TERM' TERM
    kill -s TERM $$
    trap - TERM
}

# end_background PID: end the background process PID of this shell with SIGTERM, and wait until
# the process has exited. A process that was stopped (SIGSTOP) receives SIGTERM only after
# SIGCONT.
end_background() {
    kill -s "$end_signal" "$1" 2>/dev/null
    kill -s CONT "$1" 2>/dev/null
    [ -z "${KSH_VERSION-}" ] || repeat_end_signal "$1"
    wait "$1" 2>/dev/null
}

# repeat_end_signal PID: signal the process PID until it has exited. mksh loses a
# SIGTERM that reaches a new process before the process has set its trap, and `wait` would
# then never return. On a busy machine, a new process may need seconds to set its trap.
repeat_end_signal() {
    get_start "$1"
    background_start=$start
    # mksh reaps an ended process immediately, and the pid may then be reused.
    while [ -n "$start" ] && [ "$start" = "$background_start" ]; do
        kill -s "$end_signal" "$1" 2>/dev/null
        sleep 0.05 2>/dev/null || sleep 1
        get_start "$1"
    done
}

# wait_for FACT SECONDS: wait until the job has the file FACT, has finished, or (unless FACT is
# `finished`) is lost. Returns 1 if SECONDS have passed, or if the job was removed.
wait_for() {
    rounds=0
    until [ -s "$job/$1" ] || [ -s "$job/finished" ] || { [ "$1" != finished ] && [ -e "$job/lost" ]; }; do
        [ -d "$job" ] && [ "$rounds" -lt $(($2 * 20)) ] || return 1
        rounds=$((rounds + 1))
        sleep 0.05 2>/dev/null || sleep 1
    done
}
