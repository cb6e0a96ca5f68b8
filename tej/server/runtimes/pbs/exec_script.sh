#!/bin/sh
# Shell for `qsub -S`: becomes the batch script.  PBS starts the shell of a job as a login
# shell, with the path of the script as its input.  A usual shell would stay above the
# script, and end at a SIGTERM; then PBS kills all of the job at once, without its grace.
IFS= read -r script || exit 125
exec /bin/sh "$script" </dev/null
