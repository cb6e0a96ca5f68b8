# Dry run (`--dry-run`): shows how a job would be submitted to the scheduler. The bootstrap has
# opened the queue. Arguments: the resources of the job, the lines of its script that begin with
# `#`, and its id.
#
# Prints "runtime=NAME". For a scheduler, also prints the directives in the script
# ("directives=LINES"), the options of the submit command ("options=LINES"), and the batch
# script ("batch=LINES"). If the job would be refused, prints "why=WORDS" instead.
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # variables of the library

printf '%s\0' "runtime=$runtime"
command -v scheduler_options >/dev/null 2>&1 || exit 0
job=${TMPDIR:-/tmp}/tej-plan-$unique
# mkdir never follows a link that another user has created. Do not change the umask here,
# because the batch script contains the user's umask.
mkdir -m 700 "$job" && mkdir "$job/stage" || quit 20 "Cannot write to '${TMPDIR:-/tmp}'"
trap 'rm -rf "$job"' EXIT
printf '%s\n' "$1" >"$job/resources"
printf '%s\n' "$2" >"$job/stage/script"
id=$3 spec='token=0000000 ' native='' options='' why=''
replaced='' replaced_list='' prepended=''
set_name
log_file
if read_resources && check_directives && scheduler_options; then
    # A submission replaces TOKEN with a random token.
    job_token=TOKEN
    write_batch || quit 20 "Cannot write to '${TMPDIR:-/tmp}'"
    printf '%s\0' "directives=$(copy_directives)" "options=$options" "batch=$(cat "$job/batch")"
else
    printf '%s\0' "why=$why"
fi
