# Prints the records (job_record.sh) of many jobs that were just started. One awk process reads
# the files of all jobs, because the shell's `read` is slow: it reads one byte at a time.
# commands/submit sources this file for 10 or more jobs.
# shellcheck shell=sh
#
# awk prints the record of a job only if the job has no fact files other than those that awk
# reads (has_usual_facts). In addition, the job's wrapper (the process that runs the script)
# must run on this host, or the script must have ended by itself. The shell prints the records
# of all other jobs. A record must not depend on which program prints it: see read_facts
# (state.sh) and print_job (job_record.sh).

# print_started_jobs ID TOKEN [ID TOKEN]...: print the records of started jobs. Sets $others to
# the ids and tokens of the jobs whose records are not printed.
print_started_jobs() {
    others='' usual=''
    # If `printf` is a program (mksh), the kernel limits the size of its arguments. In this
    # case, the shell prints all records.
    case $(command -v printf) in
        /*)
            others=$*
            return
            ;;
    esac
    get_host
    while [ $# -gt 0 ]; do
        id=$1 job=$jobs/$1
        if [ -n "$proc" ] && has_usual_facts; then
            usual="$usual$1 $2$newline"
        else
            others="$others $1 $2"
        fi
        shift 2
    done
    records=$(cd "$jobs" && printf '%s' "$usual" | read_started_jobs 2>/dev/null)
    # If awk has failed, its output has no last line.
    case $records in
        *"$newline."*) ;;
        *) records="$newline. $usual" ;;
    esac
    others="$others${records##*"$newline".}" records=${records%"$newline".*}
    split_lines
    # shellcheck disable=SC2086 # split into words
    set -- $records
    end_split
    [ $# = 0 ] || printf '%s\0' "$@"
}

# has_usual_facts: check whether $job has the files that read_started_jobs reads, and no file
# that read_started_jobs ignores. The files must be regular, because awk would block at a FIFO.
has_usual_facts() {
    for fact in spec submitted native_id started; do [ -f "$job/$fact" ] || return 1; done
    [ ! -e "$job/finished" ] || [ -f "$job/finished" ] || return 1
    for fact in kill lost queued reason ignored changed parameters downloaded on_end; do
        [ ! -e "$job/$fact" ] || return 1
    done
    [ ! -e "$queue/attempts/$id/last" ]
}

# read_started_jobs: read lines ID TOKEN from stdin. Prints an empty line, the words of the
# records, each on a line, and a last line: a dot, and the ids and tokens of the other jobs.
read_started_jobs() {
    LC_ALL=C awk -v here="pid $host $boot $space" -v proc="$proc" '
        # read_line(PATH): set line to the first line of the file. Returns 0 unless the line
        # consists of printable ASCII characters.
        function read_line(path) {
            line = ""
            getline line < path
            close(path)
            return line ~ /^[ -~]+$/
        }
        function is_number(word) {
            return word ~ /^(0|[1-9][0-9]*)$/ && length(word) <= 15
        }
        # runs(PID, START): like is_alive (process_identity.sh).
        function runs(pid, start, field) {
            read_line(proc "/" pid "/stat")
            sub(/^.*\) /, "", line)
            return split(line, field, " ") >= 20 && field[1] !~ /[ZXx]/ && field[20] == start
        }
        # read_job(): set record to the record of the job with the id in id and the token in
        # token. Returns 0 if the shell must print the record.
        function read_job(spec, count, word, native, end, state, begun) {
            if (!read_line(id "/spec") || line !~ / end$/ || !index(line, "token=" token " ")) return 0
            spec = line
            if (!read_line(id "/submitted")) return 0
            split(line, word, " ")
            submitted = word[1]
            if (!read_line(id "/started") || split(line, begun, " ") < 2) return 0
            if (!is_number(submitted) || !is_number(begun[1])) return 0
            if (!read_line(id "/native_id")) return 0
            native = line
            if (split(native, word, " ") != 6) return 0
            if (word[1] " " word[2] " " word[3] " " word[4] != here) return 0
            state = "running"
            if (read_line(id "/finished")) {
                count = split(line, end, " ")
                if (count < 4 || !is_number(end[1]) || !is_number(end[3])) return 0
                if (end[2] !~ /^(exit|signal)$/ || end[4] != "own" || (count > 4 && end[5] != "0")) return 0
                state = "finished\nhow=" end[2] "\nnumber=" end[3] "\nended=" end[1]
            } else if (line != "" || !runs(word[5], word[6])) return 0
            # Compare `spec`: another client may have replaced the job by a job with the same id.
            if (!read_line(id "/spec") || line != spec) return 0
            record = "id=" id "\nstate=" state "\nspec=" spec "\nsubmitted=" submitted "\nstarted=" begun[1]
            record = record "\nwhere=" begun[2] "\nnative=" native "\nours=1"
            return 1
        }
        BEGIN { print "" }
        {
            id = $1
            token = $2
            if (read_job()) print record
            else others = others " " id " " token
        }
        END { print "." others }'
}
