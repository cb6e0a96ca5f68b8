# Execution of a job's script, and its result: exit code or signal. exec_job.sh replaces itself
# with the script (`exec`). Expects: queue, id, here, and tej_session=the command that starts a
# program in a new session, or ''.
# shellcheck shell=sh

# enter_job: enter the job's directory and set job=. (the working directory). If the job
# is archived for a retry, another job may have its old path, but the working directory
# is still the directory of the archived job.
enter_job() {
    cd "$jobs/$id" && job=.
}

# enter_readable_job: call enter_job, and repeat the call while a network file system fails.
# Otherwise, the scheduler would report a job that has ended, although its script never ran.
# Exits if the job was removed.
enter_readable_job() {
    until enter_job 2>/dev/null; do
        ! is_absent "$jobs/$id" || exit 0
        sleep 5
    done
}

# await_directory: wait until the directory of the job can be read, because the exit status
# must not be lost if a network file system fails for a while. Exits if the job was removed.
# $own_native is the native id that this wrapper has written.
await_directory() {
    read_spec
    until [ -n "$spec" ] || can_list_job; do
        ! is_removed || exit 1
        sleep 5
        read_spec
    done
}

# can_list_job: check whether the directory of the job exists and can be listed. If so, only
# `spec` is missing or damaged. The directory of a job is never empty, but the list of a removed
# directory is empty.
can_list_job() {
    [ -n "$(ls "$job/" 2>/dev/null)" ]
}

# is_removed: check whether the job, whose directory cannot be read, was removed: its id belongs
# to no job or to another job. Enters the directory again if its path can be read.
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

# has_not_started: check whether the shell for the script ended without starting the
# script, although no client requested a kill. In that case, marks the job as lost.
has_not_started() {
    [ ! -s "$job/started" ] && [ ! -e "$job/kill" ] || return 1
    read_facts
    said=''
    [ ! -f "$job/stage/_stderr" ] || IFS= read -r said <"$job/stage/_stderr" || :
    mark_lost "its script could not be started: the shell for the script ended with ${end#exit }: ${said:-can this account start more processes (ulimit -u)?}"
    run_on_end_once
    await_on_end
}

# set_whose: set $whose to `killed` if a client has killed the job, or if the inputs of the
# job are missing ($unready), and otherwise to `own`. Must be called before `finished` is
# written.
set_whose() {
    note_changed_input
    whose=own
    if [ -e "$job/kill" ]; then
        whose=killed
    elif [ -n "$unready" ]; then
        whose=killed
        note_unstarted "$why"
    fi
}

is_prepared='' # 1 if prepare_wrappers has set tej_session and tej_signals

# prepare_wrappers: find the programs that the wrappers of several jobs use, and check the builtin
# `jobs`, whose output goes to a file of $job. The subshells of this shell inherit the results, so
# that the programs are searched only once.
prepare_wrappers() {
    get_host
    read_clock
    find_session_program
    find_signal_reset
    # Use the paths of the programs, so that the shell does not search PATH again for each job.
    for item in setsid env; do
        path=$(command -v "$item") || continue
        case $path in
            *[!A-Za-z0-9_./-]*) ;;
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
    # exec_job.sh runs on the same host. Therefore the host name, boot and pid namespace
    # are passed to exec_job.sh in tej_host.
    get_host
    tej_host="$host $boot $space"
    # read_clock in exec_job.sh adds the elapsed uptime to the time that `date` has
    # printed here.
    tej_clock="${clock_date-} ${clock_uptime-}"
    # The fact files of jobs that are started together are written without a rename.
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

# find_signal_reset: set $tej_signals to a command prefix that resets SIGINT and SIGQUIT to
# their default actions. A shell ignores SIGINT and SIGQUIT in background commands, and POSIX
# does not allow a shell to reset a signal that was ignored on entry.
find_signal_reset() {
    tej_signals=''
    if env --default-signal=INT,QUIT true 2>/dev/null; then
        tej_signals='env --default-signal=INT,QUIT'
    elif command -v perl >/dev/null 2>&1; then
        # The perl code must not contain blanks, because the prefix is split into words.
        # shellcheck disable=SC2016 # perl's variables
        tej_signals='perl -e $SIG{INT}=$SIG{QUIT}=DEFAULT;exec@ARGV'
    fi
}

# find_session_program: set $tej_session to a command prefix that starts a program in a
# new session, or to '' if neither `setsid` nor `perl` is installed.
find_session_program() {
    tej_session=''
    if command -v setsid >/dev/null 2>&1; then
        tej_session=setsid
    elif command -v perl >/dev/null 2>&1; then
        # macOS and the BSDs have no `setsid` command, but perl can call setsid(2).
        tej_session='perl -MPOSIX=setsid -e setsid;exec@ARGV'
    fi
}

# check_job_list: set $jobs_reports_signals to 1 if the builtin `jobs` of this shell
# distinguishes background commands that a signal has ended from background commands
# that have exited.
check_job_list() {
    jobs_reports_signals=''
    # shellcheck disable=SC2016 # expanded by another shell
    reserve_list
    /bin/sh -c 'kill -s TERM $$' &
    { wait "$!"; } 2>/dev/null
    ! was_signalled "$!" || jobs_reports_signals=1
}

# reserve_list: allocate disk space for the output of `jobs`, which is written when the disk may
# be full. Overwrites the output of an earlier `jobs`.
reserve_list() {
    { printf '%-400s\n' '' >"$job/.jobs"; } 2>/dev/null
}

# was_signalled PID: check whether `jobs` lists the process PID, which has ended, and does not
# report an exit code for it. `jobs` must not run in a subshell, because a subshell has a
# list of its own.
was_signalled() {
    # `1<>` opens the file without truncating it. Truncation would free the disk space that
    # reserve_list has allocated.
    { jobs -l 1<>"$job/.jobs"; } 2>/dev/null || return 1
    while read -r line; do
        case $line in
            *" $1 Done"*) ;;
            *" $1 "*) return 0 ;;
        esac
    done <"$job/.jobs"
    return 1
}

# run_in_background: run the script as a background command of this shell. Sets $end to
# `exit N` or `signal N`. Requires jobs_reports_signals. run_in_background starts fewer
# processes than run_in_awk.
run_in_background() {
    reserve_list
    # shellcheck disable=SC2086 # split into words
    $tej_signals $tej_session /bin/sh "$here/exec_job.sh" >/dev/null &
    await_background
}

# await_background: wait for the last background command. Sets $end to `exit N` or `signal N`.
# Requires jobs_reports_signals. reserve_list must be called before the command is started.
await_background() {
    { wait "$!"; } 2>/dev/null
    status=$?
    end="exit $status"
    [ "$status" -le 128 ] || ! was_signalled "$!" || end="signal $((status - 128))"
}

# run_in_awk: run the script. Sets $end to `exit N` or `signal N`, or to '' if the result
# is unknown. Most shells report the same status for `exit 143` and a SIGTERM. Most awk programs
# distinguish the two: after a signal, system() returns 256 or 512 plus the signal number, or the
# signal number divided by 256 in old versions. If awk does not report signals (busybox), or
# reports -1 because SIGCHLD is ignored, run_in_awk does not run the script.
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

# run_in_shell: run the script in a shell. Sets $end to `exit N` or `signal N`, or to '' if
# the result is unknown. If the status can mean an exit code or a signal, a message of the
# shell such as "Terminated" indicates a signal; see print_exit_status.sh.
run_in_shell() {
    # shellcheck disable=SC2086 # split into signal names
    words=$(/bin/sh "$here/print_exit_status.sh" ${signals:-TERM} 2>&1)
    status=${words##*=}
    if ! is_number "$status"; then
        # The shell was killed, for example by `kill -9 $PPID` in the script.
        end=''
    elif [ "$status" -gt 384 ]; then
        end="signal $((status - 384))"
    elif [ "$status" -gt 256 ]; then
        end="signal $((status - 256))"
    elif [ "$status" -gt 128 ] && [ "${words%"==$status"}" = "$words" ]; then
        end="signal $((status - 128))"
    else
        end="exit $status"
    fi
}

# read_outcome: set $end to the result of the script that the process $runner has written to
# .end, `exit N` or `signal N`. Returns 1 if the script has not ended yet.
read_outcome() {
    read -r end <"$job/.end"
    [ -n "$end" ]
}

# script_has_ended: check whether the process $runner has written the result of the script,
# or has ended. Sets $end to the result, or to '' if $runner was killed. $runner writes .end
# and ends, and may do both between two commands of this shell. Therefore script_has_ended
# first checks whether $runner is alive, and then reads .end.
script_has_ended() {
    is_running=1
    kill -0 "$runner" 2>/dev/null || is_running=''
    read_outcome || [ -z "$is_running" ]
}
