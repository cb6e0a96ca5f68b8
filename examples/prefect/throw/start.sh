#!/bin/sh
# Throws darts at a square at random, and counts the hits of the inscribed circle.
set -eu
# The file `parameters` is rendered from parameters.j2 before the job starts.
# shellcheck source=/dev/null
. ./parameters
# shellcheck disable=SC2154
printf '%s\n' "seed $seed: $throws throws"
awk -v seed="$seed" -v throws="$throws" 'BEGIN {
    srand(seed)
    for (i = 0; i < throws; i++) {
        x = 2 * rand() - 1
        y = 2 * rand() - 1
        if (x * x + y * y <= 1) hits++
    }
    printf "%d,%d,%d\n", seed, throws, hits
}' >hits.csv
