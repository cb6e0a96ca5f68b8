# Removal of a job: one client claims the job, then moves it out of `jobs`.
# shellcheck shell=sh

# claim_removal: claim $job for removal by renaming the job's `spec`, because a rename
# works even on a full disk. Returns 1 if the job is gone, if another client has claimed
# it, or if another job was submitted with the same id after $spec was read.
claim_removal() {
    # A batch of removals identifies this shell only once.
    [ -n "${remover-}" ] || {
        me
        remover=$who
    }
    read_before=$spec taken="$job/.taken $remover"
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

# adopt_claim: take over the claim of a client that has died. Returns 1 if the client
# that made the claim may be alive.
adopt_claim() {
    for item in "$job/.taken "*; do
        # If the job has neither a `spec` nor a claim, no claim has to be taken over.
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

# trash_job: claim $job and move it into `incoming` by a rename. Sets $away to the new
# path of the job; the caller must remove the directory $away. Returns 1 if the job is
# gone, or if another job has the same id now.
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
