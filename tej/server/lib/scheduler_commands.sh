# Runs the commands of a scheduler with a time limit, and with the PATH and variables that they
# need.
# shellcheck shell=sh

command_timeout=60 # seconds for which a command of the scheduler may run

# patiently COMMAND...: run the command, with a time limit of $command_timeout seconds if
# `timeout` is installed. The commands of a scheduler hang while its server hangs.
patiently() {
    if command -v timeout >/dev/null 2>&1; then timeout "$command_timeout" "$@"; else "$@"; fi
}

# find_program NAME: check whether the program NAME is installed. If only login shells have it
# on their PATH, adds its directory to PATH, and records the directory in the queue.
find_program() {
    ! command -v "$1" >/dev/null 2>&1 || return 0
    dir=$(patiently /bin/sh -lc "command -v $1" </dev/null 2>/dev/null | tail -n 1)
    case $dir in /*/"$1") dir=${dir%/*} ;; *) return 1 ;; esac
    PATH=$PATH:$dir
    note_setup path "$dir"
}

# note_setup NAME WORDS: record WORDS as the property NAME of the scheduler, in a file of the
# queue.
note_setup() {
    make_queue_directory scheduler
    printf '%s\n' "$2" >"$queue/scheduler/.$1.$unique" && replace_file "$queue/scheduler/.$1.$unique" "$queue/scheduler/$1"
}

# read_setup NAME: set $noted to the recorded property NAME of the scheduler, or to ''.
read_setup() {
    noted=''
    [ ! -f "$queue/scheduler/$1" ] || IFS= read -r noted <"$queue/scheduler/$1"
}

read_setup path
[ -z "$noted" ] || PATH=$PATH:$noted

# find_variables NAME...: read these variables from a login shell, export them, and record them
# in the queue. On some servers, the scheduler's commands need variables that only login shells
# set. Returns 1 if no variable is set.
find_variables() {
    found=1
    for variable in "$@"; do
        value=$(patiently /bin/sh -lc "printf '\n%s\n' \"\${$variable-}\"" </dev/null 2>/dev/null | tail -n 1)
        [ -z "$value" ] || {
            eval "$variable=\$value && export $variable"
            note_setup "$variable" "$value"
            found=0
        }
    done
    return "$found"
}

# load_variables NAME...: export the variables NAME... that find_variables has recorded.
load_variables() {
    for variable in "$@"; do
        read_setup "$variable"
        [ -z "$noted" ] || eval "$variable=\$noted && export $variable"
    done
}
