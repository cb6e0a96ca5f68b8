# Names of a job under the scheduler: the name that the user sees, and $lookup_name, by which tej
# finds a job whose id it does not know.
# shellcheck shell=sh

# set_name: set $lookup_name to a name of 14 characters, seven of them random. Every scheduler
# allows this length. For a job in a job array, sets $lookup_name to the name of the array, and
# $index to the index of the job.
set_name() {
    [ -n "$spec" ] || read_spec
    job_token=${spec#*token=} job_token=${job_token%% *}
    index=''
    if [ -f "$job/submitting" ] && ! is_array_refused; then
        read -r _ lookup_name _ _ _ _ _ index <"$job/submitting"
        [ -z "$index" ] || return 0
    fi
    # The name contains the first three letters or digits of the id, followed by `job` if the id
    # has fewer.
    lookup_name='' letters=${id}job
    while [ "${#lookup_name}" -lt 3 ]; do
        case $letters in [A-Za-zIi0-9]*) lookup_name=$lookup_name${letters%"${letters#?}"} ;; esac
        letters=${letters#?}
    done
    lookup_name=tej_$lookup_name${job_token%"${job_token#???????}"}
}

# name_job: add `-N NAME` to the options of qsub, unless the script sets a name. Torque accepts
# at most 15 characters. Torque and Grid Engine refuse a leading digit.
name_job() {
    [ -n "$r_name" ] || ! is_requested -N || return 0
    name=${r_name:-${r_default_name:-$lookup_name}}
    # If the scheduler's reply is lost, tej finds the job by the path of its log. A job without
    # a log is found by its name.
    [ -n "$r_name" ] || [ "$log" != /dev/null ] || name=$lookup_name
    [ "${dialect-}" = openpbs ] || case $name in [0-9]*) name=j$name ;; esac
    [ "${dialect-}" != torque ] || name=$(printf '%.15s' "$name")
    prepend -N "$name"
}
