# Sent when the queue is to be set up, or its scripts renewed; `unpack DIRECTORY`, which
# writes the scripts, is made by the client and stands in front.
# shellcheck shell=sh

# install RUNTIME DIGEST VERSION: bring $queue up to DIGEST.  A queue keeps its runtime; a
# new one gets RUNTIME, or with `auto` the scheduler that is here, or `default`.
# Several clients may do this at once: each step is whole, and who comes second finds it
# done.
install() {
    parent=${queue%/*}
    mkdir -p "${parent:-/}" || quit 20 "'${parent:-/}' cannot be made for the queue"
    mkdir -m 700 "$queue" 2>/dev/null || [ -d "$queue" ] ||
        quit 20 "The queue '$queue' cannot be made"
    for part in jobs incoming scripts; do
        mkdir "$queue/$part" 2>/dev/null || [ -d "$queue/$part" ] ||
            quit 20 "Cannot write to '$queue'"
    done
    install_scripts "$2"
    carry_over "$2"
    [ -n "$runtime" ] || select_runtime "$1" "$2"
    [ -f "$queue/scripts/$2/runtimes/$runtime/runtime.sh" ] ||
        quit 12 "The queue '$queue' needs the runtime '$runtime', which this tej does not have"
    write_version "$@"
}

# install_scripts DIGEST
install_scripts() {
    fresh=$queue/incoming/scripts.$$
    mkdir "$fresh" && unpack "$fresh" || {
        rm -rf "$fresh"
        quit 20 "The queue '$queue' cannot be set up: nothing can be written there"
    }
    # What is there under this name and was refused is damaged.
    [ ! -d "$queue/scripts/$1" ] || [ "$scripts" != "$1" ] ||
        mv "$queue/scripts/$1" "$queue/incoming/old.$$"
    mv "$fresh" "$queue/scripts/$1" 2>/dev/null
    rm -rf "$queue/scripts/$1/${fresh##*/}" "$fresh" "$queue/incoming/old.$$"
    [ -d "$queue/scripts/$1" ] || quit 20 "Cannot write to '$queue/scripts'"
}

# carry_over DIGEST: the runtime of the queue, if this client does not bring it.
carry_over() {
    [ -n "$runtime" ] && [ ! -d "$queue/scripts/$1/runtimes/$runtime" ] &&
        [ -d "$queue/scripts/$scripts/runtimes/$runtime" ] || return 0
    fresh=$queue/incoming/runtime.$$
    cp -R "$queue/scripts/$scripts/runtimes/$runtime" "$fresh" &&
        mv "$fresh" "$queue/scripts/$1/runtimes/$runtime"
    rm -rf "$fresh"
}

# select_runtime RUNTIME DIGEST: what is asked for, if it is here; with `auto` the scheduler
# that is, or `default`.  A scheduler that is installed and does not answer is not chosen,
# and that is said.
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
    [ -n "$why" ] || quit 12 "The runtime '$runtime' cannot be used here: what it needs is not installed"
    warn "$why"
}

# try_runtime DIGEST [auto]: is $runtime to be had here?  If not, why=words for what is wrong with
# it; none if it is just not there.
try_runtime() {
    why=$(
        here=$queue/scripts/$1
        . "$here/lib/facts.sh" && . "$here/runtimes/$runtime/runtime.sh" && runtime_here "${2-}" 2>/dev/null
    )
}

# warn WORDS: to whoever sets the queue up.
warn() {
    printf '%s\0' "warning=$*"
}

# write_version RUNTIME DIGEST VERSION: from here on it is a queue.
write_version() {
    fresh=$queue/.version.$$
    printf 'tej 1\nruntime %s\nscripts %s %s\n' "$runtime" "$2" "$3" >"$fresh" ||
        quit 20 "Cannot write to '$queue'"
    # A link can be made only once, so that the first one's runtime stays; where there are
    # no hard links, the last one's does.
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
