# Trust: refuse a queue, a link or a profile that another user could have written, because
# its scripts would run as this account (git's safe.directory does this for repositories).
# Sent with every program: the check comes before anything of the queue is executed.
# shellcheck shell=sh
#
# A path is trusted if it belongs to this account or to root, and neither its group nor
# others can write to it.  A group of which this account is the only member is no danger:
# many systems give every user such a group, and a umask of 002.
#
# `find` makes the comparisons: `stat` has no portable options, and one process compares
# all paths.  `-L` looks at the target of a symbolic link; a broken one (a lock) shows its
# own mode, 777, and only its owner counts.

# check_queue_trust: quit unless $queue, all directly in it, and its scripts are trusted,
# and not everybody can rename the directories above it.
check_queue_trust() {
    [ "$trusted" = 0 ] || {
        share_with_group
        return 0
    }
    get_account
    private='' closed=''
    find_untrusted
    [ -n "$untrusted" ] || return 0
    # These questions cost processes, and are left to the rare case.
    get_private_group
    # If nobody else can enter the queue, only owners matter in it.
    case $(ls -ld "$queue/.") in d???------*) closed=1 ;; esac
    find_untrusted
    [ -z "$untrusted" ] || refuse_untrusted "$queue/$untrusted" "the queue '$queue'"
}

# find_untrusted: untrusted=the first path in the queue that is not trusted, relative to it.
# With `private` that group may write; with `closed` all modes in the queue are passed over.
find_untrusted() {
    above=.. rest=${queue%/*}
    set --
    while [ -n "$rest" ]; do
        set -- "$@" "$above"
        above=$above/.. rest=${rest%/*}
    done
    [ -z "$scripts" ] || [ ! -d "$queue/scripts/$scripts" ] || set -- "$@" "scripts/$scripts"
    untrusted=$(
        cd "$queue" && find -L . "$@" \( -path . -o -path 'scripts/*' -o -prune \) \( \
            \( -path .. -o -path '*/..' \) -perm -0002 ! -perm -1000 -o \
            ! -path .. ! -path '*/..' \( ! -user "$account" ! -user 0 -o \
            ${closed:+-name} ${closed:+/} ! -type l \
            \( -perm -0002 -o -perm -0020 ${private:+! -group "$private"} \) \) \) -print 2>/dev/null
    )
    # 1: some path vanished meanwhile.  More: nothing was compared.
    [ $? -le 1 ] || quit 20 "'find' failed on the server: who can write to '$queue' is not known"
    untrusted=${untrusted%%"$tej_newline"*}
}

# check_link_trust PATH: quit unless the link file PATH is trusted, and nobody can replace
# it: its directory is trusted, or has the sticky bit.
check_link_trust() {
    [ "$trusted" = 0 ] || return 0
    get_account
    get_private_group
    check_directory_trust "${1%/*}/" "the link '$1'"
    untrusted=$(
        find "$1" -prune ! -user "$account" ! -user 0 -print 2>/dev/null
        find -L "$1" -prune \( ! -user "$account" ! -user 0 -o -perm -0002 -o -perm -0020 \
            ${private:+! -group "$private"} \) -print 2>/dev/null || printf '%s' "$1"
    )
    [ -z "$untrusted" ] || refuse_untrusted "$1" "the link '$1'"
}

# check_directory_trust PATH FOR: quit if others can replace the files in that directory.
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

# get_account: account=the number of this account.
get_account() {
    [ -n "${account-}" ] || account=$(id -u) || quit 20 "'id' failed on the server"
}

# get_private_group: private=the number of the account's primary group if it is the
# account's own: it has the account's name and, where that can be asked, no members.
get_private_group() {
    private=''
    [ "$(id -gn 2>/dev/null)" = "$(id -un 2>/dev/null)" ] || return 0
    case $(getent group "$(id -gn)" 2>/dev/null) in
        '' | *: | *:"$(id -un)") private=$(id -g) ;;
    esac
}

# refuse_untrusted PATH USE: quit, and name who can write to PATH.
refuse_untrusted() {
    # `find` wrote it with dots in it.
    case $1 in
        */. | */..) untrusted=$(cd -P "$1" && printf '%s.' "$PWD") && set -- "${untrusted%.}" "$2" ;;
        *) set -- "$queue/${1#"$queue/./"}" "$2" ;;
    esac
    # Mode, links, owner, group.
    set -f
    # shellcheck disable=SC2046 # fields
    set -- "$1" "$2" $(ls -ldL "$1" 2>/dev/null)
    set +f
    quit 15 "'$1' (owner ${5-unknown}, group ${6-unknown}, mode ${3-unknown}) can be changed by other users, who could run commands as you through $2.
Trust them with --trust-queue (trust_queue=True), or make it yours alone: chmod go-w"
}

# share_with_group: if $queue is a directory that its group may write to, let the group
# write to all that is made in it.
share_with_group() {
    shared=''
    case $(ls -ld "$queue/.") in
        d????w*)
            shared=1
            umask 007
            ;;
    esac
}
