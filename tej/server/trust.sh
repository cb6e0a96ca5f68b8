# Trust checks: refuse a queue, link or profile that another user could have written, because
# its scripts would run as this account (compare git's safe.directory). The client sends this
# file with every program, so that the checks run before any script of the queue.
# shellcheck shell=sh
#
# A path is trusted if it belongs to this account or to root, and no other user can write to it.
# Many systems give every user a private group and a umask of 002. Therefore write permission
# for a group is accepted if this account is its only member.
#
# The options of `stat` are not portable, so the checks use `find`. With -L, `find` checks the
# target of a symbolic link. A lock is a symbolic link without a target, and its mode is always
# 777. Therefore only its owner is checked.

# check_queue_trust: quit if $queue, an entry of $queue, or the installed scripts are not
# trusted.
check_queue_trust() {
    [ "$trusted" = 0 ] || {
        share_with_group
        return 0
    }
    get_account
    private='' closed=''
    find_untrusted
    [ -n "$untrusted" ] || return 0
    # The group lookup starts several processes, so it runs only if the first check fails.
    get_private_group
    # If no other user can enter the queue, the modes of its files do not matter.
    case $(ls -ld "$queue/.") in d???------*) closed=1 ;; esac
    find_untrusted
    [ -z "$untrusted" ] || refuse_untrusted "$queue/$untrusted" "the queue '$queue'"
}

# find_untrusted: set $untrusted to the first path in the queue that is not trusted, relative to
# the queue. Accepts write permission of the group $private. If $closed is set, checks only the
# owners of files in the queue.
find_untrusted() {
    [ -z "$scripts" ] || [ ! -d "$queue/scripts/$scripts" ] || set -- "scripts/$scripts"
    # `find` also prints a path that another client is removing. If the path is gone, search
    # again.
    for _ in 1 2 3 4 5; do
        search_untrusted "$@"
        [ -n "$untrusted" ] || return 0
        [ ! -e "$queue/$untrusted" ] && [ ! -h "$queue/$untrusted" ] || return 0
    done
}

# search_untrusted PATH...: search once, and set $untrusted. Also searches the directories
# PATH..., relative to the queue.
search_untrusted() {
    untrusted=$(
        cd "$queue" && find -L . "$@" \( -path . -o -path 'scripts/*' -o -prune \) \( \
            ! -user "$account" ! -user 0 -o \
            ${closed:+-name} ${closed:+/} ! -type l \
            \( -perm -0002 -o -perm -0020 ${private:+! -group "$private"} \) \) -print 2>/dev/null
    )
    # `find` returns 1 if a path vanished during the search, and more if `find` could not be
    # run.
    [ $? -le 1 ] || quit 20 "'find' failed on the server, so it is unknown who can write to '$queue'"
    untrusted=${untrusted%%"$tej_newline"*}
}

# find_replaceable: set $replaceable to a directory above $queue that is world-writable without
# the sticky bit, or to ''. Any user could rename such a directory and so replace the queue.
find_replaceable() {
    above=.. rest=${queue%/*}
    set --
    while [ -n "$rest" ]; do
        set -- "$@" "$above"
        above=$above/.. rest=${rest%/*}
    done
    replaceable=$(cd "$queue" && find "$@" "$above" -prune -perm -0002 ! -perm -1000 -print 2>/dev/null)
    replaceable=${replaceable%%"$tej_newline"*}
    [ -z "$replaceable" ] || replaceable=$(cd -P "$queue/$replaceable" 2>/dev/null && pwd)
}

# check_link_trust PATH: quit if the link file PATH is not trusted, or if other users can
# replace it in its directory.
check_link_trust() {
    [ "$trusted" = 0 ] || return 0
    check_directory_trust "${1%/*}/" "the link '$1'"
    untrusted=$(
        find "$1" -prune ! -user "$account" ! -user 0 -print 2>/dev/null
        find -L "$1" -prune \( ! -user "$account" ! -user 0 -o -perm -0002 -o -perm -0020 \
            ${private:+! -group "$private"} \) -print 2>/dev/null || printf '%s' "$1"
    )
    [ -z "$untrusted" ] || refuse_untrusted "$1" "the link '$1'"
}

# check_directory_trust PATH USE: quit if other users can replace files in the directory PATH.
# USE says in the error message what PATH is used for.
check_directory_trust() {
    [ "$trusted" = 0 ] || return 0
    get_account
    get_private_group
    untrusted=$(
        find -L "$1" -prune \( ! -user "$account" ! -user 0 -o ! -perm -1000 \
            \( -perm -0002 -o -perm -0020 ${private:+! -group "$private"} \) \) -print 2>/dev/null ||
            printf '%s' "$1"
    )
    [ -z "$untrusted" ] || refuse_untrusted "$1" "$2"
}

# get_account: set $account to the effective user id of this shell. On Linux, reads /proc, which
# is faster than the program `id`.
get_account() {
    [ -z "${account-}" ] || return 0
    [ ! -r /proc/self/status ] || while read -r tej_name _ account _; do
        [ "$tej_name" != Uid: ] || break
    done </proc/self/status
    case ${account-} in
        '' | *[!0-9]*) account=$(id -u) || quit 20 "'id' failed on the server" ;;
    esac
}

# get_private_group: set $private to the id of the primary group, if the group has the name of
# the account and no other members. Without `getent`, only the name is checked.
get_private_group() {
    private=''
    [ "$(id -gn 2>/dev/null)" = "$(id -un 2>/dev/null)" ] || return 0
    case $(getent group "$(id -gn)" 2>/dev/null) in
        '' | *: | *:"$(id -un)") private=$(id -g) ;;
    esac
}

# refuse_untrusted PATH USE: quit with a message that names the owner, group and mode of PATH.
refuse_untrusted() {
    # Remove the `/.` that `find` prints.
    case $1 in
        */.) untrusted=$(cd -P "$1" && printf '%s.' "$PWD") && set -- "${untrusted%.}" "$2" ;;
        "$queue/./"*) set -- "$queue/${1#"$queue/./"}" "$2" ;;
    esac
    # The output of `ls -l` begins with mode, links, owner and group.
    set -f
    # shellcheck disable=SC2046 # split into fields
    set -- "$1" "$2" $(ls -ldL "$1" 2>/dev/null)
    set +f
    quit 15 "'$1' (owner ${5-unknown}, group ${6-unknown}, mode ${3-unknown}) can be changed by other users, who could run commands as you through $2.
Trust them with --trust-queue (trust_queue=True), or make it yours alone: chmod go-w"
}

# share_with_group: if the group can write to $queue, set shared=1, and a umask that gives the
# group write permission.
share_with_group() {
    shared=''
    case $(ls -ld "$queue/.") in
        d????w*)
            shared=1
            umask 007
            ;;
    esac
}
