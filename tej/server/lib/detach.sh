# Detached processes: start a program in a session of its own, which outlives the login.
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
