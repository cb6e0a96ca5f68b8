# Clusters of Slurm: select the cluster on which a command looks for a job.
# shellcheck shell=sh
#
# The id of a job is NUMBER;CLUSTER, or NUMBER if the job is on the queue's own cluster. The
# queue's own cluster is recorded as the property `cluster` when the queue is created. On another
# login node, on a compute node, or with another SLURM_CONF, the default cluster can be another
# one, and NUMBER can be another job there.

load_variables SLURM_CONF
read_setup cluster
own_cluster=$noted
local_cluster='' # cluster of Slurm's commands without -M, see find_local_cluster

# find_local_cluster: set $local_cluster to the name of the cluster that Slurm's commands use
# without -M. Returns 1 if the controller does not answer.
find_local_cluster() {
    [ -z "$local_cluster" ] || return 0
    local_cluster=$(patiently scontrol show config 2>/dev/null </dev/null | sed -n 's/^ClusterName *= *//p')
    [ -n "$local_cluster" ]
}

# set_cluster ID: set $cluster to the argument of -M for the job ID, or to '' if Slurm's
# commands use the cluster of the job without -M, which also works without Slurm's database.
# Returns 1 if the cluster is not known because the controller does not answer.
set_cluster() {
    case $1 in *\;*) cluster=${1#*;} ;; *) cluster=$own_cluster ;; esac
    [ -n "$cluster" ] && [ -n "$own_cluster" ] || return 0
    find_local_cluster || return 1
    [ "$cluster" != "$local_cluster" ] || cluster=''
}

# on_cluster ID COMMAND...: run COMMAND for the cluster of the job ID, with the number
# of the job as the last argument.
on_cluster() {
    one=$1 command=$2
    shift 2
    set_cluster "$one" || return
    patiently "$command" ${cluster:+-M "$cluster"} "$@" "${one%%;*}"
}
