# First process of a job, in the session of the job: records the start of the job, sources
# lib/job_environment.sh, then runs the job's command in this shell. The wrapper passes tej_queue,
# tej_id, tej_here, tej_host, tej_clock, tej_together and tej_read_spec in the environment. The
# working directory is the job's directory. Paths are relative, because a retry can move the
# directory, and another job can then have its old path.
#
# The job's command and the user's start-up files run in this shell. To avoid name
# clashes, the names of all variables and functions of tej in this shell begin with tej_
# or TEJ_.

# With "./", the shell does not search CDPATH, which a login of the scheduler may set.
cd ./stage || exit 125
# Remove an uploaded _stdout or _stderr, which could be a symbolic link to another file.
for tej_file in _stdout _stderr; do
    [ ! -e "$tej_file" ] && [ ! -h "$tej_file" ] || rm -rf "$tej_file"
done
exec </dev/null >_stdout 2>_stderr || exit 125

# tej_read_start: set $tej_now to the time of the last `date` in the wrapper plus the elapsed
# uptime, as read_clock does, and $tej_start to the start time of this process. Returns 1 if
# only the functions of the library, which take longer, can determine both times.
tej_read_start() {
    {
        read -r tej_now _ </proc/uptime && IFS= read -r tej_start <"/proc/$$/stat"
    } 2>/dev/null || return 1
    case $tej_now:$tej_clock in
        *[!0-9.]*:* | *.*.*:* | *:' '*) return 1 ;;
        ?*.[0-9][0-9]:*) tej_now=$((${tej_now%.*} * 100 + 1${tej_now#*.} - 100 - ${tej_clock#* })) ;;
        *) return 1 ;;
    esac
    [ "$tej_now" -ge 0 ] && [ "$tej_now" -lt 3000 ] || return 1
    tej_now=$((${tej_clock% *} + tej_now / 100))
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- ${tej_start##*') '}
    set +f
    [ $# -ge 20 ] || return 1
    shift 19
    tej_start=$1
}

# Write the file `started`. For jobs that are started together, the file is written without a
# rename (put_once).
if [ -n "$tej_together" ] && tej_read_start; then
    printf '%s\n' "$tej_now ${tej_host%% *} $$ $tej_start" 2>/dev/null >../started || {
        rm -f ../started
        exit 125
    }
else (
    # In a subshell, the names of the library do not clash with the user's names.
    job=..
    . "$tej_here/lib/facts.sh"
    . "$tej_here/lib/process_identity.sh"
    read_host "$tej_host"
    me
    clock_date=${tej_clock%% *} clock_uptime=${tej_clock#* }
    read_clock
    put started "$now ${who%% *} $$ $own_start" || exit 125
) || exit 125; fi
# If a client killed the job before `started` was written, the client found no process to
# signal. Therefore this shell kills itself. SIGKILL follows, because this shell may have
# inherited from the login that SIGTERM is ignored.
[ ! -e ../kill ] || {
    kill -s TERM $$
    kill -s KILL $$
}
# If the job was marked lost, another job may have been submitted with the same id.
# Therefore the lost job is not started.
[ ! -e ../lost ] || exit 125

unset -f tej_read_start

# tej_run FILE ARGUMENTS...: replace this shell with FILE (`exec`). If the file system is
# mounted noexec, replace this shell with the interpreter of FILE.
tej_run() {
    [ -x "$1" ] || chmod +x "$1" 2>/dev/null
    [ ! -x "$1" ] || exec "$@"
    IFS= read -r tej_line <"$1"
    case $tej_line in
        '#!'*)
            tej_line=${tej_line#??}
            set -f
            # shellcheck disable=SC2086 # split into the interpreter and its arguments
            exec $tej_line "$@"
            ;;
        *ELF*)
            printf "tej: '%s' cannot be run: '%s' is on a file system mounted noexec\n" "$1" "$TEJ_JOB_DIR" >&2
            exit 126
            ;;
    esac
    exec /bin/sh "$@"
}

. "$tej_here/lib/job_environment.sh"
# shellcheck source=/dev/null
. ../command
