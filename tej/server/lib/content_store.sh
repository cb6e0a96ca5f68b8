# Content store: uploaded files by their SHA-256, and bundles (tar archives) of small files,
# so that the same content is sent once.  A job gets copies, which it may change; its file
# `assembly` lists the objects it was made from.
# shellcheck shell=sh
#
#   objects/AB/ABCD...        a file
#   objects/AB/ABCD....tar    a bundle
#
# An object stays as long as the assembly of a job or of an attempt has it.  Deletions run
# beside uploads: so an upload uses nothing of the store itself, but hard links (`held`) in
# its own directory, and its objects enter the store when its jobs are in place.

store=$queue/objects

# locate_object NAME: object=its path in the store.
locate_object() {
    case $1 in
        *[!0-9a-f.tr]* | '' | .*) quit 20 "'$1' is not the name of an object" ;;
    esac
    object=$store/${1%"${1#??}"}/$1
}

# exchange_objects: read names up to an empty line, hold the objects that the store has, and
# ask for the others.
exchange_objects() {
    mkdir -p "$store" "$room/held" || fail 20 "Cannot write to '$queue'"
    names=''
    while IFS= read -r name && [ -n "$name" ]; do
        locate_object "$name"
        names="$names $name"
    done
    hold_objects
    set -f
    for name in $names; do
        [ -f "$room/held/$name" ] || printf '%s\0' "miss=$name"
    done
    set +f
    printf '%s\0' "ask=missing"
}

# hold_objects: link those of $names that are in the store to $room/held, many at a time.
hold_objects() {
    set -f
    set --
    for name in $names; do
        locate_object "$name"
        [ ! -f "$object" ] || set -- "$@" "$object"
        [ $# -lt 200 ] || {
            hold "$@"
            set --
        }
    done
    set +f
    [ $# = 0 ] || hold "$@"
}

# hold PATH...: one that cannot be linked nor copied, or was just removed, is sent again.
hold() {
    ln "$@" "$room/held/" 2>/dev/null && return 0
    # Some file systems have no hard links.
    for object in "$@"; do
        held=$room/held/${object##*/}
        [ -f "$held" ] || cp "$object" "$held" 2>/dev/null || rm -f "$held"
    done
}

# assemble JOB: create the files of its stage, as its assembly says.  Returns 1, with words,
# if that fails.
assemble() {
    [ -f "$1/assembly" ] || return 0
    # shellcheck disable=SC2329 # called by the assembly
    words=$(
        exec 2>&1
        cd "$1/stage" || exit 1
        find_object() {
            found=$room/objects/$1
            [ -f "$found" ] || found=$room/held/$1
        }
        file() { find_object "$1" && cp "$found" "$2" || exit 1; }
        program() { file "$1" "$2" && chmod +x "$2" || exit 1; }
        bundle() { find_object "$1" && tar -xof "$found" || exit 1; }
        # Like tar, root sets the mode as it is; the umask restricts that of others.
        mode() {
            : "${uid:=$(id -u)}"
            bits=$2
            [ "$uid" != 0 ] || bits=$1
            shift 2
            chmod "$bits" "$@" || exit 1
        }
        # A copy has the time of copying; a `touch` without -t leaves that.
        mtime() {
            stamp=$1
            shift
            TZ=UTC0 touch -t "$stamp" "$@" 2>/dev/null || :
        }
        # shellcheck source=/dev/null
        . "$1/assembly"
    )
}

# store_objects: move the upload's objects into the store, once its jobs are in place.  What
# was held is put back if a deletion has removed it from the store meanwhile.
store_objects() {
    for item in "$room/objects"/* "$room/held"/*; do
        [ -f "$item" ] || continue
        locate_object "${item##*/}"
        [ -f "$object" ] || {
            { [ -d "${object%/*}" ] || mkdir -p "${object%/*}"; } && mv -f "$item" "$object"
        } 2>/dev/null || return 0
    done
}

# collect_unused_objects: remove the objects that no job and no attempt was made from.
# The store is listed first: an object that enters it later is not looked at, and one that
# is there has its job in place.  `jobs` before `attempts`: a retry moves jobs that way.
collect_unused_objects() (
    cd "$queue" && [ -d objects ] || return 0
    {
        find objects -type f
        printf '\n'
        for item in jobs/*/assembly attempts/*/*/job/assembly; do
            [ ! -f "$item" ] || printf '%s\n' "$item"
        done | xargs cat /dev/null
    } 2>/dev/null | awk '
        /^$/ { listed = 1; next }
        !listed { count = split($0, part, "/"); unused[part[count]] = $0; next }
        $2 in unused { delete unused[$2] }
        END { for (name in unused) print unused[name] }
    ' | xargs rm -f -- /dev/null/none
)
