# Sourced by every program that runs on a queue: what the commands share.
# Expects: queue, runtime, here (the folder these scripts are in).
# shellcheck shell=sh

jobs=$queue/jobs incoming=$queue/incoming

. "$here/lib/facts.sh"
. "$here/lib/process.sh"
. "$here/lib/state.sh"
. "$here/lib/lock.sh"
. "$here/lib/heartbeat.sh"
. "$here/lib/waiting.sh"
. "$here/lib/detach.sh"
. "$here/lib/incoming.sh"
. "$here/lib/job_processes.sh"
. "$here/lib/job_removal.sh"
. "$here/lib/resources.sh"
. "$here/lib/content_store.sh"
. "$here/lib/queue_removal.sh"
. "$here/runtimes/$runtime/runtime.sh"
