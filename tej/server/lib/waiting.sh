# Waiting for a fact of a job, and keep-alives for a waiting client.
# shellcheck shell=sh

# nap: sleep for 0.2 seconds, or for one second if `sleep` takes no fractions.
nap() {
    sleep 0.2 2>/dev/null || sleep 1
}

# wait_for FACT SECONDS: wait until the job has the fact, has finished, or is lost.
# Returns 1 after SECONDS, or if the job is gone.
wait_for() {
    rounds=0
    until [ -e "$job/$1" ] || [ -e "$job/finished" ] || { [ "$1" != finished ] && [ -e "$job/lost" ]; }; do
        [ -d "$job" ] && [ "$rounds" -lt $(($2 * 20)) ] || return 1
        rounds=$((rounds + 1))
        sleep 0.05 2>/dev/null || sleep 1
    done
}

# keep_talking: print an empty word every 15 seconds, so that the client can tell a slow
# command from a dead connection. Sets talker=the pid of the background process.
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
            # Stop if the command was killed: its EXIT trap did not run then.
            ! is_gone $$ "$begun" && printf '\0' || exit
        done
    ) &
    talker=$!
    trap stop_talking EXIT
}

# stop_talking: stop the keep-alives.
stop_talking() {
    kill "$talker" 2>/dev/null
    wait "$talker" 2>/dev/null
    return 0
}
