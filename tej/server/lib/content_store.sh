# The store of what was uploaded before: files by their SHA-256, and bundles of small ones.
# A job gets copies, which it may change; its `assembly` says of what it was made.
# shellcheck shell=sh
#
#   objects/AB/ABCD...        a file
#   objects/AB/ABCD....tar    an archive of small files

store=$queue/objects

# locate_object NAME: object=its path.
locate_object() {
    case $1 in
        *[!0-9a-f.tr]* | '' | .*) quit 20 "'$1' is not the name of an object" ;;
    esac
    object=$store/${1%"${1#??}"}/$1
}

# exchange: read names up to an empty line, and ask for those that are not there.  All are
# touched before, so that nobody sweeps them meanwhile.
exchange() {
    mkdir -p "$store" || fail 20 "Cannot write to '$queue'"
    names=''
    while IFS= read -r name && [ -n "$name" ]; do names="$names $name"; done
    # shellcheck disable=SC2086 # names have no blanks
    for name in $names; do
        locate_object "$name"
        printf '%s\n' "$object"
    done | sed 's/./\\&/g' | xargs touch -c 2>/dev/null
    for name in $names; do
        locate_object "$name"
        [ -f "$object" ] || printf '%s\0' "miss=$name"
    done
    printf '%s\0' "ask=missing"
}

# keep_objects: from the upload into the store, where they are as young as they are.
keep_objects() {
    find "$room/objects" -type f -exec touch {} + 2>/dev/null
    for item in "$room/objects"/*; do
        [ -f "$item" ] || continue
        locate_object "${item##*/}"
        { [ -d "${object%/*}" ] || mkdir -p "${object%/*}"; } && mv -f "$item" "$object" ||
            fail 20 "Cannot write to '$store'"
    done
}

# assemble JOB: its stage, as its assembly says.  Returns 1, with words, if that fails.
assemble() {
    [ -f "$1/assembly" ] || return 0
    # shellcheck disable=SC2329 # the assembly calls them
    words=$(
        exec 2>&1
        cd "$1/stage" || exit 1
        file() { locate_object "$1" && cp "$object" "$2" || exit 1; }
        program() { file "$1" "$2" && chmod +x "$2" || exit 1; }
        bundle() { locate_object "$1" && tar -xof "$object" || exit 1; }
        # shellcheck source=/dev/null
        . "$1/assembly"
    )
}

# collect_unused_objects: once a day, remove what no job was made of, and nobody asked for lately.
collect_unused_objects() {
    [ -d "$store" ] && [ -z "$(find "$store/.swept" -mtime -1 2>/dev/null)" ] || return 0
    : >"$store/.swept" || return 0
    used=$(
        for item in "$jobs"/*/assembly "$queue"/attempts/*/*/job/assembly "$incoming"/*/*/assembly; do
            [ ! -f "$item" ] || cut -d ' ' -f 2 <"$item"
        done | sort -u
    )
    find "$store" -type f -mtime +0 | while IFS= read -r item; do
        case "
$used
" in
            *"
${item##*/}
"*) ;;
            *) rm -f "$item" ;;
        esac
    done
}
