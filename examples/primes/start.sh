#!/bin/sh
# Factor the numbers in numbers.txt, one per line, into results.csv.
# What was done when is in primes.log.
set -eu

log() { printf '%s %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$*" >>primes.log; }

log "start on $(uname -n)"
awk -f factor.awk numbers.txt >results.part
mv results.part results.csv
log "end: $(($(wc -l <results.csv) - 1)) numbers factored"
