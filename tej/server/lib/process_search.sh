# Search for the processes of jobs: one pass over all processes in /proc finds the processes of
# any number of jobs. A search takes about as long for 1,000 jobs as for one job.
# shellcheck shell=sh
#
# The processes of a job are the processes with the job's token in their initial environment, the
# first process of the job (pid FIRST, start time START), the processes in its session, and all
# descendants of these processes. A process is missed if it has cleared its environment, left the
# session and lost its parent. Without /proc, only the process FIRST is found.

wanted=''      # lines KEY TOKEN FIRST START, one for each job of the next search
wanted_count=0 # number of these lines
has_searched=1 # '' if the last search has failed

# begin_search: begin a new search without jobs.
begin_search() {
    wanted='' wanted_count=0
}

# add_to_search KEY: add $job to the next search. Later, run_search sets pids_KEY to the
# pids of all processes of the job on this host. The job's fact files must have been read before.
# If the script runs on another host, its pid is not valid on this host, and only the job's
# token identifies processes of the job.
add_to_search() {
    get_host
    mark=${spec#*token=}
    mark=${mark%% *}
    if [ "${where:-$host}" = "$host" ]; then
        set -- "$1" "$j_pid" "$j_start"
    else
        set -- "$1" - -
    fi
    # After a restart of this host, an unrelated session may have the number of FIRST. A wrapper
    # skips this check, because it searches only for its own job, and $native may be the native id
    # of another job.
    case $is_wrapper${native-} in
        1* | "pid $host $boot $space "*) ;;
        "pid $host "*) set -- "$1" - - ;;
    esac
    eval "pids_$1=''"
    [ -n "$proc" ] || {
        check_process "$2" "$3"
        # If this shell is the wrapper, it has not yet waited for its child, so that the
        # pid of the child cannot have been reused.
        [ "$life" != alive ] && [ "$life$is_wrapper" != unsure1 ] || eval "pids_$1=\$2"
        return 0
    }
    # A damaged fact file must not make unrelated processes part of the job.
    is_number "$2" && is_number "$3" && [ "$2" -gt 1 ] || set -- "$1" - -
    case $mark in *[!0-9a-f]* | '') mark=- ;; esac
    [ ${#mark} -ge 32 ] || mark=-
    wanted="$wanted$1 $mark $2 $3$newline" wanted_count=$((wanted_count + 1))
}

# run_search: set pids_KEY for each job that was added to the search. If the processes of this
# host cannot be listed, sets $has_searched to '' and calls search_failed.
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

# search_failed: quit. Otherwise every job would seem to have no processes, and a running
# job could be reported as lost, or be deleted. A wrapper redefines search_failed, and
# checks $has_searched.
search_failed() { quit 20 "$unlisted"; }

# check_grep: set $grep_reads_nul to 1 if `grep` also searches the part of a file after the
# first NUL. The grep of busybox does not.
check_grep() {
    [ -z "${grep_reads_nul+known}" ] || return 0
    grep_reads_nul=''
    ! printf 'a\0b' | grep -qF b || grep_reads_nul=1
}

# search_processes: print an assignment of pids_KEY for each job in $wanted. Also prints
# has_searched=1 if the list of processes contains this subshell and is complete: `cat` prints
# the line `. read` from stdin after all other files. Otherwise the search has failed: there are
# too many files for one command, no process can be started, or a program was killed.
#
# One awk process reads all files /proc/PID/stat, because the shell builtin `read` is slow: it
# reads one byte at a time. A pid may be reused between the read of its environment and the read
# of its `stat`. Therefore the search ignores the environment of a process that is younger than
# the search. The next search finds such a process if it belongs to a job.
search_processes() {
    {
        # If `printf` is a program (mksh), the kernel limits each of its arguments to 128 KB.
        # Therefore each line is an argument.
        split_lines
        # shellcheck disable=SC2086 # split into lines
        printf '%s\n' $wanted .
        end_split
        print_own_start
        if print_marked; then printf '.\n'; else printf '. unread\n'; fi
        printf '. read\n' | cat "$proc"/[0-9]*/stat - 2>/dev/null
    } | LC_ALL=C awk '
        # The input has four parts: the wanted jobs, the start of the search, the marked
        # processes, and the content of all files `stat`.
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
        # A record may have several lines, because a process name may contain blanks, brackets and
        # newlines. The fields follow the last bracket.
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
                # Under a scheduler, FIRST need not be a session leader. If a process has this
                # pid but another start time, the pid was reused. The kernel does not reuse a
                # pid while a session has this id, so the session of the job is gone, and a
                # session with this id is unrelated.
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
            # Add the children of each added process. The loop also visits the processes that it
            # adds, so it finds all descendants.
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
# token of a job. If only one job is wanted, may print only the processes with its token.
# Returns 1 if the environments cannot be read. The exit status of grep is 2 if it cannot read
# some of the files, because their processes have ended or belong to other users.
#
# Called after print_own_start. `head` prints the path of each environment as a header. The paths
# contain the pid of this subshell ("/proc/PID/../N/environ"), so that no variable of an older
# process can look like such a header.
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
    # `head` prints the path of each file before its content if it reads several files. The
    # second /dev/null shows that `head` was not killed before it had read all files.
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
