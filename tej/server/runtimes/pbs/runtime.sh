# The runtime for PBS: OpenPBS and PBS Pro, Torque, and Slurm's look-alike of Torque.
# Which of them it is was found out at setup: openpbs, torque or wrapper.  Behind the
# look-alike it is Slurm that is asked.
# shellcheck shell=sh

# shellcheck source=../../lib/scheduler.sh
. "$here/lib/scheduler.sh"
# shellcheck source=qstat.sh
. "$here/runtimes/pbs/qstat.sh"
# shellcheck source=../slurm/slurm.sh
. "$here/runtimes/slurm/slurm.sh"

read_setup dialect
dialect=$noted
case $dialect in
    wrapper) directive_marks='#PBS #SBATCH' ;;
    *) directive_marks='#PBS' ;;
esac

# scheduler_here HOW: with `auto`, Slurm is left to its own runtime.
scheduler_here() {
    find_program qsub && find_program qstat || return 1
    [ "${1-}" != auto ] || ! find_program sbatch || return 1
    find_dialect || return
    note_setup dialect "$dialect"
    case $dialect in
        wrapper)
            slurm_here || {
                [ $? = 2 ] || printf '%s\n' "The qsub here is Slurm's, whose own commands are missing"
                return 2
            }
            return
            ;;
        *) ! patiently qstat -B >/dev/null 2>&1 </dev/null || return 0 ;;
    esac
    printf '%s\n' "PBS ($dialect) is installed, but its server does not answer"
    return 2
}

# find_dialect: dialect=that of this qsub; 1 if it is Grid Engine's, which has a runtime of
# its own; or words, and 2.
find_dialect() {
    words=$(patiently qsub --version </dev/null 2>&1)
    case $words in
        *pbs_version*) dialect=openpbs ;;
        *[Vv]ersion:\ [0-9]*) dialect=torque ;;
        *'Unknown option: version'*) dialect=wrapper ;;
        *'invalid option argument "--version"'*) return 1 ;;
        *)
            printf '%s\n' "The qsub here is of an unknown kind, which tej cannot use"
            return 2
            ;;
    esac
}

scheduler_listed_all() { [ "$dialect" = wrapper ]; }

scheduler_list() {
    if [ "$dialect" = wrapper ]; then slurm_list; else qstat_list "$@"; fi
}

scheduler_own_id() { own_id=${PBS_JOBID:-${SLURM_JOB_ID-}}; }

# What one of these has in it that a shell would read, the wrapper would have it read.
scheduler_options() {
    case $dialect$r_options$r_partition$r_account in
        wrapper*[!A-Za-z0-9_.,:=@%+/'
'-]*)
            why="a scheduler option with other characters than letters, digits and _.,:=@%+/- is not passed on to qsub"
            return 1
            ;;
    esac
    options=$r_options
    [ -z "$r_account" ] || options="-A
$r_account
$options"
    [ -z "$r_partition" ] || options="-q
$r_partition
$options"
    list=''
    [ -z "$r_nodes$r_cpus$r_memory$r_gpus" ] || list_chunks
    [ -z "$r_walltime" ] || {
        as_clock
        list="$list,walltime=$clock"
    }
    [ -z "$list" ] || options="-l
${list#,}
$options"
}

# list_chunks: list=what is wanted of the nodes.
list_chunks() {
    [ -z "$r_memory" ] || in_megabytes
    if [ "$dialect" = openpbs ]; then
        list=",select=${r_nodes:-1}:ncpus=${r_cpus:-1}${r_memory:+:mem=${megabytes}mb}${r_gpus:+:ngpus=$r_gpus}"
        return
    fi
    list=",nodes=${r_nodes:-1}:ppn=${r_cpus:-1}${r_gpus:+:gpus=$r_gpus}"
    [ -z "$r_memory" ] || {
        # Torque's is for the whole job.
        [ "$dialect" = wrapper ] || megabytes=$((megabytes * ${r_nodes:-1}))
        list="$list,mem=${megabytes}mb"
    }
}

scheduler_submit() {
    log_file
    set -f
    IFS='
'
    # shellcheck disable=SC2086 # an option a line
    set -- $options -N "$1" -r n -m n -j oe -o "$log"
    unset IFS
    set +f
    [ "$dialect" = wrapper ] || set -- "$@" -S /bin/sh
    # A path might have in it what the wrapper's shell would read.
    cd "$job" && patiently qsub "$@" batch
}

scheduler_term() {
    if [ "$dialect" = wrapper ]; then
        slurm_term "$1"
    elif command -v qsig >/dev/null 2>&1; then
        patiently qsig -s SIGTERM "$1"
    else
        return 1
    fi
}

scheduler_cancel() {
    if [ "$dialect" = wrapper ]; then slurm_cancel "$1"; else patiently qdel "$1"; fi
}

scheduler_history() {
    [ "$dialect" = wrapper ] && slurm_history "$1"
}
