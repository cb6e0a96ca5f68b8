# Detects processes of a job that the kernel killed at the job's memory limit. The job's script
# can survive such a kill and exit with 0. Slurm and PBS run each job in a control group
# (cgroup), in which the kernel counts the killed processes.
# shellcheck shell=sh

cgroup_list=/proc/self/cgroup cgroup_root=/sys/fs/cgroup

# note_memory_kill: if the kernel killed a process of the job, write the job's file `reason`.
# The job then does not count as successful. Does nothing if SIGTERM or a kill ended the script.
note_memory_kill() {
    [ -z "$sigterm_time" ] && [ ! -e "$job/kill" ] || return 0
    count_memory_kills
    [ "$memory_kills" = 0 ] ||
        put reason "$(date +%s) limit $runtime: memory limit (killed processes: $memory_kills)"
}

# count_memory_kills: set $memory_kills to the number of killed processes in the job's cgroup,
# or to 0 if the job has no cgroup of its own. Any other cgroup, such as the cgroup of the
# scheduler's daemon, also counts the processes of other jobs.
count_memory_kills() {
    memory_kills=0 job_number=${SLURM_JOB_ID:-${own_id%%[!0-9]*}}
    [ -n "$job_number" ] && [ -r "$cgroup_list" ] || return 0
    while IFS=: read -r _ controllers cgroup; do
        case ",$controllers," in
            # cgroup version 2 has one hierarchy. Version 1 has one for each controller.
            ,,) add_memory_kills "$cgroup_root" memory.events ;;
            *,memory,*) add_memory_kills "$cgroup_root/memory" memory.oom_control ;;
        esac
    done <"$cgroup_list"
}

# add_memory_kills ROOT FILE: add the count in FILE of $cgroup to $memory_kills. If $cgroup has
# no FILE, uses the nearest parent cgroup of the same job that has a FILE.
add_memory_kills() {
    while :; do
        case "$cgroup/" in */job_"$job_number"/* | */"$job_number".*) ;; *) return 0 ;; esac
        [ ! -r "$1$cgroup/$2" ] || break
        cgroup=${cgroup%/*}
    done
    while read -r name value; do
        [ "$name" != oom_kill ] || memory_kills=$((memory_kills + value))
    done <"$1$cgroup/$2"
}
