#!/bin/sh
# The shell for `qsub -S`: replaces itself with the batch script, whose path PBS writes to
# stdin. No shell remains as the parent of the script: if a SIGTERM ended this parent, PBS would
# kill the whole job without a grace period.
IFS= read -r script || exit 125
# With `-W sandbox=PRIVATE`, OpenPBS writes `cd DIRECTORY;` before the path.
exec /bin/sh "${script#cd *;}" </dev/null
