# The time between two checks of the jobs in commands/wait.
# shellcheck shell=sh

pause=0.1          # seconds until the next check for `finished`; grows to 0.5
derive_every=20    # checks for `finished` until all states are derived again (up to 100 jobs)
keepalive_every=30 # checks between two keep-alives for the client

# lengthen_pause: increase $pause. The first pauses are short, so that the end of a short job is
# found early.
lengthen_pause() {
    case $pause in 0.1) pause=0.2 ;; *) pause=0.5 ;; esac
}

# set_next_full COUNT UNATTENDED: set $next_full, the value of $checks at which all states are
# derived again. UNATTENDED of the COUNT jobs have no live wrapper on this host. A derivation
# takes 1 ms for each of them, and find_attended (commands/wait) takes 0.1 ms for each job.
set_next_full() {
    next_full=$((checks + derive_every * (1 + $1 / 500 + $2 / 100)))
}
