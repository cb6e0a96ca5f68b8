# Detached processes: start a program in a new session that survives the logout.
# shellcheck shell=sh

# detach SCRIPT ARGUMENTS...: run SCRIPT in the background in a new session, so that signals
# to the current session do not reach SCRIPT. SCRIPT inherits neither the identity of a job
# (unset_job_identity) nor descriptors: perl closes the descriptors that this shell cannot close
# (close_descriptors).
detach() {
    # find_logout_guard is called only once per program, because it takes as long as the start
    # of a job.
    [ -n "${logout_guard+known}" ] || find_logout_guard
    closer=''
    [ -z "${unclosed-}" ] || ! command -v perl >/dev/null 2>&1 ||
        closer="perl -MPOSIX -e POSIX::close(\$_)for(split/,/,shift);exec@ARGV $unclosed"
    (
        unset_job_identity
        trap '' HUP
        if command -v setsid >/dev/null 2>&1; then
            # `exec` replaces the subshell. Without `exec`, yash would run an additional
            # shell, which would keep the caller's stdout open.
            # shellcheck disable=SC2086 # split into words
            exec $closer $logout_guard setsid /bin/sh "$@" </dev/null >/dev/null 2>&1 &
        else
            set -m
            exec $closer /bin/sh "$@" </dev/null >/dev/null 2>&1 &
        fi
    )
}

# unset_job_identity: unset the variables that identify the job in which this program runs. If a
# job submits another job, the environment of the new job must not contain the token of the
# first job.
unset_job_identity() {
    unset TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_JOB_DIR
}

# find_logout_guard: set $logout_guard to a command prefix that protects a process from being
# killed at logout. With KillUserProcesses=yes (logind.conf), systemd kills all processes of a
# user at the last logout. Processes under the user's service manager survive if lingering is
# enabled for the user. Therefore the prefix starts the process there.
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
