# Identity of a process: its host, boot, pid namespace, pid and start time. The functions check
# whether a recorded process is alive, is gone, or has a pid that another process uses now.
# A zombie counts as dead, unless it has more than one thread.
# shellcheck shell=sh
#
# On Linux, the functions in this file read /proc with shell builtins. On other systems, the
# functions run `ps`.

if [ -r /proc/self/stat ]; then proc=/proc; else proc=''; fi

is_wrapper='' # 1 in the wrapper that started the job

# get_host: set $host, $boot and $space to the host name, the boot id and the pid namespace.
get_host() {
    [ -z "${host-}" ] || return 0
    boot='' space=-
    if [ -n "$proc" ]; then
        # If /proc is mounted with the option `subset=pid`, it has no directory `sys`.
        if [ -r $proc/sys/kernel/hostname ]; then read -r host <$proc/sys/kernel/hostname; else host=$(uname -n); fi
        [ ! -r $proc/sys/kernel/random/boot_id ] || read -r boot <$proc/sys/kernel/random/boot_id
        # Strip the brackets of `pid:[N]`, which are a pattern in the shell.
        space=$(readlink $proc/self/ns/pid 2>/dev/null) && space=${space#*'['} space=${space%']'} || space=-
    else
        host=$(uname -n)
        boot=$(sysctl -n kern.bootsessionuuid 2>/dev/null || sysctl -n kern.boottime 2>/dev/null)
        boot=$(printf '%s' "$boot" | tr -cd 'A-Za-z0-9.-')
    fi
    : "${boot:=-}"
    # The host name must be a single word, because fact files contain it.
    case $host in
        '') host=- ;;
        *[[:blank:]]*) host=$(printf '%s' "$host" | tr ' \t' '--') ;;
    esac
}

# read_host WORDS: set $host, $boot and $space from WORDS, which another process on this
# host has determined.
read_host() {
    # shellcheck disable=SC2086 # split into fields
    set -- $1
    host=$1 boot=$2 space=$3
}

# get_uptime: set $uptime to the seconds since this host was booted. A change of the
# clock does not change $uptime. If the boot time is unknown, sets $uptime to the seconds
# since 1970.
get_uptime() {
    uptime=''
    if [ -r "$proc/uptime" ]; then
        read -r uptime _ <"$proc/uptime"
        uptime=${uptime%%.*}
    else
        # If the clock is set, a kernel with kern.boottime adjusts kern.boottime as well, so
        # the difference does not change.
        up_since=$(sysctl -n kern.boottime 2>/dev/null)
        up_since=${up_since#*sec = } up_since=${up_since%%,*}
        uptime=$(date +%s)
        ! is_number "$up_since" || uptime=$((uptime - up_since))
    fi
}

# read_centiseconds: set $centiseconds to the uptime of this host in units of 0.01 seconds.
# Returns 1 if the host has no file /proc/uptime in the format of Linux.
read_centiseconds() {
    [ -n "$proc" ] && [ -r $proc/uptime ] && read -r uptime _ <$proc/uptime || return 1
    case $uptime in
        *[!0-9.]* | *.*.*) return 1 ;;
        # The digit 1 is prepended, because some shells read a leading zero as octal.
        ?*.[0-9][0-9]) centiseconds=$((${uptime%.*} * 100 + 1${uptime#*.} - 100)) ;;
        *) return 1 ;;
    esac
}

# get_start PID: set $start to the start time of the process, or to '' if no live process
# has this pid. If /proc is available, also sets $session to the session id and $parent to
# the pid of the parent of the process.
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
    # Read all lines, because a process name may contain blanks, brackets and newlines. The fields
    # follow the last bracket.
    while IFS= read -r line || [ -n "$line" ]; do stat=$stat$line; done 2>/dev/null <"$proc/$1/stat"
    fields=${stat#*') '}
    # dash needs 0.3 ms to find the last bracket, so search for it only if there are several.
    case $fields in *')'*) fields=${stat##*') '} ;; esac
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $fields
    set +f
    [ $# -ge 20 ] || return 0
    # A process whose first thread has exited has the state Z while other threads run.
    case $1 in
        Z) [ "${18}" -gt 1 ] || return 0 ;;
        X | x) return 0 ;;
    esac
    session=$4 parent=$2
    shift 19
    start=$1
}

# get_ps_start PID ZONE: set $start to the start time reported by `ps`, as one word.
get_ps_start() {
    set -f
    # shellcheck disable=SC2046 # split into words
    set -- $(TZ=$2 LC_ALL=C ps -o lstart= -p "$1" 2>/dev/null)
    set +f
    start=''
    [ $# = 0 ] || start=$(printf '%s-' "$@")
}

# check_process PID START: set $life to `alive` if the process with this pid and start
# time exists, to `gone` if the process does not exist, and to `unsure` if this host
# cannot determine whether the process exists.
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
        # An older tej recorded the start time in the login's time zone. Some kernels
        # shift all start times when the clock is set. Therefore the process may be the
        # same although the start times differ.
        get_ps_start "$1" "${TZ-}"
        if [ "$start" = "$2" ]; then life=alive; else life=unsure; fi
    fi
    return 0
}

# may_be_hidden PID: check whether a live process PID may exist although this host does
# not show it. A process can be hidden if /proc is mounted with hidepid, or if `ps` prints nothing
# even for this shell.
may_be_hidden() {
    if [ -n "$proc" ]; then
        [ ! -r "$proc/1/stat" ] || return 1
    else
        [ -z "$(ps -o stat= -p $$ 2>/dev/null)" ] || return 1
    fi
    # After an empty branch, ksh93 would return the status of `kill`.
    case $(LC_ALL=C && kill -0 "$1" 2>&1) in '' | *[Pp]ermi*) : ;; *) return 1 ;; esac
}

# is_alive PID START: check whether the process exists and its pid was not reused.
is_alive() {
    check_process "$1" "$2"
    [ "$life" = alive ]
}

# is_gone PID START: check whether the process is known to be gone.
is_gone() {
    check_process "$1" "$2"
    [ "$life" = gone ]
}

# same_host HOST BOOT SPACE: check whether this process runs on HOST, since the boot BOOT, in the
# pid namespace SPACE. Elsewhere, a recorded pid may belong to another process.
same_host() {
    get_host
    [ "$1" = "$host" ] && [ "$2" = "$boot" ] && [ "$3" = "$space" ]
}

# is_past HOST BOOT: check whether HOST is the name of this host, and BOOT is not the
# current boot of this host. In that case, this host was restarted, or another machine has
# the same name.
is_past() {
    get_host
    [ "$1" = "$host" ] && [ "$2" != - ] && [ "$boot" != - ] && [ "$2" != "$boot" ]
}

# $self is the pid of this shell. In a subshell, $$ is the pid of the parent shell.
self=$$

# enter_subshell: set $self to the pid of this subshell, and $own_start to its start time.
# Requires /proc.
enter_subshell() {
    start=''
    read_stat self
    self=${stat%% *} own_start=${start:--}
}

# me: set $who to `HOST BOOT SPACE PID START`, which identifies this shell, and $own_start to
# START.
me() {
    get_host
    [ -n "${own_start-}" ] || {
        get_start "$self"
        own_start=${start:--}
    }
    who="$host $boot $space $self $own_start"
}
