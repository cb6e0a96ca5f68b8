# Bootstrap: the code that the client sends in front of every program. It finds the queue, a
# directory on the server, and sources the scripts installed there. It must also work on a
# server where nothing is installed yet.
# shellcheck shell=sh
#
# Exit statuses of all tej programs; wire/replies.py maps them to errors:
#   0 success              10 no queue                   15 other users can write to the queue
#   3 no such job          11 broken link                20 failure on the server
#   4 job already exists   12 not usable as a queue      21 upload cut off
#   5 job still running    13 queue or file exists       22 no such file
#                          14 scripts missing or outdated

# quit STATUS [MESSAGE...]: print MESSAGE to stderr, and exit with STATUS.
quit() {
    tej_status=$1
    shift
    [ $# = 0 ] || printf '%s\n' "$*" >&2
    exit "$tej_status"
}

# begin MARKER TRUSTED: print MARKER on stdout and stderr, and enter the home directory. The
# client discards all output before MARKER, because the start-up files of a login may print
# text. TRUSTED is 1 if the user accepts a queue that other users can write to.
begin() {
    hide_environment
    printf '\n%s\n' "$1"
    printf '\n%s\n' "$1" >&2
    marker=$1 trusted=$2
    # Set a handler that does nothing. Do not ignore SIGPIPE (trap ''): jobs would inherit the
    # ignored signal.
    trap : PIPE
    # Without a handler, a write beyond `ulimit -f` kills this shell before it can report the
    # error.
    command trap : XFSZ 2>/dev/null
    close_descriptors
    unset CDPATH
    tej_home=''
    if cd 2>/dev/null; then tej_home=$PWD; else cd / || quit 20 "The server cannot enter '/'"; fi
}

# close_descriptors: close all descriptors except stdin, stdout and stderr. A start-up file may
# have duplicated stdout (`exec 3>&1`). A job would inherit the copy, and the client would wait
# until the job ends. dash and mksh cannot close descriptors above 9. In these shells, sets
# $unclosed to the open descriptors above 9, each followed by a comma.
close_descriptors() {
    unclosed=''
    exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    for path in /dev/fd/[1-9][0-9]* /proc/self/fd/[1-9][0-9]*; do
        [ -e "$path" ] || continue
        # List the descriptors that `ls` inherits. The shell also has internal descriptors,
        # which `ls` does not inherit. bash 3.2 and the ksh of OpenBSD cannot read `case` in
        # `$(...)`.
        # shellcheck disable=SC2012 # the names are numbers
        unclosed=$(ls "${path%/*}" 2>/dev/null | while read -r item; do
            [ "${item#[1-9][0-9]}" = "$item" ] || printf '%s,' "$item"
        done)
        break
    done
    [ -n "$unclosed" ] || return 0
    # dash and mksh take the `10` of `10>&-` as an argument.
    # shellcheck disable=SC2016 # expanded by `eval`
    eval 'set -- 10>&-; count=$#'
    [ "$count" = 0 ] || return 0
    while [ -n "$unclosed" ]; do
        eval "exec ${unclosed%%,*}>&-"
        unclosed=${unclosed#*,}
    done
}

# expand PATH: set $path to PATH as an absolute path. Replaces ~ and ~user. A relative PATH
# starts in $base.
expand() {
    path=$1
    # shellcheck disable=SC2088 # a literal tilde
    case $path in
        '~' | '~/'*)
            base=$tej_home
            need_base
            path=$tej_home${path#?}
            ;;
        '~'*)
            tej_user=${path%%/*}
            case $tej_user in
                '~'*[!A-Za-zIi0-9._-]*) quit 12 "'$path' does not begin with a user's name" ;;
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

# need_base: quit if $base is empty. The home directory then cannot be entered.
need_base() {
    [ -n "$base" ] || quit 20 "The home directory '${HOME-}' cannot be entered on the server: is it mounted?"
}

# read_link PATH: set $target to the path in the link file PATH (`tejdir: TARGET`). Returns 1 if
# PATH is not a link file.
read_link() {
    [ -f "$1" ] && [ -r "$1" ] || return 1
    # $(...) strips all trailing newlines, but the path itself may end in a newline. Therefore
    # append a dot, then remove the dot and one newline.
    target=$(cat <"$1" && printf .)
    target=${target%.} target=${target%"$tej_newline"}
    case $target in
        'tejdir: '?*) target=${target#'tejdir: '} ;;
        *) return 1 ;;
    esac
}

tej_newline='
'

# find_queue PATH: follow the link files from PATH to the queue. Sets $queue to its directory,
# and link_1 to link_$link_count to the link files. Returns 1 if nothing exists at the end.
find_queue() {
    base=$tej_home link_count=0 path=''
    expand "$1"
    while [ ! -d "$path" ]; do
        if [ ! -e "$path" ] && [ ! -h "$path" ]; then
            check_absent "$path"
            [ "$link_count" = 0 ] || quit 11 "The link '$link' points to '$path', which does not exist"
            queue=$path
            return 1
        fi
        [ -f "$path" ] && [ -r "$path" ] ||
            quit 12 "'$path' is neither a directory nor a link that can be read"
        [ "$link_count" -lt 16 ] || quit 11 "The links from '$1' form a cycle"
        read_link "$path" || quit 12 "'$path' is a file, and not a link to a queue"
        check_link_trust "$path"
        link=$path link_count=$((link_count + 1))
        eval "link_$link_count=\$path"
        base=${path%/*}
        expand "$target"
    done
    tej_dir=$PWD
    cd -P "$path" 2>/dev/null || quit 20 "The queue '$path' cannot be entered"
    queue=$PWD
    cd "$tej_dir" || quit 20 "The server cannot enter '$tej_dir'"
    [ "$queue" != / ] || quit 12 "'/' cannot be a queue"
    return 0
}

# check_absent PATH: quit unless PATH certainly does not exist. `[ -e PATH ]` is also false if
# the file system reports an error. A queue with jobs must not be reported as missing, or be
# created again.
check_absent() {
    tej_error=$(LC_ALL=C ls -d "$1" 2>&1 >/dev/null)
    # The status is 126 or 127 if the shell could not run `ls`.
    case $?:$tej_error in
        0:* | [12]:*': No such file or directory') ;;
        127:*) quit 20 "The program 'ls' is not found on the server: correct PATH in the start-up files there (PATH=${PATH-})" ;;
        *) quit 20 "'$1' cannot be read on the server: ${tej_error##*: }" ;;
    esac
}

# check_mounted: quit if $queue may be missing because a file system of /etc/fstab is not
# mounted. A new queue in the empty mount point would start the same jobs again. In a container,
# a mounted subdirectory of the file system is sufficient.
check_mounted() {
    [ -r /etc/fstab ] && [ -r /proc/mounts ] || return 0
    tej_dir=$PWD path=$queue
    until cd -P "${path:-/}" 2>/dev/null || [ -z "$path" ]; do path=${path%/*}; done
    # /etc/fstab and /proc/mounts contain `\040` in place of a space.
    path='' rest=$PWD
    while case $rest in *' '*) ;; *) false ;; esac do
        path=$path${rest%%' '*}'\040' rest=${rest#*' '}
    done
    path=$path$rest
    cd "$tej_dir" || quit 20 "The server cannot enter '$tej_dir'"
    while read -r device mount_point _ || [ -n "$device" ]; do
        mount_point=${mount_point%/}
        case $device/$mount_point in '#'* | */) continue ;; esac
        case $path/ in "$mount_point"/*) ;; *) continue ;; esac
        is_mounted=''
        while read -r _ mounted _; do
            case $mounted/ in "$mount_point"/*) ;; *) continue ;; esac
            case $path/ in "$mounted"/*) is_mounted=1 ;; esac
        done </proc/mounts
        [ -n "$is_mounted" ] ||
            quit 20 "There is no queue at '$queue', because the file system '$mount_point' is not mounted on the server: mount the file system, or run 'tej setup' to create a new queue at this path"
    done </etc/fstab
}

# read_version: read $queue/version. Sets $protocol, $runtime, $scripts, $scripts_version, and
# $entry_count, the number of entries in the directory of the scripts. Returns 1 if the queue is
# not set up yet. Quits if the directory is not a queue, or if other users can write to it.
read_version() {
    protocol='' runtime='' scripts='' scripts_version='' entry_count=''
    [ -f "$queue/version" ] || check_absent "$queue/version"
    [ -f "$queue/version" ] || ! check_unused || return 1
    tej_tag=''
    {
        read -r tej_tag protocol
        read -r _ runtime
        read -r _ scripts scripts_version
        read -r _ entry_count
    } <"$queue/version"
    case $tej_tag in
        tej) ;;
        0.*) quit 12 "'$queue' is a queue of tej $tej_tag, which this tej cannot use: choose another --queue, or rename this queue on the server: mv '$queue' '$queue.old'" ;;
        *) quit 12 "'$queue' contains a file 'version' that is not from tej" ;;
    esac
    [ "$protocol" = 1 ] ||
        quit 12 "'$queue' was set up by a newer tej (protocol $protocol): use the newer tej, or choose another --queue"
    # $runtime and $scripts become parts of the paths of sourced files.
    case $runtime/$scripts in
        *[!A-Za-zIi0-9_./-]* | */*/* | .* | */.*) quit 12 "'$queue/version' is damaged" ;;
    esac
    case $entry_count in *[!0-9]*) quit 12 "'$queue/version' is damaged" ;; esac
    check_queue_trust
}

# check_unused: quit if the directory $queue contains files that tej does not create. Returns 1
# if another client has completed the new queue meanwhile.
check_unused() {
    ls -a "$queue/" >/dev/null 2>&1 || quit 20 "The queue '$queue' cannot be read"
    for path in "$queue"/* "$queue"/.[!.]*; do
        case ${path##*/} in
            jobs | incoming | scripts | attempts | dependents | waiting | running | scheduler | objects | closing | .version.*) ;;
            *)
                [ -e "$path" ] || [ -h "$path" ] || continue
                [ ! -f "$queue/version" ] || return 1
                quit 12 "'$queue' is not a queue of tej: it contains '${path##*/}'"
                ;;
        esac
    done
}

# count_entries DIRECTORY: set $count to the number of entries in a directory of scripts.
count_entries() {
    set -- "$1"/*.sh "$1"/commands/* "$1"/lib/* "$1"/runtimes/* "$1"/runtimes/*/*
    count=$#
}

# load_queue DIGEST: source the scripts of the queue. DIGEST is the digest of the client's
# scripts, or `any`. Returns 1 if the queue has other scripts, or if a script or the command
# $verb is missing.
load_queue() {
    here=$queue/scripts/$scripts
    [ ! -d "$queue/scripts" ] || [ -x "$queue/scripts" ] ||
        quit 20 "The queue '$queue' is private to another user: choose another --queue"
    [ -f "$here/lib/load.sh" ] && [ -d "$here/commands" ] || return 1
    [ -z "${verb-}" ] || [ -f "$here/commands/$verb" ] || return 1
    # Many sites delete files in scratch directories that were not changed for some weeks.
    count_entries "$here"
    [ "$count" -ge "${entry_count:-0}" ] || return 1
    case $1 in
        any | "$scripts" | "${scripts%%.*}") ;;
        *) return 1 ;;
    esac
    . "$here/lib/load.sh"
}

# open_queue PATH DIGEST: find the queue at PATH and source its scripts. Quits on failure.
open_queue() {
    find_queue "$1" && read_version || {
        check_mounted
        quit 10 "There is no queue at '$queue'"
    }
    if ! load_queue "$2"; then
        printf '%s %s\n' "${scripts:-none}" "${scripts_version:-0}"
        quit 14
    fi
}

# open_or_install QUEUE DIGEST: find the queue and source its scripts. If the queue is missing
# or its scripts are outdated, request the installer from the client, and run it.
open_or_install() {
    scripts='' scripts_version='' runtime=''
    if find_queue "$1" && read_version; then
        ! load_queue "$2" || return 0
    else
        check_mounted
    fi
    # Tell the client if the directory `jobs` exists. Then the queue is not missing, even if it
    # has no file `version`.
    [ ! -d "$queue/jobs" ] || printf '%s\0' has_jobs=1
    printf '%s\0' "have=${scripts:-none} ${scripts_version:-0}" "ask=install"
    IFS= read -r tej || quit 20 "The connection was lost before the queue was set up"
    eval "$tej"
    load_queue any || quit 14
}

# need RUNTIME...: quit if the queue's runtime is not one of RUNTIME... Without arguments, every
# runtime is accepted.
need() {
    [ $# != 0 ] || return 0
    for name in "$@"; do [ "$name" != "$runtime" ] || return 0; done
    quit 12 "The queue '$queue' uses the runtime '$runtime', but only these runtimes are allowed: $*"
}
