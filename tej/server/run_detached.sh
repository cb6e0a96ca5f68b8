# Wrapper of a job of the default runtime: QUEUE ID HERE RUNTIME.  Runs the job's script and
# records its start, heartbeat and end.  It is outside the job's own session, so that what
# ends the job does not end the process that has to record it.

queue=$1 id=$2 here=$3 runtime=$4
. "$here/lib/load.sh"
. "$here/lib/run.sh"
trap '' HUP

# report_failure: this shell ends before the script has begun; most shells do when no process
# can be started.  So this uses builtins alone.
report_failure() {
    [ -e "$job/started" ] || [ -e "$job/finished" ] || [ -e "$job/lost" ] ||
        printf '%s\n' "${now:-0} its wrapper could not be run: can this account start more processes (ulimit -u)?" >"$job/lost"
}

enter_job || exit 0
# A job is started once: by the wrapper that makes this directory.
mkdir "$job/claim" 2>/dev/null || exit 0
get_time
me
is_wrapper=1
get_uptime
began=$uptime
trap report_failure EXIT
# The first heartbeat comes before the native id, with which others begin to ask for it.
write_heartbeat
if ! put native_id "pid $who" || ! reserve; then
    rm -f "$job/native_id"
    exit 1
fi

# before_heartbeat: sleep until the next heartbeat, or until the time limit if that comes
# first.  The limit counts uptime: nobody's job ends because a clock was set.
before_heartbeat() {
    span=$heartbeat_interval
    [ -n "$r_walltime" ] || return 0
    get_uptime
    rest=$((began + r_walltime - uptime))
    [ "$rest" -ge "$span" ] || span=$((rest > 0 ? rest : 1))
}

# after_heartbeat: what other hosts ask for, they write down; here it is done.
after_heartbeat() {
    [ ! -e "$job/kill" ] || [ -e "$job/finished" ] || obey_kill
    [ -z "$r_walltime" ] || end_in_time
}

# end_in_time: TERM, ten seconds, KILL, if the time limit was reached, as a scheduler does it.
end_in_time() {
    get_uptime
    [ $((uptime - began)) -ge "$r_walltime" ] && [ ! -e "$job/finished" ] || return 0
    as_clock
    [ -e "$job/reason" ] || put reason "$(date +%s) limit the time limit of $clock was reached"
    read_facts
    stop_processes 10
}

# obey_kill: end the script and its other processes, which may outlive the script.
obey_kill() {
    read_facts
    [ -z "$grace" ] || stop_processes "$grace"
}

# after_wrapper: the wrapper was killed.  Other hosts know of the job by its heartbeat alone,
# so it goes on while the job has processes.
after_wrapper() {
    read_facts
    [ ! -e "$job/finished" ] && [ -n "$started" ] && has_processes && return 0
    now=''
    derive_state
    runtime_tend
    return 1
}

read_resources
start_heartbeat

# run_job: end=how it ended; empty if nobody saw it.
run_job() {
    find_session_program
    prepare_run
    run_in_awk
    [ -n "$end" ] || [ -e "$job/started" ] || run_in_shell
}

if [ -e "$job/kill" ]; then end='none 0'; else run_job; fi
trap - EXIT
stop_heartbeat
now=''
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
# A full disk may keep even a rename from happening; the end must not be lost, so this is
# tried until it succeeds.
until put_reserved finished "$ended" "$end" "$whose" "$left"; do
    read_spec
    [ -n "$spec" ] || exit 1
    write_heartbeat
    sleep 5
done
runtime_tend
wait
