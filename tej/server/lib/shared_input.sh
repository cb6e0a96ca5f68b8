# Shared input (`--shared`): large input files that exist once on the disk for all jobs.
# shellcheck shell=sh
#
# A shared file is an object of the content store (content_store.sh) with the suffix `.r`. Each
# job has a hard link to the object in its stage (working directory). So the file exists as long
# as any job needs it.
#
# No job may change the input of other jobs. The object is read-only, but root can still write
# to it, and a job can change its mode. Therefore all these objects have the same modification
# time. An object with another time was changed: no further job gets a link to it, and a job
# that has a link is not started. A file named `share_time` has the right time, so that a shell
# can compare the times.

share_time=200001010000.00

# make_share_time FILE: create FILE with the modification time of shared files.
make_share_time() {
    printf '' >"$1" && TZ=UTC0 touch -t "$share_time" "$1"
}

# is_changed FILE REFERENCE: check whether FILE was changed since it was shared. REFERENCE is a
# file from make_share_time.
is_changed() {
    [ "$1" -nt "$2" ] || [ "$1" -ot "$2" ]
} 2>/dev/null

# drop_changed_objects: remove the changed objects from $room/held and from the store. The
# client then sends them again.
drop_changed_objects() {
    for item in "$room/held"/*.r; do
        [ -f "$item" ] && is_changed "$item" "$room/share_time" || continue
        locate_object "${item##*/}"
        rm -f "$item" "$object"
    done
}

# seal_objects: make the shared files of an upload read-only, and set their time, before a job
# gets them.
seal_objects() {
    [ ! -f "$room/share_time" ] || [ ! -d "$room/objects" ] ||
        TZ=UTC0 find "$room/objects" -name '*.r' -exec chmod 444 {} + -exec touch -t "$share_time" {} +
}

# find_changed_input: set $changed to the path of a shared file that another job may have
# changed, or to ''. Ignores a file with a single link, with which $job itself has replaced the
# shared file.
find_changed_input() {
    changed=''
    [ -f "$job/share_time" ] && [ -f "$job/assembly" ] || return 0
    # shellcheck disable=SC2329 # called by the assembly
    changed=$(
        cd "$job/stage" || exit
        file() { :; }
        program() { :; }
        bundle() { :; }
        mode() { :; }
        mtime() { :; }
        share() {
            [ -f "$2" ] && is_changed "$2" ../share_time &&
                [ -n "$(find "$2" -links +1 2>/dev/null)" ] || return 0
            printf '%s' "${2#./}"
            exit
        }
        # shellcheck source=/dev/null
        . ../assembly
    )
}

# note_changed_input: write the file `changed` if a shared file was changed while the job ran.
note_changed_input() {
    [ -f "$job/share_time" ] || return 0
    find_changed_input
    [ -z "$changed" ] || put changed "$changed" 2>/dev/null || :
}
