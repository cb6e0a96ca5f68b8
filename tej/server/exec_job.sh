# First process of a job: writes the file `started`, sets the job's environment, and runs the
# job's command in this shell. The wrapper (the process that records the end of the job) starts
# this script, and passes tej_queue, tej_id, tej_here, tej_host, tej_clock, tej_together and
# tej_read_spec in the environment.
#
# The working directory is the job's directory. Paths are relative, because a retry can move the
# directory and another job can get its old path.
#
# The user's start-up files and commands run in this shell. Therefore all names of tej begin
# with tej_ or TEJ_.

# With "./", the shell does not search CDPATH, which a login may set.
cd ./stage || exit 125
# Remove an uploaded _stdout or _stderr: it could be a symbolic link to another file.
for tej_file in _stdout _stderr; do
    [ ! -e "$tej_file" ] && [ ! -h "$tej_file" ] || rm -rf "$tej_file"
done
exec </dev/null >_stdout 2>_stderr || exit 125

# tej_read_start: set $tej_now to the current time, and $tej_start to the start time of this
# process. The current time is the last `date` of the wrapper ($tej_clock) plus the time since
# then, measured in uptime. Returns 1 if only the slower functions of the library can do this.
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

# Write the file `started`.
if [ -n "$tej_together" ] && tej_read_start; then
    printf '%s\n' "$tej_now ${tej_host%% *} $$ $tej_start" 2>/dev/null >../started || {
        rm -f ../started
        exit 125
    }
else (
    # The library runs in a subshell, so it cannot change the user's variables and functions.
    job=..
    . "$tej_here/lib/facts.sh"
    . "$tej_here/lib/process_identity.sh"
    read_host "$tej_host"
    me
    clock_date=${tej_clock%% *} clock_uptime=${tej_clock#* }
    read_clock
    put started "$now ${who%% *} $$ $own_start" || exit 125
) || {
    rm -f ../started
    exit 125
}; fi
# A client may kill the job before `started` is written. The client then finds no process to
# signal, so this shell kills itself. SIGKILL follows, because SIGTERM may be ignored since the
# login.
[ ! -e ../kill ] || {
    kill -s TERM $$
    kill -s KILL $$
}
# Do not start a job that is marked lost: a job with the same id may have been submitted since.
# Without `started`, the wrapper records no end of a script that has not run (has_not_started).
[ ! -e ../lost ] || {
    rm -f ../started
    exit 125
}

unset -f tej_read_start

# tej_run FILE ARGUMENTS...: replace this shell with FILE (`exec`). On a file system mounted
# noexec, replace this shell with the interpreter of FILE.
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

# A job may wait for weeks, and a cleanup of old files may have deleted the script meanwhile.
[ -r "$tej_here/lib/job_environment.sh" ] || {
    printf "tej: the script '%s' of the queue is missing or cannot be read\n" "$tej_here/lib/job_environment.sh" >&2
    exit 125
}
. "$tej_here/lib/job_environment.sh"
# shellcheck source=/dev/null
. ../command
