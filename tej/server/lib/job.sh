# What several commands do to a job's directory and its processes.
# shellcheck shell=sh

# detach SCRIPT ARGUMENTS...: run it in a session of its own, out of this one's reach.
# What a job inside a job has in its environment must not mark the new one as the old's.
detach() {
    # Once for all: it is asked for by a command that takes as long as a job's start.
    [ -n "${refuge+known}" ] || find_refuge
    (
        unset TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_JOB_DIR
        trap '' HUP
        if command -v setsid >/dev/null 2>&1; then
            # exec: yash would keep a shell there, and with it our caller's output.
            exec $refuge setsid /bin/sh "$@" </dev/null >/dev/null 2>&1 &
        else
            set -m
            exec /bin/sh "$@" </dev/null >/dev/null 2>&1 &
        fi
    )
}

# find_refuge: refuge=a command that starts another where logging out does not end it.
# systemd can be told to end all of a user's processes then (logind.conf,
# KillUserProcesses); what its user manager runs stays, as long as the user lingers.
find_refuge() {
    refuge=''
    command -v busctl >/dev/null 2>&1 && command -v systemd-run >/dev/null 2>&1 || return 0
    case $(busctl get-property org.freedesktop.login1 /org/freedesktop/login1 \
        org.freedesktop.login1.Manager KillUserProcesses 2>/dev/null) in
        'b true') ;;
        *) return 0 ;;
    esac
    : "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"
    export XDG_RUNTIME_DIR
    loginctl enable-linger >/dev/null 2>&1
    ! systemd-run --user --scope --quiet true >/dev/null 2>&1 ||
        refuge='systemd-run --user --scope --quiet'
}

# make_room PREFIX: room=a new directory in `incoming`, with its owner in it, so that it
# can be told whether somebody is still at it.
make_room() {
    me
    room=$incoming/$1.$$
    mkdir "$room" && printf '%s\n' "$who" >"$room/.owner" && return 0
    rm -rf "$room"
    return 1
}

# is_abandoned ROOM: nobody is at it any more.  Of another host's we know only what
# changes in it.
is_abandoned() {
    o_host=''
    read -r o_host o_boot o_space o_pid o_start 2>/dev/null <"$1/.owner" || read_taker "$1"
    if [ -n "$o_host" ] && same_host "$o_host" "$o_boot" "$o_space"; then
        ! is_alive "$o_pid" "$o_start"
    else
        [ -z "$(find "$1" -prune -mtime -1 -print 2>/dev/null)" ] &&
            [ -z "$(find "$1" -mtime -1 -print 2>/dev/null)" ]
    fi
}

# read_taker ROOM: the owner, if it is a job that was being removed: who claimed that.
read_taker() {
    for item in "$1/.taken "*; do
        [ -f "$item" ] || continue
        # shellcheck disable=SC2086 # fields
        set -- "$1" ${item##*/.taken }
        [ $# != 6 ] || o_host=$2 o_boot=$3 o_space=$4 o_pid=$5 o_start=$6
    done
}

# remove DIRECTORY: all of it, write-protected directories too.
remove() {
    rm -rf "$1" 2>/dev/null && return 0
    chmod -R u+rwx "$1" 2>/dev/null
    rm -rf "$1"
}

# collect_garbage: remove from `incoming` what was given up.
collect_garbage() {
    for entry in "$incoming"/*; do
        [ -d "$entry" ] && is_abandoned "$entry" && remove "$entry" 2>/dev/null
    done
    return 0
}

# claim_removal: the right to move $job away, as it was read: who renames its description
# has it, which needs no room on the disk.  Should another job have taken its place
# meanwhile, that one stays.  Returns 1 if it is not there any more, or somebody else is
# at it.
claim_removal() {
    me
    read_before=$spec taken="$job/.taken $who"
    if ! mv "$job/spec" "$taken" 2>/dev/null; then
        [ -d "$job" ] || return 1
        ! read_spec || [ ! -f "$job/spec" ] || {
            [ "$spec" != "$read_before" ] || quit 20 "Cannot write to '$job'"
            return 1
        }
        adopt_claim || return 1
    fi
    read_spec
    [ "$spec" != "$read_before" ] || return 0
    mv "$taken" "$job/spec"
    return 1
}

# adopt_claim: the claim of somebody who has not lived to use it.
adopt_claim() {
    for item in "$job/.taken "*; do
        # Without any description, there is nothing to claim it by.
        [ -f "$item" ] || return 0
        # shellcheck disable=SC2086 # fields
        set -- ${item##*/.taken }
        if same_host "$1" "$2" "$3"; then
            ! is_alive "$4" "$5" || return 1
        else
            is_past "$1" "$2" || [ -n "$(find "$item" -ctime +0 2>/dev/null)" ] || return 1
        fi
        mv "$item" "$taken" 2>/dev/null || return 1
    done
}

# trash_job: take $job out of sight at once, by a rename, to away=where it can be removed.
# Returns 1 if it is not there any more, or is another one.
trash_job() {
    claim_removal || return 1
    away=$incoming/away.$$.${id%'#'*}
    if ! mv "$job" "$away" 2>/dev/null; then
        [ ! -d "$job" ] || quit 20 "Cannot write to '$incoming'"
        return 1
    fi
    me
    printf '%s\n' "$who" 2>/dev/null >"$away/.owner" || :
}

# stop_processes GRACE: end all of $job's processes, TERM first, KILL after GRACE seconds.
# Leaves in pids those that are still there: none, if all went well.
stop_processes() {
    find_job_processes
    signal_processes TERM
    signal_processes CONT
    wait_for_processes "$1" && return 0
    wait_for_processes 10 KILL
}

# find_job_processes: pids=those of $job, whose facts have been read.
find_job_processes() {
    mark=${spec#*token=}
    find_processes "${mark%% *}" "$j_pid" "$j_start"
}

# count_processes: left=how many of $job's processes there are; empty for none.
count_processes() {
    left=''
    find_job_processes
    for pid in $pids; do left=$((left + 1)); done
}

# has_processes: some of $job's are there.
has_processes() {
    find_job_processes
    [ -n "$pids" ]
}

# recount: what an ended job had left running may be gone by now, as its own host knows;
# elsewhere=that host, if it is not this one.
recount() {
    elsewhere=''
    [ -n "$left" ] || return 0
    # shellcheck disable=SC2086 # fields
    set -- $native
    if [ -z "$native" ] || same_host "$2" "$3" "$4"; then
        count_processes
    elif is_past "${2-}" "${3-}"; then
        left=''
    else
        elsewhere=$2
        note="${note:+$note; }what it left running was on $2, and may be gone by now"
    fi
}

# signal_processes SIGNAL: to all in pids, and to those of the group they had no time to
# tell us of.
signal_processes() {
    # shellcheck disable=SC2086 # pids
    [ -z "$pids" ] || kill -s "$1" $pids 2>/dev/null
    [ -n "$proc" ] || [ -z "$pids" ] || kill -s "$1" -- "-$j_pid" 2>/dev/null
}

# wait_for_processes SECONDS [SIGNAL]: 0 as soon as none is left, 1 if some are then.  With
# SIGNAL they get it whenever they are found: they may have forked since the last time.
wait_for_processes() {
    rounds=0
    while find_job_processes && [ -n "$pids" ]; do
        [ $# = 1 ] || signal_processes "$2"
        [ "$rounds" -lt $(($1 * 5)) ] || return 1
        rounds=$((rounds + 1))
        nap
    done
}

# nap: a fifth of a second, or a whole one where `sleep` takes no fractions.
nap() {
    sleep 0.2 2>/dev/null || sleep 1
}

# wait_for FACT SECONDS: until the job has it, or has ended; 1 if neither by then.
wait_for() {
    rounds=0
    until [ -e "$job/$1" ] || [ -e "$job/finished" ]; do
        [ -d "$job" ] && [ "$rounds" -lt $(($2 * 20)) ] || return 1
        rounds=$((rounds + 1))
        sleep 0.05 2>/dev/null || sleep 1
    done
}

# keep_talking: print an empty word from time to time, so that a long silence means that
# the connection is dead, not that there is much to do.
keep_talking() {
    get_start $$
    begun=$start
    (
        pause=''
        trap '[ -z "$pause" ] || kill "$pause" 2>/dev/null; exit 0' TERM
        while :; do
            sleep 15 >/dev/null 2>&1 &
            pause=$!
            wait "$pause"
            # Whom this is for may have been killed: then nobody is at work any more.
            is_alive $$ "$begun" && printf '\0' || exit
        done
    ) &
    talker=$!
    trap stop_talking EXIT
}

stop_talking() {
    kill "$talker" 2>/dev/null
    wait "$talker" 2>/dev/null
    return 0
}
