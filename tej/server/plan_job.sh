# Scheduler options and batch script of a job that is not submitted, for `--dry-run`. The
# bootstrap has opened the queue. Arguments: the content of the job's file `resources`, the
# lines of the job's script that begin with `#`, and the id of the job.
#
# Prints "runtime=NAME". If the runtime is a scheduler, also prints the directives of the
# script that are used ("directives=LINES"), the arguments of the submit command, one per
# line ("options=LINES"), and the batch script ("batch=LINES"). If the scheduler would
# refuse the job, prints the reason ("why=WORDS") instead. The files of the job are written
# to a temporary directory.
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # variables of the library

printf '%s\0' "runtime=$runtime"
command -v scheduler_options >/dev/null 2>&1 || exit 0
job=${TMPDIR:-/tmp}/tej-plan-$unique
# mkdir fails if the path exists, and never follows a link that another user has created.
# The umask is not changed, because the batch script contains the umask of the user.
mkdir -m 700 "$job" && mkdir "$job/stage" || quit 20 "Cannot write to '${TMPDIR:-/tmp}'"
trap 'rm -rf "$job"' EXIT
printf '%s\n' "$1" >"$job/resources"
printf '%s\n' "$2" >"$job/stage/script"
id=$3 spec='token=0000000 ' native='' options='' why=''
replaced='' replaced_list='' prepended=''
set_name
log_file
if read_resources && check_directives && scheduler_options; then
    # A submission replaces TOKEN with a random token, which prevents a second run of the
    # job.
    job_token=TOKEN
    write_batch || quit 20 "Cannot write to '${TMPDIR:-/tmp}'"
    printf '%s\0' "directives=$(copy_directives)" "options=$options" "batch=$(cat "$job/batch")"
else
    printf '%s\0' "why=$why"
fi
