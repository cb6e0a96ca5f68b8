# Checks of many uploaded jobs with one awk process. The shell's `read` is slow, because it
# reads one byte at a time. commands/submit sources this file for 10 or more jobs. If a check
# fails, commands/submit checks each job separately, to find the reason.
# shellcheck shell=sh

# are_usual_uploads ID TOKEN [ID TOKEN]...: check whether the upload contains all these jobs,
# and whether all of them are complete and request no resources.
are_usual_uploads() {
    read_specs "$room/new" "$*" '^(default_name|script)='
}

# are_published ID TOKEN [ID TOKEN]...: check whether the queue contains all these jobs with
# these tokens. A job with the same id and another token is the job of another client.
are_published() {
    read_specs "$jobs" "$*" ''
}

# read_specs DIRECTORY WORDS KEYS: check whether DIRECTORY contains a complete file `spec` with
# the right token for each job in WORDS (`ID TOKEN [ID TOKEN]...`). If KEYS is not empty, each
# line of a job's file `resources` must match KEYS.
read_specs() {
    tej_directory=$1 tej_words=$2 tej_keys=$3 LC_ALL=C awk '
        BEGIN {
            keys = ENVIRON["tej_keys"]
            count = split(ENVIRON["tej_words"], word, " ")
            for (i = 1; i < count; i += 2) {
                path = ENVIRON["tej_directory"] "/" word[i]
                line = ""
                getline line < (path "/spec")
                close(path "/spec")
                if (line !~ / end$/ || !index(line, "token=" word[i + 1] " ")) exit 1
                if (keys == "") continue
                path = path "/resources"
                while ((found = (getline line < path)) > 0) if (line !~ keys) exit 1
                if (found < 0) exit 1
                close(path)
            }
            exit count == 0
        }' </dev/null 2>/dev/null
}
