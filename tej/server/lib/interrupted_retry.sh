# Interrupted retry: moves the failed job back to `jobs` if a client archived the job for a retry
# (attempts.sh) and did not publish a new attempt.
# shellcheck shell=sh

# mark_restarting: create the link `restarting`, which shows that this client is replacing the job
# $id by a new attempt. Jobs that wait for this job then do not treat this job as deleted, and if
# this client dies, restore_interrupted restores the last attempt.
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

# restore_interrupted ID: restore the job ID if a client has died after it archived the job for a
# retry and before it published the new attempt. Otherwise the job would seem to be deleted.
restore_interrupted() {
    [ -h "$queue/attempts/$1/restarting" ] || return 1
    is_locked "$queue/attempts/$1/restarting" 300
    [ $? = 1 ] && is_absent "$jobs/$1" && restore_attempt "$1"
}

# restore_all_interrupted: call restore_interrupted for each job that is not in `jobs`.
restore_all_interrupted() {
    # A pattern */restarting would not match the link in yash, because its target does not exist.
    for entry in "$queue"/attempts/*; do
        entry=${entry##*/}
        [ ! -h "$queue/attempts/$entry/restarting" ] || [ -d "$jobs/$entry" ] || restore_interrupted "$entry" || :
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
