# Identity of a job: check whether a directory still belongs to the same job. Another client may
# delete or retry the job, and then another job has its id and path.
# shellcheck shell=sh

# has_token TOKEN: check whether $job was submitted with TOKEN. Reads the file `spec` again.
has_token() {
    read_spec
    spec_has_token "$1"
}

# spec_has_token TOKEN: check whether the job whose `spec` was read was submitted with TOKEN.
spec_has_token() {
    case $spec in *"token=$1 "*) ;; *) return 1 ;; esac
}

# is_selected SINCE: check whether the loaded job is the job that the client has selected. SINCE
# is `/TOKEN`, or the time of submission, or `-` for any job. A token is more exact than the
# time of submission: another client may retry a job in the second of its submission.
is_selected() {
    case $1 in
        -) ;;
        /*) spec_has_token "${1#/}" ;;
        *) [ "$1" = "$submitted" ] ;;
    esac
}

# is_replaced TOKEN: check whether the job with TOKEN is certainly not at $job any more.
is_replaced() {
    ! has_token "$1" || return 1
    [ -n "$spec" ] || is_absent "$job/spec"
}

# is_same_job: check whether $job still has the `spec` that was read. Sets $spec to its current
# `spec`.
is_same_job() {
    known_spec=$spec
    read_spec
    [ "$spec" = "$known_spec" ]
}

# enter_same_job: enter the directory of the job whose `spec` was read. Files written there
# belong to this job, even if another job gets its path. Sets job=. and $job_path to the path.
# The caller must call leave_job, or exit. If the job is gone or cannot be entered, returns 1
# and changes nothing.
enter_same_job() {
    job_path=$job earlier_directory=$PWD
    # Enter the path again: another job may now have the path of the working directory.
    [ "$job" = . ] || cd "$job" 2>/dev/null || return 1
    job=.
    is_same_job && return 0
    spec=$known_spec
    leave_job
    return 1
}

# leave_job: undo enter_same_job. Restores $job and the working directory.
leave_job() {
    job=$job_path
    [ "$job" = . ] || cd "$earlier_directory" 2>/dev/null || cd /
}

# in_same_job COMMAND...: run COMMAND in a subshell, in the directory of the job whose `spec`
# was read. Returns 1 if another job has its path.
in_same_job() {
    (enter_same_job && "$@")
}
