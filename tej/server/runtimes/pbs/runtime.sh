# PBS runtime, for three kinds of qsub (the queue's property `dialect`): openpbs (OpenPBS and
# PBS Pro), torque, and wrapper (Slurm's replacement for the commands of Torque). With the
# wrapper, all queries use Slurm's own commands.
# shellcheck shell=sh

# shellcheck source=../../lib/scheduler.sh
. "$here/lib/scheduler.sh"
# shellcheck source=job_states.sh
. "$here/runtimes/pbs/job_states.sh"
# shellcheck source=../slurm/commands.sh
. "$here/runtimes/slurm/commands.sh"

# Variables that select the PBS server.
variables='PBS_CONF_FILE PBS_DEFAULT PBS_SERVER'
# shellcheck disable=SC2086 # split into names
load_variables $variables
read_setup dialect
dialect=$noted
case $dialect in
    wrapper) directive_marks='#PBS #SBATCH' ;;
    *) directive_marks='#PBS' ;;
esac
scheduler=PBS

# scheduler_here [auto]: check whether PBS is installed and answers. With `auto`, Slurm takes
# precedence over PBS.
scheduler_here() {
    find_program qsub && find_program qstat || return 1
    [ "${1-}" != auto ] || ! find_program sbatch || return 1
    find_dialect || return
    note_setup dialect "$dialect"
    case $dialect in
        wrapper)
            slurm_here || {
                [ $? = 2 ] || printf '%s\n' "The qsub on this server is Slurm's, but Slurm's own commands are missing"
                return 2
            }
            return
            ;;
        *)
            ! is_server_up || return 0
            # shellcheck disable=SC2086 # split into names
            [ -n "${PBS_CONF_FILE-}${PBS_DEFAULT-}${PBS_SERVER-}" ] ||
                ! find_variables $variables || ! is_server_up || return 0
            ;;
    esac
    printf '%s\n' "PBS ($dialect) is installed, but its server does not answer"
    return 2
}

# is_server_up: check whether the PBS server answers.
is_server_up() { patiently qstat -B >/dev/null 2>&1 </dev/null; }

# find_dialect: set $dialect to the kind of the installed qsub. Returns 1 for the qsub of Grid
# Engine, which has its own runtime. For an unknown qsub, prints a message and returns 2.
find_dialect() {
    qsub_version=$(patiently qsub --version </dev/null 2>&1)
    case $qsub_version in
        *pbs_version*) dialect=openpbs ;;
        *[Vv]ersion:\ [0-9]*) dialect=torque ;;
        *'Unknown option: version'*) dialect=wrapper ;;
        *'invalid option argument "--version"'*) return 1 ;;
        *)
            printf '%s\n' "The qsub on this server belongs to an unknown scheduler, which tej cannot use"
            return 2
            ;;
    esac
}

scheduler_listed_all() { [ "$dialect" = wrapper ] && slurm_listed_all "$@"; }

scheduler_list() {
    if [ "$dialect" = wrapper ]; then slurm_list "$@"; else qstat_list "$@"; fi
}

scheduler_own_id() {
    own_id=${PBS_JOBID-}
    [ -n "$own_id" ] || slurm_own_id
}

scheduler_options() {
    # The qsub of Slurm passes its arguments through a shell, so special characters are refused.
    case $dialect$r_options$r_partition$r_account$r_mail in
        wrapper*[!A-Za-zIi0-9_.,:=@%+/'
'-]*)
            why="tej passes scheduler options to Slurm's qsub only if they consist of letters, digits and _.,:=@%+/-"
            return 1
            ;;
    esac
    refuse_resources gpu_type qos constraint reservation || return 1
    options=$r_options
    [ -z "$r_account" ] || prepend -A "$r_account"
    [ -z "$r_partition" ] || prepend -q "$r_partition"
    [ -z "$r_priority" ] || prepend -p "$r_priority"
    [ -z "$r_begin" ] || {
        set_begin
        prepend -a "${begin%??}.${begin#????????????}"
    }
    list=''
    [ -z "$r_nodes$r_tasks$r_tasks_per_node$r_cpus$r_memory$r_memory_per_cpu$r_gpus" ] || {
        list_chunks || return 1
        # These resources are removed from the script's directives, in both forms (select=...
        # and nodes=...).
        replaced_list='select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads'
    }
    [ -z "$r_exclusive" ] || exclude_others || return 1
    [ -z "$r_walltime" ] || {
        as_clock
        list="$list,walltime=$clock"
    }
    [ -z "$list" ] || prepend -l "${list#,}"
    mail_and_rerun
    name_job
}

# exclude_others: request that no other job runs on the nodes of this job (--exclusive).
exclude_others() {
    case $dialect in
        openpbs)
            add_select || return 1
            list="$list,place=excl" replaced_list="$replaced_list place"
            ;;
        torque) prepend -n ;;
        *)
            why="Slurm's qsub cannot request nodes for one job alone: use --runtime slurm"
            return 1
            ;;
    esac
}

# add_select: add select=... to $list, unless $list or the script contains it. OpenPBS accepts
# `place` only with `select`, and `select` only without the older form (nodes=1:ppn=2).
add_select() {
    case $list in *select=*) return 0 ;; esac
    ! is_listed select || return 0
    ! is_listed nodes ncpus mem vmem ngpus mpiprocs ompthreads || {
        why="PBS accepts --exclusive only with select=..., and the script's -l line has another form: add --nodes or --cpus, which replace the script's request"
        return 1
    }
    list_chunks
}

# is_listed NAME...: check whether an option `-l` requests a resource in NAME...
is_listed() {
    for resource in "$@"; do
        case $requested_options in *' -l'*[=,]"$resource"=*) return 0 ;; esac
    done
    return 1
}

# list_chunks: set $list to the requested nodes, CPUs, memory and GPUs, as select=... for
# OpenPBS, or as nodes=... for the other kinds of qsub.
list_chunks() {
    cpus=${r_cpus:-1} list=''
    if [ -n "$r_tasks_per_node" ]; then
        # By default, use as few nodes as the tasks need: tasks / tasks_per_node, rounded up.
        nodes=${r_nodes:-$(((${r_tasks:-$r_tasks_per_node} + r_tasks_per_node - 1) / r_tasks_per_node))}
        add_chunk "$nodes" "$r_tasks_per_node"
    elif [ -n "$r_tasks" ] && [ -n "$r_nodes" ]; then
        # Distribute the tasks evenly. Some nodes get one more task if a remainder is left.
        [ $((r_tasks % r_nodes)) = 0 ] || add_chunk $((r_tasks % r_nodes)) $((r_tasks / r_nodes + 1))
        [ "$r_tasks" -lt "$r_nodes" ] || add_chunk $((r_nodes - r_tasks % r_nodes)) $((r_tasks / r_nodes))
    elif [ -n "$r_tasks" ]; then
        # PBS places each task separately, so a node's share of memory or GPUs is undefined.
        [ -z "$r_memory$r_gpus" ] || {
            why="with --tasks, PBS can assign memory or GPUs only if the number of nodes is known: add --nodes, or use --memory-per-cpu"
            return 1
        }
        add_chunk "$r_tasks" 1
    else
        add_chunk "${r_nodes:-1}" ''
    fi
    case $dialect in
        openpbs) list=",select=${list#+}" ;;
        *)
            list=",nodes=${list#+}"
            [ -z "$r_memory$r_memory_per_cpu" ] || list_memory
            ;;
    esac
}

# add_chunk COUNT TASKS: add COUNT nodes with TASKS tasks each to $list.
add_chunk() {
    width=$((${2:-1} * cpus))
    if [ "$dialect" != openpbs ]; then
        list="$list+$1:ppn=$width${r_gpus:+:gpus=$r_gpus}"
        return
    fi
    memory=$r_memory$r_memory_per_cpu
    [ -z "$memory" ] || in_megabytes "$memory"
    [ -z "$r_memory_per_cpu" ] || megabytes=$((megabytes * width))
    list="$list+$1:ncpus=$width${2:+:mpiprocs=$2${r_cpus:+:ompthreads=$r_cpus}}"
    list="$list${memory:+:mem=${megabytes}mb}${r_gpus:+:ngpus=$r_gpus}"
}

# list_memory: add the requested memory to $list. `mem` is the memory of the whole job for
# Torque, and the memory of each node for the qsub of Slurm.
list_memory() {
    if [ -n "$r_memory_per_cpu" ]; then
        in_megabytes "$r_memory_per_cpu"
        [ "$dialect" = wrapper ] || list="$list,pmem=${megabytes}mb"
        [ "$dialect" != wrapper ] || list="$list,mem=$((megabytes * ${r_tasks_per_node:-1} * cpus))mb"
        return
    fi
    in_megabytes "$r_memory"
    [ "$dialect" = wrapper ] || megabytes=$((megabytes * ${r_nodes:-1}))
    list="$list,mem=${megabytes}mb"
}

scheduler_submit() {
    name_there=$1
    split_lines
    # shellcheck disable=SC2086 # split into options
    set -- $options -j oe -o "$log"
    end_split
    # The qsub of Slurm passes the path through a shell, so the path is relative and plain.
    cd "$job" || return 1
    case $dialect in
        wrapper)
            # squeue shows the name of the batch script as the name of the job.
            ln -f batch "$name_there" 2>/dev/null || cp batch "$name_there" || return 1
            patiently qsub "$@" "$name_there"
            ;;
        *)
            find_shell
            # Use `-k n`: with `-k oe`, PBS would ignore `-o` and write into the home directory.
            set -- "$@" -k n
            case $dialect$shell in
                openpbs)
                    # With `-- PROGRAM`, the program is the top process of the job. qsub then
                    # ignores the directives in the script, so pass them as arguments.
                    split_lines
                    # shellcheck disable=SC2046 # split into options
                    set -- $(copy_directives | split_directives) "$@"
                    end_split
                    patiently qsub "$@" -- /bin/sh "$job/batch"
                    ;;
                *) patiently qsub "$@" -S "${shell:-/bin/sh}" batch ;;
            esac
            ;;
    esac
}

# split_directives: print the words of the `#PBS` lines on stdin, one per line, without quotes
# and comments.
split_directives() {
    LC_ALL=C awk "$split_words"'
        {
            count = split_words($0, words)
            for (i = 2; i <= count; i++) {
                plain = quote = ""
                for (j = 1; j <= length(words[i]); j++) {
                    letter = substr(words[i], j, 1)
                    if (quote == "" && letter ~ /["\047]/) quote = letter
                    else if (letter == quote) quote = ""
                    else plain = plain letter
                }
                print plain
            }
        }'
}

# find_shell: set $shell to the path of exec_script.sh, or to '' if PBS cannot use it. PBS reads
# the value of -S as a list PATH@HOST,PATH@HOST.
find_shell() {
    shell=$here/runtimes/pbs/exec_script.sh
    case $shell in *[!A-Za-zIi0-9_./+=-]*) shell='' ;; esac
    [ -z "$shell" ] || [ -x "$shell" ] || chmod +x "$shell" 2>/dev/null
    [ -z "$shell" ] || [ -x "$shell" ] || shell=''
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

# scheduler_node_down ID HOST: see lib/scheduler.sh. PBS reports the end of a job only after its
# node has confirmed it, except in the cases of is_end_assumed.
scheduler_node_down() {
    if [ "$dialect" = wrapper ]; then
        slurm_node_down "$@"
        return
    fi
    # The name of a node may contain the domain, or not.
    [ -n "$2" ] && { is_node_down "$2" || { [ "$2" != "${2%%.*}" ] && is_node_down "${2%%.*}"; }; }
}

# is_node_down NODE: check whether PBS reports the node as down or does not know its state.
is_node_down() {
    patiently pbsnodes "$1" 2>/dev/null </dev/null | LC_ALL=C grep -Eq '^[[:space:]]*state = .*(down|unknown)'
}

scheduler_report() {
    case $dialect in
        wrapper)
            slurm_report "$1"
            return
            ;;
        openpbs) print_report 'qstat -x -f' patiently qstat -x -f "$1" ;;
        *) false ;;
    esac || print_report 'qstat -f' patiently qstat -f "$1"
    # tracejob reads the log files of PBS, which users can read only on some sites.
    ! command -v tracejob >/dev/null 2>&1 || print_report tracejob patiently tracejob -n 7 "${1%%.*}"
}

scheduler_history() {
    [ "$dialect" = wrapper ] && slurm_history "$1"
}

scheduler_has() { [ "$dialect" = wrapper ] && slurm_has "$1"; }
