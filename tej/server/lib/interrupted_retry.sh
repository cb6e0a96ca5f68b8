# Interrupted retry: a retry moves the failed job from `jobs` to `attempts`, then publishes a
# new job with the same id. Between these two steps, other clients wait. If the retrying client
# has died, they move the failed job back.
# shellcheck shell=sh

# mark_restarting: create the link `restarting`, which shows that this client is retrying the
# job $id. Jobs that wait for this job then do not treat it as deleted.
mark_restarting() {
    me
    get_time
    ln -sf "$now $who" "$queue/attempts/$id/restarting"
}

# put_last NUMBER: write the number of the last attempt of the job $id. If the disk is full,
# returns 1, and the file keeps its content.
put_last() {
    fresh_last=$queue/attempts/$id/.last.$unique
    { printf '%s\n' "$1" >"$fresh_last"; } 2>/dev/null && replace_file "$fresh_last" "$queue/attempts/$id/last" && return 0
    rm -f "$fresh_last"
    return 1
}

replacement_naps=0 # how often this shell has waited in await_replacement

# await_replacement ID: wait until a retry has published the new job ID in `jobs`. Waits at most
# two seconds in each request. If the retrying client has died, restores the last attempt.
# Returns 1 if no client is retrying the job: it was deleted.
await_replacement() {
    while [ -h "$queue/attempts/$1/restarting" ]; do
        is_locked "$queue/attempts/$1/restarting" 300
        case $? in
            1)
                is_absent "$jobs/$1" || return 1
                restore_attempt "$1" || [ $? = 2 ]
                return
                ;;
        esac
        [ ! -d "$jobs/$1" ] && [ "$replacement_naps" -lt 10 ] || return 0
        replacement_naps=$((replacement_naps + 1))
        nap
    done
    [ -d "$jobs/$1" ]
}

# await_replacements: call await_replacement for each job that is being retried. Sets
# $replaced_ids to the ids of the jobs that are still missing.
await_replacements() {
    replaced_ids=''
    # Not */restarting: in yash, this pattern does not match a link without a target.
    for each_id in "$queue"/attempts/*; do
        each_id=${each_id##*/}
        [ -h "$queue/attempts/$each_id/restarting" ] && [ ! -d "$jobs/$each_id" ] || continue
        ! await_replacement "$each_id" || [ -d "$jobs/$each_id" ] || replaced_ids="$replaced_ids $each_id"
    done
}

# find_newest_attempt: set $restored to the greatest number of an archived attempt in
# $attempts_path, or to 0 if there is none. Called if the file `last` is missing or damaged.
find_newest_attempt() {
    restored=0
    for item in "$attempts_path"/[0-9]*/job; do
        item=${item%/job} item=${item##*/}
        ! is_number "$item" || [ "$item" -le "$restored" ] || restored=$item
    done
}

# restore_attempt ID: move the newest archived attempt of the job ID back to `jobs`, and set $id
# to ID. Returns 1 if this attempt was deleted, or if another client has published a job with this
# id. Returns 2 if the attempt cannot be moved, for example on a read-only file system.
restore_attempt() {
    id=$1 restored='' attempts_path=$queue/attempts/$1
    { read -r restored <"$attempts_path/last"; } 2>/dev/null
    is_number "$restored" || find_newest_attempt
    if is_absent "$attempts_path/$restored/job"; then
        # Without a job in `jobs`, no other client would remove the link, so remove it here.
        ! is_absent "$jobs/$1" || rm -f "$attempts_path/restarting" 2>/dev/null
        rmdir "$attempts_path/$restored" "$attempts_path" 2>/dev/null
        return 1
    fi
    mv "$attempts_path/$restored/job" "$jobs/$1" 2>/dev/null || {
        is_absent "$attempts_path/$restored/job" && return 1
        return 2
    }
    # If $jobs/ID exists, `mv` has moved the attempt into it.
    if [ -d "$jobs/$1/job" ]; then
        mv "$jobs/$1/job" "$attempts_path/$restored/job"
        return 1
    fi
    # The next retry uses this number again, unless the disk is full.
    if [ "$restored" = 1 ]; then rm -f "$attempts_path/last"; else put_last "$((restored - 1))" || :; fi
    rm -f "$attempts_path/restarting"
    rmdir "$attempts_path/$restored" "$attempts_path" 2>/dev/null || :
}
