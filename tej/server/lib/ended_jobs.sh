# Records (job_record.sh) of 50 or more ended jobs. One awk process reads the files of all jobs,
# because `read` of the shell makes a system call for each byte.
# shellcheck shell=sh
#
# awk prints the record of a simple job, as read_facts (state.sh) and print_job (job_record.sh)
# would. The shell prints the record of every other job: a job that has not ended, that has left
# processes running, or that has a damaged file or a file that awk does not read. A FIFO in the
# directory of a job would block awk, so find_special_files finds FIFOs first. Opening files
# takes most of the time. Therefore awk prefers the second line of `finished` (copy_facts in
# run_detached.sh), which repeats the content of several files.

# print_ended ID...: print the records of simple ended jobs, and set $others to the other ids,
# each followed by a newline. An ID may be the path of a job's directory with a trailing slash.
# Returns 1 and prints nothing if awk cannot be used.
print_ended() {
    case $* in *"$newline"*) return 1 ;; esac
    command -v awk >/dev/null 2>&1 && command -v find >/dev/null 2>&1 || return 1
    # The records go to descriptor 4, and the other ids to descriptor 5.
    {
        others=$(
            exec 5>&1
            cd "$jobs" && { find_special_files "$@" && print_words // "$@"; } | read_ended_jobs $# | {
                tr '\n' '\0' >&4 && printf 'sent\n' >&5
            }
        )
    } 4>&1
    case $newline$others in
        *"${newline}end${newline}sent") others=${others%end?sent} ;;
        *) quit 20 "The jobs of '$queue' cannot be listed: awk or tr has failed, or awk has not received all ids" ;;
    esac
}

# find_special_files ID...: print the paths, such as ID/NAME, of FIFOs and other special files
# in the directories of these jobs. Searches all jobs if there are more than 1,000 ids, or if
# the arguments are paths.
find_special_files() {
    inside='*/*'
    [ $# -le 1000 ] && [ "$1" = "${1#/}" ] || {
        set -- .
        inside='./*/*'
    }
    for directory in "$jobs" "$queue/attempts"; do
        (cd "$directory" && find "$@" -path "$inside" \( -type d -prune -o ! -type f -print \)) 2>/dev/null
    done
    return 0
}

# read_ended_jobs COUNT: print the records of ended jobs, one word on each line. Reads the
# output of find_special_files, the line `//`, and the COUNT arguments of print_ended. Prints
# the other ids on descriptor 5, then `end` if awk has received all arguments. mksh does not
# pass descriptors opened by `exec` to programs, so awk writes to descriptor 3.
read_ended_jobs() {
    tej_count=$1 tej_attempts=$queue/attempts tej_runtime=$runtime LC_ALL=C awk '
        # read_line(PATH): set line to the first line of the file. Returns 1 if the file exists.
        # Sets odd if the line is empty or contains characters other than printable ASCII.
        function read_line(path, found) {
            line = ""
            found = (getline line < path)
            if (found < 0) return 0
            close(path)
            if (found == 0 || line !~ /^[ -~]+$/) odd = 1
            return 1
        }
        function is_number(word) {
            return word ~ /^(0|[1-9][0-9]*)$/ && length(word) <= 15
        }
        # rest(COUNT): return the line without the first COUNT words and the spaces at both
        # ends.
        function rest(count, text) {
            text = line
            while (count-- > 0) sub(/^ *[^ ]+/, "", text)
            gsub(/^ +| +$/, "", text)
            return text
        }
        function add(key, value) {
            if (value != "") record = record key "=" value "\n"
        }
        # read_end(): set line and copy to the two lines of the file finished. Returns 0 if the
        # first line is missing or is not printable ASCII.
        function read_end(path, found) {
            path = id "/finished"
            line = copy = ""
            found = (getline line < path)
            if (found > 0) getline copy < path
            if (found >= 0) close(path)
            return found > 0 && line ~ /^[ -~]+$/
        }
        function read_spec() {
            return read_line(id "/spec") && line ~ /^token=.* end$/
        }
        function read_kill(word) {
            if (!read_line(id "/kill")) return 1
            split(line, word, " ")
            add("by", rest(2))
            return is_number(word[1]) && is_number(word[2])
        }
        # read_later_facts(): read the files that can appear after the end of the job. Returns 0
        # if the shell must print the record.
        function read_later_facts(word) {
            if (read_line(id "/downloaded")) {
                split(line, word, " ")
                add("downloaded", word[1])
            }
            if (read_line(attempts "/" id "/last")) return 0
            return !read_line(id "/reason") && !read_line(id "/parameters")
        }
        # read_job(): set record to the record of the job id. Returns 0 if the shell must print
        # the record.
        function read_job(word, count, end) {
            odd = 0
            record = ""
            if (id !~ /^[A-Za-z0-9_=@%:,+-][A-Za-z0-9_=@%:.,+-]*$/) return 0
            if (!read_end()) return 0
            count = split(line, end, " ")
            if (count < 4 || !is_number(end[1]) || !is_number(end[3])) return 0
            if (end[2] !~ /^(exit|signal|none)$/ || end[4] !~ /^(own|killed)$/) return 0
            if (count > 4 && end[5] != "0") return 0
            add("id", id)
            add("state", end[4] == "killed" ? "killed" : "finished")
            add("how", end[2])
            add("number", end[3])
            add("ended", end[1])
            if (split(copy, word, " ") == 11 && copy ~ /^[!-~][ -~]* end$/)
                return add_copied_facts(word, end[4] == "killed") && !odd
            return add_facts() && !odd
        }
        # add_copied_facts(WORD, KILLED): complete the record from the words of the second line
        # of finished, and from the files that this line does not repeat.
        function add_copied_facts(word, killed) {
            add("submitted", word[2])
            add("started", word[3])
            add("where", word[4])
            add("native", word[5] " " word[6] " " word[7] " " word[8] " " word[9] " " word[10])
            if (killed && !read_kill()) return 0
            if (!read_later_facts() || !read_spec()) return 0
            # Another client may have replaced the job. The token in spec has then changed.
            if (index(line, "token=" word[1] " ") != 1) return 0
            add("spec", line)
            return 1
        }
        # add_facts(): complete the record of a job whose file finished has no second line.
        function add_facts(spec, word, count) {
            if (!read_spec()) return 0
            spec = line
            add("spec", spec)
            if (read_line(id "/submitted")) {
                split(line, word, " ")
                if (!is_number(word[1])) return 0
                add("submitted", word[1])
            }
            if (read_line(id "/started")) {
                count = split(line, word, " ")
                if (count < 2 || !is_number(word[1])) return 0
                add("started", word[1])
            } else word[2] = ""
            add("where", word[2])
            if (read_line(id "/native_id")) {
                if (line !~ (line ~ /^pid / ? "^pid .* .* .* .* " : " ")) return 0
                add("native", line)
            }
            if (!read_kill()) return 0
            if (read_line(id "/ignored")) add("note", "runtime " runtime " ignores: " rest(0))
            if (!read_later_facts() || read_line(id "/changed") || read_line(id "/on_end")) return 0
            # Another client may have replaced the job meanwhile. The token in spec has then
            # changed.
            return read_line(id "/spec") && line == spec
        }
        BEGIN {
            runtime = ENVIRON["tej_runtime"]
            attempts = ENVIRON["tej_attempts"]
        }
        # The paths of special files precede the line `//`. No path contains this line, because
        # the name of a file may contain newlines, but no slash.
        $0 == "//" {
            is_id = 1
            next
        }
        !is_id {
            sub("^[.]/", "")
            sub("/.*", "")
            special[$0] = 1
            next
        }
        {
            received++
            id = $0
            sub("/$", "", id)
            sub(".*/", "", id)
            if (id in special || !read_job()) {
                print id | "cat >&3"
                next
            }
            # gawk makes a system call for each printf, so print about 8000 characters at once.
            records = records record
            if (length(records) > 8000) {
                printf "%s", records
                records = ""
            }
        }
        END {
            printf "%s", records
            if (received == ENVIRON["tej_count"] + 0) print "end" | "cat >&3"
        }' 3>&5
}
