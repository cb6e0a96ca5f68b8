# The runtime for Slurm: sbatch, squeue, scancel; sacct where there is accounting.
# shellcheck shell=sh

# shellcheck source=../common/lib/scheduler.sh
. "$here/lib/scheduler.sh"

directive_marks='#SBATCH'

scheduler_here() {
    find_program sbatch && find_program scontrol || return 1
    # The other commands take long to find out.
    case $(patiently scontrol ping 2>/dev/null </dev/null) in *' is UP'* | *' UP/'* | *'/UP'*) return 0 ;; esac
    printf '%s\n' "Slurm is installed, but its controller does not answer"
    return 2
}

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

scheduler_list() {
    # Not by ids: one that is gone would make all fail.
    patiently squeue -h -t all -u "$(id -u)" -o '%i|%T|%r|%j' >"$fresh.said" &&
        printf 'end\n' >>"$fresh.said" || {
        rm -f "$fresh.said"
        return 1
    }
    awk -F'|' '
        BEGIN {
            count = split("PENDING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT RESV_DEL_HOLD", list, " ")
            for (i = 1; i <= count; i++) state[list[i]] = "queued"
            count = split("COMPLETED FAILED TIMEOUT NODE_FAIL OUT_OF_MEMORY PREEMPTED BOOT_FAIL DEADLINE REVOKED", list, " ")
            for (i = 1; i <= count; i++) state[list[i]] = "over"
            state["CANCELLED"] = "cancelled"
            words["TIMEOUT"] = " (the time limit was reached)"
            words["OUT_OF_MEMORY"] = " (it took more memory than it had)"
            words["NODE_FAIL"] = " (its node failed)"
            words["PREEMPTED"] = " (it had to make room for another)"
        }
        $1 ~ /^[0-9]+$/ {
            said = $2 words[$2]
            if (state[$2] == "queued") said = $3 == "None" ? "" : $3
            # What is not known is alive.
            print $1 "|" (state[$2] == "" ? "running" : state[$2]) "|" $4 "|" said
        }
        # Without it, the disk was full.
        $0 == "end" { whole = 1 }
        END { exit !whole }' "$fresh.said" && rm -f "$fresh.said"
}

scheduler_term() {
    patiently scancel --full -s TERM "$1"
}

scheduler_cancel() {
    patiently scancel "$1"
}

scheduler_history() {
    command -v sacct >/dev/null 2>&1 || return 1
    word=$(patiently sacct -n -X -P -j "${1%%[!0-9]*}" -o state) || return 1
    word=${word##*
}
    case $word in
        '') return 1 ;;
        CANCELLED*) printf '%s|%s\n' cancelled "$word" ;;
        *) printf '%s|%s\n' over "$word" ;;
    esac
}
