# Functions that start and stop daemons, and a lock that start-slurm and stop-slurm share.
# shellcheck shell=sh

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
    say "$@"
    exit 1
}

# shellcheck disable=SC2034 # both scripts use it
database=/var/lib/slurm/mysql
database_socket=/run/slurm-db/sock

# pidfile NAME: print the path of the file with the daemon's pid
pidfile() {
    case $1 in
        munged) printf '%s\n' /run/munge/munged.pid ;;
        mariadbd) printf '%s\n' "${database_socket%/*}/mariadbd.pid" ;;
        *) printf '%s\n' "/run/slurm/$1.pid" ;;
    esac
}

# start NAME [START-STOP-DAEMON-OPTION...]: start a daemon unless it runs.
start() {
    name=$1
    shift
    start-stop-daemon --start --quiet --pidfile "$(pidfile "$name")" \
        --exec "/usr/sbin/$name" "$@" </dev/null >/dev/null 2>&1 && started=0 || started=$?
    case $started in
        0) say "started $name" ;;
        1) ;;
        *) die "cannot start $name" ;;
    esac
}

# stop NAME: send SIGTERM and, after 10 seconds, SIGKILL. Does nothing if the daemon
# does not run.
stop() {
    if start-stop-daemon --stop --quiet --retry 10 --pidfile "$(pidfile "$1")" \
        --exec "/usr/sbin/$1" >/dev/null 2>&1; then
        say "stopped $1"
    fi
}

# until_true SECONDS COMMAND...: fail if COMMAND does not succeed within SECONDS.
until_true() {
    deadline=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

# slurmctld_answers: check whether slurmctld runs. Commands other than `scontrol ping` would need
# 9 seconds to notice that it does not run.
slurmctld_answers() { scontrol ping 2>/dev/null | grep -q ' is UP'; }

# one_at_a_time ARGUMENT...: run this script again, under a lock. With `-o`, `flock` closes the
# lock file first, so that the daemons do not inherit the lock.
one_at_a_time() {
    [ "$(id -u)" = 0 ] || die "only root can do this"
    [ -n "${TEJ_SLURM_LOCK:-}" ] ||
        TEJ_SLURM_LOCK=held exec flock -o /run/lock/tej-slurm "$0" "$@"
    unset TEJ_SLURM_LOCK
}
