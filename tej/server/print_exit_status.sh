# Process that waits for the script of a job under a scheduler: print_exit_status.sh SIGNAL...
# Runs $tej_run, and prints `==STATUS`, or `=MESSAGE=STATUS` with a message such as "Terminated"
# if a signal has ended the script. This code is in a separate file, because bash prints
# "Terminated" only if it runs a script file, and not with `-c`. The shell has empty traps for
# SIGNAL..., because schedulers send these signals to the whole session.
#
# Only the shell's message may appear between the equals signs. Therefore the stderr of each
# program is /dev/null: a program may print a warning when it starts, if a library of LD_PRELOAD
# or a locale is missing. In mksh, `printf` is a program.
# shellcheck shell=sh

for signal in "$@"; do trap : "$signal"; done
printf '=' 2>/dev/null
(exec /bin/sh -c "${tej_run:?}" 2>/dev/null)
printf '=%s' $? 2>/dev/null
