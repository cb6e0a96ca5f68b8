# wrapper QUEUE ID HERE RUNTIME: run one job, from its start to its recorded end.
# Runs detached, outside the job's own session, so that what ends the job does not end
# the one who has to write it down.

queue=$1 id=$2 here=$3 runtime=$4
. "$here/lib/load.sh"
. "$here/lib/run.sh"
trap '' HUP

# keep_heartbeat TIME: in place, so that nobody finds it empty, even on a full disk.
keep_heartbeat() {
    printf '%s\n' "$1" 1<>"$job/heartbeat"
}

enter_job || exit 0
# Whoever comes second has nothing to do: a job is started once.
mkdir "$job/claim" 2>/dev/null || exit 0
me
# Before anybody can ask for it.
began=$(date +%s)
keep_heartbeat "$began"
if ! put native_id "pid $who" || ! reserve; then
    rm -f "$job/native_id"
    exit 1
fi

# The heartbeat is for other hosts, to whom this one's pids mean nothing; what they ask
# for, they write down.
watch_over() {
    nap='' ending='' over=''
    trap leave TERM
    while is_alive "$1" "$2"; do
        set_span
        sleep "$span" &
        nap=$!
        wait "$nap"
        nap=''
        keep_heartbeat "$(date +%s)"
        [ ! -e "$job/kill" ] || [ -e "$job/finished" ] || obey_kill
        [ "$span" = "$beat" ] || end_in_time
    done
}

# set_span: span=until the next beat, or until the time limit, if that comes first.
set_span() {
    span=$beat
    [ -n "$r_walltime" ] || return 0
    rest=$((began + r_walltime - $(date +%s)))
    [ "$rest" -ge "$beat" ] || span=$((rest > 0 ? rest : 1))
}

# end_in_time: TERM, some time, KILL, if the time limit was reached, as a scheduler does it.
end_in_time() {
    [ $(($(date +%s) - began)) -ge "$r_walltime" ] && [ ! -e "$job/finished" ] || return 0
    as_clock
    [ -e "$job/reason" ] || put reason "$(date +%s) limit the time limit of $clock was reached"
    read_facts
    end_all 10
}

# obey_kill: another host has asked for the end; the command does what is done here.
obey_kill() {
    read_facts
    [ -z "$grace" ] || end_all "$grace"
}

# end_all GRACE: with the script, its other processes, which may need more to end.
end_all() {
    ending=1
    stop_processes "$1"
    ending=''
    [ -z "$over" ] || exit 0
}

# leave: the script is over.
leave() {
    over=1
    [ -z "$nap" ] || kill "$nap" 2>/dev/null
    [ -n "$ending" ] || exit 0
}

read_resources
get_start $$
watch_over $$ "$start" &
watcher=$!

# run_job: end=how it ended; empty if nobody saw it.
run_job() {
    tej_session=''
    ! command -v setsid >/dev/null 2>&1 || tej_session=setsid
    prepare_run
    run_in_awk
    [ -n "$end" ] || [ -e "$job/started" ] || run_in_shell
}

if [ -e "$job/kill" ]; then end='none 0'; else run_job; fi
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
[ -n "$end" ] || exit 1
! has_not_begun || {
    runtime_tend
    exit 1
}

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
    read_spec
    [ -n "$spec" ] || exit 1
    sleep 5
done
runtime_tend
wait
