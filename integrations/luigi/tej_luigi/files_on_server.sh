# File operations on the server for Luigi's file system: ACTION PATH [ARGUMENT...].
# PATH is absolute or relative to the home directory, and may begin with `~/`.
#   exists PATH                print "yes" if PATH exists, else nothing
#   isdir PATH                 print "yes" if PATH is a directory, else nothing
#   listdir PATH               print the files below PATH, relative to PATH, NUL-terminated
#   mkdir PATH PARENTS EXISTS  PARENTS=1: also create parent directories;
#                              EXISTS=1: fail if PATH exists
#   remove PATH RECURSIVE      RECURSIVE=1: remove a directory with its content
#   move FROM TO               rename FROM to TO; a file at TO is replaced
#   rename FROM TO             rename FROM to TO; fail if TO exists
#   copy FROM TO UNIQUE        UNIQUE: a part of the temporary file's name
#   read PATH                  print the content of the file
#   write PATH SIZE UNIQUE     write SIZE bytes from stdin to the file
# Exit statuses: 64 path does not exist, 65 path exists, 66 path is a directory, 67 path is
# not a directory, 68 parent directory does not exist, 69 operation failed, 70 ended by a
# signal.
# shellcheck shell=sh

fail() {
    files_status=$1
    shift
    printf '%s\n' "$*" >&2
    exit "$files_status"
}

# expand_path PATH: set the variable `path` to PATH with `~` expanded.  A relative path
# gets the prefix `./`, so that no command reads the path as an option.
expand_path() {
    # shellcheck disable=SC2088 # a literal tilde
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

# path_exists PATH: return 0 if the path exists, even as a broken symbolic link.
path_exists() { [ -e "$1" ] || [ -h "$1" ]; }
require_path() { path_exists "$1" || fail 64 "'$1' does not exist on the server"; }

# make_parent PATH: create the parent directories of a path.
make_parent() {
    case $1 in
        */*) mkdir -p -- "${1%/*}/" || fail 69 "The directory of '$1' cannot be created" ;;
    esac
}

# prepare_target PATH: create the parent directories of a path.  Fail if the path itself
# is a directory, because `mv` would then move the file into this directory.
prepare_target() {
    [ ! -d "$1" ] || fail 66 "'$1' is a directory"
    make_parent "$1"
}

# make_part_name PATH UNIQUE: set the variable `part` to a temporary name in the same
# directory.  The temporary file is removed when the script exits.
make_part_name() {
    part=$1-luigi-tmp-$2-$$
    trap 'rm -rf -- "$part"' EXIT
    trap 'exit 70' HUP INT TERM
}

files_mkdir() {
    if [ -d "$from" ]; then
        [ "$2" = 0 ] || fail 65 "'$from' already exists"
        return
    fi
    ! path_exists "$from" || fail 67 "'$from' exists and is not a directory"
    if [ "$1" = 1 ]; then
        mkdir -p -- "$from"
    else
        [ -d "${from%/*}/" ] || fail 68 "The directory '${from%/*}' does not exist on the server"
        mkdir -- "$from"
    fi || [ -d "$from" ] || fail 69 "The directory '$from' cannot be created"
}

files_remove() {
    require_path "$from"
    if [ -d "$from" ] && [ ! -h "$from" ]; then
        [ "$1" = 1 ] || fail 66 "'$from' is a directory; set recursive=True to remove it"
    fi
    rm -rf -- "$from" || fail 69 "'$from' cannot be removed"
}

files_rename() {
    ! path_exists "$to" || fail 65 "'$to' already exists"
    require_path "$from"
    make_parent "$to"
    # `ln` is used in place of `mv`, because `mv` would replace a file that another process
    # has just created.
    if [ -f "$from" ] && [ ! -h "$from" ] && ln -- "$from" "$to" 2>/dev/null; then
        rm -f -- "$from"
        return
    fi
    ! path_exists "$to" || fail 65 "'$to' already exists"
    mv -- "$from" "$to" || fail 69 "'$from' cannot be moved to '$to'"
}

files_copy() {
    require_path "$from"
    prepare_target "$to"
    make_part_name "$to" "$1"
    if ! cp -R -p -- "$from" "$part" || ! mv -f -- "$part" "$to"; then
        fail 69 "'$from' cannot be copied to '$to'"
    fi
}

files_write() {
    prepare_target "$from"
    make_part_name "$from" "$2"
    cat >"$part" || fail 69 "'$from' cannot be written"
    # Rename the file only if it is complete, because stdin also ends if the connection is
    # lost.
    [ "$(($(wc -c <"$part")))" = "$1" ] || fail 69 "The upload of '$from' is incomplete"
    mv -f -- "$part" "$from" || fail 69 "'$from' cannot be written"
}

action=$1
expand_path "$2"
from=$path
shift 2
case $action in
    move | rename | copy)
        expand_path "$1"
        to=$path
        shift
        ;;
esac
case $action in
    exists) if [ -e "$from" ]; then echo yes; fi ;;
    isdir) if [ -d "$from" ]; then echo yes; fi ;;
    listdir)
        require_path "$from"
        [ -d "$from" ] || exit 0
        if ! cd -- "$from" || ! find . ! -type d -exec printf '%s\0' {} +; then
            fail 69 "'$from' cannot be listed"
        fi
        ;;
    mkdir) files_mkdir "$@" ;;
    remove) files_remove "$@" ;;
    move)
        require_path "$from"
        prepare_target "$to"
        mv -f -- "$from" "$to" || fail 69 "'$from' cannot be moved to '$to'"
        ;;
    rename) files_rename ;;
    copy) files_copy "$@" ;;
    read)
        require_path "$from"
        [ ! -d "$from" ] || fail 66 "'$from' is a directory"
        cat -- "$from" || fail 69 "'$from' cannot be read"
        ;;
    write) files_write "$@" ;;
esac
