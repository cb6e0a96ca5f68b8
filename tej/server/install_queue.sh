# Installer: creates a queue, or replaces the scripts of a queue. The client sends the
# installer only if the server requests it. Before the installer, the client sends a
# function `unpack DIRECTORY` that writes the scripts.
# shellcheck shell=sh

# install RUNTIME DIGEST VERSION: install the set of scripts DIGEST in $queue. An
# existing queue keeps its runtime. A new queue gets RUNTIME. If RUNTIME is `auto`, a
# new queue gets the runtime of the server's scheduler, or `default` if the server has
# no scheduler. Several clients can install scripts at the same time, because each step of the
# installation is a single rename.
install() {
    check_path_length
    parent=${queue%/*}
    (umask o-w && mkdir -p "${parent:-/}") || quit 20 "The directory '${parent:-/}' for the queue cannot be created"
    mkdir -m 700 "$queue" 2>/dev/null || [ -d "$queue" ] ||
        quit 20 "The queue '$queue' cannot be created"
    check_queue_trust
    find_replaceable
    [ -z "$replaceable" ] ||
        warn "every user can replace the queue: '$replaceable' is writable by all and has no sticky bit"
    # With a umask of 000 or 002, other users could write to the new files, and the next
    # check would refuse the queue. The user's own umask is restored at the end, because the jobs
    # inherit it.
    mask=$(umask)
    [ -n "${shared-}" ] || umask go-w
    make_directories
    install_scripts "$2"
    carry_over "$2"
    [ -n "$runtime" ] || select_runtime "$1" "$2"
    [ -f "$queue/scripts/$2/runtimes/$runtime/runtime.sh" ] ||
        quit 12 "The queue '$queue' needs the runtime '$runtime', which this tej does not have"
    write_version "$@"
    umask "$mask"
}

# check_path_length: quit if the path of the queue is so long that paths of files in the queue
# would exceed the limit of the system. Some files of a job could then be read and others not,
# and the job would seem to be lost or deleted.
check_path_length() {
    # The longest path below the queue is attempts/ID/N/job/.taken HOST BOOT SPACE PID START,
    # and an id has up to 200 characters.
    below=450
    path_limit=$(getconf PATH_MAX / 2>/dev/null)
    case $path_limit in '' | *[!0-9]*) path_limit=4096 ;; esac
    # If no process can be started, the length is 0, and the next step reports the cause.
    length=$(($(printf '%s' "$queue" | wc -c) + 0))
    [ "$length" -le $((path_limit - below)) ] ||
        quit 12 "The path of the queue has $length bytes, and at most $((path_limit - below)) are allowed: choose a shorter --queue"
}

# make_directories: create the directories of the queue with mode 700, or with mode 2770
# if the queue is shared with a group.
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
    # Earlier versions of tej created directories with the modes that the user's umask allows.
    # Therefore remove the permissions of other users.
    [ -n "${shared-}" ] || chmod go-rwx "$queue"/*/ 2>/dev/null
    return 0
}

# install_scripts DIGEST: write the scripts to scripts/DIGEST. If another client has
# already installed DIGEST, `mv` moves the new directory into the existing directory,
# and the new directory is removed there.
install_scripts() {
    # The name contains the marker of the request, because clients in several containers may have
    # the same pid ($unique in facts.sh).
    fresh=$queue/incoming/scripts.$marker
    mkdir "$fresh" && unpack "$fresh" || {
        rm -rf "$fresh"
        quit 20 "The queue '$queue' cannot be set up: its scripts cannot be written: the disk may be full, or the umask ($(umask)) or the limit of file sizes (ulimit -f: $(ulimit -f)) may be too strict"
    }
    # If the queue already uses DIGEST, the installed scripts could not be loaded, so
    # they are damaged. Move the damaged scripts away.
    [ ! -d "$queue/scripts/$1" ] || [ "$scripts" != "$1" ] ||
        mv "$queue/scripts/$1" "$queue/incoming/old.$marker"
    mv "$fresh" "$queue/scripts/$1" 2>/dev/null
    rm -rf "$queue/scripts/$1/${fresh##*/}" "$fresh" "$queue/incoming/old.$marker"
    [ -d "$queue/scripts/$1" ] || quit 20 "Cannot write to '$queue/scripts'"
}

# carry_over DIGEST: copy the queue's runtime from the old scripts if the new scripts do
# not contain this runtime.
carry_over() {
    [ -n "$runtime" ] && [ ! -d "$queue/scripts/$1/runtimes/$runtime" ] &&
        [ -d "$queue/scripts/$scripts/runtimes/$runtime" ] || return 0
    fresh=$queue/incoming/runtime.$marker
    cp -R "$queue/scripts/$scripts/runtimes/$runtime" "$fresh" &&
        mv "$fresh" "$queue/scripts/$1/runtimes/$runtime"
    rm -rf "$fresh"
}

# select_runtime RUNTIME DIGEST: set $runtime to RUNTIME if the server supports it. If
# RUNTIME is `auto`, set $runtime to the runtime of the server's scheduler, or to
# `default` if the server has no scheduler. If schedulers are installed, but none of them
# answers, `auto` selects `default`, because many workstations have only the programs of a
# scheduler. `auto` then also sends a warning, because the server may be a login node.
select_runtime() {
    runtime=$1 silent=''
    [ "$runtime" != auto ] || {
        for path in "$queue/scripts/$2"/runtimes/*/runtime.sh; do
            runtime=${path%/*} runtime=${runtime##*/}
            [ "$runtime" != default ] || continue
            ! try_runtime "$2" auto || {
                notify_of_scheduler
                return
            }
            [ -z "$why" ] || silent="${silent:+$silent; }$why"
        done
        [ -z "$silent" ] ||
            warn "$silent: the jobs of this queue will run without a scheduler (runtime 'default'); to use the scheduler later, create another queue (--queue PATH)"
        runtime=default
        return
    }
    [ -f "$queue/scripts/$2/runtimes/$runtime/runtime.sh" ] && ! try_runtime "$2" || return 0
    [ -n "$why" ] || quit 12 "The runtime '$runtime' cannot be used on this server: its programs are not installed"
    warn "$why"
}

# notify_of_scheduler: notify the client that the new queue submits its jobs to a
# scheduler, because the user has not selected a runtime.
notify_of_scheduler() {
    case $runtime in
        slurm) words=Slurm ;;
        pbs) words=PBS ;;
        sge) words='Grid Engine' ;;
        *) words="the runtime '$runtime'" ;;
    esac
    printf '%s\0' "notice=using $words; --runtime default runs without it"
}

# try_runtime DIGEST [auto]: check whether the server supports $runtime. If the server
# does not support $runtime, returns nonzero and sets $why to the reason. If the
# scheduler's programs are not installed, $why is empty.
try_runtime() {
    why=$(
        here=$queue/scripts/$1
        . "$here/lib/facts.sh" && . "$here/runtimes/$runtime/runtime.sh" && runtime_here "${2-}" 2>/dev/null
    )
}

# warn MESSAGE...: send a warning to the client.
warn() {
    printf '%s\0' "warning=$*"
}

# write_version RUNTIME DIGEST VERSION: write $queue/version, which makes the directory
# a queue. `ln` or `mv` creates the file in one step.
write_version() {
    fresh=$queue/.version.$marker
    printf 'tej 1\nruntime %s\nscripts %s %s\n' "$runtime" "$2" "$3" >"$fresh" ||
        quit 20 "Cannot write to '$queue'"
    # `ln` fails if the file exists. Therefore, if several clients create the queue, the
    # queue gets the runtime of the first client. On a file system without hard links,
    # the queue gets the runtime of the last client.
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
