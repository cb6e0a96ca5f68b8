# Runs a job's script, and finds out whether it exited or was ended by a signal. The caller is
# the job's wrapper, the process that records the start and the end of the job. Expects $queue,
# $id, $here, and $tej_session (a command that starts a program in a new session, or '').
# shellcheck shell=sh

# enter_job: enter the job's directory, and use it as $job. A retry may move the directory, and
# a new job may get the old path. The working directory remains the directory of this job.
enter_job() {
    cd "$jobs/$id" && job=.
}

# enter_readable_job: call enter_job, and try again while a network file system fails. Exits if
# the job was removed.
enter_readable_job() {
    until enter_job 2>/dev/null; do
        ! is_absent "$jobs/$id" || exit 0
        sleep 5
    done
}

# await_directory: wait until the job's directory can be read. The exit status must not be lost
# when a network file system fails for a while. Exits if the job was removed.
await_directory() {
    read_spec
    until [ -n "$spec" ] || can_list_job; do
        ! is_removed || exit 1
        sleep 5
        read_spec
    done
}

# can_list_job: check whether the job's directory exists and can be listed. A process can still
# list its removed working directory, but the list is empty.
can_list_job() {
    [ -n "$(ls "$job/" 2>/dev/null)" ]
}

# is_removed: check whether the unreadable job was removed: its id belongs to no job, or to a
# job with another native id. If the job's path can be read again, enters the directory.
is_removed() {
    native=''
    { IFS= read -r native <"$jobs/$id/native_id"; } 2>/dev/null
    case $native in
        "$own_native" | "$own_native;"*)
            enter_job
            return 1
            ;;
        ?*) return 0 ;;
    esac
    is_absent "$jobs/$id"
}

# has_not_started: if the shell for the script ended before the script started, and no client
# has killed the job, mark the job as lost. Otherwise returns 1. If `native_id` is missing, too,
# the server has deleted old files while the script ran.
has_not_started() {
    [ ! -s "$job/started" ] && [ -s "$job/native_id" ] && [ ! -e "$job/kill" ] || return 1
    read_facts
    shell_error=''
    [ ! -f "$job/stage/_stderr" ] || IFS= read -r shell_error <"$job/stage/_stderr" || :
    mark_lost "its script could not be started: the shell for the script ended with ${end#exit }: ${shell_error:-can this account start more processes (ulimit -u)?}"
    run_on_end_once
    await_on_end
}

# set_end_cause: set $end_cause to `killed` if a client has killed the job, or if the job's inputs
# are missing ($unready), and otherwise to `own`. Must be called before `finished` is written.
set_end_cause() {
    note_changed_input
    end_cause=own
    if [ -e "$job/kill" ]; then
        end_cause=killed
    elif [ -n "$unready" ]; then
        end_cause=killed
        note_unstarted "$why"
    fi
}

is_prepared='' # 1 if prepare_wrappers has set tej_session and tej_signals

# prepare_wrappers: find the programs that wrappers need. This shell calls the function once,
# because the wrappers are its subshells. check_job_list, which is called here, writes a file in
# the directory of $job.
prepare_wrappers() {
    get_host
    read_clock
    find_session_program
    find_signal_reset
    # Use the paths of the programs, so that no job needs a search of PATH.
    for item in setsid env; do
        path=$(command -v "$item") || continue
        case $path in
            *[!A-Za-zIi0-9_./-]*) ;;
            /*)
                [ "$tej_session" != "$item" ] || tej_session=$path
                [ "${tej_signals%% *}" != "$item" ] || tej_signals="$path ${tej_signals#* }"
                ;;
        esac
    done
    check_job_list
    is_prepared=1
}

# prepare_run: export the variables that run_in_awk, run_in_shell and exec_job.sh use.
prepare_run() {
    tej_here=$here tej_queue=$queue tej_id=$id
    # exec_job.sh runs on the same host, so it can use these words (read_host).
    get_host
    tej_host="$host $boot $space"
    # read_clock in exec_job.sh adds the elapsed uptime to this time.
    tej_clock="${clock_date-} ${clock_uptime-}"
    # If several jobs are started together, exec_job.sh writes files without a rename
    # (put_once).
    tej_together=$is_prepared tej_read_spec=''
    if [ -n "$is_prepared" ]; then
        [ -n "$spec" ] || read_spec
        # Linux limits each variable to 128 KiB, so exec_job.sh itself reads a long `spec`.
        [ "${#spec}" -gt 9999 ] || tej_read_spec=$spec
    else
        find_signal_reset
    fi
    # shellcheck disable=SC2016,SC2089 # expanded by another shell
    tej_run='exec $tej_signals $tej_session /bin/sh "$tej_here/exec_job.sh" >/dev/null'
    # shellcheck disable=SC2090
    export tej_signals tej_session tej_here tej_queue tej_id tej_host tej_clock tej_run \
        tej_together tej_read_spec
}

# find_signal_reset: set $tej_signals to a command prefix that gives SIGINT and SIGQUIT their
# default actions. Shells ignore both signals in background commands, and a shell cannot reset a
# signal that was ignored when the shell started (POSIX).
find_signal_reset() {
    tej_signals=''
    if env --default-signal=INT,QUIT true 2>/dev/null; then
        tej_signals='env --default-signal=INT,QUIT'
    elif command -v perl >/dev/null 2>&1; then
        # The prefix is split into words, so the perl code must not contain blanks.
        # shellcheck disable=SC2016 # perl's variables
        tej_signals='perl -e $SIG{INT}=$SIG{QUIT}=DEFAULT;exec@ARGV'
    fi
}

# find_session_program: set $tej_session to a command prefix that starts a program in a new
# session, or to '' if no such program is installed.
find_session_program() {
    tej_session=''
    if command -v setsid >/dev/null 2>&1; then
        tej_session=setsid
    elif command -v perl >/dev/null 2>&1; then
        # macOS and the BSDs have no `setsid` command, but perl can call setsid(2).
        tej_session='perl -MPOSIX=setsid -e setsid;exec@ARGV'
    fi
}

# check_job_list: set $jobs_reports_signals to 1 if the builtin `jobs` of this shell shows
# whether a background command exited or was ended by a signal.
check_job_list() {
    jobs_reports_signals=''
    # shellcheck disable=SC2016 # expanded by another shell
    reserve_list
    /bin/sh -c 'kill -s TERM $$' &
    { wait "$!"; } 2>/dev/null
    ! was_signalled "$!" || jobs_reports_signals=1
}

# reserve_list: allocate disk space for the output of `jobs`, because the disk may be full
# later. The space is filled with blanks, so an older output disappears.
reserve_list() {
    { printf '%-400s\n' '' >"$job/.jobs"; } 2>/dev/null
}

# was_signalled PID: check whether `jobs` lists the ended process PID without an exit code. A
# subshell has its own list of jobs, so `jobs` must run in this shell.
was_signalled() {
    # Truncating the file would free the space, so open it with `1<>`.
    { jobs -l 1<>"$job/.jobs"; } 2>/dev/null || return 1
    while read -r line; do
        case $line in
            *" $1 Done"*) ;;
            *" $1 "*) return 0 ;;
        esac
    done <"$job/.jobs"
    return 1
}

# run_in_background: run the script as a background command, and set $end to `exit N` or `signal
# N`. Requires jobs_reports_signals. Starts fewer processes than run_in_awk.
run_in_background() {
    reserve_list
    # shellcheck disable=SC2086 # split into words
    $tej_signals $tej_session /bin/sh "$here/exec_job.sh" >/dev/null &
    await_background
}

# await_background: wait for the last background command, and set $end to `exit N` or `signal
# N`. Requires jobs_reports_signals, and reserve_list before the command is started.
await_background() {
    { wait "$!"; } 2>/dev/null
    status=$?
    end="exit $status"
    [ "$status" -le 128 ] || ! was_signalled "$!" || end="signal $((status - 128))"
}

# run_in_awk: run the script, and set $end to `exit N` or `signal N`, or to '' if the result is
# unknown. Most shells give the same status for `exit 143` and for a SIGTERM, but awk
# distinguishes them. After a signal, system() returns 256 or 512 plus the signal number. In old
# versions of awk, it returns the signal number divided by 256.
#
# Does not run the script if this awk does not report signals (busybox). The same applies if
# SIGCHLD is ignored, because system() then returns -1.
run_in_awk() {
    end=$(awk '
        BEGIN {
            if (system("kill -s TERM $$") <= 0) exit
            status = system(ENVIRON["tej_run"])
            if (status != int(status)) print "signal", int((status - int(status)) * 256 + .5) % 128
            else if (status >= 512) print "signal", status - 512
            else if (status >= 256) print "signal", status - 256
            else print "exit", status
        }' 2>/dev/null)
}

# run_in_shell: run the script in a shell, and set $end to `exit N` or `signal N`, or to '' if
# the result is unknown. If a status is ambiguous, a message of the shell such as "Terminated"
# indicates a signal (print_exit_status.sh).
run_in_shell() {
    # shellcheck disable=SC2086 # split into signal names
    shell_report=$(/bin/sh "$here/print_exit_status.sh" ${signals:-TERM} 2>&1)
    status=${shell_report##*=}
    if ! is_number "$status"; then
        # The shell was killed, for example by `kill -9 $PPID` in the script.
        end=''
    elif [ "$status" -gt 384 ]; then
        end="signal $((status - 384))"
    elif [ "$status" -gt 256 ]; then
        end="signal $((status - 256))"
    elif [ "$status" -gt 128 ] && [ "${shell_report%"==$status"}" = "$shell_report" ]; then
        end="signal $((status - 128))"
    else
        end="exit $status"
    fi
}

# read_outcome: set $end to the result of the script from the file .end. Returns 1 if the script
# has not ended yet.
read_outcome() {
    read -r end <"$job/.end"
    [ -n "$end" ]
}

# script_has_ended: check whether the process $runner has written .end, or has died. Sets $end
# to the result, or to '' if $runner died early. $runner may write .end and exit between two
# commands of this shell, so check whether $runner runs before reading .end.
script_has_ended() {
    is_running=1
    kill -0 "$runner" 2>/dev/null || is_running=''
    read_outcome || [ -z "$is_running" ]
}
