# Removal of a job: the claim that one client has on it, and the move out of `jobs`.
# shellcheck shell=sh

# claim_removal: the right to move $job away, as it was read: who renames its description
# has it, which needs no room on the disk.  Should another job have taken its place
# meanwhile, that one stays.  Returns 1 if it is not there any more, or somebody else is
# at it.
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

# adopt_claim: the claim of somebody who has not lived to use it.
adopt_claim() {
    for item in "$job/.taken "*; do
        # Without any description, there is nothing to claim it by.
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

# trash_job: take $job out of sight at once, by a rename, to away=where it can be removed.
# Returns 1 if it is not there any more, or is another one.
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
