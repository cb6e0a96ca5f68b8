#!/bin/sh
# Runs a random walk on a grid.  The script writes the position after the last step to
# end.csv, and the number of finished steps to the file `progress`.
set -eu
. ./walk.cfg
awk -v seed="$seed" -v steps="$steps" -f walk.awk >end.csv.part
mv end.csv.part end.csv
cat end.csv
