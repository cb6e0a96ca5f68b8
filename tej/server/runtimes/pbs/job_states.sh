# Reads the states of jobs, and the reasons for their ends, from `qstat -f` of OpenPBS and
# Torque. Prints lines ID|STATE|NAME|WORDS, which lib/scheduler_state.sh uses.
# shellcheck shell=sh

# qstat_list [ID...]: print a line for each of these jobs, or for all jobs.
qstat_list() {
    printf '' >"$fresh.replies" && printf '' >"$fresh.all_errors" || return 1
    answered=''
    if [ $# = 0 ]; then query_server; else query_servers "$(printf '%s\n' "$@")"; fi || return 1
    [ -n "$answered" ] || {
        cat "$fresh.all_errors" >&2
        rm -f "$fresh.reply" "$fresh.errors" "$fresh.replies" "$fresh.all_errors"
        return 1
    }
    moved=$(list_moved) && query_servers "$moved" && read_qstat "$fresh.replies" >"$fresh.read" &&
        cat "$fresh.read" && list_absent "$@" &&
        rm -f "$fresh.reply" "$fresh.errors" "$fresh.replies" "$fresh.all_errors" "$fresh.read"
}

unknown_server='illegally formed job identifier' # message of qstat

# query_servers IDS: query each PBS server for its jobs in IDS (one id per line). Each server
# gets its own query, so that a server that is down does not affect the others. Returns 1 if the
# replies cannot be written to files.
query_servers() {
    all_ids=$1
    servers=$(printf '%s\n' "$all_ids" | sed -e '/^$/d' -e 's/.*@/@/' -e t -e 's/^[0-9]*/=/' | LC_ALL=C sort -u)
    while [ -n "$servers" ]; do
        other=${servers%%"$newline"*} servers=${servers#*"$newline"}
        [ "$other" != "$servers" ] || servers=''
        case $other in =*) other="^[0-9]*${other#=}" ;; esac
        split_lines
        # shellcheck disable=SC2046 # one id per line
        set -- $(printf '%s\n' "$all_ids" | grep "$other\$")
        end_split
        query_server "$@" || return 1
    done
}

# query_server [ID...]: query one server, and add its reply to $fresh.replies and
# $fresh.all_errors. Sets $answered to 1 if the server answers. An unknown server name also
# counts as an answer, because the listing would otherwise fail for all jobs. Returns 1 if the
# reply cannot be written.
query_server() {
    if query_jobs "$@"; then
        answered=1
        cat "$fresh.reply" >>"$fresh.replies" || return 1
    elif grep -q "$unknown_server" "$fresh.errors"; then
        answered=1
    fi
    cat "$fresh.errors" >>"$fresh.all_errors"
}

# query_jobs [ID...]: run qstat for these jobs, or for all jobs. OpenPBS prints ended jobs only
# with `-x`. If the server keeps no job history, `-x` prints no jobs, and qstat runs again
# without `-x`. If the server hangs, qstat does not run again.
query_jobs() {
    if [ "$dialect" = openpbs ] && [ $# != 0 ]; then
        run_qstat -x -f "$@" && ! grep -q 'not configured to maintain job history' "$fresh.errors" && return
        [ "$qstat_status" != 124 ] || return 1
    fi
    run_qstat -f "$@"
}

# list_moved: print ID@SERVER for each job that has moved to another PBS server. The first
# server does not know the job's result. Without a job history, qstat itself asks the other
# server.
list_moved() {
    [ "$dialect" != openpbs ] || read_qstat "$fresh.replies" 1
}

# run_qstat ARGUMENT...: run qstat, and set $qstat_status to its exit status. Returns 1 if the
# PBS server did not answer.
run_qstat() {
    LC_ALL=C patiently qstat "$@" >"$fresh.reply" 2>"$fresh.errors"
    qstat_status=$?
    case $qstat_status in
        # The line `end` shows that the disk had room for the whole output.
        0 | 35 | 153) printf 'end\n' >>"$fresh.reply" ;;
        124)
            printf '%s\n' "no reply within $command_timeout seconds" >"$fresh.errors"
            return 1
            ;;
        *) return 1 ;;
    esac
}

# list_absent ID...: print a line for each ID that is missing in $fresh.read. The state is
# `unknown` if qstat reports the ID as unknown, and otherwise `silent`. Two servers of OpenPBS
# can use the same number, so the server's name is compared, too. Torque and some sites print
# another name or none.
list_absent() {
    printed="
$(sed 's/|.*//; p; s/[^0-9].*//' "$fresh.read")
"
    for one in "$@"; do
        sought=$one
        case $dialect,$one in openpbs,*.*) ;; *) sought=${one%%[!0-9]*} ;; esac
        case $printed in *"
$sought
"*) continue ;; esac
        if grep -E 'Unknown Job|has finished' "$fresh.all_errors" |
            LC_ALL=C grep -Eq "(^|[^0-9])$sought([^0-9A-Za-z_-]|\$)"; then
            printf '%s|unknown||\n' "$one"
        else
            printf '%s|silent||%s\n' "$one" "$(grep -F "$unknown_server: $one" "$fresh.all_errors" | sed 1q)"
        fi
    done
}

# read_qstat FILE [1]: print a line for each job in FILE, the output of `qstat -f`. With `1`,
# prints ID@SERVER for each job that has moved. A line in the job's environment may look like an
# attribute, so only the first line of each attribute counts. qstat wraps lines at 80 columns,
# and continues them after a tab.
read_qstat() {
    LC_ALL=C awk -v dialect="$dialect" -v moved="${2-}" '
        # flush(): print the line of the current job, whose id is in id and whose attributes are
        # in value.
        function flush() {
            if (id == "") return
            has_moved = value["job_state"] == "M" && value["queue"] ~ /@/
            if (moved) {
                sub(/.*@/, "", value["queue"])
                if (has_moved) print id "@" value["queue"]
                return
            }
            # Until the job is over (substate 92), only the other server knows its state.
            if (has_moved && value["substate"] != 92) return
            state = "running"
            if (value["job_state"] ~ /^[QHWTM]$/) state = "queued"
            if (value["job_state"] ~ /^[SU]$/) state = "stopped"
            words = state == "queued" ? pending_reason() : ""
            if (has_moved) { state = "over"; words = value["comment"] }
            if (value["job_state"] ~ /^[FXC]$/) classify_end(value["exit_status"])
            gsub(/\|/, "/", words)
            # Users can choose the job name, but not the path of the log. So prefer the name in
            # this path.
            name = value["output_path"]
            if (!match(name, /\/tej_[A-Za-z0-9_]+\.log$/)) {
                name = value["job_name"]
                if (name !~ /^tej_/) name = ""
            } else name = substr(name, RSTART + 1, RLENGTH - 5)
            print id "|" state "|" name "|" words
        }
        # The comment of a held or delayed job is missing or outdated, unless PBS itself has
        # held the job after failed starts.
        function pending_reason() {
            if (value["job_state"] == "H")
                return "held (Hold_Types = " value["hold_types"] ")" (value["comment"] ~ /^job held/ ? ": " value["comment"] : "")
            if (value["job_state"] == "W") return "waits until " value["execution_time"]
            return value["comment"]
        }
        # classify_end(STATUS): set state and words for a job that PBS reports as over. A
        # negative exit status, or 256 plus a signal, means that the script did not exit by
        # itself.
        function classify_end(status) {
            # Convert to a number: after sub(), the value is a string, and "3" > 256 is true.
            if (status != "") status += 0
            code = dialect status
            state = "over"
            if (code ~ /^(openpbs-29|torque-11)$/) { state = "limit"; words = "time limit" }
            else if (code ~ /^(openpbs-27|openpbs-26|torque-10)$/) { state = "limit"; words = "memory limit" }
            else if (code ~ /^(openpbs-28|torque-12)$/) { state = "limit"; words = "limit of CPU time" }
            else if (code ~ /^openpbs-2[45]$/) { state = "limit"; words = "limit of CPUs" }
            else if (status == -20 || status == -4 || code == "openpbs-14") { state = "cut"; words = "node failure" }
            # If a manager deletes a job by force, PBS sets this exit status without asking the
            # node, and copies no output files.
            else if (value["exec_host"] != "" && (status == "" || status == 265 && value["substate"] == 91 && value["stageout_status"] == "")) { state = "cancelled"; words = "deleted by force" }
            else if (status == "" && value["substate"] == 92) {
                # PBS does not record the reason, so name the possible reasons.
                state = "cancelled"
                words = "deleted by PBS before it ran: "
                words = words (value["depend"] == "" ? "rejected by all destinations of its queue, or by a hook" : "depend = " value["depend"])
            }
            else if (status == 271 || status == "" || value["substate"] == 91) { state = "cancelled"; words = "deleted" }
            else if (status >= -3 && status < 0) words = "exit status " status ": the job could not be started"
            else if (code ~ /^openpbs-(1[6-9]|22)$/) words = "exit status " status ": rejected by a hook of the site"
            else if (status < 0) words = "exit status " status
            else if (status == 254) words = "exit status 254: its shell could not be started"
            else if (status == 265) { state = "cut"; words = "exit status 265: its shell was killed by SIGKILL" }
            else if (status > 256) { state = "cut"; words = "exit status " status ": its shell was killed by signal " (status - 256) }
            else {
                # Under Torque, this status does not show whether qdel ended the job. So the
                # state stays `over`.
                if (dialect != "torque") state = "ended"
                words = "exit status " status
            }
            if (value["comment"] ~ /exceeded/) words = words ": " value["comment"]
        }
        /^Job Id:/ {
            flush()
            id = $3
            split("", value)
            last = ""
            next
        }
        /^[ \t]+[A-Za-z_][A-Za-z0-9_.]* = / {
            last = tolower($1)
            if (last in value) last = ""
            else {
                sub(/^[^=]*= /, "")
                value[last] = $0
            }
            next
        }
        /^\t/ {
            sub(/^\t/, "")
            if (last != "") value[last] = value[last] $0
        }
        END { flush() }' "$1"
}
