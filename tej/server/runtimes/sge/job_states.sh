# Reads the states of jobs, and the reasons for their ends, from qstat and qacct of Grid Engine.
# lib/scheduler_state.sh uses these states.
# shellcheck shell=sh

# scheduler_list: print a line for each job of the user, and for each task of tej's arrays. The
# table of qstat truncates job names, so the XML output is used, which has one element per line.
# The site or the user may hide jobs (sge_qstat, ~/.sge_qstat). `-s prs -q *` overrides these
# options.
scheduler_list() {
    patiently qstat -xml -s prs -q '*' -u "$(id -un)" >"$fresh.reply" && grep -q '</job_info>' "$fresh.reply" || {
        rm -f "$fresh.reply"
        return 1
    }
    list_errors >"$fresh.errors"
    LC_ALL=C awk -F'|' -v errors="$fresh.errors" '
        function text() {
            sub(/^[^>]*>/, "")
            sub(/<.*/, "")
            return $0
        }
        # qstat prints the waiting tasks of an array as one entry, with a list of indexes such
        # as 1-4:1,7.
        function print_tasks(list,    ranges, count, i, range, index_now) {
            count = split(list, ranges, ",")
            for (i = 1; i <= count; i++) {
                split(ranges[i] "-" ranges[i] "-", range, "-")
                split(range[2] ":1", last, ":")
                for (index_now = range[1] + 0; index_now <= last[1] + 0; index_now += last[2])
                    print id "." index_now "|" state "|" name "|" words
            }
        }
        BEGIN { while ((getline line <errors) > 0) { split(line, part, "|"); why[part[1]] = part[2] } }
        /<job_list/ { tasks = "" }
        /<JB_job_number>/ { id = text() }
        /<JB_name>/ { name = text() }
        /<state>/ { letters = text() }
        /<tasks>/ { tasks = text() }
        /<\/job_list>/ {
            words = ""
            if (letters ~ /h/) words = "held"
            if (letters ~ /E/)
                words = "in error" (why[id] == "" ? "" : " (" why[id] ")") ": does not start before `qmod -cj " id "`"
            state = "running"
            # The job is suspended by a user or by the queue (s, S), or because of a load
            # threshold (T).
            if (letters ~ /[sST]/) state = "stopped"
            # In the states Rq and hRq, the job was rescheduled and waits again.
            if (letters ~ /[qw]/) state = "queued"
            if (tasks != "" && name ~ /^tej_.*_a$/) print_tasks(tasks)
            else print id "|" state "|" name "|" words
        }' "$fresh.reply" && rm -f "$fresh.reply" "$fresh.errors"
}

# list_errors: print ID|REASON for each job that Grid Engine does not start because of an error
# (state Eqw), such as a missing working directory.
list_errors() {
    failed=$(LC_ALL=C awk '
        /<JB_job_number>/ { gsub(/[^0-9]/, ""); id = $0 }
        /<state>.*E.*<\/state>/ { print id }' "$fresh.reply" | paste -sd , -)
    [ -z "$failed" ] || patiently qstat -j "$failed" 2>/dev/null | LC_ALL=C awk '
        $1 == "job_number:" { id = $2 }
        /^error reason/ {
            # Remove the date, and the user and the process that reported the error.
            sub(/^[^:]*:[ \t]*/, "")
            sub(/^[^][]*\[[0-9:]*\]: */, "")
            sub(/^error: */, "")
            gsub(/[|[:cntrl:]]/, " ")
            print id "|" $0
        }'
}

# run_qacct ID: print the accounting entries of a job, or of a task of an array (ID.INDEX).
run_qacct() {
    case $1 in
        *.*) patiently qacct -j "${1%%.*}" -t "${1#*.}" ;;
        *) patiently qacct -j "$1" ;;
    esac
}

# scheduler_history ID: print STATE|WORDS from the accounting entry of the job. qacct also
# prints earlier jobs with this id. The last entry with the right user and name counts. A name
# that the user has chosen is not compared, because earlier jobs may have it, too.
scheduler_history() {
    command -v qacct >/dev/null 2>&1 || return 1
    # The status is 124 if qacct, which reads the whole accounting file, is too slow.
    qacct_output=$(run_qacct "$1" 2>/dev/null) || return
    own_name=$lookup_name
    read_resources && check_directives && ! has_own_name || own_name=''
    code=$(printf '%s\n' "$qacct_output" | LC_ALL=C awk -v me="$(id -un)" -v own="$own_name" '
        $1 == "owner" { owner = $2 }
        $1 == "jobname" { name = $2 }
        $1 == "failed" && (owner == "" || owner == me) && (own == "" || name == own) { code = $2 }
        /^===/ { owner = name = "" }
        END { print code }')
    case $code in
        '' | 0) return 1 ;;
        37) printf '%s\n' "limit|a limit was exceeded (qacct: failed 37)" ;;
        # Code 100 means that the job was killed while it ran, but not at a limit.
        100) printf '%s\n' "cancelled|it was deleted or killed" ;;
        *) printf '%s\n' "over|it failed with code $code, see qacct -j ${1%%.*}" ;;
    esac
}
