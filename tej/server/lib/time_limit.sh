# Time limit (`--walltime`) of a job under the default runtime. Schedulers enforce their own
# time limits.
# shellcheck shell=sh

# enforce_time_limit: at the time limit, send SIGTERM and, ten seconds later, SIGKILL.
enforce_time_limit() {
    get_uptime
    [ $((uptime - began)) -ge "$r_walltime" ] && [ ! -s "$job/finished" ] || return 0
    as_clock
    [ -e "$job/reason" ] || put reason "$(date +%s) limit the time limit of $clock was reached"
    read_facts
    stop_processes 10
}
