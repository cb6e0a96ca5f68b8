# Runtime for task-spooler (`tsp`), which runs the jobs of one machine one after the other.
# shellcheck shell=sh
#
# This file defines only the calls of `tsp`; lib/scheduler.sh does the rest.

# shellcheck source=../../../tej/server/lib/scheduler.sh
. "$here/lib/scheduler.sh"

# tsp is available if the program is installed, because its server starts automatically.  With the
# argument `auto`, tsp is never selected.
scheduler_here() {
    [ "${1-}" != auto ] && find_program tsp
}

# Resource requests are refused, because tsp would ignore them.
scheduler_options() {
    options=''
    [ -z "$r_given" ] || {
        why="task-spooler does not support these requested resources:$r_given"
        return 1
    }
}

directive_marks=''

# The label contains the name, so that scheduler.sh can find the job by its name.
scheduler_submit() {
    patiently tsp -n -L "$1" /bin/sh "$job/batch"
}

# `tsp -l` prints a line for each job: "ID STATE OUTPUT [LEVEL TIMES] [NAME]COMMAND".
scheduler_list() {
    patiently tsp -l >"$fresh.reply" || {
        rm -f "$fresh.reply"
        return 1
    }
    awk '
        BEGIN { state["queued"] = state["allocating"] = "queued"; state["running"] = "running" }
        $1 ~ /^[0-9]+$/ && match($0, /\[tej_[A-Za-z0-9_]*\]/) {
            name = substr($0, RSTART + 1, RLENGTH - 2)
            print $1 "|" (state[$2] == "" ? "over" : state[$2]) "|" name "|"
        }' "$fresh.reply"
    rm -f "$fresh.reply"
}

# tsp passes no id to a job, so the job finds its id by its label.
scheduler_own_id() {
    set_name
    own_id=$(tsp -l | awk -v name="[$lookup_name]" 'index($0, name) { print $1 }')
}

# `tsp -k` sends SIGTERM to the process group of the job.
scheduler_term() {
    patiently tsp -k "$1"
}

scheduler_cancel() {
    patiently tsp -r "$1" || patiently tsp -k "$1"
}

# runtime_limit N: set the number of slots.  0 means no limit; tsp then gets 1000 slots, because it
# always has a limit.
runtime_limit() {
    patiently tsp -S "$(($1 == 0 ? 1000 : $1))" >/dev/null
}
