# Setup: makes a queue and links to it.  Sent by the verb `setup`, behind install.sh.
# shellcheck shell=sh

# setup QUEUE RUNTIME DIGEST VERSION FORCE: make a queue at QUEUE.  An existing one is kept
# (exit 13), unless FORCE is 1: then a link, or a queue without jobs, is replaced; or 2:
# also a queue whose jobs have all ended.
setup() {
    replace_broken_link "$1" "$5"
    scripts='' runtime=''
    if find_queue "$1"; then
        ! read_version || make_way "$5" "$3"
    fi
    scripts='' runtime=''
    install "$2" "$3" "$4"
    load_queue any || quit 14
}

# replace_broken_link QUEUE FORCE: remove a link that leads nowhere, with FORCE.
replace_broken_link() {
    (find_queue "$1") >/dev/null 2>&1
    [ $? = 11 ] || return 0
    [ "$2" -ge 1 ] || quit 13 "Broken link exists at '$1'
Use --force to replace it"
    base=$tej_home
    expand "$1"
    rm -f "$path" || quit 20 "The link '$path' cannot be removed"
}

# make_way FORCE DIGEST: remove the link or the queue at the path of the new queue.
make_way() {
    if [ "$link_count" -gt 0 ]; then
        [ "$1" -ge 1 ] || quit 13 "Queue already exists (links to $queue)
Use --force to replace the link"
        rm -f "$link_1" || quit 20 "The link '$link_1' cannot be removed"
        queue=$link_1
        return
    fi
    [ "$1" -ge 1 ] || quit 13 "Queue already exists
Use --force to replace it"
    load_queue any || load_queue "$2" ||
        quit 12 "The scripts of the queue '$queue' are missing, so that it is not known whether jobs are running: 'tej list' reinstalls them"
    close_queue || quit 20 "The queue '$queue' is being removed by another client"
    find_unended
    [ -z "$unended" ] ||
        keep_queue 5 "The queue '$queue' is not replaced, some jobs are still running:$unended"
    [ "$jobs_there" = 0 ] || [ "$1" -ge 2 ] ||
        keep_queue 13 "The queue '$queue' holds $jobs_there jobs
Use --force twice to delete them with it"
    aside=$queue.old.$$
    mv "$queue" "$aside" && rm -rf "$aside" || quit 20 "The queue '$queue' cannot be replaced"
}

# check_link PATH: path=its absolute path.  Quits if a file is there that is not a link, or
# if other users could replace the link later.
check_link() {
    base=$tej_home
    expand "$1"
    above=${path%/*}/
    [ ! -d "$above" ] || check_directory_trust "$above" "a link to the queue"
    [ -e "$path" ] || [ -h "$path" ] || return 0
    [ "$path" != "${queue-}" ] || quit 13 "'$path' is the queue itself"
    read_link "$path" || quit 13 "'$path' exists and is not a link to a queue: it stays as it is"
    check_link_trust "$path"
}

# link PATH: make PATH a link to the queue, or replace a link that is there.
#
# In /tmp anybody may put a file, or a link to one of ours, at a name that they can guess.
# So the file is written in a directory of a random name, which `mkdir` makes or fails, and
# is then moved by `ln` or `mv`: neither follows what is at the new name, and `ln` fails if
# something is.
link() {
    check_link "$1"
    fresh=${path%/*}/.tej-$marker
    mkdir -p "${path%/*}/" && mkdir -m 700 "$fresh" ||
        quit 20 "The link '$path' cannot be created: '${path%/*}/' is not writable"
    printf 'tejdir: %s\n' "$queue" >"$fresh/link" && move_link
    moved=$?
    rm -rf "$fresh"
    [ "$moved" = 0 ] && read_link "$path" && [ "$target" = "$queue" ] ||
        quit 20 "The link '$path' cannot be written"
}

# move_link: from $fresh/link to $path.
move_link() {
    # To a directory, both would move into it.
    [ ! -d "$path" ] || return 1
    if [ -e "$path" ] || [ -h "$path" ]; then
        mv -f "$fresh/link" "$path"
    else
        ln "$fresh/link" "$path" 2>/dev/null ||
            { [ ! -e "$path" ] && [ ! -h "$path" ] && mv -f "$fresh/link" "$path"; }
    fi
}

# locate QUEUE: queue=its absolute path; it need not exist if only links are made.
locate() {
    base=$tej_home
    expand "$1"
    queue=$path
}
