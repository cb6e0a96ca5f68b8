# Identity of a job: check whether a directory in `jobs` still belongs to the same job. Another
# client may remove or archive a job, and submit another job with the same id (retry).
# shellcheck shell=sh

# has_token TOKEN: check whether $job is the job submitted with TOKEN. Reads the file
# `spec` again before the check.
has_token() {
    read_spec
    case $spec in *"token=$1 "*) ;; *) return 1 ;; esac
}

# is_replaced TOKEN: check whether it is certain that $job is not the job submitted with TOKEN,
# because that job was removed, or because another job has its id.
is_replaced() {
    ! has_token "$1" || return 1
    [ -n "$spec" ] || is_absent "$job/spec"
}

# is_same_job: check whether $job is still the job whose `spec` was read. If another job has its
# path, sets $spec to the `spec` of the other job.
is_same_job() {
    known_spec=$spec
    read_spec
    [ "$spec" = "$known_spec" ]
}

# enter_same_job: enter the directory of the job whose `spec` was read, and set job=. (the working
# directory) and $job_path to the former $job. A path could lead to another job after the check,
# but the working directory cannot, so that nothing is written into another job. If another job
# has the path of $job, or if the directory cannot be entered, returns 1 and changes nothing.
# Otherwise the caller must call leave_job, or exit.
enter_same_job() {
    job_path=$job earlier_directory=$PWD
    # If $job is the working directory, `cd` could enter the directory that now has its path.
    [ "$job" = . ] || cd "$job" 2>/dev/null || return 1
    job=.
    is_same_job && return 0
    spec=$known_spec
    leave_job
    return 1
}

# leave_job: return to the directory and the $job of the last call of enter_same_job.
leave_job() {
    job=$job_path
    [ "$job" = . ] || cd "$earlier_directory" 2>/dev/null || cd /
}

# in_same_job COMMAND...: run COMMAND, which writes a file, in the directory of the job whose `spec`
# was read, and in a subshell. If another job has the path of $job, returns 1 without running
# COMMAND.
in_same_job() {
    (enter_same_job && "$@")
}
