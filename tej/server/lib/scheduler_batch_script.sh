# Batch script of a job: the script that is submitted to the scheduler.
# shellcheck shell=sh

# quote WORD: set $quoted to WORD in single quotes for a shell.
quote() {
    case $1 in
        *\'*) quoted=$(printf '%s=' "$1" | sed "s/'/'\\\\''/g") quoted="'${quoted%=}'" ;;
        *) quoted="'$1'" ;;
    esac
}

# write_batch: write the batch script $job/batch. The batch script contains only
# absolute paths, so that the scheduler can run it in any directory.
write_batch() {
    by_cluster=''
    ! names_cluster || by_cluster=1
    quote "$id"
    begin_batch && print_exec "$quoted" "$job_token" "$by_cluster" >>"$job/batch"
}

# begin_batch: write the first lines of $job/batch, with the directives of the script.
# PBS and Grid Engine set a umask of their own. Therefore the batch script sets the umask
# of the user, unless the script requests a umask (#PBS -W umask=...).
begin_batch() {
    mask="umask $(umask)"
    case $requested_options in *umask=*) mask=: ;; esac
    printf '%s\n' '#!/bin/sh' >"$job/batch" && copy_directives >>"$job/batch" &&
        printf '%s\n' "$mask" >>"$job/batch"
}

# print_exec ID TOKEN [WORD...]: print the command that runs the wrapper of the job. ID and TOKEN
# are inserted without quoting, because they are already quoted or are expressions of the shell.
# Each WORD is quoted, and is a further argument of the wrapper.
print_exec() {
    line="exec /bin/sh"
    for word in "$here/run_in_scheduler.sh" "$queue"; do
        quote "$word"
        line="$line $quoted"
    done
    quote "$here"
    line="$line $1 $quoted $runtime $2"
    shift 2
    for word in "$@"; do
        quote "$word"
        line="$line $quoted"
    done
    printf '%s\n' "$line"
}
