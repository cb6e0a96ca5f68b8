# What the qstat of OpenPBS or Torque says, as lines ID|STATE|NAME|WORDS.
# shellcheck shell=sh

# qstat_list ID...: those; with none, all that are there.
qstat_list() {
    if [ "$dialect" = openpbs ] && [ $# != 0 ]; then
        run_qstat -x -f "$@" && ! grep -q 'not configured to maintain job history' "$fresh.said2" ||
            run_qstat -f "$@"
    else
        run_qstat -f "$@"
    fi || {
        cat "$fresh.said2" >&2
        rm -f "$fresh.said1" "$fresh.said2"
        return 1
    }
    read_qstat "$fresh.said1" && list_absent "$@" && rm -f "$fresh.said1" "$fresh.said2"
}

# run_qstat ARGUMENT...: 1 if that was no answer.
run_qstat() {
    LC_ALL=C patiently qstat "$@" >"$fresh.said1" 2>"$fresh.said2"
    case $? in
        # What is written last shows that there was room for all of it.
        0 | 35 | 153) printf 'end\n' >>"$fresh.said1" ;;
        *) return 1 ;;
    esac
}

# list_absent ID...: those that it says it does not know; of one that it says nothing of,
# nothing is known.
list_absent() {
    printed="
$(sed -n 's/^Job Id:[ 	]*\([0-9]*\).*/\1/p' "$fresh.said1")
"
    for one in "$@"; do
        digits=${one%%[!0-9]*}
        case $printed in *"
$digits
"*) continue ;; esac
        if grep -E 'Unknown Job|has finished' "$fresh.said2" |
            grep -Eq "(^|[^0-9])${digits}([^0-9]|\$)"; then
            printf '%s|unknown||\n' "$one"
        else
            printf '%s|silent||\n' "$one"
        fi
    done
}

# read_qstat FILE: of each job the first of each attribute, as a variable's value could
# look like another.
read_qstat() {
    awk -v dialect="$dialect" '
        function flush() {
            if (id == "") return
            state = "running"
            if (letter ~ /^[QHWTM]$/) state = "queued"
            if (letter ~ /^[FXC]$/) {
                state = "over"
                comment = why(status)
                # 256 and the signal: qdel; none: deleted before it ran.
                if (status == "271" || (letter == "F" && status == "")) {
                    state = "cancelled"
                    comment = "deleted"
                }
            } else if (state == "running") comment = ""
            gsub(/\|/, "/", comment)
            print id "|" state "|" name "|" comment
        }
        function why(status) {
            if (status == -29 || (dialect == "torque" && status == -11)) return "the time limit was reached"
            if (status == -27 || status == -26 || (dialect == "torque" && status == -10)) return "it took more memory than it had"
            if (status == -28 || (dialect == "torque" && status == -12)) return "its limit of CPU time was reached"
            if (status == -20 || status == -4) return "its node failed"
            if (status + 0 < 0) return "exit status " status
            return ""
        }
        /^Job Id:/ {
            flush()
            id = $3
            letter = name = status = comment = ""
        }
        /^[ \t]+job_state = / { if (letter == "") letter = $3 }
        /^[ \t]+Job_Name = / { if (name == "") name = $3 }
        /^[ \t]+[Ee]xit_status = / { if (status == "") status = $3 }
        /^[ \t]+comment = / { if (comment == "") { comment = $0; sub(/^[^=]*= /, "", comment) } }
        END { flush() }' "$1"
}
