# Loader of the library: every program that uses a queue sources load.sh. Expects:
# queue, runtime, here (the directory of the installed scripts).
# shellcheck shell=sh

jobs=$queue/jobs incoming=$queue/incoming

. "$here/lib/facts.sh"
. "$here/lib/process_identity.sh"
. "$here/lib/process_search.sh"
. "$here/lib/job_existence.sh"
. "$here/lib/state.sh"
. "$here/lib/job_identity.sh"
. "$here/lib/damaged_job.sh"
. "$here/lib/job_record.sh"
. "$here/lib/claim.sh"
. "$here/lib/lock.sh"
. "$here/lib/file_age.sh"
. "$here/lib/heartbeat.sh"
. "$here/lib/signs_of_life.sh"
. "$here/lib/sleep.sh"
. "$here/lib/keepalive.sh"
. "$here/lib/detach.sh"
. "$here/lib/garbage_collection.sh"
. "$here/lib/job_processes.sh"
. "$here/lib/job_removal.sh"
. "$here/lib/resources.sh"
. "$here/lib/content_store.sh"
. "$here/lib/shared_input.sh"
. "$here/lib/queue_removal.sh"
. "$here/lib/job_limit.sh"
. "$here/lib/dependencies.sh"
. "$here/lib/on_end.sh"
. "$here/runtimes/hooks.sh"
. "$here/runtimes/$runtime/runtime.sh"
