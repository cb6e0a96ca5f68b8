# Selects the Slurm cluster on which a command looks for a job.
# shellcheck shell=sh
#
# The id of a job is NUMBER;CLUSTER, or NUMBER on the queue's own cluster. The property
# `cluster` records the queue's own cluster when the queue is created. On another node, or with
# another SLURM_CONF, the default cluster may be another one, and NUMBER may identify another
# job there.

load_variables SLURM_CONF
read_setup cluster
own_cluster=$noted
local_cluster='' # cluster of Slurm's commands without -M, see find_local_cluster

# find_local_cluster: set $local_cluster to the cluster that Slurm's commands use without -M.
# Returns 1 if the controller does not answer.
find_local_cluster() {
    [ -z "$local_cluster" ] || return 0
    local_cluster=$(patiently scontrol show config 2>/dev/null </dev/null | sed -n 's/^ClusterName *= *//p')
    [ -n "$local_cluster" ]
}

# set_cluster ID: set $cluster to the argument of -M for the job ID, or to '' if no -M is
# needed. A command without -M also works without Slurm's database. Returns 1 if the cluster is
# unknown because the controller does not answer.
set_cluster() {
    case $1 in *\;*) cluster=${1#*;} ;; *) cluster=$own_cluster ;; esac
    [ -n "$cluster" ] && [ -n "$own_cluster" ] || return 0
    find_local_cluster || return 1
    [ "$cluster" != "$local_cluster" ] || cluster=''
}

# on_cluster ID COMMAND...: run COMMAND for the cluster of the job ID, with the job's number as
# the last argument.
on_cluster() {
    one=$1 command=$2
    shift 2
    set_cluster "$one" || return
    patiently "$command" ${cluster:+-M "$cluster"} "$@" "${one%%;*}"
}
