# Slurm's commands for checks, kills and reports. The PBS runtime also uses this file if qsub is
# Slurm's wrapper. Slurm's wrappers of qstat and qdel report less, and some fail: in Slurm
# 24.11, qstat aborts at the first running job.
# shellcheck shell=sh

# shellcheck source=clusters.sh
. "$here/runtimes/slurm/clusters.sh"
# shellcheck source=job_states.sh
. "$here/runtimes/slurm/job_states.sh"

# slurm_here: return 0 if Slurm answers, and 1 if Slurm is not installed. If Slurm does not
# answer, prints a message and returns 2.
slurm_here() {
    find_program scontrol && find_program squeue && find_program scancel || return 1
    # The recorded SLURM_CONF may be outdated, so read it from a login shell again.
    if is_controller_up || { read_setup SLURM_CONF && [ "${SLURM_CONF-}" = "$noted" ] &&
        find_variables SLURM_CONF && is_controller_up; }; then
        [ -n "$own_cluster" ] || ! find_local_cluster || note_setup cluster "$local_cluster"
        return 0
    fi
    printf '%s\n' "Slurm is installed, but its controller does not answer"
    return 2
}

# is_controller_up: check whether Slurm's controller answers. If it is down, `scontrol ping`
# fails at once, but squeue only after ten seconds or more.
is_controller_up() {
    case $(patiently scontrol ping 2>/dev/null </dev/null) in *' is UP'* | *' UP/'* | *'/UP'*) : ;; *) return 1 ;; esac
}

# slurm_term ID: send SIGTERM to all processes of the job. While a job is suspended, scancel
# repeats the request for a long time, so it gets only 20 seconds. One request to the controller
# may take 10 seconds (the default of MessageTimeout).
slurm_term() (
    command_timeout=20
    on_cluster "$1" scancel --full -s TERM
)

slurm_cancel() {
    on_cluster "$1" scancel
}

# slurm_own_id: set $own_id to the id of the job in which this function runs, in sbatch's
# format.
slurm_own_id() {
    [ -z "${array-}" ] || {
        own_id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
        return
    }
    own_id=${SLURM_HET_JOB_ID:-${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID-}}}
    [ -z "${by_cluster-}" ] || own_id="$own_id${SLURM_CLUSTER_NAME:+;$SLURM_CLUSTER_NAME}"
}

# slurm_report ID: print what Slurm's accounting and its controller report about the job. The
# controller forgets a job a few minutes after its end.
slurm_report() {
    print_report sacct on_cluster "$1" sacct -D -o \
        'jobid%-18,jobname%-20,state%-24,exitcode,elapsed,timelimit,reqmem,maxrss,nodelist%-24' -j
    print_report 'scontrol show job' on_cluster "$1" scontrol -a show job
}
