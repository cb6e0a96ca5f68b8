#!/bin/sh
# Shell for `qsub -S`: becomes the batch script. PBS starts a job's shell as a login shell
# and passes the path of the script on stdin. An ordinary shell would remain as the parent
# of the script and die of a SIGTERM. PBS would then kill the whole job without a grace
# period.
IFS= read -r script || exit 125
exec /bin/sh "$script" </dev/null
