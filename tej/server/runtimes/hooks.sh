# Default versions of the optional functions of a runtime. A runtime is the code for one way to
# start jobs. Its file runtime.sh is sourced later, and may redefine these functions.
# shellcheck shell=sh

# runtime_check: check the resources that $job requests, before the job waits. Returns 1 and
# sets $why if the runtime cannot provide them.
runtime_check() { :; }

# runtime_defer: called before $job waits, and before $job is submitted to a scheduler. May
# record facts that later programs need to start the job or to search for it.
runtime_defer() { :; }

# runtime_may_retry: called after runtime_start has failed. Returns 0 if a later call may
# succeed, and 1 if the runtime has refused the job.
runtime_may_retry() { :; }

# runtime_prepare: called before runtime_start runs in subshells. May set variables for all
# jobs.
runtime_prepare() { :; }

# runtime_tend: do periodic work. Called by every client that uses the queue.
runtime_tend() { :; }
