# Run a job's command, and tell how it ended: an exit code from a signal.
# Expects: queue, id, here, and tej_session=what starts it in a session of its own.
# shellcheck shell=sh

# enter_job: job=its directory, in which we are from here on.  By its path it could become
# another one, if somebody gives this one up and tries again; where we are goes with it,
# wherever it is moved.
enter_job() {
    cd "$jobs/$id" && job=.
}

# has_not_begun: what ran it has ended, and its script was never started; nobody wanted
# that.  Then it is lost.
has_not_begun() {
    [ ! -e "$job/started" ] && [ ! -e "$job/kill" ] || return 1
    read_facts
    mark_lost "its script could not be started: the shell for it ended with ${end#exit }"
}

# prepare_run: what run_in_awk and run_in_shell run.
prepare_run() {
    tej_here=$here tej_queue=$queue tej_id=$id
    # Its own host is the job's: that need not be found out twice.
    get_host
    tej_host="$host $boot $space"
    # shellcheck disable=SC2016,SC2089 # for another shell
    tej_run='exec $tej_session /bin/sh "$tej_here/exec_job.sh" >/dev/null'
    # shellcheck disable=SC2090
    export tej_session tej_here tej_queue tej_id tej_host tej_run
}

# run_in_awk: end=`exit N` or `signal N`; empty if nobody saw it.  Most shells cannot tell
# `exit 143` from a SIGTERM; most awks can: their system() gives 256 or 512 and the signal,
# in old ones a fraction of 256.  One that gives nothing at all (busybox) runs nothing.
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

# run_in_shell: a shell that cannot tell by the status says "Terminated" and the like.
# It outlives a SIGTERM to the whole session, as schedulers send it; what it runs need not.
run_in_shell() {
    words=$(
        trap : TERM
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
