# Running a job's script, and telling an exit code from a signal at its end.
# Expects: queue, id, here, and tej_session=the command that starts the script in a session
# of its own, or nothing.
# shellcheck shell=sh

# enter_job: job=. in the job's directory.  Its path may lead to another job later, if this
# one is put aside for a retry; the working directory follows the move.
enter_job() {
    cd "$jobs/$id" && job=.
}

# has_not_begun: the shell for the script has ended without starting it, and nobody has
# asked for that: then the job is lost.
has_not_begun() {
    [ ! -e "$job/started" ] && [ ! -e "$job/kill" ] || return 1
    read_facts
    said=''
    [ ! -f "$job/stage/_stderr" ] || IFS= read -r said <"$job/stage/_stderr" || :
    mark_lost "its script could not be started: the shell for it ended with ${end#exit }: ${said:-can this account start more processes (ulimit -u)?}"
}

# prepare_run: what run_in_awk and run_in_shell run.
prepare_run() {
    tej_here=$here tej_queue=$queue tej_id=$id
    # exec_job.sh runs on the same host and need not find it out again.
    get_host
    tej_host="$host $boot $space"
    find_signal_reset
    # shellcheck disable=SC2016,SC2089 # for another shell
    tej_run='exec $tej_signals $tej_session /bin/sh "$tej_here/exec_job.sh" >/dev/null'
    # shellcheck disable=SC2090
    export tej_signals tej_session tej_here tej_queue tej_id tej_host tej_run
}

# find_signal_reset: tej_signals=a command that starts another with the default actions of
# SIGINT and SIGQUIT.  A shell ignores both for what it runs in the background, and POSIX
# forbids shells to undo that.
find_signal_reset() {
    tej_signals=''
    if env --default-signal=INT,QUIT true 2>/dev/null; then
        tej_signals='env --default-signal=INT,QUIT'
    elif command -v perl >/dev/null 2>&1; then
        # No blanks: it is split into words.
        # shellcheck disable=SC2016 # perl's variables
        tej_signals='perl -e $SIG{INT}=$SIG{QUIT}=DEFAULT;exec@ARGV'
    fi
}

# find_session_program: tej_session=a command that starts another in a session of its own;
# empty if there is none.
find_session_program() {
    tej_session=''
    if command -v setsid >/dev/null 2>&1; then
        tej_session=setsid
    elif command -v perl >/dev/null 2>&1; then
        # macOS and the BSDs have no setsid, and perl does.
        tej_session='perl -MPOSIX=setsid -e setsid;exec@ARGV'
    fi
}

# run_in_awk: end=`exit N` or `signal N`; empty if the end was not seen.  Most shells report
# `exit 143` and a SIGTERM alike; most awks do not: their system() returns 256 or 512 plus
# the signal, old ones a fraction of 256.  An awk that cannot tell (busybox) runs nothing.
run_in_awk() {
    end=$(awk '
        BEGIN {
            if (system("kill -s TERM $$") == 0) exit
            status = system(ENVIRON["tej_run"])
            if (status != int(status)) print "signal", int((status - int(status)) * 256 + .5) % 128
            else if (status >= 512) print "signal", status - 512
            else if (status >= 256) print "signal", status - 256
            else print "exit", status
        }' 2>/dev/null)
}

# run_in_shell: as run_in_awk.  A shell whose status leaves the question open prints
# "Terminated" or the like.  It survives the signals ($signals)
# that schedulers send to the whole session.
run_in_shell() {
    words=$(
        for signal in ${signals:-TERM}; do trap : "$signal"; done
        { /bin/sh -c "$tej_run"; } 2>&1
        printf '=%s' $?
    )
    status=${words##*=}
    if [ "$status" -gt 384 ]; then
        end="signal $((status - 384))"
    elif [ "$status" -gt 256 ]; then
        end="signal $((status - 256))"
    elif [ "$status" -gt 128 ] && [ "$words" != "=$status" ]; then
        end="signal $((status - 128))"
    else
        end="exit $status"
    fi
}
