# How Slurm is asked and told: also where jobs are handed to it by its look-alike of qsub,
# whose qstat and qdel tell less, and in some versions break off (24.11, at the first job
# that runs).
# shellcheck shell=sh

# slurm_here: 0 it answers, 1 it is not installed, 2 and words: it does not answer.
slurm_here() {
    find_program scontrol && find_program squeue && find_program scancel || return 1
    # The other commands take long to find out.
    case $(patiently scontrol ping 2>/dev/null </dev/null) in *' is UP'* | *' UP/'* | *'/UP'*) return 0 ;; esac
    printf '%s\n' "Slurm is installed, but its controller does not answer"
    return 2
}

# slurm_list: all of the user's jobs, as scheduler_list prints them.
slurm_list() {
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

slurm_term() {
    patiently scancel --full -s TERM "$1"
}

slurm_cancel() {
    patiently scancel "$1"
}

# slurm_history ID: as scheduler_history.
slurm_history() {
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
