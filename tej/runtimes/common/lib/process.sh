# Who a process is: a pid means something only with its host, its boot, its pid
# namespace and its start time.  A zombie is dead.
# shellcheck shell=sh
#
# /proc is read with builtins where it is Linux's; elsewhere `ps` is asked.

if [ -r /proc/self/stat ]; then proc=/proc; else proc=''; fi

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

# get_boot_time: boot_time=when this machine came up; empty if it cannot be told.
get_boot_time() {
    boot_time=''
    [ -n "$proc" ] || return 0
    get_time
    read -r up _ <$proc/uptime && boot_time=$((now - ${up%%.*}))
}

# get_start PID: start=its start time, empty if there is no such living process;
# its parent and session with it, where that is cheap.
get_start() {
    start='' parent='' session=''
    if [ -n "$proc" ]; then
        [ -r "$proc/$1/stat" ] || return 0
        stat=''
        # A process may have blanks, brackets and newlines in its name.
        while IFS= read -r line || [ -n "$line" ]; do stat=$stat$line; done 2>/dev/null <"$proc/$1/stat"
        # shellcheck disable=SC2086 # fields
        set -- ${stat##*') '}
        [ $# -ge 20 ] || return 0
        case $1 in Z | X | x) return 0 ;; esac
        parent=$2 session=$4
        shift 19
        start=$1
    else
        case $(ps -o stat= -p "$1" 2>/dev/null) in '' | *Z*) return 0 ;; esac
        # shellcheck disable=SC2046 # one word, whatever the blanks
        set -- $(LC_ALL=C ps -o lstart= -p "$1" 2>/dev/null)
        start=$(printf '%s-' "$@")
    fi
}

# is_alive PID START: that very process is there, not another with its number.
is_alive() {
    get_start "$1"
    [ -n "$start" ] && [ "$start" = "$2" ]
}

# same_host HOST BOOT SPACE: pids from there mean something here.
same_host() {
    get_host
    [ "$1" = "$host" ] && [ "$2" = "$boot" ] && [ "$3" = "$space" ]
}

# me: who=HOST BOOT SPACE PID START of this shell.
me() {
    get_host
    get_start $$
    who="$host $boot $space $$ ${start:--}"
}

# find_processes TOKEN LEADER START: pids=the living processes of a job: whoever has its
# token in the environment it began with, wherever it went; whoever is in the session of
# its first process; and the children of all these.  Who has scrubbed its environment,
# left the session and lost its parent is out of sight.
# Without /proc: the first process, and with it its group.
find_processes() {
    pids=''
    [ -n "$proc" ] || {
        if is_alive "$2" "$3"; then pids=$2; fi
        return 0
    }
    leader=$2 others='' marked=''
    # What a damaged fact says must not make strangers the job's.
    is_number "$2" && is_number "$3" && [ "$2" -gt 1 ] || leader=-
    # The number of a session stays taken as long as somebody is in it; if a stranger
    # has it as its pid, the session is the stranger's.
    if [ "$leader" != - ]; then
        get_start "$leader"
        [ -z "$start" ] || [ "$start" = "$3" ] || leader=-
    fi
    case $1 in
        *[!0-9a-f]* | '') ;;
        *)
            [ ${#1} -lt 32 ] || marked="
$(grep -lsF "TEJ_JOB_TOKEN=$1" $proc/[0-9]*/environ 2>/dev/null)
"
            ;;
    esac
    for item in "$proc"/[0-9]*; do
        get_start "${item##*/}"
        [ -n "$start" ] || continue
        if is_marked "$item" || { [ "$session" = "$leader" ] && [ "$start" -ge "$3" ]; }; then
            pids="$pids ${item##*/}"
        else
            others="$others ${item##*/}:$parent"
        fi
    done
    [ -z "$pids" ] || add_children
}

# is_marked ENTRY: it is in the list that `marked` holds.
is_marked() {
    case $marked in *"
$1/environ
"*) ;; *) return 1 ;; esac
}

# add_children: to pids, from others ("PID:PARENT"), until there are no more.
add_children() {
    found=1
    while [ -n "$found" ]; do
        found='' unrelated=''
        for item in $others; do
            case "$pids " in
                *" ${item#*:} "*) pids="$pids ${item%:*}" found=1 ;;
                *) unrelated="$unrelated $item" ;;
            esac
        done
        others=$unrelated
    done
}
