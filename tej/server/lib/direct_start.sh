# Direct start of a job: the wrapper (run_detached.sh) forks, and the fork becomes the job's
# script (`exec`). This avoids another shell for exec_job.sh. In a short job, the start of a
# program takes longer than all other steps.
# shellcheck shell=sh
#
# The result must be the same as with exec_job.sh. Therefore the command must be the name of an
# executable script and literal arguments. The job must not need a profile, environment modules,
# or variables that user_environment.sh hides from tej.

# can_start_directly: check whether start_directly can start $job. Sets $script_call to the
# script and its arguments. Must be called after read_resources.
can_start_directly() {
    [ -n "$is_prepared" ] && [ -z "$r_module${tej_kept-}${tej_functions-}${tej_kept_functions-}" ] || return 1
    [ ! -e "$queue/profile" ] || return 1
    [ -n "$spec" ] || read_spec
    case $spec in
        *' login=1 '*) return 1 ;;
        *' end') ;;
        *) return 1 ;;
    esac
    script_call='' line=''
    { IFS= read -r script_call && ! IFS= read -r line && [ -z "$line" ]; } 2>/dev/null <"$job/command" || return 1
    case $script_call in
        *[!A-Za-zIi0-9_./,:+=@%\ -]*) return 1 ;;
        'tej_run ./'*) script_call=${script_call#tej_run } ;;
        *) return 1 ;;
    esac
    item=${script_call%% *}
    # Refuse a path with `=`, which `env` would take as a variable.
    case $item in *=*) return 1 ;; esac
    # The kernel cannot execute a script without `#!`, or with a missing interpreter.
    item=$job/stage/$item line=''
    [ -f "$item" ] && [ -x "$item" ] && { IFS= read -r line; } 2>/dev/null <"$item" || return 1
    case $line in '#!/'*) ;; *) return 1 ;; esac
    line=${line#??}
    [ -x "${line%% *}" ]
}

# start_directly FILE ARGUMENTS...: record the start of the job, and replace this subshell with
# the script FILE. Does the same as exec_job.sh and job_environment.sh.
start_directly() {
    trap - EXIT
    enter_subshell
    job=..
    cd ./stage || exit 125
    for item in _stdout _stderr; do
        [ ! -e "$item" ] && [ ! -h "$item" ] || rm -rf "$item"
    done
    exec </dev/null >_stdout 2>_stderr || exit 125
    read_clock
    put_once started "$now $host $self $own_start" || exit 125
    [ ! -e ../kill ] || {
        kill -s TERM "$self"
        kill -s KILL "$self"
    }
    [ ! -e ../lost ] || {
        rm -f ../started
        exit 125
    }
    TEJ_JOB_TOKEN=${spec#*token=} TEJ_JOB_TOKEN=${TEJ_JOB_TOKEN%% *}
    TEJ_JOB_ID=$id TEJ_QUEUE=$queue TEJ_JOB_DIR=$queue/jobs/$id/stage
    : "${PYTHONUNBUFFERED=1}"
    export TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_QUEUE TEJ_JOB_DIR PYTHONUNBUFFERED
    case $tej_signals in
        env\ * | */env\ *) start_without_locale "$@" ;;
    esac
    # shellcheck disable=SC2086 # split into words
    exec $tej_signals $tej_session "$@"
}

# start_without_locale FILE ARGUMENTS...: replace this shell with the script FILE in a new
# session. A locale would double the run time of `setsid` and `env`, so they run with LC_ALL=C.
# `env` restores the user's LC_ALL.
start_without_locale() {
    if [ -n "${LC_ALL+set}" ]; then set -- "LC_ALL=$LC_ALL" "$@"; else set -- -u LC_ALL "$@"; fi
    LC_ALL=C
    export LC_ALL
    # shellcheck disable=SC2086 # split into words
    exec $tej_session $tej_signals "$@"
}
