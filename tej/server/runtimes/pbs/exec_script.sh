#!/bin/sh
# Shell for `qsub -S`, which replaces itself with the batch script (`exec`). PBS starts the
# shell of a job as a login shell and passes the path of the batch script on stdin. An
# ordinary shell would be the parent of the script. If a SIGTERM ended this parent shell,
# PBS would kill the whole job without a grace period.
IFS= read -r script || exit 125
# With `-W sandbox=PRIVATE`, OpenPBS writes `cd DIRECTORY;` before the path.
exec /bin/sh "${script#cd *;}" </dev/null
