# Removal of many ended jobs by one client: one `mv` and one `rm` remove a batch of jobs.
# shellcheck shell=sh

claimed='' # ids of the claimed jobs that are not removed yet
batches=0  # number of batches that were removed

# claim_if_simple ID SINCE: claim the job for remove_claimed, if the job can be removed in a
# batch: it has ended, all of its files are in its directory, and the reply needs only its id.
# Otherwise returns 1.
claim_if_simple() {
    case $1 in *'#'*) return 1 ;; esac
    find_job "$1" && [ -s "$job/finished" ] && [ ! -f "$job/on_end" ] &&
        [ ! -d "$queue/attempts/$id" ] && [ ! -d "$queue/dependents/$id" ] &&
        claim_for_batch || return 1
    # Check only now: after the claim, no other client can replace the job.
    has_ended_cleanly "$2" || {
        rm -f "$job/.removal"
        return 1
    }
    [ ! -f "$job/assembly" ] || unused=1
    claimed="$claimed $id"
}

# claim_for_batch: claim $job for removal, by creating its file `.removal` (job_removal.sh)
# atomically, as take_claim does. Returns 1 if the job cannot be claimed.
claim_for_batch() {
    get_remover
    set -C
    { printf '%s\n' "$remover" >"$job/.removal"; } 2>/dev/null
    claim_status=$?
    set +C
    [ "$claim_status" = 0 ] || return 1
    [ ! -f "$job/spec" ] || return 0
    rm -f "$job/.removal"
    return 1
}

# has_ended_cleanly SINCE: check whether $job has ended, has no processes, and is the job that
# the client has selected (is_selected).
has_ended_cleanly() {
    number='' left=''
    read -r _ how number end_cause left _ <"$job/finished"
    case $how,$end_cause,$left in
        exit,own,0 | exit,killed,0 | signal,own,0 | signal,killed,0 | none,killed,0) ;;
        *) return 1 ;;
    esac
    submitted=''
    [ ! -f "$job/submitted" ] || read -r submitted _ <"$job/submitted"
    # Read `spec` again: another client may have renamed it (claim_removal).
    read_spec
    is_selected "$1" || return 1
    [ -n "${live_tokens+known}" ] || find_live_tokens
    [ -n "$live_tokens" ] || return 0
    # The search for processes needs the token in `spec`.
    [ -n "$spec" ] && ! has_sign_of_life
}

# remove_claimed: remove the claimed jobs, and print "deleted=1" for each of them.
remove_claimed() {
    [ -n "$claimed" ] || return 0
    batches=$((batches + 1))
    # On a full disk, no directory can be created: remove each job separately.
    make_room "away$batches" 2>/dev/null || {
        remove_singly
        return
    }
    set --
    for id in $claimed; do set -- "$@" "$jobs/$id"; done
    mv "$@" "$room/" 2>/dev/null
    kept=''
    for id in $claimed; do
        if [ -d "$room/$id" ]; then
            printf '%s\0' "id=$id" "deleted=1"
        elif [ -d "$jobs/$id" ]; then
            kept=$id
        else
            printf '%s\0' "id=$id"
        fi
    done
    claimed=''
    remove "$room"
    [ -z "$kept" ] || quit 20 "Job '$kept' cannot be moved to '$incoming'"
}

# remove_singly: like remove_claimed, but needs no space on the disk.
remove_singly() {
    for id in $claimed; do
        away=$incoming/away.$unique.$id
        if mv "$jobs/$id" "$away" 2>/dev/null; then
            remove "$away"
            printf '%s\0' "id=$id" "deleted=1"
        elif [ -d "$jobs/$id" ]; then
            quit 20 "Job '$id' cannot be moved to '$incoming'"
        else
            printf '%s\0' "id=$id"
        fi
    done
    claimed=''
}
