# Removal of a job: one client claims the job, then moves it out of `jobs`.
# shellcheck shell=sh
#
# claim_removal renames the job's file `spec`. This works on a full disk, but starts a process.
# claim_for_batch (bulk_removal.sh) creates the file `.removal`, and then checks for `spec`.
# claim_removal checks for `.removal` after the rename. Therefore at most one of two clients
# gets the claim.

# get_remover: set $remover to words that identify this shell in a claim. Does nothing if
# $remover is set.
get_remover() {
    [ -z "${remover-}" ] || return 0
    me
    remover=$who
}

# claim_removal: claim $job for removal. Returns 1 if the job is gone, if another client has
# claimed it, or if another job has its id now.
claim_removal() {
    get_remover
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
    [ "$spec" = "$read_before" ] && cancel_batch && return 0
    end_claim
    return 1
}

# end_claim: give up the claim of claim_removal.
end_claim() {
    mv "$taken" "$job/spec" 2>/dev/null || :
}

# is_dead_claim FILE HOST BOOT SPACE PID START: check whether the client that made the claim
# FILE has died. The other arguments identify the client.
is_dead_claim() {
    if same_host "$2" "$3" "$4"; then
        is_gone "$5" "$6"
    else
        is_past "$2" "$3" || { agrees_with_disk && [ -n "$(find "$1" -ctime +0 2>/dev/null)" ]; }
    fi
}

# adopt_claim: take over the claim of a client that has died. Returns 1 if that client may be
# alive.
adopt_claim() {
    for item in "$job/.taken "*; do
        # There is neither a `spec` nor a claim, so there is nothing to take over.
        [ -f "$item" ] || return 0
        set -f
        # shellcheck disable=SC2086 # split into fields
        set -- ${item##*/.taken }
        set +f
        is_dead_claim "$item" "$@" && mv "$item" "$taken" 2>/dev/null || return 1
    done
}

# cancel_batch: cancel the claim `.removal` of a client that has died. Returns 1 if that client
# may be alive. An empty `.removal` is not a claim: its client has not checked for `spec` yet,
# or the disk is full.
cancel_batch() {
    [ -s "$job/.removal" ] || return 0
    batch_owner=''
    read -r batch_owner <"$job/.removal"
    [ -n "$batch_owner" ] || return 1
    set -f
    # shellcheck disable=SC2086 # split into fields
    set -- $batch_owner
    set +f
    is_dead_claim "$job/.removal" "$@" && rm -f "$job/.removal"
}

# trash_job [RESTARTING]: claim $job, and move it into `incoming` by a rename. Sets $away to its
# new path, which the caller must remove. Returns 1 if the job is gone, or if another job has
# its id. During a retry, the caller passes a word as RESTARTING, so that the link `restarting`
# is kept.
trash_job() {
    claim_removal || return 1
    # The client that published $job may have left the link `restarting`. With this link,
    # find_job would restore an older attempt.
    [ -n "${1-}" ] || [ ! -h "$queue/attempts/$id/restarting" ] || rm -f "$queue/attempts/$id/restarting"
    away=$incoming/away.$unique.${id%'#'*}
    if ! mv "$job" "$away" 2>/dev/null; then
        end_claim
        [ ! -d "$job" ] || quit 20 "Cannot write to '$incoming'"
        return 1
    fi
    me
    printf '%s\n' "$who" 2>/dev/null >"$away/.owner" || :
}
