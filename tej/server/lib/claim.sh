# Claim of a job: the process that creates the file `claim` decides whether the job starts.
# shellcheck shell=sh

# take_claim: create the file `claim` of $job. Returns 1 if the file exists. Only one
# process can create `claim`, because with `set -C` all shells open a new file with
# O_EXCL, which is atomic. In a job that an older tej has started, `claim` is a directory.
take_claim() {
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

# claim_is_stale: check whether `claim` is at least a minute old and the job still has
# no native id. A wrapper writes the native id immediately after it creates `claim`, so
# in this case the wrapper has died.
claim_is_stale() {
    [ -e "$job/claim" ] && get_age "$job/claim" && [ "$age" -ge 60 ] && [ ! -s "$job/native_id" ]
}
