# Refuses paths that lead out of a job's stage (its working directory) through symbolic links.
# shellcheck shell=sh

# enter PATH: set $directory to PATH with all symbolic links resolved. A path may end in
# newlines, which $(...) would strip without the dot.
enter() {
    directory=$(cd "${1:-/}" 2>/dev/null && pwd -P && printf .) || return 1
    directory=${directory%"$newline".}
}

# read_target LINK: set $target to the target of the symbolic link LINK.
read_target() {
    if command -v readlink >/dev/null 2>&1; then
        target=$(readlink "$1" && printf .)
    else
        target=$(ls -ld "$1" && printf .)
        target=${target#*"$1 -> "}
    fi
    target=${target%"$newline".}
}

# real_path PATH: set $real to PATH with all symbolic links resolved. Returns 1 if the result
# does not exist.
real_path() {
    real=$1 hops=0
    while :; do
        case $real in */*) directory=${real%/*} ;; *) directory=. ;; esac
        enter "$directory" || return 1
        real=${directory%/}/${real##*/}
        [ -h "$real" ] || break
        hops=$((hops + 1))
        [ "$hops" -le 40 ] || return 1
        read_target "$real"
        case $target in /*) real=$target ;; *) real=${real%/*}/$target ;; esac
    done
    [ ! -d "$real" ] || { enter "$real" && real=$directory; }
    [ -e "$real" ]
}

# check PATH: quit if PATH points outside the stage.
check() {
    real_path "./$1" || quit 22 "'$1' in job '$id' is a broken link"
    case $real in
        "$resolved_stage" | "$resolved_stage"/*) ;;
        *) quit 22 "'$1' points outside the directory of job '$id', to '$real'" ;;
    esac
}

# enter_stage: change to the stage of the job $id, and set $resolved_stage to its
# path without symbolic links.
enter_stage() {
    ! is_absent "$job/stage" || quit 22 "Job '$id' has removed its directory, and all files in it"
    cd "$job/stage" 2>/dev/null && enter . || quit 20 "The working directory of job '$id' cannot be entered"
    resolved_stage=$directory
}

# in_groups FUNCTION WORD...: call FUNCTION with the words, at most 400 at a time. The kernel
# limits the total size of a program's arguments.
in_groups() {
    group_function=$1 group=''
    shift
    while [ $# -gt 400 ]; do
        [ -n "$group" ] || list_parameters 400
        eval "$group_function $group" || return
        shift 400
    done
    [ $# = 0 ] || "$group_function" "$@"
}

# list_parameters COUNT: set $group to the text `"${1}" "${2}" ... "${COUNT}"`.
list_parameters() {
    while [ "$1" -gt 0 ]; do
        group="\"\${$1}\" $group"
        set -- $(($1 - 1))
    done
}
