# wrapper QUEUE ID HERE RUNTIME: run one job, from its start to its recorded end.
# Runs detached, outside the job's own session, so that what ends the job does not end
# the one who has to write it down.

queue=$1 id=$2 here=$3 runtime=$4
. "$here/lib/load.sh"
job=$jobs/$id
trap '' HUP

# Whoever comes second has nothing to do: a job is started once.
mkdir "$job/claim" 2>/dev/null || exit 0
me
if ! put native_id "pid $who" || ! reserve; then
    rm -f "$job/native_id"
    exit 1
fi

# The heartbeat is for other hosts, to whom this one's pids mean nothing; what they ask
# for, they write down.
watch_over() {
    nap=''
    trap '[ -z "$nap" ] || kill "$nap" 2>/dev/null; exit 0' TERM
    while is_alive "$1" "$2"; do
        sleep "$beat" &
        nap=$!
        wait "$nap"
        printf '%s\n' "$(date +%s)" >"$job/heartbeat"
        [ ! -e "$job/kill" ] || [ -e "$job/finished" ] || obey_kill
    done
}

# obey_kill: another host has asked for the end; the command does what is done here.
obey_kill() {
    read_facts
    [ -z "$grace" ] || stop_processes "$grace"
}

printf '%s\n' "$(date +%s)" >"$job/heartbeat"
get_start $$
watch_over $$ "$start" &
watcher=$!

# run_job: end=`exit N` or `signal N`; empty if nobody saw it.
run_job() {
    tej_session='' tej_here=$here tej_queue=$queue tej_id=$id
    ! command -v setsid >/dev/null 2>&1 || tej_session=setsid
    # shellcheck disable=SC2016,SC2089 # for another shell
    tej_run='exec $tej_session /bin/sh "$tej_here/leader.sh" >/dev/null'
    # shellcheck disable=SC2090
    export tej_session tej_here tej_queue tej_id tej_run
    run_in_awk
    [ -n "$end" ] || [ -e "$job/started" ] || run_in_shell
}

# run_in_awk: most shells cannot tell `exit 143` from a SIGTERM; most awks can: their
# system() gives 256 or 512 and the signal, in old ones a fraction of 256.  One that gives
# nothing at all (busybox) runs nothing.
run_in_awk() {
    end=$(awk '
        BEGIN {
            if (system("kill -s TERM $$") == 0) exit
            status = system(ENVIRON["tej_run"])
            if (status != int(status)) print "signal", int((status - int(status)) * 256 + .5) % 128
            else if (status >= 512) print "signal", status - 512
            else if (status >= 256) print "signal", status - 256
            else print "exit", status
        }' 2>/dev/null)
}

# run_in_shell: a shell that cannot tell by the status says "Terminated" and the like.
run_in_shell() {
    words=$(
        { /bin/sh -c "$tej_run"; } 2>&1
        printf '=%s' $?
    )
    status=${words##*=}
    if [ "$status" -gt 384 ]; then
        end="signal $((status - 384))"
    elif [ "$status" -gt 256 ]; then
        end="signal $((status - 256))"
    elif [ "$status" -gt 128 ] && [ "$words" != "=$status" ]; then
        end="signal $((status - 128))"
    else
        end="exit $status"
    fi
}

if [ -e "$job/kill" ]; then end='none 0'; else run_job; fi
kill "$watcher" 2>/dev/null
[ -n "$end" ] || exit 1

# What the script left running is counted; `status` looks again, `kill` still reaches it.
left=0
if [ -f "$job/started" ]; then
    read_facts
    count_processes
    left=${left:-0}
fi
if [ -e "$job/kill" ]; then whose=killed; else whose=own; fi
ended=$(date +%s)
# A full disk may keep even a rename from happening; this is the one word that must not
# be lost, so it is said until it is heard.
until put_reserved finished "$ended" "$end" "$whose" "$left"; do
    [ -d "$job" ] || exit 1
    sleep 5
done
runtime_tend
wait
