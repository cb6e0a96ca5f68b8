# Retry of a job: archive the failed job as an attempt in `attempts`, before a new job with the
# same id is published. Sourced by commands/submit, which defines `refuse`, trash_for_restart,
# $token, $mode and $room.
# shellcheck shell=sh

# refuse_living: check whether the job to be retried may still have processes. If so, prints an
# error as the reply for the job.
refuse_living() {
    has_sign_of_life || return 1
    refuse 5 "Job '$id' is $state, but $sign: $advice"
}

# clear_failed: remove the old job with this id from `jobs`, so that the uploaded job can
# replace it. A failed job is moved to `attempts`. A job with the token of this request
# was lost before its script started: it is moved to $room, which is removed later. Returns 0 if
# this or another client has removed the old job. Returns 1 on failure.
clear_failed() {
    eval "failed=\${failed_$token-}"
    turns=0
    while [ -n "$failed" ] && load_job "$id" && [ "$spec" = "$failed" ]; do
        ! refuse_living || return 1
        case $failed in
            *"token=$token "*)
                ! trash_for_restart || {
                    mv "$away" "$room/" 2>/dev/null || :
                    return 0
                }
                ;;
            *)
                archive_attempt
                case $? in
                    0) return 0 ;;
                    2) return 1 ;;
                esac
                ;;
        esac
        turns=$((turns + 1))
        [ "$turns" -lt 50 ] || {
            refuse 20 "Job '$id' cannot be retried now: another client is archiving or deleting it, and has not finished"
            return 1
        }
        nap
        # The next jobs of the request need the current time, too.
        now=''
        get_time
    done
}

# archive_attempt: move the job to `attempts`. Returns 1 if another client is archiving or
# deleting the job. Returns 2, and prints an error as the reply, if a file cannot be written.
archive_attempt() {
    claim_removal || return 1
    # Attempts are numbered from 1. The number of a deleted attempt is not used again.
    count_attempts
    attempt=$((${attempts:-0} + 1))
    while [ -e "$queue/attempts/$id/$attempt" ]; do attempt=$((attempt + 1)); done
    mkdir -p "$queue/attempts/$id/$attempt" && put_last "$attempt" || {
        rmdir "$queue/attempts/$id/$attempt" 2>/dev/null
        end_claim
        refuse 20 "Cannot write to '$queue/attempts/$id'"
        return 2
    }
    aside=$queue/attempts/$id/$attempt/job
    mark_restarting
    leave_dependents
    if ! mv "$job" "$aside"; then
        rmdir "${aside%/job}" 2>/dev/null
        rm -f "$queue/attempts/$id/restarting"
        end_claim
        refuse 20 "Job '$id' cannot be moved to '$aside' for a retry"
        return 2
    fi
    mv "$aside/${taken##*/}" "$aside/spec"
}
