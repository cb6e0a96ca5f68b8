# A runtime for task-spooler (`tsp`): one machine, and its jobs one after the other.
# shellcheck shell=sh
#
# It defines what is particular about tsp; all else is in lib/scheduler.sh.

# shellcheck source=../../../tej/server/lib/scheduler.sh
. "$here/lib/scheduler.sh"

# It is here if it can be run; its server starts by itself.  Never chosen by `auto`.
scheduler_here() {
    [ "${1-}" != auto ] && find_program tsp
}

# What it cannot give is refused, rather than ignored.
scheduler_options() {
    options=''
    [ -z "$r_given" ] || {
        why="task-spooler cannot give what the job asks for:$r_given"
        return 1
    }
}

directive_marks=''

# The label is the name by which it can be found again.
scheduler_submit() {
    patiently tsp -n -L "$1" /bin/sh "$job/batch"
}

# tsp lists all it has: "ID STATE OUTPUT [LEVEL TIMES] [NAME]COMMAND".
scheduler_list() {
    patiently tsp -l >"$fresh.said" || {
        rm -f "$fresh.said"
        return 1
    }
    awk '
        BEGIN { state["queued"] = state["allocating"] = "queued"; state["running"] = "running" }
        $1 ~ /^[0-9]+$/ && match($0, /\[tej_[A-Za-z0-9_]*\]/) {
            name = substr($0, RSTART + 1, RLENGTH - 2)
            print $1 "|" (state[$2] == "" ? "over" : state[$2]) "|" name "|"
        }' "$fresh.said"
    rm -f "$fresh.said"
}

# A job is told of nothing but its label.
scheduler_own_id() {
    set_name
    own_id=$(tsp -l | awk -v name="[$nickname]" 'index($0, name) { print $1 }')
}

# SIGTERM goes to the process group.
scheduler_term() {
    patiently tsp -k "$1"
}

scheduler_cancel() {
    patiently tsp -r "$1" || patiently tsp -k "$1"
}

# runtime_limit N: so many slots; tsp has no word for "as many as there are".
runtime_limit() {
    patiently tsp -S "$(($1 == 0 ? 1000 : $1))" >/dev/null
}
