# The runtime for Slurm: sbatch, squeue, scancel; sacct where there is accounting.
# shellcheck shell=sh

# shellcheck source=../../lib/scheduler.sh
. "$here/lib/scheduler.sh"
# shellcheck source=slurm.sh
. "$here/runtimes/slurm/slurm.sh"

directive_marks='#SBATCH'

scheduler_here() { find_program sbatch && slurm_here; }
scheduler_list() { slurm_list; }
scheduler_term() { slurm_term "$1"; }
scheduler_cancel() { slurm_cancel "$1"; }
scheduler_history() { slurm_history "$1"; }
scheduler_own_id() { own_id=${SLURM_JOB_ID-}; }

scheduler_options() {
    set -f
    IFS='
'
    # shellcheck disable=SC2086 # an option a line
    set -- $r_options
    unset IFS
    set +f
    [ -z "$r_account" ] || set -- "-A" "$r_account" "$@"
    [ -z "$r_partition" ] || set -- "-p" "$r_partition" "$@"
    [ -z "$r_walltime" ] || {
        as_clock
        set -- "-t" "$clock" "$@"
    }
    [ -z "$r_gpus" ] || set -- "--gpus-per-node=$r_gpus" "$@"
    [ -z "$r_memory" ] || {
        in_megabytes
        set -- "--mem=${megabytes}M" "$@"
    }
    [ -z "$r_cpus" ] || set -- "--ntasks-per-node=1" "-c" "$r_cpus" "$@"
    [ -z "$r_nodes" ] || set -- "-N" "$r_nodes" "$@"
    options=$(printf '%s\n' "$@")
}

scheduler_submit() {
    log_file
    set -f
    IFS='
'
    # shellcheck disable=SC2086 # an option a line
    set -- $options --parsable -J "$1" --no-requeue -o "$log"
    unset IFS
    set +f
    patiently sbatch "$@" "$job/batch"
}
