# Cache of the scheduler's job list: for some seconds, one query serves all jobs and
# clients.
# shellcheck shell=sh
#
#   scheduler/listing   TIME answer|silent whole|part WORDS; then lines ID|STATE|NAME|WORDS
#
# A `whole` listing contains all jobs of the scheduler, so a job can be found by its name.

keep_listing=10 # seconds for which a listing is fresh
keep_hasty=3    # the same, while the state of a job is about to change

listed_at=0 # time of the query for the listing in memory
listing=''  # answer; or silent, with $silence=the reason
extent=''   # whole or part

# runtime_ask NATIVES: provide a listing that covers these jobs ("RUNTIME ID RUNTIME ID
# ..."). Without jobs, the listing covers all jobs.
runtime_ask() {
    ids=''
    # shellcheck disable=SC2086 # words
    set -- $1
    while [ $# -ge 2 ]; do
        ids="$ids $2"
        shift 2
    done
    patience=$keep_listing
    is_answered && return
    load_listing
    is_answered || renew_listing
}

# ask_anew [ID]: like runtime_ask, but with a new query.
ask_anew() {
    ids=$* patience=0 now=''
    renew_listing
}

# is_answered: check that the listing in memory is fresh and covers all of $ids.
is_answered() {
    get_time
    [ $((now - listed_at)) -lt "$patience" ] || return 1
    # A listing dated in the future would stay fresh for too long.
    [ $((now - listed_at)) -ge -2 ] || return 1
    [ "$listing" = answer ] || return 0
    [ -n "$ids" ] || scheduler_listed_all || [ "$extent" = whole ] || return 1
    set -f
    # shellcheck disable=SC2086 # ids
    set -- $ids
    set +f
    for item in "$@"; do
        ! scheduler_listed_all "$item" || continue
        look_up "$item" ''
        [ -n "$says" ] || return 1
    done
}

# set_key ID: set key to the id as part of a variable name: its number and its cluster.
set_key() {
    key=${1%%[!0-9]*}
    case $1 in *\;*) ;; *) return 0 ;; esac
    key=${key}_${1#*;}
    while :; do
        case $key in
            *[!A-Za-z0-9_]*) key=${key%%[!A-Za-z0-9_]*}_${key#*[!A-Za-z0-9_]} ;;
            *) return 0 ;;
        esac
    done
}

# load_listing: read the file `listing` into variables q_KEY and n_NAME.
load_listing() {
    [ -f "$queue/scheduler/listing" ] || return 0
    {
        read -r time kind extent words
        [ "$time" != "$listed_at" ] || return 0
        listed_at=$time listing=$kind silence=$words
        # Entries of older listings become invalid, because each entry starts with its
        # edition.
        edition=$((${edition:-0} + 1))
        while IFS='|' read -r item kind title words; do
            set_key "$item"
            eval "q_$key=\$edition'|'\$kind'|'\$title'|'\$words"
            case $title in
                tej_*[!A-Za-z0-9_]*) ;;
                tej_?*) eval "n_$title=\$item" ;;
            esac
        done
    } <"$queue/scheduler/listing"
}

# look_up ID NAME: set says=STATE and reason=WORDS of the job. If the listed job has the
# name of another submission, its id was reused, and says=unknown. says=silent if the
# scheduler did not answer, '' if the listing does not cover the id.
look_up() {
    says='' reason=''
    [ "$listing" = answer ] || {
        says=silent
        return
    }
    set_key "$1"
    eval "listed=\${q_$key-}"
    case $listed in
        "$edition|"*)
            listed=${listed#*|}
            says=${listed%%|*} listed=${listed#*|}
            reason=${listed#*|} listed=${listed%%|*}
            case $listed in
                '' | "$2") ;;
                # Users may rename a job: then the id decides.
                tej_*) [ -z "$2" ] || says=unknown reason='' ;;
            esac
            ;;
        *) ! scheduler_listed_all "$1" || says=unknown ;;
    esac
}

# renew_listing: query the scheduler, or wait for the answer if another client is
# querying.
renew_listing() {
    mkdir "$queue/scheduler" 2>/dev/null
    rounds=0 unheld=0
    while [ "$rounds" -lt 300 ]; do
        if take_lock "$queue/scheduler/lock"; then
            # Another client may have renewed the listing while this one waited for the
            # lock.
            [ "$patience" = 0 ] || load_listing
            is_answered || ask_scheduler
            rm -f "$queue/scheduler/lock"
            return
        fi
        # If the lock is free but cannot be created, the disk is full or not writable.
        if [ -h "$queue/scheduler/lock" ]; then
            unheld=0
        elif [ "$unheld" = 5 ]; then
            fall_silent "cannot write to '$queue/scheduler'"
            return
        else
            unheld=$((unheld + 1))
        fi
        nap
        rounds=$((rounds + 1)) now=''
        load_listing
        [ "$patience" = 0 ] || ! is_answered || return 0
    done
    fall_silent "somebody else has been asking it for long"
}

# fall_silent MESSAGE: record in memory that the scheduler's state is unknown, and why.
fall_silent() {
    now=''
    get_time
    listing=silent silence=$* listed_at=$now
}

# ask_scheduler: query the scheduler and write the listing. The caller holds the lock. The
# listing gets the time before the query, so that facts newer than the answer are
# recognized.
ask_scheduler() {
    fresh=$queue/scheduler/.listing.$$ asked_at=$(date +%s)
    extent=whole
    [ -z "$ids" ] || add_listed
    set -f
    # shellcheck disable=SC2086 # ids
    set -- $ids
    set +f
    if scheduler_list "$@" >"$fresh.list" 2>"$fresh.words" </dev/null; then
        { printf '%s answer %s\n' "$asked_at" "$extent" && cat "$fresh.list"; } >"$fresh" 2>/dev/null
    else
        IFS= read -r words <"$fresh.words" || :
        printf '%s silent %s %s\n' "$(date +%s)" "$extent" "$words" >"$fresh"
    fi && mv -f "$fresh" "$queue/scheduler/listing" || {
        # A truncated listing would look as if the missing jobs were gone.
        rm -f "$fresh" "$fresh.list" "$fresh.words"
        fall_silent "no room for its answer in '$queue/scheduler'"
        return
    }
    rm -f "$fresh.list" "$fresh.words"
    listed_at=0 now=''
    load_listing
}

# add_listed: add to ids the live jobs of the last listing that the scheduler lists only
# by id, so that one query covers all clients. Sets extent=part if the scheduler does so.
add_listed() {
    scheduler_listed_all || extent=part
    [ -f "$queue/scheduler/listing" ] || return 0
    while IFS='|' read -r item kind _; do
        case $kind in
            queued | running | stopped) scheduler_listed_all "$item" || ids="$ids $item" ;;
        esac
    done <"$queue/scheduler/listing"
    set -f
    # shellcheck disable=SC2086 # ids
    ids=$(printf '%s\n' $ids | sort -u)
    set +f
}
