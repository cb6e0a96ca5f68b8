# Installer: creates a queue, or replaces the scripts of a queue. The server requests the
# installer from the client. The client also sends the function `unpack DIRECTORY`, which writes
# the scripts. Each step is a single rename, so several clients can install at the same time.
# shellcheck shell=sh

# install RUNTIME DIGEST VERSION: install the scripts with this DIGEST in $queue. A new queue
# gets RUNTIME (select_runtime). An existing queue keeps its runtime.
install() {
    check_path_length
    command -v mv >/dev/null 2>&1 || quit 20 "The program 'mv' is not found on the server: correct PATH in the start-up files there (PATH=${PATH-})"
    parent=${queue%/*}
    (umask o-w && mkdir -p "${parent:-/}") || quit 20 "The directory '${parent:-/}' for the queue cannot be created: choose another directory with --queue"
    mkdir -m 700 "$queue" 2>/dev/null || [ -d "$queue" ] || {
        why=$(LC_ALL=C mkdir -m 700 "$queue" 2>&1)
        quit 20 "The queue '$queue' cannot be created (${why##*: }): choose another directory with --queue"
    }
    check_queue_trust
    find_replaceable
    [ -z "$replaceable" ] ||
        warn "every user can replace the queue: '$replaceable' is writable by all and has no sticky bit"
    # A umask of 000 or 002 would let other users write to the new files (trust.sh). Jobs
    # inherit the user's umask, so the user's umask is restored at the end.
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

# check_path_length: quit if paths in the queue could exceed PATH_MAX. Some files of a job would
# then be unreadable, and the job would seem to be lost.
check_path_length() {
    # The longest path is attempts/ID/N/job/.taken HOST BOOT SPACE PID START, with an ID of 200
    # characters.
    below=450
    path_limit=$(getconf PATH_MAX / 2>/dev/null)
    case $path_limit in '' | *[!0-9]*) path_limit=4096 ;; esac
    # If no process can be started, the length is 0, and the next step reports the error.
    length=$(($(printf '%s' "$queue" | wc -c) + 0))
    [ "$length" -le $((path_limit - below)) ] ||
        quit 12 "The path of the queue has $length bytes, and at most $((path_limit - below)) are allowed: choose a shorter --queue"
}

# make_directories: create the directories of the queue. The mode is 700, or 2770 if a group
# shares the queue.
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
    # Earlier versions of tej created directories with the modes of the user's umask.
    [ -n "${shared-}" ] || chmod go-rwx "$queue"/*/ 2>/dev/null
    return 0
}

# install_scripts DIGEST: write the scripts to scripts/DIGEST. If scripts/DIGEST exists, `mv`
# moves the new scripts into it, and they are removed again. Sets $entry_count.
install_scripts() {
    # A pid would not be unique: several containers may share the home directory. So use $marker.
    fresh=$queue/incoming/scripts.$marker
    mkdir "$fresh" && unpack "$fresh" || {
        rm -rf "$fresh"
        quit 20 "The queue '$queue' cannot be set up: its scripts cannot be written: the disk may be full, or the umask ($(umask)) or the limit of file sizes (ulimit -f: $(ulimit -f)) may be too strict"
    }
    count_entries "$fresh"
    entry_count=$count
    # Move damaged scripts with this DIGEST away: those that could not be loaded, and those with
    # missing files, if the file `version` is missing, too.
    if [ -d "$queue/scripts/$1" ]; then
        count_entries "$queue/scripts/$1"
        [ "$scripts" != "$1" ] && [ "$count" -ge "$entry_count" ] ||
            mv "$queue/scripts/$1" "$queue/incoming/old.$marker"
    fi
    mv "$fresh" "$queue/scripts/$1" 2>/dev/null
    rm -rf "$queue/scripts/$1/${fresh##*/}" "$fresh" "$queue/incoming/old.$marker"
    [ -d "$queue/scripts/$1" ] || quit 20 "Cannot write to '$queue/scripts'"
}

# carry_over DIGEST: copy the queue's runtime from the old scripts, if the new scripts do not
# contain it.
carry_over() {
    [ -n "$runtime" ] && [ ! -d "$queue/scripts/$1/runtimes/$runtime" ] &&
        [ -d "$queue/scripts/$scripts/runtimes/$runtime" ] || return 0
    fresh=$queue/incoming/runtime.$marker
    cp -R "$queue/scripts/$scripts/runtimes/$runtime" "$fresh" &&
        mv "$fresh" "$queue/scripts/$1/runtimes/$runtime"
    rm -rf "$fresh"
}

# select_runtime RUNTIME DIGEST: set $runtime to RUNTIME. Quits if its programs are not
# installed, and sends a warning if its scheduler does not answer. `auto` selects the runtime of
# the server's scheduler. If no scheduler answers, `auto` selects `default`: many workstations
# have the programs of a scheduler that is not running.
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

# notify_of_scheduler: tell the client which scheduler `auto` has selected.
notify_of_scheduler() {
    case $runtime in
        slurm) shown_runtime=Slurm ;;
        pbs) shown_runtime=PBS ;;
        sge) shown_runtime='Grid Engine' ;;
        *) shown_runtime="the runtime '$runtime'" ;;
    esac
    printf '%s\0' "notice=using $shown_runtime; --runtime default runs without it"
}

# try_runtime DIGEST [auto]: check whether the server supports $runtime. Otherwise returns
# nonzero and sets $why to the reason. $why is empty if the scheduler's programs are not
# installed.
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

# write_version RUNTIME DIGEST VERSION: create $queue/version in one step. This file makes the
# directory a queue.
write_version() {
    fresh=$queue/.version.$marker
    printf 'tej 1\nruntime %s\nscripts %s %s\nentries %s\n' "$runtime" "$2" "$3" "$entry_count" >"$fresh" ||
        quit 20 "Cannot write to '$queue'"
    # If several clients create the queue, `ln` succeeds only for the first, whose runtime is
    # used. Without hard links, the last client decides.
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
