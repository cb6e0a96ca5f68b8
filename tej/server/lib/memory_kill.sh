# Processes of a job that the kernel killed because of the memory limit of the job. The
# script can survive the death of such a process, and exit with 0. The kernel counts the
# killed processes of each control group (cgroup), and Slurm and PBS create a cgroup for
# each job.
# shellcheck shell=sh

cgroup_list=/proc/self/cgroup cgroup_root=/sys/fs/cgroup

# note_memory_kill: if the script ended by itself, but the kernel killed a process of the
# job because of the memory limit, write the job's file `reason`, so that the job does not count
# as successful.
note_memory_kill() {
    [ -z "$sigterm_time" ] && [ ! -e "$job/kill" ] || return 0
    count_memory_kills
    [ "$memory_kills" = 0 ] ||
        put reason "$(date +%s) limit $runtime: memory limit (killed processes: $memory_kills)"
}

# count_memory_kills: set $memory_kills to the number of processes that the kernel killed in
# the cgroup of the job in which this shell runs, or to 0 if the job has no cgroup of its
# own. The count of another cgroup, such as the cgroup of the scheduler's daemon, would
# include processes of other jobs.
count_memory_kills() {
    memory_kills=0 job_number=${SLURM_JOB_ID:-${own_id%%[!0-9]*}}
    [ -n "$job_number" ] && [ -r "$cgroup_list" ] || return 0
    while IFS=: read -r _ controllers cgroup; do
        case ",$controllers," in
            # cgroup version 2 has one hierarchy, and version 1 has one for each controller.
            ,,) add_memory_kills "$cgroup_root" memory.events ;;
            *,memory,*) add_memory_kills "$cgroup_root/memory" memory.oom_control ;;
        esac
    done <"$cgroup_list"
}

# add_memory_kills ROOT FILE: add the count in FILE of $cgroup to $memory_kills. If $cgroup
# has no FILE, reads FILE of the next parent that belongs to the job.
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
