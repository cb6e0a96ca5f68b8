# files ACTION PATH [...]: what a file system of Luigi's is asked for, on the server.
# A path is relative to the home directory, and `~/` is that too.
#   exists PATH, isdir PATH    prints "yes", or nothing
#   listdir PATH               the files below it, each ended by a NUL, relative to it
#   mkdir PATH PARENTS EXISTS  with those above it; EXISTS=1: there must be none yet
#   remove PATH RECURSIVE
#   move FROM TO               what is at TO is replaced
#   rename FROM TO             what is at TO stays
#   copy FROM TO UNIQUE
#   read PATH
#   write PATH SIZE UNIQUE     from stdin
# exit: 64 nothing is there, 65 something is there, 66 a directory is there, 67 no
# directory is there, 68 what is above it is missing, 69 it did not work, 70 given up
# shellcheck shell=sh

fail() {
    files_status=$1
    shift
    printf '%s\n' "$*" >&2
    exit "$files_status"
}

# place PATH: path=it, for commands to take as no option.
place() {
    # shellcheck disable=SC2088 # a tilde is meant as it stands
    case $1 in
        '~') path=$HOME ;;
        '~/'*) path=$HOME/${1#'~/'} ;;
        /*) path=$1 ;;
        *) path=./$1 ;;
    esac
    while :; do
        case $path in
            ?*/) path=${path%/} ;;
            *) break ;;
        esac
    done
}

# there PATH: also a link that leads nowhere.
there() { [ -e "$1" ] || [ -h "$1" ]; }
needed() { there "$1" || fail 64 "There is no '$1' on the server"; }

# make_room PATH: for it to be made.
make_room() {
    case $1 in
        */*) mkdir -p -- "${1%/*}/" || fail 69 "There can be no directory for '$1'" ;;
    esac
}

# replaceable PATH: not a directory, since `mv` would go into that.
replaceable() {
    [ ! -d "$1" ] || fail 66 "'$1' is a directory"
    make_room "$1"
}

# in_part PATH UNIQUE: part=a name beside it, under which nothing is left.
in_part() {
    part=$1-luigi-tmp-$2-$$
    trap 'rm -rf -- "$part"' EXIT
    trap 'exit 70' HUP INT TERM
}

files_mkdir() {
    if [ -d "$from" ]; then
        [ "$2" = 0 ] || fail 65 "'$from' is there already"
        return
    fi
    ! there "$from" || fail 67 "'$from' is there, and is no directory"
    if [ "$1" = 1 ]; then
        mkdir -p -- "$from"
    else
        [ -d "${from%/*}/" ] || fail 68 "There is no '${from%/*}' on the server"
        mkdir -- "$from"
    fi || [ -d "$from" ] || fail 69 "'$from' cannot be made"
}

files_remove() {
    needed "$from"
    if [ -d "$from" ] && [ ! -h "$from" ]; then
        [ "$1" = 1 ] || fail 66 "'$from' is a directory: recursive=True removes it"
    fi
    rm -rf -- "$from" || fail 69 "'$from' cannot be removed"
}

files_rename() {
    ! there "$to" || fail 65 "'$to' is there already"
    needed "$from"
    make_room "$to"
    # A hard link is made or not, whoever comes at the same time; `mv` overwrites.
    if [ -f "$from" ] && [ ! -h "$from" ] && ln -- "$from" "$to" 2>/dev/null; then
        rm -f -- "$from"
        return
    fi
    ! there "$to" || fail 65 "'$to' is there already"
    mv -- "$from" "$to" || fail 69 "'$from' cannot be moved to '$to'"
}

files_copy() {
    needed "$from"
    replaceable "$to"
    in_part "$to" "$1"
    if ! cp -R -p -- "$from" "$part" || ! mv -f -- "$part" "$to"; then
        fail 69 "'$from' cannot be copied to '$to'"
    fi
}

files_write() {
    replaceable "$from"
    in_part "$from" "$2"
    cat >"$part" || fail 69 "'$from' cannot be written"
    # What is cut on the way ends as well: only what is whole gets its name.
    [ "$(($(wc -c <"$part")))" = "$1" ] || fail 69 "'$from' did not arrive whole"
    mv -f -- "$part" "$from" || fail 69 "'$from' cannot be written"
}

action=$1
place "$2"
from=$path
shift 2
case $action in
    move | rename | copy)
        place "$1"
        to=$path
        shift
        ;;
esac
case $action in
    exists) if [ -e "$from" ]; then echo yes; fi ;;
    isdir) if [ -d "$from" ]; then echo yes; fi ;;
    listdir)
        needed "$from"
        [ -d "$from" ] || exit 0
        if ! cd -- "$from" || ! find . ! -type d -exec printf '%s\0' {} +; then
            fail 69 "'$from' cannot be listed"
        fi
        ;;
    mkdir) files_mkdir "$@" ;;
    remove) files_remove "$@" ;;
    move)
        needed "$from"
        replaceable "$to"
        mv -f -- "$from" "$to" || fail 69 "'$from' cannot be moved to '$to'"
        ;;
    rename) files_rename ;;
    copy) files_copy "$@" ;;
    read)
        needed "$from"
        [ ! -d "$from" ] || fail 66 "'$from' is a directory"
        cat -- "$from" || fail 69 "'$from' cannot be read"
        ;;
    write) files_write "$@" ;;
esac
