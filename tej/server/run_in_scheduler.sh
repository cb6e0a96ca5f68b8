# batch QUEUE ID HERE RUNTIME TOKEN: run one job where a scheduler has put it, from its
# start to its recorded end.  Stays in the session it was started in, as all that leaves
# it outlives `qdel`; what ends the job there ends this one too, after a SIGTERM.
# shellcheck shell=sh

umask 022
. "$3/lib/environment.sh"
hide_environment
queue=$1 id=$2 here=$3 runtime=$4 token=$5
unset TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_JOB_DIR
. "$here/lib/load.sh"
. "$here/lib/run.sh"
enter_job || exit 0
own_id=''
scheduler_own_id
me

# leave_to_first: a job is started once.  The scheduler may start it again, after a node
# fell silent or by an administrator's word: that is told, and not done.
leave_to_first() {
    [ ! -e "$job/finished" ] || exit 0
    read_facts
    [ "$native" != "$runtime $own_id" ] || put rerun "$(date +%s) ${who%% *}"
    exit 0
}

# read_outcome: end=what the runner has written; 1 if nothing yet.
read_outcome() {
    read -r end <"$job/.end"
    [ -n "$end" ]
}

# wind_down: the scheduler, or `kill` through it, has sent SIGTERM to all of the session.
# It is passed on to what left that; when the grace that `kill` grants is over, SIGKILL.
wind_down() {
    told_at=$(date +%s)
    find_job_processes
    get_start $$
    ours=$session strays=''
    for pid in $pids; do
        get_start "$pid"
        [ "$session" = "$ours" ] || strays="$strays $pid"
    done
    # shellcheck disable=SC2086 # pids
    [ -z "$proc" ] || [ -z "$strays" ] || kill -s TERM $strays 2>/dev/null
    until read_outcome || ! kill -0 "$runner" 2>/dev/null; do
        nap
        [ -e "$job/kill" ] || continue
        read_facts
        [ -n "$grace" ] && [ $(($(date +%s) - told_at)) -ge "$grace" ] || continue
        find_job_processes
        signal_processes KILL
    done
}

# listen: where the scheduler has no SIGTERM to give, `kill` is looked for, and all of the
# session is told as the others would tell it.
listen() {
    until [ -e "$job/kill" ]; do
        kill -0 $$ 2>/dev/null || return
        sleep 2
    done
    find_job_processes
    get_start $$
    ours=$session told_first=''
    for pid in $pids; do
        get_start "$pid"
        [ "$session" != "$ours" ] || told_first="$told_first $pid"
    done
    # shellcheck disable=SC2086 # pids
    kill -s TERM $told_first $$ 2>/dev/null
}

# The job that this was submitted for is still the one of that name.
has_token "$token" || exit 0
told='' listener=''
trap 'told=1' TERM
mkdir "$job/claim" 2>/dev/null || leave_to_first
put native_id "$runtime $own_id" && reserve && printf '%-20s\n' '' >"$job/.end" || exit 1

end=''
if [ -e "$job/kill" ]; then
    end='none 0'
else
    tej_session=''
    prepare_run
    # Ignored, until there is something that can answer it.
    trap '' TERM
    {
        run_in_shell
        # Into the room made for it: the disk may be full by now.
        printf '%s\n' "$end" 1<>"$job/.end"
    } &
    runner=$!
    trap 'told=1' TERM
    [ -z "${has_no_term-}" ] || {
        listen &
        listener=$!
    }
    until read_outcome || ! kill -0 "$runner" 2>/dev/null; do
        wait "$runner"
        [ -z "$told" ] || wind_down
    done
    [ -z "$listener" ] || kill "$listener" 2>/dev/null
    [ -n "$end" ] || exit 1
fi

# The scheduler may have ended it before that.
[ -n "$told" ] || ! has_not_begun || exit 1

# Whose end it is: if the script was told to end, or ended as one does that was (which may
# be known here sooner than that), the scheduler can say why, and is asked by whoever wants
# to know.
whose=own
if [ -e "$job/kill" ]; then
    whose=killed
else
    case $told$end in 1* | 'signal 9' | 'signal 15' | 'exit 137' | 'exit 143') whose=ask ;; esac
fi
# The place was for the script alone; some schedulers leave behind what it left.
if [ -z "$told" ] && [ -e "$job/started" ]; then
    read_facts
    count_processes
    [ -z "$left" ] || stop_processes 2
fi
until put_reserved finished "$(date +%s)" "$end" "$whose" 0; do
    has_token "$token" || exit 1
    sleep 5
done
rm -f "$job/.end"
case $end in
    exit*) exit "${end#exit }" ;;
    signal*) exit $((128 + ${end#signal })) ;;
esac
