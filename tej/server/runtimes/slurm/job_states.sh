# Reads the states of jobs, and the reasons for their ends, from squeue and sacct of Slurm.
# lib/scheduler_state.sh uses these states.
# shellcheck shell=sh

# slurm_queue [ARGUMENT...]: print all jobs of the user, one per line.
#   no -j   if one of several ids no longer exists, squeue prints no jobs
#   no -h   a site's own squeue may fail without output; the header proves a complete list
#   -r      prints each task of a job array on a line of its own
#   -a      includes the user's own jobs in hidden partitions
#   %o      the path of the batch script comes last, because job names may contain `|`
slurm_queue() {
    patiently squeue -r -a -t all "$@" -u "$(id -u)" -o '%i|%T|%r|%j|%o'
}

# slurm_list ID...: print a line for each job of the user on the queue's cluster and on the
# clusters of the jobs ID...
slurm_list() {
    clusters='' elsewhere_ids=''
    for one in "$@"; do
        case $one in
            *\;*)
                elsewhere_ids="$elsewhere_ids $one"
                case " $clusters " in *" ${one#*;} "*) ;; *) clusters="$clusters ${one#*;}" ;; esac
                ;;
        esac
    done
    print_queues >"$fresh.reply"
    slurm_read "$fresh.reply" "$elsewhere_ids" && rm -f "$fresh.reply" && return 0
    rm -f "$fresh.reply"
    return 1
}

# print_queues: print the output of slurm_queue for the queue's cluster and, after a line
# `cluster|NAME`, for each cluster in $clusters. The line `end` follows each complete output.
print_queues() {
    set_cluster '' && slurm_queue ${cluster:+-M "$cluster"} || return
    printf 'end\n'
    set -f
    # shellcheck disable=SC2086 # split into names
    set -- $clusters
    set +f
    for other; do
        printf 'cluster|%s\n' "$other"
        set_cluster ";$other"
        # If another cluster does not answer, still list the jobs of the queue's cluster.
        slurm_queue ${cluster:+-M "$cluster"} && printf 'end\n'
    done
}

# slurm_listed_all [ID]: return 0 if the job ID is on the queue's cluster. slurm_list prints all
# jobs on that cluster.
slurm_listed_all() { case ${1-} in *\;*) return 1 ;; esac }

# For the awk programs below. describe(STATE): return STATE with its meaning.
# shellcheck disable=SC2016 # awk code
slurm_words='
    function describe(state) {
        if (state ~ /^TIMEOUT/) return state " (time limit)"
        if (state ~ /^DEADLINE/) return state " (deadline)"
        if (state ~ /^OUT_OF_MEMORY/) return state " (memory limit)"
        if (state ~ /^NODE_FAIL/) return state " (node failure)"
        if (state ~ /^PREEMPTED/) return state " (preempted)"
        return state
    }
'

# slurm_read FILE IDS: convert the output of squeue in FILE to the lines that scheduler_list
# prints. IDS are the jobs on other clusters; each gets a line, even if it is missing in FILE.
# The ids on the queue's own cluster are not passed: the kernel limits an argument to 128 KB.
#
# The components of a heterogeneous job (5+0, 5+1) are one job, and so are the tasks of a job
# array (5_2). Such a job is running if any part is running. In an array of tej, each task also
# gets a line.
slurm_read() {
    LC_ALL=C awk -F'|' -v asked="$2" "$slurm_words"'
        # note(ID, TITLE): store the state of one line of squeue. Of several lines with the same
        # ID, the state with the highest rank counts.
        function note(id, title,    now) {
            if (cluster != "") id = id ";" cluster
            # A job in an unknown state counts as running.
            now = state[$2] == "" ? "running" : state[$2]
            if (id in best && rank[now] + 0 <= rank[best[id]] + 0) return
            if (!(id in best)) order[++jobs] = id
            best[id] = now
            said[id] = describe($2)
            if (now == "queued") said[id] = $3 == "None" ? "" : $3
            if ($2 == "FAILED" && $3 != "None" && $3 != "NonZeroExitCode") said[id] = $2 " (" $3 explain($3) ")"
            name[id] = title
        }
        # explain(REASON): return an explanation of a reason that Slurm misreports as a signal.
        function explain(reason) {
            if (reason ~ /^RaisedSignal:53/)
                return ": the node cannot write the log of the job; are the files of the queue mounted there?"
            return ""
        }
        BEGIN {
            count = split("PENDING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT RESV_DEL_HOLD EXPEDITING", list, " ")
            for (i = 1; i <= count; i++) state[list[i]] = "queued"
            # In a federation, REVOKED means that the job has started on another cluster.
            state["REVOKED"] = "moved"
            count = split("NODE_FAIL PREEMPTED BOOT_FAIL", list, " ")
            for (i = 1; i <= count; i++) state[list[i]] = "cut"
            state["COMPLETED"] = state["FAILED"] = "ended"
            state["TIMEOUT"] = state["DEADLINE"] = state["OUT_OF_MEMORY"] = "limit"
            state["CANCELLED"] = "cancelled"
            # STOPPED: `scancel -s STOP` has stopped the processes of the job.
            state["SUSPENDED"] = state["STOPPED"] = "stopped"
            rank["running"] = 4
            rank["stopped"] = 3
            rank["queued"] = 2
        }
        $1 == "cluster" { whole[cluster] = ended; cluster = $2; ended = has_header = 0; next }
        $1 == "JOBID" { has_header = 1; next }
        $0 == "end" { ended = has_header; next }
        $1 ~ /^[0-9]+([+_].*)?$/ {
            id = $1
            sub(/[+_].*/, "", id)
            title = $4
            if (match($0, /\/tej_[A-Za-z0-9_]+$/)) title = substr($0, RSTART + 1)
            note(id, title)
            if (title ~ /^tej_.*_a$/ && $1 ~ /_[0-9]+$/) note($1, title)
        }
        END {
            whole[cluster] = ended
            # If the header or the last line is missing, the disk was full or squeue failed.
            if (!whole[""]) exit 1
            for (i = 1; i <= jobs; i++) print order[i] "|" best[order[i]] "|" name[order[i]] "|" said[order[i]]
            count = split(asked, ids, " ")
            for (i = 1; i <= count; i++) {
                if (split(ids[i], part, ";") < 2 || ids[i] in best) continue
                print ids[i] "|" (whole[part[2]] ? "unknown" : "silent") "||"
            }
        }' "$1"
}

# slurm_node_down ID HOST: return 0 if a node of the job is down or does not respond (`*`), 1 if
# all respond, and 2 if this is unknown. If Slurm names no nodes for the job, checks the node
# HOST. Slurm reports a job as CANCELLED even if its node goes down and its processes run on.
slurm_node_down() {
    job_nodes=''
    case $1 in [0-9]*) job_nodes=$(on_cluster "$1" squeue -a -h -t all -o %N -j 2>/dev/null </dev/null | tr '\n' ,) ;; esac
    case $job_nodes in *[!,]*) ;; *) job_nodes=${2:+$2,${2%%.*}} ;; esac
    [ -n "$job_nodes" ] && set_cluster "$1" || return 2
    set -- -a -h -n "${job_nodes%,}" -o %T ${cluster:+-M "$cluster"}
    case $(patiently sinfo "$@" 2>/dev/null </dev/null) in
        '') return 2 ;;
        *down* | *\** | *unk*) : ;;
        *) return 1 ;;
    esac
}

# slurm_history ID: print STATE|WORDS of the job from Slurm's accounting. A cluster that was
# reinstalled numbers its jobs from 1 again. So entries of other users and of other submissions
# are ignored. Without -D, sacct prints only the newest entry of a number.
slurm_history() {
    command -v sacct >/dev/null 2>&1 || return 1
    s_time=0
    [ ! -f "$job/submitting" ] || read -r s_time _ <"$job/submitting"
    set_cluster "$1" || return
    set -- ${cluster:+-M "$cluster"} -n -X -D -P -o state,user,submit,jobid -j "${1%%;*}"
    sacct_output=$(SLURM_TIME_FORMAT=%s patiently sacct "$@") || return
    # Clocks may differ by up to an hour. A requeue changes the time of the submission, so a job
    # that may be requeued has no latest time.
    latest=$((s_time + 3600 + busy_awaited))
    [ ! -e "$job/requeue" ] && [ "$s_time" != 0 ] || latest=''
    printf '%s\n' "$sacct_output" | LC_ALL=C awk -F'|' -v me="$(id -un)" -v since="$((s_time - 3600))" -v latest="$latest" "$slurm_words"'
        $2 != me || $3 !~ /^[0-9]+$/ || $3 < since || (latest != "" && $3 > latest) { next }
        { last = $1 }
        END {
            if (last == "") exit 1
            state = "over"
            if (last ~ /^CANCELLED/) state = "cancelled"
            if (last ~ /^(COMPLETED|FAILED)/) state = "ended"
            if (last ~ /^(TIMEOUT|DEADLINE|OUT_OF_MEMORY)/) state = "limit"
            if (last ~ /^(PREEMPTED|NODE_FAIL|BOOT_FAIL)/) state = "cut"
            if (last ~ /^REVOKED/) state = "moved"
            if (last ~ /^(PENDING|RUNNING|REQUEUED|SUSPENDED|COMPLETING)/) state = "alive"
            print state "|" describe(last)
        }'
}

# slurm_has ID: return 0 if Slurm's controller has the job, and the job is not over. Sets
# $reason to the state of the job. Another job may have the same number, so the name is
# compared.
slurm_has() {
    job_facts=$(on_cluster "$1" scontrol -a -o show job 2>/dev/null </dev/null) || return 1
    job_state=$(printf '%s\n' "$job_facts" | LC_ALL=C awk -v name="$lookup_name" '
        index($0, "/" name " ") || index($0, "=" name " ") {
            sub(/.* JobState=/, "")
            sub(/ .*/, "")
            if (!/^(COMPLETED|FAILED|TIMEOUT|DEADLINE|OUT_OF_MEMORY|CANCELLED|NODE_FAIL|PREEMPTED|BOOT_FAIL|REVOKED)/) last = $0
        }
        END { print last }')
    [ -n "$job_state" ] && reason=$job_state
}
