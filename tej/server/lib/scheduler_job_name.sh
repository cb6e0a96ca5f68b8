# Names of a job under the scheduler: the name that the user sees, and $nickname, by which tej
# finds a job whose id is not known.
# shellcheck shell=sh

# set_name: set $nickname to the name of $job under the scheduler. The name has 14
# characters, which every scheduler allows. Seven of the characters are random. If the
# job was submitted in a job array, sets $nickname to the name of the array, and $index to
# the index of the job.
set_name() {
    [ -n "$spec" ] || read_spec
    job_token=${spec#*token=} job_token=${job_token%% *}
    index=''
    if [ -f "$job/submitting" ] && ! is_array_refused; then
        read -r _ nickname _ _ _ _ _ index <"$job/submitting"
        [ -z "$index" ] || return 0
    fi
    # The name contains the first three letters or digits of the id. Letters of `job` are
    # used if the id has fewer.
    nickname='' letters=${id}job
    while [ "${#nickname}" -lt 3 ]; do
        case $letters in [A-Za-z0-9]*) nickname=$nickname${letters%"${letters#?}"} ;; esac
        letters=${letters#?}
    done
    nickname=tej_$nickname${job_token%"${job_token#???????}"}
}

# name_job: add `-N NAME` to the options of qsub, unless the script sets a name. Torque
# accepts names of up to 15 characters. Torque and Grid Engine refuse a name with a
# leading digit.
name_job() {
    [ -n "$r_name" ] || ! is_requested -N || return 0
    name=${r_name:-${r_default_name:-$nickname}}
    # If $log is /dev/null, tej can find a job after a lost reply only by the job's name.
    # Therefore the job is then submitted with the name $nickname.
    [ -n "$r_name" ] || [ "$log" != /dev/null ] || name=$nickname
    [ "${dialect-}" = openpbs ] || case $name in [0-9]*) name=j$name ;; esac
    [ "${dialect-}" != torque ] || name=$(printf '%.15s' "$name")
    prepend -N "$name"
}
