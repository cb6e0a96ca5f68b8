# Garbage collection in a queue: remove the directories of interrupted uploads and removals from
# `incoming`, and the objects of the content store (content_store.sh) that no job uses.
# shellcheck shell=sh

# make_room PREFIX: create a directory in `incoming`. Sets $room to the path of the
# directory. The file `.owner` in the directory identifies this process, so that other
# clients can check whether the directory is in use.
make_room() {
    me
    room=$incoming/$1.$unique
    mkdir "$room" || return 1
    printf '%s\n' "$who" >"$room/.owner" && return 0
    rm -rf "$room"
    return 1
}

# is_abandoned ROOM: check whether the process that created the directory ROOM is gone. If
# the process ran on another host, ROOM counts as in use if a file in ROOM is younger
# than a day.
is_abandoned() {
    o_host=''
    { read -r o_host o_boot o_space o_pid o_start <"$1/.owner" ||
        read -r o_host o_boot o_space o_pid o_start <"$1/.removal"; } 2>/dev/null || read_taker "$1"
    if [ -n "$o_host" ] && same_host "$o_host" "$o_boot" "$o_space"; then
        is_gone "$o_pid" "$o_start"
    else
        agrees_with_disk && [ -z "$(find "$1" -prune -mtime -1 -print 2>/dev/null)" ] &&
            [ -z "$(find "$1" -mtime -1 -print 2>/dev/null)" ]
    fi
}

# read_taker ROOM: set $o_host, $o_boot, $o_space, $o_pid and $o_start from the name of a
# claim (`.taken ...`) in ROOM. A claim exists in ROOM if the removal of a job was
# interrupted.
read_taker() {
    for item in "$1/.taken "*; do
        [ -f "$item" ] || continue
        set -f
        # shellcheck disable=SC2086 # split into fields
        set -- "$1" ${item##*/.taken }
        set +f
        [ $# != 6 ] || o_host=$2 o_boot=$3 o_space=$4 o_pid=$5 o_start=$6
    done
}

unremoved='' # the last directory that `remove` could not remove

# remove DIRECTORY: remove the tree DIRECTORY, which may contain write-protected
# directories. If files remain, sets $unremoved to DIRECTORY and returns 1.
remove() {
    # If the removal is interrupted, the next client must be able to read `.owner`. The pattern
    # does not match `.owner`, so `rm` removes this file after the other files.
    if [ -f "$1/.owner" ] && [ ! -h "$1" ]; then
        rm -rf "${1:?}"/* "$1" 2>/dev/null && return 0
    else
        rm -rf "$1" 2>/dev/null && return 0
    fi
    # Make all directories writable. `find` runs chmod on a directory before it reads the
    # directory. The modes of files are not changed, because other jobs may share the files.
    find "$1" -type d -exec chmod u+rwx {} \; 2>/dev/null
    rm -rf "$1" && return 0
    unremoved=$1
    return 1
}

# collect_garbage: remove the directories of interrupted uploads and interrupted
# removals from `incoming`. A process that was killed before it wrote `.owner` has left an
# empty directory, which is removed after 10 minutes.
collect_garbage() {
    for entry in "$incoming"/*; do
        [ -d "$entry" ] || continue
        if is_abandoned "$entry"; then
            remove "$entry" 2>/dev/null
        elif [ -z "$o_host" ] && get_age "$entry" && [ "$age" -ge 600 ]; then
            rmdir "$entry" 2>/dev/null
        fi
    done
    return 0
}

# collect_unused_objects: remove the objects that no job and no archived attempt lists.
# The function first finds the objects, and then reads the `assembly` files. An object is
# stored only after its jobs are published, so the `assembly` files contain every object
# that was found and is in use. An object that is stored later is not found, and not
# removed. `jobs` is read before `attempts`, because a retry moves a job from `jobs` to
# `attempts`.
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
