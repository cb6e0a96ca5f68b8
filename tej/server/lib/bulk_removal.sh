# Removal of many ended jobs by one client. One `mv` and one `rm` remove a batch of jobs. Only
# the claim of each job needs a process of its own.
# shellcheck shell=sh

claimed='' # ids of the claimed jobs that are not removed yet
batches=0  # number of batches that were removed

# claim_for_batch: claim $job for remove_claimed. Returns 1 if the job cannot be claimed.
claim_for_batch() {
    claim_removal || return 1
    [ ! -f "$job/assembly" ] || unused=1
    claimed="$claimed $id"
}

# is_simple: check whether the loaded job can be removed in a batch: nothing outside the job's
# directory belongs to the job, and its record must not be printed.
is_simple() {
    [ "$job" = "$jobs/$id" ] && [ -z "$elsewhere" ] && [ ! -f "$job/on_end" ] &&
        [ ! -d "$queue/attempts/$id" ] && [ ! -d "$queue/dependents/$id" ]
}

# remove_claimed: remove the claimed jobs, and print "deleted=1" for each of them.
remove_claimed() {
    [ -n "$claimed" ] || return 0
    batches=$((batches + 1))
    # A full disk has no space for another directory.
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

# remove_singly: like remove_claimed, but moves each job separately, which needs no space on
# the disk.
remove_singly() {
    for id in $claimed; do
        away=$incoming/away.$$.$id
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
