# Shared input (`--shared`): large input files of which all jobs use one copy on the disk.
# shellcheck shell=sh
#
# A shared file is an object of the content store with the suffix `.r`
# (content_store.sh). The stage of a job has a hard link to the object. Therefore the
# file exists as long as any job has a link to it, and `download` and `logs` read the
# file like any other file.
#
# A job must not change the input of other jobs. The object is read-only, but root, or a job
# that changes the mode, can still write to it. Therefore all objects with the suffix get the
# same modification time. An object with a different time was changed. Further jobs do not get a
# link to a changed object, and a job that already has a link to a changed object is not
# started. The file `share_time` has the same modification time, so that a shell can compare the
# times without starting a process.

share_time=200001010000.00

# make_share_time FILE: create FILE with the modification time of shared files.
make_share_time() {
    printf '' >"$1" && TZ=UTC0 touch -t "$share_time" "$1"
}

# is_changed FILE REFERENCE: check whether FILE was changed since it was shared. REFERENCE
# is a file `share_time`.
is_changed() {
    [ "$1" -nt "$2" ] || [ "$1" -ot "$2" ]
} 2>/dev/null

# drop_changed_objects: remove the objects that were changed from $room/held and from the
# store, so that the client sends these objects again.
drop_changed_objects() {
    for item in "$room/held"/*.r; do
        [ -f "$item" ] && is_changed "$item" "$room/share_time" || continue
        locate_object "${item##*/}"
        rm -f "$item" "$object"
    done
}

# seal_objects: make the shared files of the upload in $room read-only, and set their
# time. Must be called before a job gets the files.
seal_objects() {
    [ ! -f "$room/share_time" ] || [ ! -d "$room/objects" ] ||
        TZ=UTC0 find "$room/objects" -name '*.r' -exec chmod 444 {} + -exec touch -t "$share_time" {} +
}

# find_changed_input: set $changed to the path of a shared file that another job may have
# changed, or to '' if there is none. A file that only $job has is not considered: the
# job has replaced it with a file of its own.
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

# note_changed_input: write the file `changed` if a shared file was changed while
# the job ran.
note_changed_input() {
    [ -f "$job/share_time" ] || return 0
    find_changed_input
    [ -z "$changed" ] || put changed "$changed" 2>/dev/null || :
}
