# Installer: sets a queue up, or replaces its scripts.  Sent when that is needed; the client
# puts a function `unpack DIRECTORY`, which writes the scripts, in front of it.
# shellcheck shell=sh

# install RUNTIME DIGEST VERSION: bring $queue up to DIGEST.  An existing queue keeps its
# runtime; a new one gets RUNTIME, or with `auto` the scheduler of the server, or `default`.
# Several clients may install at once: each step is one rename, and whoever comes second
# finds it done.
install() {
    parent=${queue%/*}
    mkdir -p "${parent:-/}" || quit 20 "'${parent:-/}', which is to hold the queue, cannot be created"
    mkdir -m 700 "$queue" 2>/dev/null || [ -d "$queue" ] ||
        quit 20 "The queue '$queue' cannot be created"
    check_queue_trust
    make_directories
    install_scripts "$2"
    carry_over "$2"
    [ -n "$runtime" ] || select_runtime "$1" "$2"
    [ -f "$queue/scripts/$2/runtimes/$runtime/runtime.sh" ] ||
        quit 12 "The queue '$queue' needs the runtime '$runtime', which this tej does not have"
    write_version "$@"
}

# make_directories: those of a queue, for this account alone; for the group if the queue is
# shared with it.
make_directories() {
    access=700
    [ -z "${shared-}" ] || {
        access=2770
        case $(ls -ld "$queue/.") in
            d?????[sS]*) ;;
            *) quit 12 "'$queue' is writable by its group, but without the setgid bit the files in it would belong to other groups: chmod g+s '$queue'" ;;
        esac
    }
    for part in jobs incoming scripts attempts objects; do
        mkdir -m "$access" "$queue/$part" 2>/dev/null || [ -d "$queue/$part" ] ||
            quit 20 "Cannot write to '$queue'"
    done
    # A queue of an earlier tej has the modes of its user's umask.
    [ -n "${shared-}" ] || chmod go-rwx "$queue"/*/ 2>/dev/null
    return 0
}

# install_scripts DIGEST
install_scripts() {
    fresh=$queue/incoming/scripts.$$
    mkdir "$fresh" && unpack "$fresh" || {
        rm -rf "$fresh"
        quit 20 "The queue '$queue' cannot be set up: its scripts cannot be written (is the disk full?)"
    }
    # Scripts of this name that were refused are damaged.
    [ ! -d "$queue/scripts/$1" ] || [ "$scripts" != "$1" ] ||
        mv "$queue/scripts/$1" "$queue/incoming/old.$$"
    mv "$fresh" "$queue/scripts/$1" 2>/dev/null
    rm -rf "$queue/scripts/$1/${fresh##*/}" "$fresh" "$queue/incoming/old.$$"
    [ -d "$queue/scripts/$1" ] || quit 20 "Cannot write to '$queue/scripts'"
}

# carry_over DIGEST: copy the runtime of the queue if this client does not bring it.
carry_over() {
    [ -n "$runtime" ] && [ ! -d "$queue/scripts/$1/runtimes/$runtime" ] &&
        [ -d "$queue/scripts/$scripts/runtimes/$runtime" ] || return 0
    fresh=$queue/incoming/runtime.$$
    cp -R "$queue/scripts/$scripts/runtimes/$runtime" "$fresh" &&
        mv "$fresh" "$queue/scripts/$1/runtimes/$runtime"
    rm -rf "$fresh"
}

# select_runtime RUNTIME DIGEST: runtime=RUNTIME if the server has it; with `auto` the
# scheduler of the server, or `default`.  A scheduler that is installed but does not answer
# is not chosen, and causes a warning.
select_runtime() {
    runtime=$1
    [ "$runtime" != auto ] || {
        for path in "$queue/scripts/$2"/runtimes/*/runtime.sh; do
            runtime=${path%/*} runtime=${runtime##*/}
            [ "$runtime" != default ] || continue
            try_runtime "$2" auto && return
            [ -z "$why" ] || warn "$why: jobs will run without it, under the runtime 'default'"
        done
        runtime=default
        return
    }
    [ -f "$queue/scripts/$2/runtimes/$runtime/runtime.sh" ] && ! try_runtime "$2" || return 0
    [ -n "$why" ] || quit 12 "The runtime '$runtime' cannot be used here: its programs are not installed"
    warn "$why"
}

# try_runtime DIGEST [auto]: can $runtime be used here?  If not, why=the reason, empty if its
# programs are not installed.
try_runtime() {
    why=$(
        here=$queue/scripts/$1
        . "$here/lib/facts.sh" && . "$here/runtimes/$runtime/runtime.sh" && runtime_here "${2-}" 2>/dev/null
    )
}

# warn WORDS: a warning for whoever sets the queue up.
warn() {
    printf '%s\0' "warning=$*"
}

# write_version RUNTIME DIGEST VERSION: make the directory a queue, by one rename.
write_version() {
    fresh=$queue/.version.$$
    printf 'tej 1\nruntime %s\nscripts %s %s\n' "$runtime" "$2" "$3" >"$fresh" ||
        quit 20 "Cannot write to '$queue'"
    # A hard link can be made only once, so that the first client's runtime stays; without
    # hard links, the last one's does.
    if [ -z "$scripts" ] && ln "$fresh" "$queue/version" 2>/dev/null; then
        rm -f "$fresh"
    elif [ -z "$scripts" ] && [ -f "$queue/version" ]; then
        rm -f "$fresh"
        read_version
        return
    else
        mv -f "$fresh" "$queue/version"
    fi
    scripts=$2
}
