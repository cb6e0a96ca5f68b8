# Keep-alives: while a command waits, it sends the client a NUL every 15 seconds. The client can
# then distinguish a slow command from a dead connection.
# shellcheck shell=sh

# start_keepalives: start the background process that prints the NULs, unless it already runs.
# Sets $keepalive_pid to its pid.
start_keepalives() {
    [ -z "${keepalive_pid-}" ] || return 0
    get_start $$
    begun=${start:--}
    find_end_signal
    # Reset the EXIT trap: in bash, the background process would inherit and run it at its end.
    trap - EXIT
    (
        begin_sleeps
        trap 'end_sleep; exit 0' TERM
        while :; do
            sleep_until_signal 15
            # A command that was killed by SIGKILL does not run its EXIT trap, so check that it
            # still runs.
            ! is_gone $$ "$begun" && printf '\0' || exit
        done
    ) &
    keepalive_pid=$!
    # Also run the EXIT trap that a request may have set (`input_end` in wire/requests.py).
    trap 'stop_keepalives; eval "${input_end-}"' EXIT
}

# stop_keepalives: stop the background process, if it runs.
stop_keepalives() {
    [ -n "${keepalive_pid-}" ] || return 0
    end_background "$keepalive_pid"
    keepalive_pid=''
}
