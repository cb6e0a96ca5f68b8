# Finds the processes of jobs in one pass over /proc. A search takes about as long for 1,000
# jobs as for one job.
# shellcheck shell=sh
#
# The processes of a job are:
#   - the first process of its script (pid FIRST, start time START)
#   - the processes in the session of FIRST
#   - the processes that had the job's token (a random number) in their initial environment
#   - all descendants of these processes
# A process is missed if it has cleared its environment, left the session and lost its parent.
# Without /proc, only FIRST is found.

wanted=''      # lines KEY TOKEN FIRST START, one for each job of the next search
wanted_count=0 # number of these lines
has_searched=1 # '' if the last search has failed

# begin_search: begin a new search without jobs.
begin_search() {
    wanted='' wanted_count=0
}

# add_to_search KEY: add $job to the next search, which sets pids_KEY to the pids of the job on
# this host. read_facts must have been called. For a job on another host, ignores the pid of the
# first process.
add_to_search() {
    get_host
    environ_token=${spec#*token=}
    environ_token=${environ_token%% *}
    if [ "${where:-$host}" = "$host" ]; then
        set -- "$1" "$j_pid" "$j_start"
    else
        set -- "$1" - -
    fi
    # After a restart of this host, the pid FIRST may be the number of an unrelated session. In
    # a wrapper (the process that runs the script), $native may belong to another job. A wrapper
    # searches only for its own job, so it does not need this check.
    case $is_wrapper${native-} in
        1* | "pid $host $boot $space "*) ;;
        "pid $host "*) set -- "$1" - - ;;
    esac
    eval "pids_$1=''"
    [ -n "$proc" ] || {
        check_process "$2" "$3"
        # A wrapper is the parent of FIRST and has not yet waited for FIRST. So the kernel has
        # not reused the pid.
        [ "$life" != alive ] && [ "$life$is_wrapper" != unsure1 ] || eval "pids_$1=\$2"
        return 0
    }
    # A damaged file of a job must not make unrelated processes part of the job.
    is_number "$2" && is_number "$3" && [ "$2" -gt 1 ] || set -- "$1" - -
    case $environ_token in *[!0-9a-f]* | '') environ_token=- ;; esac
    [ ${#environ_token} -ge 32 ] || environ_token=-
    wanted="$wanted$1 $environ_token $2 $3$newline" wanted_count=$((wanted_count + 1))
}

# run_search: set pids_KEY for each added job. If the processes of this host cannot be listed,
# sets $has_searched to '' and calls search_failed.
run_search() {
    has_searched=1
    [ "$wanted_count" = 0 ] || {
        check_grep
        has_searched=''
        eval "$(search_processes)"
        [ -n "$has_searched" ] || search_failed
    }
}

unlisted='The processes of the server cannot be listed: are there too many processes, is memory short, or does a program (awk, cat, grep, head, tr) not work?'

# search_failed: quit. Without this, a running job would seem to have no processes, and could be
# reported as lost, or be deleted. Wrappers redefine this function and check $has_searched.
search_failed() { quit 20 "$unlisted"; }

# check_grep: set $grep_reads_nul to 1 if `grep` also searches after the first NUL of a file.
# The grep of busybox does not.
check_grep() {
    [ -z "${grep_reads_nul+known}" ] || return 0
    grep_reads_nul=''
    ! printf 'a\0b' | grep -qF b || grep_reads_nul=1
}

# search_processes: print a shell assignment of pids_KEY for each job in $wanted. If the list of
# processes is complete, also prints has_searched=1. A complete list contains this subshell, and
# ends with the line `. read`, which `cat` prints after all other files.
#
# awk reads all files /proc/PID/stat, because the shell's `read` is slow. The environment of a
# process is read before its `stat`. In between, a new process may get the same pid. Therefore
# the search ignores the environment of a process that is younger than the search.
search_processes() {
    {
        # In mksh, `printf` is a program, and the kernel limits each argument to 128 KB. So each
        # line is an argument.
        split_lines
        # shellcheck disable=SC2086 # split into lines
        printf '%s\n' $wanted .
        end_split
        print_own_start
        if print_marked; then printf '.\n'; else printf '. unread\n'; fi
        printf '. read\n' | cat "$proc"/[0-9]*/stat - 2>/dev/null
    } | LC_ALL=C awk '
        # The input has four parts: the wanted jobs, the start of the search, the processes with
        # a token, and the content of all files `stat`.
        part == 0 && $0 != "." {
            key[++jobs] = $1
            jobs_of_token[$2] = jobs_of_token[$2] " " jobs
            first_process[jobs] = $3
            since[jobs] = $4
            next
        }
        part == 1 {
            begun = $1
            own = $2
        }
        part == 2 && $1 != "." {
            if ($2 in jobs_of_token) marked[$1] = marked[$1] jobs_of_token[$2]
            next
        }
        part < 3 {
            part++
            is_unread = NF > 1 && part == 3
            next
        }
        record == "" && $0 == ". read" {
            is_complete = 1
            next
        }
        # A record may have several lines, because a process name may contain newlines
        # (read_stat).
        {
            record = record (record == "" ? "" : "\n") $0
            rest = record
            sub(/^.*\) /, "", rest)
            if (split(rest, field, " ") < 20) next
            pid = record + 0
            record = ""
            if (field[1] ~ /[Xx]/ || (field[1] == "Z" && field[18] < 2)) next
            children[field[2]] = children[field[2]] " " pid
            session[pid] = field[4]
            start[pid] = field[20]
        }
        function add(pid, job) {
            if ((pid, job) in is_added) return
            is_added[pid, job] = 1
            added_pid[++count] = pid
            added_job[count] = job
            pids[job] = pids[job] pid " "
        }
        END {
            # Add the first process of each job.
            for (job = 1; job <= jobs; job++) {
                first = first_process[job]
                # If the pid FIRST has another start time, the kernel has reused the pid. The
                # kernel reuses no pid while a session has this number. So the session of the
                # job is gone, and a session with this number is unrelated.
                if (first in start && start[first] != since[job]) continue
                if (first in start) add(first, job)
                jobs_of_session[first] = jobs_of_session[first] " " job
            }
            # Add the processes in the session of a job, and the processes with its token.
            for (pid in start) {
                size = 0
                if (session[pid] in jobs_of_session) size = split(jobs_of_session[session[pid]], list, " ")
                for (i = 1; i <= size; i++)
                    if (start[pid] + 0 >= since[list[i]] + 0) add(pid, list[i])
                size = 0
                if (pid in marked && (begun == "-" || start[pid] + 0 <= begun + 0))
                    size = split(marked[pid], list, " ")
                for (i = 1; i <= size; i++) add(pid, list[i])
            }
            # Add all descendants: the loop also visits the processes that it adds.
            for (n = 1; n <= count; n++) {
                size = 0
                if (added_pid[n] in children) size = split(children[added_pid[n]], list, " ")
                for (i = 1; i <= size; i++) add(list[i], added_job[n])
            }
            if (own in start && start[own] == begun && is_complete && !is_unread) print "has_searched=1"
            for (job = 1; job <= jobs; job++) printf "pids_%s=\"%s\"\n", key[job], pids[job]
        }'
}

# print_own_start: print the start time and the pid of this subshell.
print_own_start() {
    start='' stat=''
    read_stat self
    printf '%s\n' "${start:--} ${stat%% *}"
}

# print_marked: print a line PID TOKEN for each process whose initial environment contains the
# token of a job. If only one job is wanted, processes of other jobs may be missing. Returns 1
# if the environments cannot be read. Must be called after print_own_start.
#
# `grep` returns 2 if a process has ended or belongs to another user. `head` prints the path of
# each file as a header. The paths contain the pid of this subshell ("/proc/PID/../N/environ"),
# so a variable of an older process cannot look like a header.
print_marked() {
    near=$proc/${stat%% *}/..
    if [ -z "$grep_reads_nul" ]; then
        set -- "$near"/[0-9]*/environ
    elif [ "$wanted_count" = 1 ]; then
        set -f
        # shellcheck disable=SC2086 # split into the words of the line
        set -- $wanted
        set +f
        [ "$2" != - ] || return 0
        paths=$(grep -lsF "TEJ_JOB_TOKEN=$2" "$proc"/[0-9]*/environ 2>/dev/null)
        [ $? -le 2 ] || return 1
        split_lines
        for path in $paths; do
            path=${path%/environ}
            printf '%s\n' "${path##*/} $2"
        done
        end_split
        return 0
    else
        paths=$(grep -lsF TEJ_JOB_TOKEN= "$near"/[0-9]*/environ 2>/dev/null)
        [ $? -le 2 ] || return 1
        split_lines
        # shellcheck disable=SC2086 # split into paths
        set -- $paths
        end_split
    fi
    # `head` prints headers only for several files. The header of the second /dev/null shows
    # that `head` has read all files.
    [ $# = 0 ] || head -n 1000000 "$near/../dev/null" "$@" "$near/../dev/null" 2>/dev/null |
        tr '\0' '\n' | LC_ALL=C awk -v header="==> $near/" '
        $0 == header "../dev/null <==" { seen++ }
        index($0, header) == 1 && / <==$/ {
            split($2, part, "/")
            pid = part[5]
        }
        /^TEJ_JOB_TOKEN=[0-9a-f]+$/ { print pid, substr($0, 15) }
        END { exit seen < 2 }'
}
