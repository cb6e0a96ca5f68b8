# Names of a job under the scheduler: the name that the user sees, and $nickname, by which tej
# finds a job whose id it does not know.
# shellcheck shell=sh

# set_name: set $nickname to a name of 14 characters, seven of them random. Every scheduler
# allows this length. For a job in a job array, sets $nickname to the name of the array, and
# $index to the index of the job.
set_name() {
    [ -n "$spec" ] || read_spec
    job_token=${spec#*token=} job_token=${job_token%% *}
    index=''
    if [ -f "$job/submitting" ] && ! is_array_refused; then
        read -r _ nickname _ _ _ _ _ index <"$job/submitting"
        [ -z "$index" ] || return 0
    fi
    # The name contains the first three letters or digits of the id, followed by `job` if the id
    # has fewer.
    nickname='' letters=${id}job
    while [ "${#nickname}" -lt 3 ]; do
        case $letters in [A-Za-zIi0-9]*) nickname=$nickname${letters%"${letters#?}"} ;; esac
        letters=${letters#?}
    done
    nickname=tej_$nickname${job_token%"${job_token#???????}"}
}

# name_job: add `-N NAME` to the options of qsub, unless the script sets a name. Torque accepts
# at most 15 characters. Torque and Grid Engine refuse a leading digit.
name_job() {
    [ -n "$r_name" ] || ! is_requested -N || return 0
    name=${r_name:-${r_default_name:-$nickname}}
    # If the scheduler's reply is lost, tej finds the job by the path of its log. A job without
    # a log is found by its name.
    [ -n "$r_name" ] || [ "$log" != /dev/null ] || name=$nickname
    [ "${dialect-}" = openpbs ] || case $name in [0-9]*) name=j$name ;; esac
    [ "${dialect-}" != torque ] || name=$(printf '%.15s' "$name")
    prepend -N "$name"
}
