# Caches the scheduler's list of jobs. A listing is the scheduler's answer to one query. For a
# few seconds, all clients use the same listing for all jobs.
# shellcheck shell=sh
#
# The listing is stored in a file of the queue:
#
#   scheduler/listing   first line: `TIME answer EXTENT`, or `TIME silent EXTENT ERROR` if the
#                       scheduler did not answer. EXTENT is `whole` or `part`. Each other line:
#                       ID, STATE, NAME and WORDS, separated by `|`
#
# A `whole` listing contains all jobs of the user, so that a job can be found by its name. A
# `part` listing contains only the jobs whose ids were queried.

listing_max_age=10      # seconds for which a listing is fresh
listing_max_age_short=3 # like listing_max_age, while the state of a job is about to change

listed_at=0       # time of the query for the loaded listing
listing_result='' # `answer`, or `silent` with the reason in $listing_error
extent=''         # whole or part

# runtime_ask NATIVES: load a fresh listing that contains the jobs in NATIVES ("RUNTIME ID
# RUNTIME ID ..."), or all jobs if NATIVES is empty. Queries the scheduler if the cached listing
# is too old.
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

# query_again [ID]...: query the scheduler for the jobs ID..., even if the listing is fresh.
# Without ID, queries it for all jobs.
query_again() {
    ids=$* max_age=0 now=''
    renew_listing
}

# is_answered: check whether the loaded listing is fresh (less than $max_age seconds old) and
# contains all jobs in $ids. If the scheduler did not answer a fresh query, also returns 0, so
# that the query is not repeated.
is_answered() {
    get_time
    [ $((now - listed_at)) -lt "$max_age" ] || return 1
    # Reject a time in the future (the clock was changed): it would count as fresh for too long.
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

# set_key ID: set $key to a form of the job's ID that can be part of a variable name.
set_key() {
    key=${1%%[!0-9]*}
    case $1 in
        # NUMBER_INDEX: a task of a Slurm array
        "${key}_"[0-9]*)
            element=${1#"${key}_"}
            key=${key}e${element%%[!0-9]*}
            ;;
        # NUMBER.SERVER: two servers of OpenPBS can use the same number. Torque prints the name
        # of one server in several forms, so its key does not contain the server.
        "$key."*[!0-9]*) [ "${dialect-}" != openpbs ] || key=${key}_${1#"$key."} ;;
        # NUMBER.INDEX: a task of a Grid Engine array
        "$key."*) key=${key}e${1#"$key."} ;;
    esac
    # NUMBER;CLUSTER: a job on another cluster of Slurm
    case $1 in *\;*) key=${key}_${1#*;} ;; esac
    # Replace the characters that a variable name cannot contain, one at a time.
    while :; do
        case $key in
            *[!A-Za-zIi0-9_]*) key=${key%%[!A-Za-zIi0-9_]*}_${key#*[!A-Za-zIi0-9_]} ;;
            *) return 0 ;;
        esac
    done
}

# load_listing: load the file `listing` into variables: q_KEY is the line of a job (set_key),
# and n_NAME is the id of the job with the name NAME.
load_listing() {
    [ -f "$queue/scheduler/listing" ] || return 0
    {
        read -r time kind extent message
        [ "$time" != "$listed_at" ] || return 0
        listed_at=$time listing_result=$kind listing_error=$message node_queries=0
        # look_up ignores lines with the number of an older listing.
        listing_number=$((${listing_number:-0} + 1))
        while IFS='|' read -r item kind title listed_reason; do
            set_key "$item"
            eval "q_$key=\$listing_number'|'\$kind'|'\$title'|'\$listed_reason"
            # Some sites replace qsub with a program that prints only the number of the job. So
            # the line is also stored under the number alone.
            case ${dialect-},$key in openpbs,*_*) eval "q_${item%%[!0-9]*}=\$q_$key" ;; esac
            case $title in
                tej_*[!A-Za-zIi0-9_]*) ;;
                tej_?*) eval "n_$title=\$item" ;;
            esac
        done
    } <"$queue/scheduler/listing"
}

# look_up ID NAME: find the job in the listing. Sets $reason to its WORDS, and $listed_state to:
#   its STATE, if the listing contains the job
#   `silent`, if the scheduler did not answer
#   `unknown`, if the scheduler has reused the id for another submission (by its name), or if
#       the listing is complete without the job
#   '', if the listing is incomplete and does not contain the job
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
    # WORDS may contain further bars. The backslash is for mksh and ksh93, in whose patterns a
    # bar separates alternatives.
    listed=${listed#*\|}
    listed_state=${listed%%\|*} listed=${listed#*\|}
    listed_name=${listed%%\|*} reason=${listed#*\|}
    if [ -z "$listed_name" ] || [ -z "$2" ] || [ "$listed_name" = "$2" ]; then return; fi
    # A user may rename a job. Only a name that tej has generated proves that the id was reused.
    ! is_generated_name "$listed_name" || listed_state=unknown reason=''
}

# is_generated_name NAME: check whether NAME has the form of the names that set_name generates.
is_generated_name() {
    name_end=${1#tej_???} name_end=${name_end%_a}
    case $1 in tej_???*) ;; *) return 1 ;; esac
    case $name_end in *[!0-9a-f]* | ????????*) return 1 ;; ???????) ;; *) return 1 ;; esac
}

# renew_listing: query the scheduler, or wait for the listing of another client that is querying
# it.
renew_listing() {
    make_queue_directory scheduler
    rounds=0 unheld=0
    while [ "$rounds" -lt 300 ]; do
        if take_lock "$queue/scheduler/lock"; then
            # Load the listing: another client may have renewed it before this client got the lock.
            [ "$max_age" = 0 ] || load_listing
            is_answered || ask_scheduler
            rm -f "$queue/scheduler/lock"
            return
        fi
        # If no lock exists and none can be created, the disk is full or not writable.
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

# set_listing_error MESSAGE: mark the loaded listing as unanswered, with MESSAGE as the reason.
# The states of all jobs are then unknown.
set_listing_error() {
    now=''
    get_time
    listing_result=silent listing_error=$* listed_at=$now
}

# ask_scheduler: query the scheduler and store the listing. The caller must hold the lock. The
# time of the listing is the time before the query. Therefore a file that a job writes during
# the query counts as newer (is_later).
ask_scheduler() {
    fresh=$queue/scheduler/.listing.$unique asked_at=$(date +%s)
    extent=whole
    [ -z "$ids" ] || add_listed
    set -f
    # shellcheck disable=SC2086 # split into ids
    set -- $ids
    set +f
    if scheduler_list "$@" >"$fresh.list" 2>"$fresh.stderr" </dev/null; then
        { printf '%s answer %s\n' "$asked_at" "$extent" && cat "$fresh.list"; } >"$fresh" 2>/dev/null
    else
        IFS= read -r message <"$fresh.stderr" || :
        [ -z "${in_scheduler_job-}" ] || {
            # A compute node may lack the commands of the scheduler, so do not store this error
            # for other clients.
            rm -f "$fresh.list" "$fresh.stderr"
            set_listing_error "$message"
            return
        }
        printf '%s silent %s %s\n' "$(date +%s)" "$extent" "$message" >"$fresh"
    fi && replace_file "$fresh" "$queue/scheduler/listing" || {
        # Do not store a truncated listing: the jobs that are missing in it would be reported as
        # gone.
        rm -f "$fresh" "$fresh.list" "$fresh.stderr"
        set_listing_error "its answer cannot be written to '$queue/scheduler'"
        return
    }
    rm -f "$fresh.list" "$fresh.stderr"
    listed_at=0 now=''
    load_listing
}

# add_listed: for a scheduler that is queried by id, add the live jobs of the last listing to
# $ids, so that one query serves all clients. Sets $extent to `part`.
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
    ids=$(printf '%s\n' $ids | LC_ALL=C sort -u)
    set +f
}
