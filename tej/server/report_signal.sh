# Process that waits for the script of a job under a scheduler: report_signal.sh SIGNAL...
# Runs $tej_run, and prints `=STATUS`, after a message such as "Terminated" if a signal has
# ended the script. This code is in a separate file, because bash prints "Terminated" only
# in a shell that runs a file: not in a subshell, and not with `-c`. The shell has empty
# traps for SIGNAL..., because schedulers send these signals to the whole session.
# shellcheck shell=sh

for signal in "$@"; do trap : "$signal"; done
/bin/sh -c "${tej_run:?}"
printf '=%s' $?
