# Optional functions of a runtime. The `runtime.sh` of a runtime, which is sourced after
# this file, may redefine these functions.
# shellcheck shell=sh

# runtime_check: check the resources that $job requests, before the job waits. Returns 1
# and sets $why if the runtime cannot provide the resources.
runtime_check() { :; }

# runtime_defer: called before $job waits, and before $job is submitted to a scheduler. May record
# properties of this request for the programs that later start the job or search for it.
runtime_defer() { :; }

# runtime_may_retry: called after runtime_start has failed. Returns 0 if a later call may
# succeed, and 1 if the runtime has refused the job.
runtime_may_retry() { :; }

# runtime_prepare: called before runtime_start is called in a subshell. May set
# variables that runtime_start needs for each job, so that the variables are computed
# only once.
runtime_prepare() { :; }

# runtime_tend: do periodic work. Called by every client that uses the queue.
runtime_tend() { :; }
