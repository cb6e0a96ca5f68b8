# Sent, with install.sh in front, by the verb `setup`.
# shellcheck shell=sh

# setup QUEUE RUNTIME DIGEST VERSION FORCE: make a queue at QUEUE.  What is there stays
# (exit 13), unless FORCE is 1: that takes the place of a link, or of a queue without
# jobs; 2: of one with jobs, if they have all ended.
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

# replace_broken_link QUEUE FORCE: a link to nowhere is in the way, and worth nothing.
replace_broken_link() {
    (find_queue "$1") >/dev/null 2>&1
    [ $? = 11 ] || return 0
    [ "$2" -ge 1 ] || quit 13 "Broken link exists at '$1'
Use --force to replace it"
    base=$tej_home
    expand "$1"
    rm -f "$path" || quit 20 "The link '$path' cannot be removed"
}

# make_way FORCE DIGEST
make_way() {
    if [ -n "$links" ]; then
        [ "$1" -ge 1 ] || quit 13 "Queue already exists (links to $queue)
Use --force to replace the link"
        first=${links%%
*}
        rm -f "$first" || quit 20 "The link '$first' cannot be removed"
        queue=$first
        return
    fi
    [ "$1" -ge 1 ] || quit 13 "Queue already exists
Use --force to replace it"
    load_queue any || load_queue "$2" ||
        quit 12 "The queue '$queue' has lost its scripts, without which its jobs cannot be told of: 'tej list' brings them back"
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

# check_link PATH: path=where that is; what is there may be replaced if it is a link.
check_link() {
    base=$tej_home
    expand "$1"
    [ -e "$path" ] || [ -h "$path" ] || return 0
    [ "$path" != "${queue-}" ] || quit 13 "'$path' is the queue itself"
    [ -f "$path" ] && IFS= read -r tej_line <"$path" || tej_line=''
    case $tej_line in
        'tejdir: '*) ;;
        *) quit 13 "'$path' exists and is not a link to a queue: it stays as it is" ;;
    esac
}

# link PATH: make PATH a link to the queue; a link that is there is replaced.
link() {
    check_link "$1"
    mkdir -p "${path%/*}/" && printf 'tejdir: %s\n' "$queue" >"$path.$$" && mv -f "$path.$$" "$path" ||
        quit 20 "The link '$path' cannot be written"
}

# locate QUEUE: queue=its absolute path; for links alone, it need not be there (yet).
locate() {
    base=$tej_home
    expand "$1"
    queue=$path
}
