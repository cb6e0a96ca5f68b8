# print_exit_status.sh SIGNAL...: run $tej_run, and print its exit status as `==STATUS`. If a
# signal has ended it, prints `=MESSAGE=STATUS` with the shell's message, such as "Terminated".
# Schedulers send SIGNAL... to the whole session, and this shell must survive them.
#
# bash prints such a message only if it runs a script file, so this code is a file. Programs may
# print warnings when they start, for example about a missing locale. Therefore the stderr of
# each program is /dev/null, also that of `printf`, which is a program in mksh.
# shellcheck shell=sh

for signal in "$@"; do trap : "$signal"; done
printf '=' 2>/dev/null
(exec /bin/sh -c "${tej_run:?}" 2>/dev/null)
printf '=%s' $? 2>/dev/null
