# Waiting for a fact of a job, and keep-alives for a waiting client.
# shellcheck shell=sh

# nap: sleep for 0.2 seconds, or for one second if `sleep` takes no fractions.
nap() {
    sleep 0.2 2>/dev/null || sleep 1
}

# wait_for FACT SECONDS: wait until the job has the fact FACT, has finished, or is lost.
# Returns 1 if SECONDS have passed, or if the job was removed.
wait_for() {
    rounds=0
    until [ -e "$job/$1" ] || [ -e "$job/finished" ] || { [ "$1" != finished ] && [ -e "$job/lost" ]; }; do
        [ -d "$job" ] && [ "$rounds" -lt $(($2 * 20)) ] || return 1
        rounds=$((rounds + 1))
        sleep 0.05 2>/dev/null || sleep 1
    done
}

# keep_talking: start a background process that prints an empty word every 15 seconds,
# so that the client can distinguish a slow command from a dead connection. Sets talker
# to the pid of the background process.
keep_talking() {
    get_start $$
    begun=${start:--}
    (
        pause=''
        trap '[ -z "$pause" ] || kill "$pause" 2>/dev/null; exit 0' TERM
        while :; do
            sleep 15 >/dev/null 2>&1 &
            pause=$!
            wait "$pause"
            # Exit if the command was killed, because a killed command does not run its
            # EXIT trap.
            ! is_gone $$ "$begun" && printf '\0' || exit
        done
    ) &
    talker=$!
    trap stop_talking EXIT
}

# stop_talking: stop the background process of keep_talking.
stop_talking() {
    kill "$talker" 2>/dev/null
    wait "$talker" 2>/dev/null
    return 0
}
