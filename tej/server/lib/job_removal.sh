# Removal of a job: the claim of one client on it, and the move out of `jobs`.
# shellcheck shell=sh

# claim_removal: get the right to move $job away, by renaming its description, which needs no
# room on the disk.  A job that has taken its id since it was read stays.  Returns 1 if the
# job is gone, or another client has the claim.
claim_removal() {
    me
    read_before=$spec taken="$job/.taken $who"
    if ! mv "$job/spec" "$taken" 2>/dev/null; then
        [ -d "$job" ] || return 1
        ! read_spec || [ ! -f "$job/spec" ] || {
            [ "$spec" != "$read_before" ] || quit 20 "Cannot write to '$job'"
            return 1
        }
        adopt_claim || return 1
    fi
    read_spec
    [ "$spec" != "$read_before" ] || return 0
    mv "$taken" "$job/spec"
    return 1
}

# adopt_claim: take over the claim of a client that died before it used it.
adopt_claim() {
    for item in "$job/.taken "*; do
        # Without a description there is nothing to claim the job by.
        [ -f "$item" ] || return 0
        set -f
        # shellcheck disable=SC2086 # fields
        set -- ${item##*/.taken }
        set +f
        if same_host "$1" "$2" "$3"; then
            is_gone "$4" "$5" || return 1
        else
            is_past "$1" "$2" || [ -n "$(find "$item" -ctime +0 2>/dev/null)" ] || return 1
        fi
        mv "$item" "$taken" 2>/dev/null || return 1
    done
}

# trash_job: move $job by a rename to away=a directory in `incoming`, from which it can be
# removed in peace.  Returns 1 if it is gone, or its id belongs to another job.
trash_job() {
    claim_removal || return 1
    away=$incoming/away.$$.${id%'#'*}
    if ! mv "$job" "$away" 2>/dev/null; then
        [ ! -d "$job" ] || quit 20 "Cannot write to '$incoming'"
        return 1
    fi
    me
    printf '%s\n' "$who" 2>/dev/null >"$away/.owner" || :
}
