# Keep-alives: while a command waits, the client regularly receives an empty word (a NUL), so that
# the client can distinguish a slow command from a dead connection.
# shellcheck shell=sh

# start_keepalives: start a background process that prints an empty word every 15 seconds. Sets
# $keepalive_pid to the pid of the background process. Does nothing if the background process
# already runs.
start_keepalives() {
    [ -z "${keepalive_pid-}" ] || return 0
    get_start $$
    begun=${start:--}
    find_end_signal
    (
        begin_sleeps
        trap 'end_sleep; exit 0' TERM
        while :; do
            sleep_until_signal 15
            # Exit if the command was killed, because a killed command does not run its
            # EXIT trap.
            ! is_gone $$ "$begun" && printf '\0' || exit
        done
    ) &
    keepalive_pid=$!
    trap stop_keepalives EXIT
}

# stop_keepalives: stop the background process of start_keepalives, if it runs.
stop_keepalives() {
    [ -n "${keepalive_pid-}" ] || return 0
    end_background "$keepalive_pid"
    keepalive_pid=''
}
