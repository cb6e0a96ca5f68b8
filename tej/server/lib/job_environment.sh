# Environment of a job: variables such as TEJ_JOB_ID, the login profile, the profile of the
# queue, and environment modules. exec_job.sh sources this file just before the job's command,
# in the job's working directory. All names begin with tej_ or TEJ_, to avoid clashes with the
# user's names. direct_start.sh and run_on_end.sh set the same variables.
# shellcheck shell=sh

tej_spec=$tej_read_spec
[ -n "$tej_spec" ] || IFS= read -r tej_spec <../spec || :
# `tej kill` finds the job's processes by the token. Without a token, do not start the script.
case $tej_spec in *'token='*' end') ;; *)
    printf "tej: the job's file 'spec' is damaged or cannot be read\n" >&2
    exit 125
    ;;
esac
TEJ_JOB_TOKEN=${tej_spec#*token=} TEJ_JOB_TOKEN=${TEJ_JOB_TOKEN%% *}
TEJ_JOB_ID=$tej_id TEJ_QUEUE=$tej_queue TEJ_JOB_DIR=$tej_queue/jobs/$tej_id/stage
export TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_QUEUE TEJ_JOB_DIR
# Restore the user's hidden variables and functions. In bash, user_environment.sh also resets
# shell options that were imported from the environment.
[ -z "${tej_kept-}${tej_functions-}${BASH_VERSION-}" ] || {
    . "$tej_here/lib/user_environment.sh"
    restore_environment
    unset -f hide_environment restore_environment
}
# Use -v: without it, bash would remove the function tej_run if there is no such variable.
unset -v tej_queue tej_id tej_here tej_host tej_clock tej_run tej_session tej_signals tej_file \
    tej_together tej_read_spec tej_now tej_start
# Set PYTHONUNBUFFERED: Python would buffer its output, and `tej logs` would show it late.
: "${PYTHONUNBUFFERED=1}"
export PYTHONUNBUFFERED

# tej_login: set the environment of a login. /bin/sh cannot read the start-up files of bash,
# zsh, fish and csh. Therefore the user's login shell runs, and its exported variables are
# imported. Some sites define `module` in /etc/profile, so this file is sourced, too.
tej_login() {
    tej_variables=$tej_stage/../.login
    export tej_variables
    # shellcheck disable=SC2016 # expanded by another shell
    tej_print='exec /bin/sh -c '\''export -p >"$tej_variables"'\'
    case ${SHELL##*/} in
        bash | zsh | fish) "$SHELL" -l -c "$tej_print" ;;
        csh | tcsh) printf '%s\n' "$tej_print" | "$SHELL" -l ;;
    esac
    # An error in a profile, such as a second assignment to a read-only variable, must not end
    # this shell. `command` prevents this, but in bash only outside the POSIX mode.
    tej_mode=''
    case ${BASH_VERSION:+${SHELLOPTS-}} in
        *posix*)
            tej_mode=posix
            # shellcheck disable=SC3040 # only bash gets here
            set +o posix
            ;;
    esac
    # shellcheck source=/dev/null
    [ ! -r /etc/profile ] || command . /etc/profile
    if [ -s "$tej_variables" ]; then
        # Skip variables that are read-only, such as TMOUT on many servers, or UID in bash.
        alias export='command export'
        # shellcheck source=/dev/null
        command . "$tej_variables" 2>/dev/null
        unalias export
    else
        # shellcheck source=/dev/null
        [ ! -r "$HOME/.profile" ] || command . "$HOME/.profile"
    fi
    # shellcheck disable=SC3040
    [ -z "$tej_mode" ] || set -o posix
    rm -f "$tej_stage/../.login"
    unset tej_variables tej_print tej_mode
}

tej_stage=$PWD
case $tej_spec in *' login=1 '*) tej_login ;; esac
# shellcheck source=/dev/null
[ ! -f "$TEJ_QUEUE/profile" ] || . "$TEJ_QUEUE/profile"
# Load the environment modules. If no profile has defined `module`, first source the usual init
# files.
tej_module=''
[ ! -f ../resources ] || while IFS='=' read -r tej_key tej_module; do
    [ "$tej_key" = module ] || continue
    command -v module >/dev/null 2>&1 || for tej_line in "${MODULESHOME-}/init/sh" "${LMOD_PKG-}/init/sh" \
        /etc/profile.d/modules.sh /etc/profile.d/lmod.sh; do
        # shellcheck source=/dev/null
        [ ! -r "$tej_line" ] || . "$tej_line" </dev/null
        ! command -v module >/dev/null 2>&1 || break
    done
    module load "$tej_module" </dev/null || {
        printf "tej: the module '%s' cannot be loaded\n" "$tej_module" >&2
        exit 125
    }
done <../resources || {
    printf "tej: the job's file 'resources' cannot be read\n" >&2
    exit 125
}
[ "$PWD" = "$tej_stage" ] || cd "$tej_stage" || exit 125
unset -f tej_login
