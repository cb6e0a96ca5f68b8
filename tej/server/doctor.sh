# Diagnosis of the server, for `tej doctor`. Prints a line NAME, tab, STATE, tab, TEXT for each
# check. $1 is the path of the queue. Changes nothing on the server.
# shellcheck shell=sh

# report NAME STATE TEXT: print the result of a check. STATE is ok, warning or trouble.
report() {
    printf '%s\t%s\t%s\n' "$1" "$2" "$3"
}

# with_time_limit COMMAND...: run COMMAND, for at most ten seconds if `timeout` is installed.
with_time_limit() {
    if command -v timeout >/dev/null 2>&1; then timeout 10 "$@"; else "$@"; fi
}

report host ok "$(uname -srm 2>/dev/null) as $(id -un 2>/dev/null) on $(uname -n)"
report shell ok "login shell ${SHELL:-unknown}, /bin/sh is $(readlink -f /bin/sh 2>/dev/null || printf /bin/sh)"

for tool in tar awk sed ps mkdir mv date; do
    command -v "$tool" >/dev/null 2>&1 ||
        report "$tool" trouble "not found: tej needs it on the server"
done
report tar ok "$(tar --version 2>/dev/null | head -n 1)"
if command -v setsid >/dev/null 2>&1; then
    report setsid ok "available"
else
    report setsid warning "not found: jobs run in a process group, not in a session"
fi
if [ -r "/proc/$$/stat" ]; then
    report /proc ok "readable"
elif ps -o lstart= -p $$ >/dev/null 2>&1; then
    report /proc ok "not readable; ps prints the start times of processes"
else
    report /proc warning "not readable, and ps prints no start times: only the heartbeat shows whether a job is alive"
fi

home=$(cd 2>/dev/null && pwd -P)
if [ -z "$home" ]; then
    report home trouble "the home directory '${HOME-}' cannot be entered: is it mounted?"
elif ! [ -w "$home" ]; then
    report home trouble "$home is not writable"
else
    free=$(df -Pk "$home" 2>/dev/null | LC_ALL=C awk 'NR == 2 { print int($4 / 1024) }')
    kind=$(stat -f -c %T "$home" 2>/dev/null || printf unknown)
    options=$(df -P "$home" 2>/dev/null | LC_ALL=C awk 'NR == 2 { print $NF }')
    options=$(LC_ALL=C awk -v mount="$options" '$2 == mount { print $4 }' /proc/mounts 2>/dev/null | tail -n 1)
    state=ok note=''
    [ "${free:-1000}" -ge 100 ] || state=warning note=', almost full'
    case ,$options, in *,noexec,*) note="$note, noexec" ;; esac
    case $kind in nfs* | lustre | gpfs | beegfs | smb* | cifs) note="$note, network file system" ;; esac
    report home "$state" "$home, ${free:-?} MB free, $kind$note"
fi
if command -v quota >/dev/null 2>&1; then
    full=$(with_time_limit quota -q 2>/dev/null | tail -n 2 | tr '\n\t' '  ')
    [ -z "$full" ] || report quota warning "$full"
fi

if command -v loginctl >/dev/null 2>&1; then
    kills=$(sed -n 's/^KillUserProcesses=//p' /etc/systemd/logind.conf 2>/dev/null)
    linger=$(with_time_limit loginctl show-user "$(id -un)" -p Linger 2>/dev/null)
    case $kills,$linger in
        yes,*=yes) report logout ok "jobs survive the logout: lingering is enabled" ;;
        yes,*) report logout trouble "the server kills processes at logout: loginctl enable-linger" ;;
        *) report logout ok "processes survive the logout" ;;
    esac
fi

found=
if command -v sbatch >/dev/null 2>&1; then
    found=1
    if partitions=$(with_time_limit sinfo -a -h -o %P 2>/dev/null | tr '\n' ' ') && [ -n "$partitions" ]; then
        account=$(with_time_limit sacctmgr -nP show user "$(id -un)" format=DefaultAccount 2>/dev/null | head -n 1)
        report slurm ok "partitions: ${partitions% }${account:+; default account: $account}"
    else
        report slurm trouble "sbatch exists, but sinfo does not answer"
    fi
fi
if command -v qsub >/dev/null 2>&1; then
    found=1
    if with_time_limit qstat >/dev/null 2>&1; then
        report qsub ok "qstat answers"
    else
        report qsub trouble "qsub exists, but qstat does not answer"
    fi
fi
[ -n "$found" ] || report scheduler ok "none found: jobs start immediately"

# shellcheck disable=SC2088 # a literal tilde
case $1 in
    '~') queue=$home ;;
    '~/'*) queue=$home/${1#??} ;;
    /*) queue=$1 ;;
    *) queue=$home/$1 ;;
esac
if [ -f "$queue" ]; then
    report queue ok "$queue is a link: $(head -n 1 <"$queue")"
elif [ -f "$queue/version" ]; then
    version=$(tr '\n' ' ' <"$queue/version")
    jobs=0 uploads=0
    for path in "$queue"/jobs/*; do [ ! -d "$path" ] || jobs=$((jobs + 1)); done
    for path in "$queue"/incoming/*; do [ ! -d "$path" ] || uploads=$((uploads + 1)); done
    # shellcheck disable=SC2012 # one directory; field 3 is the owner
    owner=$(ls -ld "$queue" | LC_ALL=C awk '{ print $3 }')
    size=$(with_time_limit du -sk "$queue" 2>/dev/null | LC_ALL=C awk '{ print int($1 / 1024) }')
    report queue ok "$queue of $owner, ${version% }, $jobs jobs, ${size:-?} MB, $uploads unfinished uploads"
elif [ -e "$queue" ]; then
    report queue warning "$queue exists and is not a queue of tej"
else
    report queue ok "$queue does not exist yet; the first submission creates it"
fi

# The client compares this time with its own clock when the line arrives. Each check above can
# take ten seconds, so this line must be the last.
report clock ok "$(date +%s)"
