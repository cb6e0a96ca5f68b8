# Slurm runtime: sbatch, squeue and scancel; also sacct if accounting is enabled.
# shellcheck shell=sh

# shellcheck source=../../lib/scheduler.sh
. "$here/lib/scheduler.sh"
# shellcheck source=commands.sh
. "$here/runtimes/slurm/commands.sh"

directive_marks='#SBATCH'

scheduler_here() { find_program sbatch && slurm_here; }
scheduler_list() { slurm_list "$@"; }
scheduler_listed_all() { slurm_listed_all "$@"; }
scheduler_term() { slurm_term "$1"; }
scheduler_cancel() { slurm_cancel "$1"; }
scheduler_history() { slurm_history "$1"; }
scheduler_has() { slurm_has "$1"; }
scheduler_node_down() { slurm_node_down "$@"; }
scheduler_report() { slurm_report "$1"; }
scheduler_own_id() { slurm_own_id; }

task_variable=SLURM_ARRAY_TASK_ID task_pattern=%a

scheduler_options() {
    # If the file `clusters` could not be read, a job for another cluster would go to the
    # cluster of the queue.
    [ -z "${has_waited-}" ] || [ ! -f "$job/clusters" ] || { names_cluster && [ -n "$user_clusters" ]; } || {
        why="its file 'clusters' is damaged or cannot be read"
        return 1
    }
    options=$r_options
    [ -z "$r_account" ] || prepend -A "$r_account"
    [ -z "$r_partition" ] || prepend -p "$r_partition"
    [ -z "$r_qos" ] || prepend "--qos=$r_qos"
    [ -z "$r_constraint" ] || prepend -C "$r_constraint"
    [ -z "$r_reservation" ] || prepend "--reservation=$r_reservation"
    [ -z "$r_exclusive" ] || prepend --exclusive
    [ -z "$r_priority" ] || prepend "--nice=$((-r_priority))"
    [ -z "$r_mail" ] || slurm_mail
    [ -z "$r_begin" ] || slurm_begin
    [ -z "$r_walltime" ] || {
        as_clock
        prepend -t "$clock"
    }
    [ -z "$r_gpus" ] || prepend "--gpus-per-node=${r_gpu_type:+$r_gpu_type:}$r_gpus"
    slurm_memory
    [ -z "$r_cpus" ] || prepend -c "$r_cpus"
    [ -z "$r_tasks_per_node" ] || prepend "--ntasks-per-node=$r_tasks_per_node"
    [ -z "$r_tasks" ] || prepend -n "$r_tasks"
    [ -z "$r_nodes" ] || prepend -N "$r_nodes"
    case $r_requeue in
        1) prepend --requeue ;;
        0) prepend --no-requeue ;;
        *) is_requested --requeue --no-requeue || prepend --no-requeue ;;
    esac
    # A name that tej selects is not an option, so jobs with different names can share an array.
    default_name=''
    if [ -n "$r_name" ]; then
        prepend -J "$r_name"
    else
        is_requested -J --job-name || default_name=${r_default_name:-$lookup_name}
    fi
}

# scheduler_array_limit: set $array_limit from MaxArraySize. 0 means that the site permits no
# arrays.
scheduler_array_limit() {
    array_limit=$(patiently scontrol show config 2>/dev/null </dev/null | sed -n 's/^MaxArraySize *= *//p')
    is_number "$array_limit"
}

# slurm_memory: add --mem or --mem-per-cpu to the options. sbatch refuses both together, so
# conflicting directives of the script are removed.
slurm_memory() {
    if [ -n "$r_memory" ]; then
        in_megabytes "$r_memory"
        prepend "--mem=${megabytes}M"
        replaced='--mem-per-cpu --mem-per-gpu'
    elif [ -n "$r_memory_per_cpu" ]; then
        in_megabytes "$r_memory_per_cpu"
        prepend "--mem-per-cpu=${megabytes}M"
        replaced='--mem --mem-per-gpu'
    fi
}

slurm_mail() {
    events=$(printf '%s' "$r_mail_on" | LC_ALL=C tr '[:lower:]' '[:upper:]')
    prepend "--mail-user=$r_mail" "--mail-type=$events"
}

slurm_begin() {
    set_begin
    time=${begin#????????}
    date=${begin%??????}
    day=${date#????}
    prepend "--begin=${date%????}-${day%??}-${day#??}T${time%????}:$(printf '%.2s' "${time#??}"):${time#????}"
}

runtime_defer() {
    ! names_cluster || [ -z "$user_clusters" ] || put clusters "$user_clusters" || {
        why="cannot write to '$job'"
        return 1
    }
}

scheduler_submit() {
    # Submit the batch script under the name $1. If the reply of sbatch is lost, tej finds the
    # job by this name, because squeue shows the path of the batch script. Users cannot change
    # this path.
    ln -f "$job/batch" "$job/$1" 2>/dev/null || cp "$job/batch" "$job/$1" || return 1
    name_there=$1
    split_lines
    # shellcheck disable=SC2086 # split into options
    set -- $options --parsable -o "$log" -e "$log" -i /dev/null
    end_split
    if names_cluster; then
        # An option -M of the user comes later, and takes precedence.
        [ -z "$user_clusters" ] || set -- -M "$user_clusters" "$@"
    else
        # This program may run in a job on another cluster, so select the queue's cluster.
        set_cluster '' || {
            printf '%s\n' "Slurm's controller does not answer" >&2
            return 1
        }
        [ -z "$cluster" ] || set -- -M "$cluster" "$@"
    fi
    [ -z "$default_name" ] || set -- "$@" -J "$default_name"
    [ -z "$array_tasks" ] || set -- "$@" "--array=$array_tasks"
    patiently sbatch "$@" "$job/$name_there"
}
