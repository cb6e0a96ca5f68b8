# Record of a job: the part of a reply that describes one job, as words KEY=VALUE.
# shellcheck shell=sh

# print_missing ID: print the record of a job that does not exist: the id alone.
print_missing() {
    printf '%s\0' "id=$1"
}

# count_attempts: set $attempts to the number of archived attempts of $id, including deleted
# ones, or to '' if there are none or the number is damaged.
count_attempts() {
    attempts=''
    [ ! -f "$queue/attempts/$id/last" ] || read -r attempts <"$queue/attempts/$id/last"
    is_number "$attempts" || attempts=''
}

# print_job [WORD...]: print the record of $job and these words, each terminated by a NUL. The
# first key is "id". If the job has ended, also starts its on_end command, unless the command
# was started before.
print_job() {
    [ ! -f "$job/on_end" ] || run_on_end_once
    count_attempts
    changed='' downloaded=''
    [ ! -f "$job/ignored" ] || describe_ignored
    [ ! -f "$job/changed" ] || {
        read -r changed <"$job/changed"
        note="${note:+$note; }its shared file $changed was changed while it ran"
    }
    [ ! -f "$job/downloaded" ] || read -r downloaded _ <"$job/downloaded"
    # A sweep that found the job has written its own parameters to this file.
    found=''
    [ ! -f "$job/parameters" ] || read -r found <"$job/parameters"
    # For an archived attempt, the client cannot derive the directory from the id.
    [ "$job" = "$jobs/$id" ] || set -- "$@" "job=$job"
    printf '%s\0' "id=$id" "state=$state" "spec=${found:+$found }$spec" ${how:+"how=$how"} ${number:+"number=$number"} \
        ${submitted:+"submitted=$submitted"} ${started:+"started=$started"} ${ended:+"ended=$ended"} \
        ${where:+"where=$where"} ${native:+"native=$native"} ${by:+"by=$by"} ${left:+"left=$left"} \
        ${evidence:+"evidence=$evidence"} ${note:+"note=$note"} ${seen:+"seen=$seen"} ${beat:+"beat=$beat"} \
        ${attempts:+"attempts=$attempts"} ${cut_off:+"cut_off=$cut_off"} \
        ${downloaded:+"downloaded=$downloaded"} "$@"
}

# print_head: print the first words of a reply: the queue, its runtime (such as slurm), the time.
print_head() {
    get_time
    printf '%s\0' "queue=$queue" "runtime=$runtime" "now=$now"
}
