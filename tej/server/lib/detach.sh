# Detached processes: start a program in a new session, so that it survives the logout.
# shellcheck shell=sh

# detach SCRIPT ARGUMENTS...: run SCRIPT in the background, in a new session. SCRIPT does not
# inherit the variables of a job (unset_job_identity), or open descriptors. perl closes the
# descriptors that this shell cannot close (close_descriptors).
detach() {
    # find_logout_guard takes as long as the start of a job, so it runs only once.
    [ -n "${logout_guard+known}" ] || find_logout_guard
    closer=''
    [ -z "${unclosed-}" ] || ! command -v perl >/dev/null 2>&1 ||
        closer="perl -MPOSIX -e POSIX::close(\$_)for(split/,/,shift);exec@ARGV $unclosed"
    (
        unset_job_identity
        trap '' HUP
        if command -v setsid >/dev/null 2>&1; then
            # Without `exec`, yash would run another shell, which would keep the caller's stdout
            # open.
            # shellcheck disable=SC2086 # split into words
            exec $closer $logout_guard setsid /bin/sh "$@" </dev/null >/dev/null 2>&1 &
        else
            set -m
            exec $closer /bin/sh "$@" </dev/null >/dev/null 2>&1 &
        fi
    )
}

# unset_job_identity: unset the variables that identify a job. A job that submits another job
# must not pass its own token on.
unset_job_identity() {
    unset TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_JOB_DIR
}

# find_logout_guard: set $logout_guard to a prefix for commands that must survive the logout.
# With KillUserProcesses=yes (logind.conf), systemd kills the processes of a user at the last
# logout. If lingering is enabled, the processes of the user's service manager survive.
find_logout_guard() {
    logout_guard=''
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
        logout_guard='systemd-run --user --scope --quiet'
}
