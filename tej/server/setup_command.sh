# `tej setup`: creates a queue with install_queue.sh, and link files that lead to the queue.
# Replaces an existing queue or link only if the user requests it.
# shellcheck shell=sh

# setup QUEUE RUNTIME DIGEST VERSION FORCE: create a queue at QUEUE. With FORCE 0, quits with 13
# if a link or a queue exists there. FORCE 1 replaces a link, or a queue without jobs. FORCE 2
# also replaces a queue whose jobs have all ended.
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

# replace_broken_link QUEUE FORCE: remove a broken link at QUEUE. Quits if FORCE is 0.
replace_broken_link() {
    (find_queue "$1") >/dev/null 2>&1
    [ $? = 11 ] || return 0
    [ "$2" -ge 1 ] || quit 13 "Broken link exists at '$1'
Use --force to replace it"
    base=$tej_home
    expand "$1"
    rm -f "$path" || quit 20 "The link '$path' cannot be removed"
}

# make_way FORCE DIGEST: remove the existing link or queue. Quits unless FORCE permits this.
make_way() {
    if [ "$link_count" -gt 0 ]; then
        [ "$1" -ge 1 ] || quit 13 "Queue already exists (links to $queue)
Use --force to replace the link"
        rm -f "$link_1" || quit 20 "The link '$link_1' cannot be removed"
        queue=$link_1
        return
    fi
    [ "$1" -ge 1 ] || quit 13 "Queue already exists
The queue '$queue' can be used as it is; --force replaces a queue without jobs"
    load_queue any || load_queue "$2" ||
        quit 12 "The scripts of the queue '$queue' are missing, so it is unknown whether jobs are running: run 'tej list' to reinstall the scripts"
    close_queue || quit 20 "The queue '$queue' is being removed by another client"
    find_unended
    [ -z "$unended" ] ||
        keep_queue 5 "The queue '$queue' is not replaced, because some jobs are still running:$unended"
    [ "$jobs_there" = 0 ] || [ "$1" -ge 2 ] ||
        keep_queue 13 "The queue '$queue' holds $jobs_there jobs
Use --force twice to delete the queue with its jobs"
    aside=$queue.old.$marker
    mv "$queue" "$aside" && rm -rf "$aside" || quit 20 "The queue '$queue' cannot be replaced"
}

# check_link PATH: quit unless a link may be written at PATH. Sets $path to PATH as an absolute
# path. Quits if PATH is a file that is not a link to a queue, or if other users can replace the
# link.
check_link() {
    base=$tej_home
    expand "$1"
    above=${path%/*}/
    [ ! -d "$above" ] || check_directory_trust "$above" "a link to the queue"
    [ -e "$path" ] || [ -h "$path" ] || return 0
    [ "$path" != "${queue-}" ] || quit 13 "'$path' is the queue itself"
    read_link "$path" || quit 13 "'$path' exists and is not a link to a queue: it is not replaced"
    check_link_trust "$path"
}

# link PATH: create or replace a link file at PATH that leads to the queue.
#
# In /tmp, an attacker can create a symbolic link under a name that is easy to guess. Therefore
# the link is written in a new directory with a random name. `ln` and `mv`, which move it to
# PATH, do not follow symbolic links.
link() {
    check_link "$1"
    fresh=${path%/*}/.tej-$marker
    (umask o-w && mkdir -p "${path%/*}/") && mkdir -m 700 "$fresh" ||
        quit 20 "The link '$path' cannot be created: '${path%/*}/' is not writable"
    # Remove write permission: a umask of 000 would let others write to the link (trust.sh).
    printf 'tejdir: %s\n' "$queue" >"$fresh/link" && chmod go-w "$fresh/link" && move_link
    moved=$?
    rm -rf "$fresh"
    [ "$moved" = 0 ] && read_link "$path" && [ "$target" = "$queue" ] ||
        quit 20 "The link '$path' cannot be written"
}

# move_link: move $fresh/link to $path. Returns 1 if $path is a directory or cannot be written.
move_link() {
    # Refuse a directory: `ln` and `mv` would create the link inside it.
    [ ! -d "$path" ] || return 1
    if [ -e "$path" ] || [ -h "$path" ]; then
        mv -f "$fresh/link" "$path"
    else
        ln "$fresh/link" "$path" 2>/dev/null ||
            { [ ! -e "$path" ] && [ ! -h "$path" ] && mv -f "$fresh/link" "$path"; }
    fi
}

# locate QUEUE: set $queue to QUEUE as an absolute path, which need not exist.
locate() {
    base=$tej_home
    expand "$1"
    queue=$path
}
