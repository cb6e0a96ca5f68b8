# Uploads under way, in `incoming`: the owner of each, and garbage collection of the rest.
# shellcheck shell=sh

# make_room PREFIX: room=a new directory in `incoming`, with a file that names its owner, so
# that others can tell whether it is still in use.
make_room() {
    me
    room=$incoming/$1.$$
    mkdir "$room" && printf '%s\n' "$who" >"$room/.owner" && return 0
    rm -rf "$room"
    return 1
}

# is_abandoned ROOM: its owner is gone.  A room of another host is in use as long as something
# in it is younger than a day.
is_abandoned() {
    o_host=''
    read -r o_host o_boot o_space o_pid o_start 2>/dev/null <"$1/.owner" || read_taker "$1"
    if [ -n "$o_host" ] && same_host "$o_host" "$o_boot" "$o_space"; then
        is_gone "$o_pid" "$o_start"
    else
        [ -z "$(find "$1" -prune -mtime -1 -print 2>/dev/null)" ] &&
            [ -z "$(find "$1" -mtime -1 -print 2>/dev/null)" ]
    fi
}

# read_taker ROOM: the owner of a job that was being removed, who is named by the claim.
read_taker() {
    for item in "$1/.taken "*; do
        [ -f "$item" ] || continue
        set -f
        # shellcheck disable=SC2086 # fields
        set -- "$1" ${item##*/.taken }
        set +f
        [ $# != 6 ] || o_host=$2 o_boot=$3 o_space=$4 o_pid=$5 o_start=$6
    done
}

# remove DIRECTORY: with write-protected directories in it.
remove() {
    rm -rf "$1" 2>/dev/null && return 0
    chmod -R u+rwx "$1" 2>/dev/null
    rm -rf "$1"
}

# collect_garbage: remove abandoned uploads.
collect_garbage() {
    for entry in "$incoming"/*; do
        [ -d "$entry" ] && is_abandoned "$entry" && remove "$entry" 2>/dev/null
    done
    return 0
}
