# Sent in front of every program: mark where the answer begins, find the queue, load
# what setup installed there.  It has to work where nothing is installed.
# shellcheck shell=sh
#
# The exit statuses of all of tej's programs; `protocol` gives them their meaning:
#   0 answered             10 there is no queue            14 scripts missing or older
#   3 no such job          11 a link leads nowhere         20 the server can't (disk, ...)
#   4 there is one already 12 not a queue this tej can use 15 others can write to it
#   5 still running        13 there is one already         21 the upload was cut
#                                                          22 a file is not there

# quit STATUS [WORDS...]: the one way out; the words are for people.
quit() {
    tej_status=$1
    shift
    [ $# = 0 ] || printf '%s\n' "$*" >&2
    exit "$tej_status"
}

# begin MARKER TRUSTED: print the marker; everything before it comes from start-up files.
# TRUSTED is 1 if the user accepts a queue that other users can write to.
begin() {
    trusted=$2
    hide_environment
    printf '\n%s\n' "$1"
    printf '\n%s\n' "$1" >&2
    # A handler, not '': what is ignored here would stay ignored in the job.
    trap : PIPE
    unset CDPATH
    tej_home=''
    if cd 2>/dev/null; then tej_home=$PWD; else cd / || quit 20 "Cannot enter any directory"; fi
}

# expand PATH: path=PATH with ~ and ~user replaced, and absolute, from $base.
expand() {
    path=$1
    # shellcheck disable=SC2088 # a tilde is meant as it stands
    case $path in
        '~' | '~/'*)
            base=$tej_home
            need_base
            path=$tej_home${path#?}
            ;;
        '~'*)
            tej_user=${path%%/*}
            case $tej_user in
                '~'*[!A-Za-z0-9._-]*) quit 12 "'$path' does not begin with a user's name" ;;
            esac
            eval "tej_dir=$tej_user"
            [ "$tej_dir" != "$tej_user" ] || quit 12 "There is no user '${tej_user#?}' on the server"
            path=$tej_dir${path#"$tej_user"}
            ;;
        /*) ;;
        *)
            need_base
            path=$base/$path
            ;;
    esac
}

# need_base: a path is not to be had without the home directory.
need_base() {
    [ -n "$base" ] || quit 20 "The home directory '${HOME-}' cannot be entered on the server: is it mounted?"
}

# find_queue PATH: queue=the directory at the end of the links, links=those on the way,
# one a line.  Returns 1 if nothing is there.
find_queue() {
    base=$tej_home links='' hops=0 path=''
    expand "$1"
    while [ ! -d "$path" ]; do
        if [ ! -e "$path" ] && [ ! -h "$path" ]; then
            [ "$hops" = 0 ] || quit 11 "The link '$link' leads to '$path', which does not exist"
            queue=$path
            return 1
        fi
        [ -f "$path" ] && [ -r "$path" ] ||
            quit 12 "'$path' is neither a directory nor a link that can be read"
        hops=$((hops + 1))
        [ "$hops" -le 40 ] || quit 11 "The link '$1' leads in a circle"
        link=$path links="$links$path
"
        tej_line=$(cat <"$path")
        case $tej_line in
            'tejdir: '?*) ;;
            *) quit 12 "'$path' is a file, and not a link to a queue" ;;
        esac
        base=${path%/*}
        expand "${tej_line#tejdir: }"
    done
    queue=$(cd -P "$path" 2>/dev/null && printf '%s/' "$PWD") ||
        quit 20 "The queue '$path' cannot be entered"
    queue=${queue%/}
    [ -n "$queue" ] || quit 12 "'/' cannot be a queue"
    return 0
}

# read_version: protocol, runtime and scripts of the queue; 1 if it is not set up (yet).
# Quits if what is there belongs to somebody else: nothing of that is touched.
read_version() {
    tej_tag='' protocol='' runtime='' scripts='' scripts_version=''
    if [ ! -f "$queue/version" ]; then
        for path in "$queue"/* "$queue"/.[!.]*; do
            case ${path##*/} in
                jobs | incoming | scripts | attempts | waiting | running | scheduler | objects | closing | .version.*) ;;
                *)
                    [ ! -e "$path" ] && [ ! -h "$path" ] ||
                        quit 12 "'$queue' is not a queue of tej: it holds '${path##*/}'"
                    ;;
            esac
        done
        return 1
    fi
    {
        read -r tej_tag protocol
        read -r _ runtime
        read -r _ scripts scripts_version
    } <"$queue/version"
    case $tej_tag in
        tej) ;;
        0.*) quit 12 "'$queue' is a queue of tej $tej_tag, which this tej cannot use: choose another --queue, or clean it up with the tej it came from" ;;
        *) quit 12 "'$queue' holds a 'version' that is not tej's" ;;
    esac
    [ "$protocol" = 1 ] ||
        quit 12 "'$queue' was set up by a newer tej (protocol $protocol): use that, or choose another --queue"
}

# load_queue DIGEST: source the scripts that the queue uses.  Returns 1 if they are not
# the DIGEST this client brings (or are not there): it decides which is newer.
load_queue() {
    here=$queue/scripts/$scripts
    [ -f "$here/lib/load.sh" ] && [ -d "$here/commands" ] || return 1
    case $1 in
        any | "$scripts" | "${scripts%%.*}") ;;
        *) return 1 ;;
    esac
    . "$here/lib/load.sh"
}

# open_queue PATH DIGEST: what the verbs need that do not make a queue.
open_queue() {
    find_queue "$1" || quit 10 "There is no queue at '$queue'"
    read_version || quit 10 "There is no queue at '$queue'"
    if ! load_queue "$2"; then
        printf '%s %s\n' "${scripts:-none}" "${scripts_version:-0}"
        quit 14
    fi
}

# open_or_install QUEUE DIGEST: for the verbs that make a queue where there is none.  The
# client is asked for the installer only when it is needed; it answers with a program.
open_or_install() {
    scripts='' scripts_version='' runtime=''
    if find_queue "$1" && read_version && load_queue "$2"; then return; fi
    printf '%s\0' "have=${scripts:-none} ${scripts_version:-0}" "ask=install"
    IFS= read -r tej || quit 20 "The connection was lost before the queue was set up"
    eval "$tej"
    load_queue any || quit 14
}

# need RUNTIME...: the queue has to use one of them, if any are named.
need() {
    [ $# != 0 ] || return 0
    for name in "$@"; do [ "$name" != "$runtime" ] || return 0; done
    quit 12 "The queue '$queue' uses the runtime '$runtime', which is not one of those allowed: $*"
}
