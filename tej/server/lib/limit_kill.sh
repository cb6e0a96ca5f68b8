# Detects processes of a job that the kernel killed at the job's limit of memory or CPU time.
#
# The job's script can survive a kill at the memory limit and exit with 0. Slurm and PBS run each
# job in a control group (cgroup), in which the kernel counts the killed processes.
#
# No scheduler reports a kill at the limit of CPU time of a process (ulimit -t). PBS sets this limit
# for cput, and Grid Engine for h_cpu. Slurm sets the limit of the host that submits the job.
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

# note_cpu_kill: if the script was killed, and its processes have used as much CPU time as one
# process may use, write the job's file `reason`. The processes of a parallel job together may
# use more than the limit. In this case, another cause is possible, and nothing is written.
note_cpu_kill() {
    case $end in 'signal 9' | 'signal 24' | 'exit 137' | 'exit 152') ;; *) return 0 ;; esac
    [ -z "$sigterm_time" ] && [ ! -e "$job/kill" ] && [ ! -e "$job/reason" ] || return 0
    # shellcheck disable=SC3045 # all shells that tej supports have -t
    cpu_limit=$(ulimit -t 2>/dev/null)
    is_number "$cpu_limit" || return 0
    # `times` counts only processes that have been waited for.
    wait "$runner" 2>/dev/null
    # In $(...), `times` would print the times of the subshell. The redirection belongs to the
    # braces: if the file cannot be opened, a redirection of a special builtin ends the shell.
    { { times; } >"$job/.times"; } 2>/dev/null || return 0
    read_cpu_time
    rm -f "$job/.times"
    # The kernel may count the time of a process in another way than `times`.
    is_number "$cpu_time" && [ "$cpu_time" -ge $((cpu_limit - cpu_limit / 20)) ] && [ "$cpu_time" -le $((cpu_limit + cpu_limit / 20 + 2)) ] || return 0
    put reason "$(date +%s) limit $runtime: limit of CPU time (ulimit -t: $cpu_limit)"
}

# read_cpu_time: set $cpu_time to the CPU time of the children of this shell in seconds, from the
# output of `times` in the file .times.
read_cpu_time() {
    cpu_time=$(LC_ALL=C awk 'NR == 2 {
        gsub(/,/, ".") # the decimal mark of the locale
        split($1 $2, part, /[ms]/)
        printf "%.0f", (part[1] + part[3]) * 60 + part[2] + part[4]
    }' "$job/.times")
}
