# Writes the batch script that is submitted to the scheduler for a job.
# shellcheck shell=sh

# quote WORD: set $quoted to WORD in single quotes for a shell.
quote() {
    case $1 in
        *\'*) quoted=$(printf '%s=' "$1" | sed "s/'/'\\\\''/g") quoted="'${quoted%=}'" ;;
        *) quoted="'$1'" ;;
    esac
}

# write_batch: write the batch script $job/batch. It contains only absolute paths, so the
# scheduler can run it in any directory.
write_batch() {
    by_cluster=''
    ! names_cluster || by_cluster=1
    quote "$id"
    begin_batch && print_exec "$quoted" "$job_token" "$by_cluster" >>"$job/batch"
}

# begin_batch: write the first lines of $job/batch: the script's directives and the user's
# umask. PBS and Grid Engine would set another umask. A umask that the script requests (#PBS -W
# umask=...) is kept.
begin_batch() {
    mask="umask $(umask)"
    case $requested_options in *umask=*) mask=: ;; esac
    printf '%s\n' '#!/bin/sh' >"$job/batch" && copy_directives >>"$job/batch" &&
        printf '%s\n' "$mask" >>"$job/batch"
}

# print_exec ID TOKEN [WORD...]: print the command that runs the job's wrapper
# (run_in_scheduler.sh). ID and TOKEN are inserted as they are: they are already quoted, or are
# expressions of the shell. Each further WORD is quoted.
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
