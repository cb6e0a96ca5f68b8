#!/bin/sh
# Random walk on a grid.  Writes the position after the last step to end.csv, and the
# number of finished steps to `progress`.
set -eu
. ./walk.cfg
awk -v seed="$seed" -v steps="$steps" -f walk.awk >end.csv.part
mv end.csv.part end.csv
cat end.csv
