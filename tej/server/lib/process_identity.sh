# Identifies processes. A pid alone is not enough, because the kernel reuses pids. A process is
# identified by its host, the host's boot id, its pid namespace ("space"), its pid and its start
# time. A zombie counts as dead, unless it has other threads.
# shellcheck shell=sh
#
# On Linux, these functions read /proc with shell builtins. On other systems, they run `ps`.

if [ -r /proc/self/stat ]; then proc=/proc; else proc=''; fi

is_wrapper='' # 1 in the wrapper that started the job

# get_host: set $host, $boot and $space to the name, boot id and pid namespace of this host.
get_host() {
    [ -z "${host-}" ] || return 0
    boot='' space=-
    if [ -n "$proc" ]; then
        # /proc has no directory `sys` if it is mounted with `subset=pid`.
        if [ -r $proc/sys/kernel/hostname ]; then read -r host <$proc/sys/kernel/hostname; else host=$(uname -n); fi
        [ ! -r $proc/sys/kernel/random/boot_id ] || read -r boot <$proc/sys/kernel/random/boot_id
        # Take N from the link target `pid:[N]`: the brackets would act as a shell pattern.
        space=$(readlink $proc/self/ns/pid 2>/dev/null) && space=${space#*'['} space=${space%']'} || space=-
    else
        host=$(uname -n)
        boot=$(sysctl -n kern.bootsessionuuid 2>/dev/null || sysctl -n kern.boottime 2>/dev/null)
        boot=$(printf '%s' "$boot" | tr -cd 'A-Za-z0-9.-')
    fi
    : "${boot:=-}"
    # Files of jobs contain the host name as one word.
    case $host in
        '') host=- ;;
        *[[:blank:]]*) host=$(printf '%s' "$host" | tr ' \t' '--') ;;
    esac
}

# read_host WORDS: set $host, $boot and $space from WORDS, the result of get_host in another
# process on this host.
read_host() {
    # shellcheck disable=SC2086 # split into fields
    set -- $1
    host=$1 boot=$2 space=$3
}

# get_uptime: set $uptime to the seconds since the boot of this host. A change of the clock does
# not change $uptime. If the boot time is unknown, sets $uptime to the seconds since 1970.
get_uptime() {
    uptime=''
    if [ -r "$proc/uptime" ]; then
        read -r uptime _ <"$proc/uptime"
        uptime=${uptime%%.*}
    else
        # When the clock is set, the kernel also changes kern.boottime, so the difference stays
        # the same.
        up_since=$(sysctl -n kern.boottime 2>/dev/null)
        up_since=${up_since#*sec = } up_since=${up_since%%,*}
        uptime=$(date +%s)
        ! is_number "$up_since" || uptime=$((uptime - up_since))
    fi
}

# read_centiseconds: set $centiseconds to the uptime of this host in units of 0.01 seconds.
# Returns 1 without a Linux /proc/uptime.
read_centiseconds() {
    [ -n "$proc" ] && [ -r $proc/uptime ] && read -r uptime _ <$proc/uptime || return 1
    case $uptime in
        *[!0-9.]* | *.*.*) return 1 ;;
        # Some shells read a number with a leading zero as octal, so prepend the digit 1.
        ?*.[0-9][0-9]) centiseconds=$((${uptime%.*} * 100 + 1${uptime#*.} - 100)) ;;
        *) return 1 ;;
    esac
}

# get_start PID: set $start to the start time of the process, or to '' if no live process has
# this pid. With /proc, also sets $session to its session id and $parent to its parent's pid.
get_start() {
    start='' session='' parent=''
    if [ -n "$proc" ]; then
        read_stat "$1"
    else
        case $(ps -o stat= -p "$1" 2>/dev/null) in '' | *Z*) return 0 ;; esac
        get_ps_start "$1" UTC0
    fi
}

# read_stat PID: set $start, $session and $parent from /proc/PID/stat, and $stat to its text.
# PID may be `self`.
read_stat() {
    [ -r "$proc/$1/stat" ] || return 0
    stat=''
    # A process name may contain blanks, brackets and newlines. The fields follow the last
    # bracket.
    while IFS= read -r line || [ -n "$line" ]; do stat=$stat$line; done 2>/dev/null <"$proc/$1/stat"
    fields=${stat#*') '}
    # dash needs 0.3 ms to find the last bracket, so search for it only if there are several.
    case $fields in *')'*) fields=${stat##*') '} ;; esac
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $fields
    set +f
    [ $# -ge 20 ] || return 0
    # If the first thread of a process has exited, and other threads still run, the process has
    # the state Z.
    case $1 in
        Z) [ "${18}" -gt 1 ] || return 0 ;;
        X | x) return 0 ;;
    esac
    session=$4 parent=$2
    shift 19
    start=$1
}

# get_ps_start PID ZONE: set $start to the start time that `ps` prints in the time zone ZONE, as
# one word.
get_ps_start() {
    set -f
    # shellcheck disable=SC2046 # split into words
    set -- $(TZ=$2 LC_ALL=C ps -o lstart= -p "$1" 2>/dev/null)
    set +f
    start=''
    [ $# = 0 ] || start=$(printf '%s-' "$@")
}

# check_process PID START: set $life to `alive` if the process with this pid and start time
# exists, to `gone` if it does not, and to `unsure` if this host cannot tell.
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
        # An older tej used the login's time zone, and some kernels shift all start times when
        # the clock is set. So the process may be the same despite a different start time.
        get_ps_start "$1" "${TZ-}"
        if [ "$start" = "$2" ]; then life=alive; else life=unsure; fi
    fi
    return 0
}

# may_be_hidden PID: check whether a live process PID may exist although this host does not show
# it. The causes are /proc with the option hidepid, and a `ps` that does not work.
may_be_hidden() {
    if [ -n "$proc" ]; then
        [ ! -r "$proc/1/stat" ] || return 1
    else
        [ -z "$(ps -o stat= -p $$ 2>/dev/null)" ] || return 1
    fi
    # After an empty case branch, ksh93 keeps the status of `kill`, so the branch contains `:`.
    case $(LC_ALL=C && kill -0 "$1" 2>&1) in '' | *[Pp]ermi*) : ;; *) return 1 ;; esac
}

# is_alive PID START: check whether the process exists (check_process).
is_alive() {
    check_process "$1" "$2"
    [ "$life" = alive ]
}

# is_gone PID START: check whether the process is known to be gone (check_process).
is_gone() {
    check_process "$1" "$2"
    [ "$life" = gone ]
}

# same_host HOST BOOT SPACE: check whether this shell runs on HOST, with the boot id BOOT and in
# the pid namespace SPACE. If not, a pid that was recorded there means nothing here.
same_host() {
    get_host
    [ "$1" = "$host" ] && [ "$2" = "$boot" ] && [ "$3" = "$space" ]
}

# is_past HOST BOOT: check whether HOST is the name of this host, with another boot id. Either
# this host was restarted since, or another machine has the same name.
is_past() {
    get_host
    [ "$1" = "$host" ] && [ "$2" != - ] && [ "$boot" != - ] && [ "$2" != "$boot" ]
}

# The pid of this shell. In a subshell, $$ is the pid of the parent shell.
self=$$

# enter_subshell: set $self and $own_start to the pid and start time of this subshell. Requires
# /proc.
enter_subshell() {
    start=''
    read_stat self
    self=${stat%% *} own_start=${start:--}
}

# me: set $who to `HOST BOOT SPACE PID START` of this shell, and $own_start to START.
me() {
    get_host
    [ -n "${own_start-}" ] || {
        get_start "$self"
        own_start=${start:--}
    }
    who="$host $boot $space $self $own_start"
}
