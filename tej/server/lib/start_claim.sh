# Start of a job: only the process that creates the file `claim` of a job may start the job.
# commands/submit (`publish`) decides which of several submissions with one id becomes the job.
# shellcheck shell=sh

# take_claim: create the file `claim` of $job. Returns 1 if the file exists. With `set -C`,
# shells open a new file with O_EXCL, which is atomic. In jobs of older versions of tej, `claim`
# is a directory. Also returns 1 if the job has a heartbeat: a wrapper creates `claim` before its
# first heartbeat, so the server has deleted old files of a job that was started.
take_claim() {
    [ ! -f "$job/heartbeat" ] || return 1
    set -C
    { printf '' >"$job/claim"; } 2>/dev/null
    claim_status=$?
    set +C
    return "$claim_status"
}

# give_up_claim: remove the file `claim` of $job, so that a wrapper can start the job.
give_up_claim() {
    rm -f "$job/claim"
}

# claim_is_stale: check whether the process that created `claim` has died. A wrapper writes the
# file `native_id` immediately after `claim`. If `native_id` is missing after a minute, the
# wrapper has died.
claim_is_stale() {
    [ -e "$job/claim" ] && get_age "$job/claim" && [ "$age" -ge 60 ] && [ ! -s "$job/native_id" ]
}
