# Garbage collection: remove what interrupted uploads and removals have left in `incoming`, and
# stored objects (content_store.sh) that no job uses.
# shellcheck shell=sh

# make_room PREFIX: create a directory in `incoming`, and set $room to its path. Its file
# `.owner` identifies this process, so that other clients can check whether the directory is in
# use.
make_room() {
    me
    room=$incoming/$1.$unique
    mkdir "$room" || return 1
    printf '%s\n' "$who" >"$room/.owner" && return 0
    rm -rf "$room"
    return 1
}

# is_abandoned ROOM: check whether the process that created the directory ROOM is gone. A
# process on another host cannot be checked. In that case, ROOM counts as in use if a file in it
# was modified during the last day.
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

# read_taker ROOM: find the client whose removal of a job was interrupted in ROOM. Sets $o_host,
# $o_boot, $o_space, $o_pid and $o_start, which identify the client, from the name of the file
# `.taken ...` (job_removal.sh).
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

# remove DIRECTORY: remove DIRECTORY, which may contain write-protected directories. If files
# remain, sets $unremoved to DIRECTORY and returns 1.
remove() {
    # The pattern does not match `.owner`, so `rm` removes this file last. After an interrupted
    # removal, the next client needs this file.
    if [ -f "$1/.owner" ] && [ ! -h "$1" ]; then
        rm -rf "${1:?}"/* "$1" 2>/dev/null && return 0
    else
        rm -rf "$1" 2>/dev/null && return 0
    fi
    # `find` runs chmod on a directory before it reads the directory. Do not change the modes of
    # files, because other jobs may share them.
    find "$1" -type d -exec chmod u+rwx {} \; 2>/dev/null
    rm -rf "$1" && return 0
    unremoved=$1
    return 1
}

# collect_garbage: remove the directories of interrupted uploads and removals. An empty
# directory is removed after 10 minutes: its process was killed before it wrote `.owner`.
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

# collect_unused_objects: remove the stored objects that are not listed in the file `assembly`
# of any job or archived attempt. An upload publishes its jobs before it stores objects.
# Therefore the objects are read first, then the jobs. A retry moves a job from `jobs` to
# `attempts`, so `attempts` is read last.
collect_unused_objects() (
    cd "$queue" && [ -d objects ] || return 0
    {
        find objects -type f
        printf '\n'
        for item in jobs/*/assembly attempts/*/*/job/assembly; do
            [ ! -f "$item" ] || printf '%s\n' "$item"
        done | xargs cat /dev/null
    } 2>/dev/null | LC_ALL=C awk '
        /^$/ { listed = 1; next }
        !listed { count = split($0, part, "/"); unused[part[count]] = $0; next }
        $2 in unused { delete unused[$2] }
        END { for (name in unused) print unused[name] }
    ' | xargs rm -f -- /dev/null/none
)
