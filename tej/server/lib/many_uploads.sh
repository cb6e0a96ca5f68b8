# Uploads of many jobs: one awk process reads the files of all jobs, because the shell's `read`
# needs a system call for each byte. `submit` sources this file if a request has at least 10 jobs.
# If a check below fails, `submit` checks each job separately, and finds the reason.
# shellcheck shell=sh

# are_usual_uploads ID TOKEN [ID TOKEN]...: check whether the upload's directory `new` contains
# all these jobs, each job is complete, and no job requests resources.
are_usual_uploads() {
    read_specs "$room/new" "$*" '^(default_name|script)='
}

# are_published ID TOKEN [ID TOKEN]...: check whether `jobs` contains all these jobs with
# these tokens. Another client may have removed a job, and submitted a job with the same id.
are_published() {
    read_specs "$jobs" "$*" ''
}

# read_specs DIRECTORY WORDS KEYS: check whether each job in WORDS (`ID TOKEN [ID TOKEN]...`) has
# a complete `spec` with its token in DIRECTORY. If KEYS is not empty, also check whether KEYS
# matches each line of the file `resources` of each job.
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
