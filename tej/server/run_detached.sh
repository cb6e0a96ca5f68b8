# Wrapper of a job under the default runtime: run_detached.sh QUEUE ID HERE RUNTIME. The
# wrapper runs the job's script and records its start, heartbeat and exit status. The
# wrapper runs outside the job's session, so that a signal to the job's session does not
# end the wrapper.

queue=$1 id=$2 here=$3 runtime=$4
. "$here/lib/load.sh"
. "$here/lib/run.sh"
trap '' HUP

# report_failure: EXIT trap for a shell that ends before the script has started. Most
# shells exit when fork fails, so this function uses builtins only.
report_failure() {
    [ -e "$job/started" ] || [ -e "$job/finished" ] || [ -e "$job/lost" ] ||
        printf '%s\n' "${now:-0} its wrapper could not be run: can this account start more processes (ulimit -u)?" >"$job/lost"
}

enter_job || exit 0
# Only one wrapper can start the job, because `mkdir` is atomic and only one wrapper can
# create the directory `claim`.
mkdir "$job/claim" 2>/dev/null || exit 0
get_time
me
is_wrapper=1
get_uptime
began=$uptime
trap report_failure EXIT
# Write the heartbeat before `native_id`: once the job has a native id, clients check its
# heartbeat.
write_heartbeat
if ! put native_id "pid $who" || ! reserve; then
    rm -f "$job/native_id"
    exit 1
fi

# before_heartbeat: set span to the seconds until the next heartbeat or, if earlier,
# until the time limit. The time limit is measured in uptime, because a change of the
# clock must not end a job.
before_heartbeat() {
    span=$heartbeat_interval
    [ -n "$r_walltime" ] || return 0
    get_uptime
    rest=$((began + r_walltime - uptime))
    [ "$rest" -ge "$span" ] || span=$((rest > 0 ? rest : 1))
}

# after_heartbeat: act on a `kill` requested from another host, and enforce the time
# limit.
after_heartbeat() {
    [ ! -e "$job/kill" ] || [ -e "$job/finished" ] || obey_kill
    [ -z "$r_walltime" ] || end_in_time
}

# end_in_time: if the time limit is reached, send SIGTERM and, ten seconds later, SIGKILL,
# as a scheduler does.
end_in_time() {
    get_uptime
    [ $((uptime - began)) -ge "$r_walltime" ] && [ ! -e "$job/finished" ] || return 0
    as_clock
    [ -e "$job/reason" ] || put reason "$(date +%s) limit the time limit of $clock was reached"
    read_facts
    stop_processes 10
}

# obey_kill: stop all processes of the job, including processes that outlive the script.
obey_kill() {
    read_facts
    [ -z "$grace" ] || stop_processes "$grace"
}

# after_wrapper: called by the heartbeat process when the wrapper was killed. Returns 0
# if the job still has processes: then the heartbeat continues, because other hosts see
# only the heartbeat. If the job has no processes, derives the state of the job and
# returns 1.
after_wrapper() {
    read_facts
    [ ! -e "$job/finished" ] && [ -n "$started" ] && has_processes && return 0
    now=''
    derive_state
    announce_end
    tend_queue
    return 1
}

read_resources
start_heartbeat

# run_job: run the job's script. Sets end=`exit N` or `signal N`; end is empty if the exit
# status is unknown.
run_job() {
    find_session_program
    prepare_run
    run_in_awk
    [ -n "$end" ] || [ -e "$job/started" ] || run_in_shell
}

unready=''
if [ -e "$job/kill" ]; then
    end='none 0'
elif take_inputs; then
    run_job
else
    end='none 0' unready=1
fi
trap - EXIT
stop_heartbeat
now=''
[ -n "$end" ] || exit 1
[ -n "$unready" ] || ! has_not_begun || {
    tend_queue
    exit 1
}

# Count the processes that the script left running. `status` counts them again later, and
# `kill` can still signal them.
left=0
if [ -f "$job/started" ]; then
    read_facts
    count_processes
    left=${left:-0}
fi
set_whose
ended=$(date +%s)
# On a full disk even a rename can fail. Retry until `finished` is written, because the
# exit status must not be lost.
until put_reserved finished "$ended" "$end" "$whose" "$left"; do
    read_spec
    [ -n "$spec" ] || exit 1
    write_heartbeat
    sleep 5
done
read_facts
announce_end
runtime_tend
start_jobs_after "$id"
wait
