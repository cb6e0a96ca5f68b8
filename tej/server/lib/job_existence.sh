# Existence of a job: find its directory, and distinguish a job that does not exist from a job
# that cannot be read.
# shellcheck shell=sh

# find_job ID: set $id to ID, and $job to the directory of the job. NAME#N is the N-th archived
# attempt of the job NAME. Returns 1 only if the job certainly does not exist. If $job
# cannot be read, returns 0, and the job's state is unknown.
find_job() {
    id=$1 job=$jobs/$1
    case $1 in
        *'#'*) job=$queue/attempts/${1%'#'*}/${1##*'#'}/job ;;
    esac
    [ -d "$job" ] || may_exist
}

# may_exist: check whether the job $job may exist although the shell finds no directory. If the
# whole queue has disappeared, its file system may be unmounted for a while, and the job may
# exist.
may_exist() {
    [ ! -h "$queue/attempts/$id/restarting" ] || ! await_replacement "$id" || return 0
    if [ -e "$job" ]; then
        [ -d "$job" ]
    else
        case $absent_ids in *" $id "*) return 1 ;; esac
        ! is_absent "$job" || [ ! -f "$queue/version" ]
    fi
}

absent_ids=' ' # ids of jobs that certainly do not exist, each followed by a space

# find_absent ID...: set $absent_ids to the jobs that certainly do not exist. Lists $jobs once,
# because find_job would start a process for each missing job. Does nothing if fewer than 10 of
# the jobs have no directory. Skips archived attempts.
find_absent() {
    absent_ids=' ' count=0
    for each_id in "$@"; do [ -d "$jobs/$each_id" ] || count=$((count + 1)); done
    [ "$count" -ge 10 ] && [ -f "$queue/version" ] || return 0
    # The line `//` shows that the list is complete.
    absent_ids=" $(
        { list_names "$jobs" && print_words // "$@"; } | LC_ALL=C awk '
            is_id && !/#/ && !($0 in exists) { printf "%s ", $0 }
            $0 == "//" { is_id = 1 }
            !is_id { exists[$0] }'
    )"
}

# find_absent_ids ID WORD [ID WORD]...: call find_absent with the ids alone.
find_absent_ids() {
    requested_ids=''
    while [ $# -gt 0 ]; do
        requested_ids="$requested_ids $1"
        shift 2
    done
    set -f
    # shellcheck disable=SC2086 # split into ids
    find_absent $requested_ids
    set +f
}

# print_words WORD...: print each word on a line. In mksh, `printf` is a program, and the kernel
# limits the size of its arguments. Therefore `cat` prints a here-document.
print_words() {
    case $(command -v printf) in
        /*) ;;
        *)
            printf '%s\n' "$@"
            return
            ;;
    esac
    split_lines
    cat <<END
$*
END
    end_split
}

# need_job ID: like find_job, but quit if the job does not exist or cannot be read.
need_job() {
    find_job "$1" || quit 3 "No job '$1'"
    [ -d "$job" ] || {
        check_jobs
        explain_unread
        quit 20 "Job '$1' $unread"
    }
}

# explain_unread: set $unread to the reason why the directory of the job $id is not found.
explain_unread() {
    unread="cannot be read, so its state is unknown: check the directory '$job' on the server"
    [ ! -h "$queue/attempts/$id/restarting" ] || unread="is being replaced by a new attempt: repeat the command"
}

# check_jobs: quit if the directory of the jobs cannot be listed. Without this check, the queue
# would seem to be empty.
check_jobs() {
    why=$(LC_ALL=C ls -a "$jobs/" 2>&1 >/dev/null) || is_absent "$jobs" ||
        quit 20 "The jobs of '$queue' cannot be read: ${why##*: }"
    ! is_absent "$queue/version" || quit 10 "There is no queue at '$queue'"
}

# list_names DIRECTORY: print the names of all files in DIRECTORY, each on a line. Returns
# nonzero if the list may be incomplete.
list_names() {
    LC_ALL=C QUOTING_STYLE=literal ls -a "$1/" 2>/dev/null
}

# is_absent PATH: check whether PATH certainly does not exist. `[ -e PATH ]` is also false if
# the file system reports an error. PATH is absent if `ls` reports so, if its directory is
# listed without it, or if this directory is absent. Listing a directory with many jobs takes
# long, so this test comes last.
is_absent() {
    [ ! -e "$1" ] && [ ! -h "$1" ] || return 1
    names=$(LC_ALL=C ls -d "$1" 2>&1 >/dev/null)
    # Ignore the statuses 126 and 127: the shell could not run `ls`.
    case $?:$names in
        0:*) return 1 ;;
        [12]:*': No such file or directory') return 0 ;;
    esac
    case $1 in
        */*) set -- "${1##*/}" "${1%/*}" ;;
        *) set -- "$1" . ;;
    esac
    if names=$(list_names "$2"); then
        case $newline$names$newline in *"$newline$1$newline"*) return 1 ;; esac
    else
        case $2 in '' | . | ..) return 1 ;; esac
        if [ -e "$2" ]; then [ ! -d "$2" ]; else is_absent "$2"; fi
    fi
}

# is_unreadable PATH: check whether PATH may exist but cannot be seen. A job may create the file
# meanwhile, so the last test repeats the first.
is_unreadable() {
    [ ! -e "$1" ] && [ ! -h "$1" ] && ! is_absent "$1" && [ ! -e "$1" ] && [ ! -h "$1" ]
}

# can_list DIRECTORY: check whether DIRECTORY can be entered and listed. Without this check, all
# files in DIRECTORY could seem to be missing.
can_list() {
    [ -x "$1" ] && ls -a "$1/" >/dev/null 2>&1
}
