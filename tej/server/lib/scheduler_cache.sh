# What the scheduler says of its jobs, asked once for all of them and all who want to
# know: the answer is kept for some seconds in the queue.
# shellcheck shell=sh
#
#   scheduler/listing   TIME answer|silent whole|part WORDS; then lines ID|STATE|NAME|WORDS
#
# A `whole` one has all of the scheduler's jobs, so that one can be found by its name.

keep_listing=10 # seconds that an answer is good for
keep_hasty=3    # ... for who waits for a change that is under way

listed_at=0 # when the listing in memory was asked for
listing=''  # answer; or silent, and $silence=why
extent=''   # whole, or part

# runtime_ask NATIVES: have an answer about them all ("RUNTIME ID RUNTIME ID ..."); without
# any, about all there are.
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

# ask_anew [ID]: the same, with an answer of this moment.
ask_anew() {
    ids=$* patience=0 now=''
    renew_listing
}

# is_answered: the listing in memory is new enough, and about all of $ids.
is_answered() {
    get_time
    [ $((now - listed_at)) -lt "$patience" ] || return 1
    # One that is from the future would stay fresh for too long.
    [ $((now - listed_at)) -ge -2 ] || return 1
    [ "$listing" = answer ] || return 0
    ! scheduler_listed_all || return 0
    [ -n "$ids" ] || [ "$extent" = whole ] || return 1
    set -f
    # shellcheck disable=SC2086 # ids
    set -- $ids
    set +f
    for item in "$@"; do
        look_up "$item" ''
        [ -n "$says" ] || return 1
    done
}

# load_listing: what is in the file, into variables q_NUMBER and n_NAME.
load_listing() {
    [ -f "$queue/scheduler/listing" ] || return 0
    {
        read -r time kind extent words
        [ "$time" != "$listed_at" ] || return 0
        listed_at=$time listing=$kind silence=$words
        # What is said no more is forgotten: by the number of the listing.
        edition=$((${edition:-0} + 1))
        while IFS='|' read -r item kind title words; do
            eval "q_${item%%[!0-9]*}=\$edition'|'\$kind'|'\$title'|'\$words"
            case $title in
                tej_*[!A-Za-z0-9_]*) ;;
                tej_?*) eval "n_$title=\$item" ;;
            esac
        done
    } <"$queue/scheduler/listing"
}

# look_up ID NAME: says=STATE and reason=WORDS of it; a job of another name has only got
# its number.  says='' if it was not asked about.
look_up() {
    says='' reason=''
    [ "$listing" = answer ] || {
        says=silent
        return
    }
    eval "listed=\${q_${1%%[!0-9]*}-}"
    case $listed in
        "$edition|"*)
            listed=${listed#*|}
            says=${listed%%|*} listed=${listed#*|}
            reason=${listed#*|} listed=${listed%%|*}
            [ -z "$2" ] || [ -z "$listed" ] || [ "$listed" = "$2" ] || says=unknown reason=''
            ;;
        *) ! scheduler_listed_all || says=unknown ;;
    esac
}

# renew_listing: ask, if nobody else is at it; else wait for what they hear.
renew_listing() {
    mkdir "$queue/scheduler" 2>/dev/null
    rounds=0 unheld=0
    while [ "$rounds" -lt 300 ]; do
        if take_lock "$queue/scheduler/lock"; then
            # Somebody may have asked while we came to it.
            [ "$patience" = 0 ] || load_listing
            is_answered || ask_scheduler
            rm -f "$queue/scheduler/lock"
            return
        fi
        # If nobody has it and it cannot be taken, there is no room for it, or no permission.
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

# fall_silent WORDS: nothing is known now, and why.
fall_silent() {
    now=''
    get_time
    listing=silent silence=$* listed_at=$now
}

# ask_scheduler: with the lock.  A time before the question, so that what is newer than
# the answer can be told.
ask_scheduler() {
    fresh=$queue/scheduler/.listing.$$ asked_at=$(date +%s)
    # Those that were alive are asked about again, so that one answer serves all.
    extent=whole
    scheduler_listed_all || [ -z "$ids" ] || add_listed
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
        # A part of an answer would be taken for one without the rest.
        rm -f "$fresh" "$fresh.list" "$fresh.words"
        fall_silent "no room for its answer in '$queue/scheduler'"
        return
    }
    rm -f "$fresh.list" "$fresh.words"
    listed_at=0 now=''
    load_listing
}

# add_listed: extent=part, and to ids what the last answer held and was not over.
add_listed() {
    extent=part
    [ -f "$queue/scheduler/listing" ] || return 0
    while IFS='|' read -r item kind title _; do
        # Others may have been told of, too.
        case $kind$title in
            queuedtej_* | runningtej_*) ids="$ids $item" ;;
        esac
    done <"$queue/scheduler/listing"
    set -f
    # shellcheck disable=SC2086 # ids, one a line
    ids=$(printf '%s\n' $ids | sort -u)
    set +f
}
