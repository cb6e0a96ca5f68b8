# Interrupted retry: a client that retries a job archives the failed job (attempts.sh) and then
# publishes the new attempt. In between, the job is not in `jobs`. Other clients wait for the new
# attempt. If the client died, they move the failed job back to `jobs`.
# shellcheck shell=sh

# mark_restarting: create the link `restarting`, which shows that this client is replacing the job
# $id by a new attempt. Jobs that wait for this job then do not treat this job as deleted, and if
# this client dies, await_replacement restores the last attempt.
mark_restarting() {
    me
    get_time
    ln -sf "$now $who" "$queue/attempts/$id/restarting"
}

# put_last NUMBER: write the number of the last attempt of the job $id. If the disk is full, the
# file keeps its content, and put_last returns 1.
put_last() {
    fresh_last=$queue/attempts/$id/.last.$unique
    { printf '%s\n' "$1" >"$fresh_last"; } 2>/dev/null && replace_file "$fresh_last" "$queue/attempts/$id/last" && return 0
    rm -f "$fresh_last"
    return 1
}

replacement_naps=0 # how often this shell has waited in await_replacement

# await_replacement ID: call if the job ID is not in `jobs`. If a live client replaces the job by a
# new attempt, waits until the attempt is published, for at most two seconds in each request. If the
# client has died, restores the last attempt. Returns 1 if no client replaces the job, so that the
# job was deleted.
await_replacement() {
    while [ -h "$queue/attempts/$1/restarting" ]; do
        is_locked "$queue/attempts/$1/restarting" 300
        case $? in
            1)
                is_absent "$jobs/$1" && restore_attempt "$1"
                return
                ;;
        esac
        [ ! -d "$jobs/$1" ] && [ "$replacement_naps" -lt 10 ] || return 0
        replacement_naps=$((replacement_naps + 1))
        nap
    done
    [ -d "$jobs/$1" ]
}

# await_replacements: call await_replacement for each job that is not in `jobs`. Sets
# $replaced_ids to the ids of the jobs whose new attempt is not published yet.
await_replacements() {
    replaced_ids=''
    # A pattern */restarting would not match the link in yash, because its target does not exist.
    for entry in "$queue"/attempts/*; do
        entry=${entry##*/}
        [ -h "$queue/attempts/$entry/restarting" ] && [ ! -d "$jobs/$entry" ] || continue
        ! await_replacement "$entry" || [ -d "$jobs/$entry" ] || replaced_ids="$replaced_ids $entry"
    done
}

# restore_attempt ID: set $id to ID, and move the newest archived attempt of this job back to
# `jobs`. Returns 1 if there is no archived attempt, or if another client has published a new
# attempt.
restore_attempt() {
    id=$1 restored='' attempts_path=$queue/attempts/$1
    { read -r restored <"$attempts_path/last"; } 2>/dev/null
    is_number "$restored" && [ -d "$attempts_path/$restored/job" ] && mv "$attempts_path/$restored/job" "$jobs/$1" 2>/dev/null || return 1
    # If another client was first, `mv` has moved the attempt into the other job.
    if [ -d "$jobs/$1/job" ]; then
        mv "$jobs/$1/job" "$attempts_path/$restored/job"
        return 1
    fi
    # The next retry uses the number of the attempt again, unless the disk is full.
    if [ "$restored" = 1 ]; then rm -f "$attempts_path/last"; else put_last "$((restored - 1))" || :; fi
    rm -f "$attempts_path/restarting"
    rmdir "$attempts_path/$restored" "$attempts_path" 2>/dev/null || :
}
