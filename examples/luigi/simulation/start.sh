#!/bin/sh
# A random walk on a grid: where it is after so many steps.  Writes end.csv, and in
# `progress` how far it is.
set -eu
. ./walk.cfg
awk -v seed="$seed" -v steps="$steps" -f walk.awk >end.csv.part
mv end.csv.part end.csv
cat end.csv
