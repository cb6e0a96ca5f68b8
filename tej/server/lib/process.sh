# Processes: a process is identified by its host, boot, pid namespace, pid and start time.  A
# zombie is dead.
# shellcheck shell=sh
#
# On Linux /proc is read with builtins; elsewhere `ps` is asked.

if [ -r /proc/self/stat ]; then proc=/proc; else proc=''; fi

is_wrapper='' # 1 in the one that runs the job's script

# get_host: host, boot, space = this machine, this run of it, this pid namespace.
get_host() {
    [ -z "${host-}" ] || return 0
    boot='' space=-
    if [ -n "$proc" ]; then
        read -r host <$proc/sys/kernel/hostname
        read -r boot <$proc/sys/kernel/random/boot_id
        # Without the brackets, which would make it a pattern.
        space=$(readlink $proc/self/ns/pid 2>/dev/null) && space=${space#*'['} space=${space%']'} || space=-
    else
        host=$(uname -n)
        boot=$(sysctl -n kern.bootsessionuuid 2>/dev/null || sysctl -n kern.boottime 2>/dev/null)
        boot=$(printf '%s' "$boot" | tr -cd 'A-Za-z0-9.-')
    fi
    : "${boot:=-}"
}

# read_host WORDS: the same, from the words that another process on this host has passed on.
read_host() {
    # shellcheck disable=SC2086 # fields
    set -- $1
    host=$1 boot=$2 space=$3
}

# get_uptime: uptime=seconds that go on counting when somebody sets the clock: those since
# this machine was started; where they cannot be had, the clock's after all.
get_uptime() {
    uptime=''
    if [ -r "$proc/uptime" ]; then
        read -r uptime _ <"$proc/uptime"
        uptime=${uptime%%.*}
    else
        # The kernels that have this number change it when the clock is set.
        up_since=$(sysctl -n kern.boottime 2>/dev/null)
        up_since=${up_since#*sec = } up_since=${up_since%%,*}
        uptime=$(date +%s)
        ! is_number "$up_since" || uptime=$((uptime - up_since))
    fi
}

# get_start PID: start=its start time, empty if there is no such living process;
# its session with it, where that is cheap.
get_start() {
    start='' session=''
    if [ -n "$proc" ]; then
        [ -r "$proc/$1/stat" ] || return 0
        stat=''
        # A process may have blanks, brackets and newlines in its name.
        while IFS= read -r line || [ -n "$line" ]; do stat=$stat$line; done 2>/dev/null <"$proc/$1/stat"
        set -f
        # shellcheck disable=SC2086 # fields
        set -- ${stat##*') '}
        set +f
        [ $# -ge 20 ] || return 0
        case $1 in Z | X | x) return 0 ;; esac
        session=$4
        shift 19
        start=$1
    else
        case $(ps -o stat= -p "$1" 2>/dev/null) in '' | *Z*) return 0 ;; esac
        get_ps_start "$1" UTC0
    fi
}

# get_ps_start PID ZONE: start=its start time by `ps`, as one word.
get_ps_start() {
    set -f
    # shellcheck disable=SC2046 # words
    set -- $(TZ=$2 LC_ALL=C ps -o lstart= -p "$1" 2>/dev/null)
    set +f
    start=''
    [ $# = 0 ] || start=$(printf '%s-' "$@")
}

# check_process PID START: life=alive if that very process is there, gone if it is not, and
# unsure if that cannot be told here.
check_process() {
    life=gone
    get_start "$1"
    if [ -n "$start" ] && [ "$start" = "$2" ]; then
        life=alive
    elif [ -z "$start" ]; then
        ! may_be_hidden "$1" || life=unsure
    elif [ "$2" = - ]; then
        life=unsure
    elif [ -z "$proc" ]; then
        # An older tej noted the start time in the time zone of the login.  Some kernels
        # move all start times when the clock is set: then the number may still be its own.
        get_ps_start "$1" "${TZ-}"
        if [ "$start" = "$2" ]; then life=alive; else life=unsure; fi
    fi
    return 0
}

# may_be_hidden PID: a living process of that number may be there though none is seen: /proc
# hides those of others (hidepid) or is not mounted, and `ps` says nothing.
may_be_hidden() {
    if [ -n "$proc" ]; then
        [ ! -r "$proc/1/stat" ] || return 1
    else
        [ -z "$(ps -o stat= -p $$ 2>/dev/null)" ] || return 1
    fi
    case $(LC_ALL=C && kill -0 "$1" 2>&1) in '' | *[Pp]ermi*) ;; *) return 1 ;; esac
}

# is_alive PID START: that very process is there, not another with its number.
is_alive() {
    check_process "$1" "$2"
    [ "$life" = alive ]
}

# is_gone PID START: it is known not to be there any more.
is_gone() {
    check_process "$1" "$2"
    [ "$life" = gone ]
}

# same_host HOST BOOT SPACE: pids from there mean something here.
same_host() {
    get_host
    [ "$1" = "$host" ] && [ "$2" = "$boot" ] && [ "$3" = "$space" ]
}

# is_past HOST BOOT: that was this machine before it was restarted, or another of its name.
is_past() {
    [ "$1" = "$host" ] && [ "$2" != - ] && [ "$boot" != - ] && [ "$2" != "$boot" ]
}

# me: who=HOST BOOT SPACE PID START of this shell.
me() {
    get_host
    get_start $$
    who="$host $boot $space $$ ${start:--}"
}

# find_processes TOKEN LEADER START: pids=the living processes of a job: those that have its
# token in the environment that they were started with, those in the session of its first
# process, and the children of all these.  A process that has cleared its environment, left
# the session and lost its parent is not found.  Without /proc: the first process alone.
find_processes() {
    pids=''
    [ -n "$proc" ] || {
        check_process "$2" "$3"
        # The wrapper has not waited for its own child yet: the number is still that child's.
        [ "$life" != alive ] && [ "$life$is_wrapper" != unsure1 ] || pids=$2
        return 0
    }
    leader=$2
    # What a damaged fact says must not make strangers the job's.
    is_number "$2" && is_number "$3" && [ "$2" -gt 1 ] || leader=-
    find_marked "$1"
    # One program for all of them: a shell reads a byte at a time.
    pids=$(cat $proc/[0-9]*/stat 2>/dev/null | awk -v leader="$leader" -v since="$3" -v marked="$marked" '
        # A process may have blanks, brackets and newlines in its name.
        {
            record = record (record == "" ? "" : "\n") $0
            rest = record
            sub(/^.*\) /, "", rest)
            if (split(rest, field, " ") < 20) next
            pid = record + 0
            record = ""
            if (field[1] ~ /[ZXx]/) next
            parent[pid] = field[2]
            session[pid] = field[4]
            start[pid] = field[20]
        }
        END {
            # The number of a session stays taken as long as somebody is in it; if a
            # stranger has it as its pid, so is the session.
            if (leader in start && start[leader] != since) leader = "-"
            count = split(marked, paths, " ")
            for (i = 1; i <= count; i++) {
                split(paths[i], part, "/")
                if (part[3] in start) ours[part[3]] = 1
            }
            for (pid in start)
                if (session[pid] == leader && start[pid] + 0 >= since + 0) ours[pid] = 1
            do {
                more = 0
                for (pid in start)
                    if (!(pid in ours) && parent[pid] in ours) more = ours[pid] = 1
            } while (more)
            for (pid in ours) printf "%s ", pid
        }')
}

# find_marked TOKEN: marked=the files in /proc of environments that contain it.
find_marked() {
    marked=''
    case $1 in *[!0-9a-f]* | '') return ;; esac
    [ ${#1} -ge 32 ] || return 0
    # shellcheck disable=SC2046 # a path each
    set -- $(grep -lsF "TEJ_JOB_TOKEN=$1" $proc/[0-9]*/environ 2>/dev/null)
    marked=$*
}
