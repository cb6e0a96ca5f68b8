# Content store: uploaded files of all jobs. Each content is uploaded only once. An object is a
# file, or a bundle (a tar archive of small files). Its name is the SHA-256 digest of its
# content. A job gets copies, because it may change its files. Only shared files are not copied.
# The job's file `assembly` lists its objects.
# shellcheck shell=sh
#
#   objects/AB/ABCD...        a file
#   objects/AB/ABCD....tar    a bundle
#   objects/AB/ABCD....r      a file that jobs share (shared_input.sh)
#
# An object stays in the store while the `assembly` of a job or archived attempt lists it
# (garbage_collection.sh). Another client may delete objects during an upload. Therefore an
# upload creates hard links to its objects in its directory `held`, and moves new objects into
# the store only after its jobs are published.

store=$queue/objects

# locate_object NAME: set $object to the path of the object NAME in the store.
locate_object() {
    case $1 in
        *[!0-9a-f.tr]* | '' | .*) quit 20 "'$1' is not the name of an object" ;;
    esac
    object=$store/${1%"${1#??}"}/$1
}

# exchange_objects: read names of objects from stdin, up to an empty line. Creates links in
# $room/held to the objects that exist, and requests the others from the client.
exchange_objects() {
    mkdir -p "$store" "$room/held" || fail 20 "Cannot write to '$queue'"
    names=''
    while IFS= read -r name && [ -n "$name" ]; do
        locate_object "$name"
        names="$names $name"
    done
    link_objects
    drop_damaged_objects
    case $names in
        *.r*)
            make_share_time "$room/share_time" || fail 20 "Cannot write to '$queue'"
            drop_changed_objects
            ;;
    esac
    stop_keepalives # a keepalive must not be printed inside a name
    set -f
    for name in $names; do
        [ -f "$room/held/$name" ] || printf '%s\0' "miss=$name"
    done
    set +f
    printf '%s\0' "ask=missing"
    start_keepalives
}

# drop_damaged_objects: remove damaged objects from $room/held and from the store. The client
# then sends these objects again. The content of a damaged object does not match its name, for
# example after a power failure.
drop_damaged_objects() {
    set -- "$room/held"/*
    [ -f "$1" ] || return 0
    find_damaged_objects | while read -r item; do
        locate_object "${item##*/}"
        rm -f "$room/held/${item##*/}" "$object"
    done
}

# find_damaged_objects: print the paths of the objects in $room/held that are empty, or whose
# content does not match their name. The digest is not calculated for objects of more than 64 MB,
# for shared files, and on a server without `sha256sum`.
find_damaged_objects() (
    cd "$room/held" || return 0
    find . -type f -size 0
    find . -type f ! -name '*.r' -size -131073 -exec sha256sum {} + 2>/dev/null |
        LC_ALL=C awk '{ split($2, part, "[./]+"); if ($1 != part[2]) print $2 }'
)

# link_objects: create links in $room/held to the objects of $names that are in the store.
link_objects() {
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

# hold PATH...: create links to these objects in $room/held. The client uploads each object for
# which this fails.
hold() {
    ln "$@" "$room/held/" 2>/dev/null && return 0
    # Some file systems have no hard links: copy the objects.
    for object in "$@"; do
        held=$room/held/${object##*/}
        [ -f "$held" ] || cp -p "$object" "$held" 2>/dev/null || rm -f "$held"
    done
}

# assemble JOB: create the files in JOB/stage from the objects in JOB/assembly. On failure,
# returns nonzero and sets $assembly_error to the message.
assemble() {
    [ -f "$1/assembly" ] || return 0
    [ ! -f "$room/share_time" ] || cp -p "$room/share_time" "$1/share_time" || return 1
    assembly_error=$(run_assembly "$1")
}

# run_assembly JOB: run the file JOB/assembly, whose commands are the functions below. Prints
# errors to stdout. Must run in a subshell, because functions such as `file` have the names of
# programs.
# shellcheck disable=SC2329 # called by the assembly
run_assembly() {
    exec 2>&1
    cd "$1/stage" || exit 1
    find_object() {
        found=$room/objects/$1
        [ -f "$found" ] || found=$room/held/$1
    }
    file() { find_object "$1" && cp "$found" "$2" || exit 1; }
    share() {
        find_object "$1"
        ! is_changed "$found" "$room/share_time" || {
            printf "another job has changed the shared file '%s'" "${2#./}"
            exit 1
        }
        ln "$found" "$2" 2>/dev/null || cp -p "$found" "$2" || exit 1
    }
    program() { file "$1" "$2" && chmod +x "$2" || exit 1; }
    bundle() { find_object "$1" && tar -xof "$found" || exit 1; }
    # mode OCTAL SYMBOLIC FILE...: set the mode as tar does. root applies OCTAL. Other users
    # apply SYMBOLIC, which chmod restricts by the umask.
    mode() {
        : "${uid:=$(id -u)}"
        bits=$2
        [ "$uid" != 0 ] || bits=$1
        shift 2
        chmod "$bits" "$@" || exit 1
    }
    # If `touch` does not support -t, the file keeps the time of copying.
    mtime() {
        stamp=$1
        shift
        TZ=UTC0 touch -t "$stamp" "$@" 2>/dev/null || :
    }
    # shellcheck source=/dev/null
    . "$1/assembly"
}

# store_objects: move the uploaded objects into the store, after the jobs are published. Also
# restores objects that another client has deleted meanwhile.
store_objects() {
    for item in "$room/objects"/* "$room/held"/*; do
        [ -f "$item" ] || continue
        locate_object "${item##*/}"
        [ -f "$object" ] || {
            { [ -d "${object%/*}" ] || mkdir -p "${object%/*}"; } && mv -f "$item" "$object"
        } 2>/dev/null || return 0
    done
}
