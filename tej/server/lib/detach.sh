# Detached processes: start a program in a session of its own, which outlives the login.
# shellcheck shell=sh

# detach SCRIPT ARGUMENTS...: run it in a session of its own, which signals to this one do
# not reach.  A job that submits a job has a token in its environment; with that the new
# one's processes would be taken for its own.
detach() {
    # Once per program: the question costs as much as the start of a job.
    [ -n "${refuge+known}" ] || find_refuge
    (
        unset TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_JOB_DIR
        trap '' HUP
        if command -v setsid >/dev/null 2>&1; then
            # exec: yash would keep a shell there, and with it the output of our caller open.
            exec $refuge setsid /bin/sh "$@" </dev/null >/dev/null 2>&1 &
        else
            set -m
            exec /bin/sh "$@" </dev/null >/dev/null 2>&1 &
        fi
    )
}

# find_refuge: refuge=a command that starts another where a logout does not end it.  With
# KillUserProcesses=yes (logind.conf), systemd ends all processes of a user at the last
# logout, but those that the user's manager runs, if the user lingers.
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
