# Cache of the scheduler's job list. The reply to one query (a listing) is used for all jobs and
# by all clients for a few seconds.
# shellcheck shell=sh
#
#   scheduler/listing   first line: `TIME answer EXTENT`, or `TIME silent EXTENT ERROR` if the
#                       scheduler did not reply. EXTENT is `whole` or `part`. Each other line:
#                       ID, STATE, NAME and WORDS, separated by `|`
#
# A `whole` listing contains all jobs of the user, so that a job can be found by its
# name. A `part` listing contains only the jobs whose ids were queried.

listing_max_age=10      # seconds for which a listing is fresh
listing_max_age_short=3 # like listing_max_age, while the state of a job is about to change

listed_at=0       # time of the query for the loaded listing
listing_result='' # `answer`, or `silent` with the reason in $listing_error
extent=''         # whole or part

# runtime_ask NATIVES: get a listing that contains the jobs in NATIVES ("RUNTIME ID RUNTIME ID
# ..."), or all jobs if NATIVES is empty. If the cached listing is too old, queries the scheduler.
runtime_ask() {
    ids=''
    # shellcheck disable=SC2086 # split into words
    set -- $1
    while [ $# -ge 2 ]; do
        ids="$ids $2"
        shift 2
    done
    max_age=$listing_max_age
    is_answered && return
    load_listing
    is_answered || renew_listing
}

# query_again [ID]...: query the scheduler for the jobs ID..., or for all jobs, even if the
# listing is fresh.
query_again() {
    ids=$* max_age=0 now=''
    renew_listing
}

# is_answered: check whether the loaded listing is fresh and contains the states of all jobs in
# $ids. A listing is fresh if it is less than $max_age seconds old. Also returns 0 if the
# scheduler did not answer the last query, and this query is fresh.
is_answered() {
    get_time
    [ $((now - listed_at)) -lt "$max_age" ] || return 1
    # If the time of the listing is in the future, the listing is not used, because it
    # would count as fresh for too long.
    [ $((now - listed_at)) -ge -2 ] || return 1
    [ "$listing_result" = answer ] || return 0
    [ -n "$ids" ] || scheduler_listed_all || [ "$extent" = whole ] || return 1
    set -f
    # shellcheck disable=SC2086 # split into ids
    set -- $ids
    set +f
    for item in "$@"; do
        ! scheduler_listed_all "$item" || continue
        look_up "$item" ''
        [ -n "$listed_state" ] || return 1
    done
}

# set_key ID: set $key to the number, the array index, the server and the cluster in ID,
# converted to a valid part of a variable name.
set_key() {
    key=${1%%[!0-9]*}
    case $1 in
        # NUMBER_INDEX: a task of a Slurm array
        "${key}_"[0-9]*)
            element=${1#"${key}_"}
            key=${key}e${element%%[!0-9]*}
            ;;
        # NUMBER.SERVER: two servers of OpenPBS can use the same number. Torque prints the name of
        # one server in several forms, so KEY does not contain the server.
        "$key."*[!0-9]*) [ "${dialect-}" != openpbs ] || key=${key}_${1#"$key."} ;;
        # NUMBER.INDEX: a task of a Grid Engine array
        "$key."*) key=${key}e${1#"$key."} ;;
    esac
    # NUMBER;CLUSTER: a job on another cluster of Slurm
    case $1 in *\;*) key=${key}_${1#*;} ;; esac
    # Replace the characters that a variable name cannot contain, one at a time.
    while :; do
        case $key in
            *[!A-Za-z0-9_]*) key=${key%%[!A-Za-z0-9_]*}_${key#*[!A-Za-z0-9_]} ;;
            *) return 0 ;;
        esac
    done
}

# load_listing: load the file `listing` into variables of this shell: q_KEY is the entry of a job
# (set_key), and n_NAME is the id of the job with the name NAME.
load_listing() {
    [ -f "$queue/scheduler/listing" ] || return 0
    {
        read -r time kind extent words
        [ "$time" != "$listed_at" ] || return 0
        listed_at=$time listing_result=$kind listing_error=$words
        # Each entry starts with the number of its listing, so that look_up ignores the entries
        # of older listings.
        listing_number=$((${listing_number:-0} + 1))
        while IFS='|' read -r item kind title words; do
            set_key "$item"
            eval "q_$key=\$listing_number'|'\$kind'|'\$title'|'\$words"
            # A site may have its own qsub, which prints the id without the name of the server.
            # Therefore the entry is also stored under the number alone.
            case ${dialect-},$key in openpbs,*_*) eval "q_${item%%[!0-9]*}=\$q_$key" ;; esac
            case $title in
                tej_*[!A-Za-z0-9_]*) ;;
                tej_?*) eval "n_$title=\$item" ;;
            esac
        done
    } <"$queue/scheduler/listing"
}

# look_up ID NAME: set $listed_state to the STATE and $reason to the WORDS of the job in
# the listing. $listed_state is `silent` if the scheduler did not answer, and `unknown`
# if the listed name belongs to another submission, because the scheduler has then reused
# the id. If the listing does not contain the job, $listed_state is `unknown` if the
# listing is complete (scheduler_listed_all), and '' otherwise.
look_up() {
    listed_state='' reason=''
    [ "$listing_result" = answer ] || {
        listed_state=silent
        return
    }
    set_key "$1"
    eval "listed=\${q_$key-}"
    case $listed in
        "$listing_number|"*) ;;
        *)
            ! scheduler_listed_all "$1" || listed_state=unknown
            return
            ;;
    esac
    # $listed is LISTING_NUMBER|STATE|NAME|WORDS, and WORDS may contain further bars.
    # In a pattern of mksh and ksh93, a bar without a backslash separates two patterns.
    listed=${listed#*\|}
    listed_state=${listed%%\|*} listed=${listed#*\|}
    listed_name=${listed%%\|*} reason=${listed#*\|}
    if [ -z "$listed_name" ] || [ -z "$2" ] || [ "$listed_name" = "$2" ]; then return; fi
    # Users may rename a job. If the listed name is not a name that tej has given, only the
    # id is compared.
    ! is_generated_name "$listed_name" || listed_state=unknown reason=''
}

# is_generated_name NAME: check whether NAME has the form of the names that set_name
# makes, which a user is unlikely to choose.
is_generated_name() {
    nickname_end=${1#tej_???} nickname_end=${nickname_end%_a}
    case $1 in tej_???*) ;; *) return 1 ;; esac
    case $nickname_end in *[!0-9a-f]* | ????????*) return 1 ;; ???????) ;; *) return 1 ;; esac
}

# renew_listing: query the scheduler. If another client is querying the scheduler, waits
# for the listing of the other client.
renew_listing() {
    make_queue_directory scheduler
    rounds=0 unheld=0
    while [ "$rounds" -lt 300 ]; do
        if take_lock "$queue/scheduler/lock"; then
            # Another client may have renewed the listing while this client waited for
            # the lock.
            [ "$max_age" = 0 ] || load_listing
            is_answered || ask_scheduler
            rm -f "$queue/scheduler/lock"
            return
        fi
        # If no client holds the lock but the lock cannot be created, the disk is full
        # or not writable.
        if [ -h "$queue/scheduler/lock" ]; then
            unheld=0
        elif [ "$unheld" = 5 ]; then
            set_listing_error "cannot write to '$queue/scheduler'"
            return
        else
            unheld=$((unheld + 1))
        fi
        nap
        rounds=$((rounds + 1)) now=''
        load_listing
        [ "$max_age" = 0 ] || ! is_answered || return 0
    done
    set_listing_error "another client has been querying it for too long"
}

# set_listing_error MESSAGE: replace the loaded listing with `silent`, which means that the states
# of all jobs are unknown. MESSAGE is the reason.
set_listing_error() {
    now=''
    get_time
    listing_result=silent listing_error=$* listed_at=$now
}

# ask_scheduler: query the scheduler and write the listing. The caller must hold the
# lock of the listing. The time of the listing is the time just before the query, so that a fact
# file that is written during the query counts as newer than the listing (is_later).
ask_scheduler() {
    fresh=$queue/scheduler/.listing.$unique asked_at=$(date +%s)
    extent=whole
    [ -z "$ids" ] || add_listed
    set -f
    # shellcheck disable=SC2086 # split into ids
    set -- $ids
    set +f
    if scheduler_list "$@" >"$fresh.list" 2>"$fresh.words" </dev/null; then
        { printf '%s answer %s\n' "$asked_at" "$extent" && cat "$fresh.list"; } >"$fresh" 2>/dev/null
    else
        IFS= read -r words <"$fresh.words" || :
        [ -z "${in_scheduler_job-}" ] || {
            # A compute node may lack the commands of the scheduler, so the error is not
            # stored for other clients.
            rm -f "$fresh.list" "$fresh.words"
            set_listing_error "$words"
            return
        }
        printf '%s silent %s %s\n' "$(date +%s)" "$extent" "$words" >"$fresh"
    fi && replace_file "$fresh" "$queue/scheduler/listing" || {
        # The listing is not stored if it is truncated, because the missing jobs would
        # be reported as gone.
        rm -f "$fresh" "$fresh.list" "$fresh.words"
        set_listing_error "its answer cannot be written to '$queue/scheduler'"
        return
    }
    rm -f "$fresh.list" "$fresh.words"
    listed_at=0 now=''
    load_listing
}

# add_listed: if the scheduler lists jobs only by id, add the live jobs of the last
# listing to $ids, so that one query serves all clients, and set $extent to `part`.
add_listed() {
    scheduler_listed_all || extent=part
    [ -f "$queue/scheduler/listing" ] || return 0
    while IFS='|' read -r item kind _; do
        case $kind in
            queued | running | stopped) scheduler_listed_all "$item" || ids="$ids $item" ;;
        esac
    done <"$queue/scheduler/listing"
    set -f
    # shellcheck disable=SC2086 # split into ids
    ids=$(printf '%s\n' $ids | sort -u)
    set +f
}
