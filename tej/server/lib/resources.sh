# Reads the resources that a job requests, and the scheduler directives (#SBATCH, #PBS, #$) in
# the job's script.
# shellcheck shell=sh
#
# The client writes the job's file `resources`, one KEY=VALUE per line:
#
#   nodes tasks tasks_per_node cpus gpus walltime (seconds) memory memory_per_cpu (bytes)
#   gpu_type partition account qos constraint reservation name priority mail
#   mail_on       comma-separated events: begin,end,fail
#   begin         @SECONDS since 1970, +SECONDS from now, or YYYYMMDDhhmmss
#   exclusive=1   requeue=0|1
#   option        an argument of the scheduler's submit command; repeatable
#   module        environment module, loaded by job_environment.sh; repeatable
#   default_name  name of the job if neither `name` nor the script sets one
#   script        path below stage/ of the script whose directives are read

# read_resources: set r_KEY from each KEY in the job's file `resources`, or to ''. Sets
# $r_options to the options, one per line, and $r_given to the keys that only a scheduler can
# satisfy. Returns 1 and sets $why if a value is invalid.
read_resources() {
    r_nodes='' r_tasks='' r_tasks_per_node='' r_cpus='' r_gpus='' r_walltime='' r_memory=''
    r_memory_per_cpu='' r_gpu_type='' r_partition='' r_account='' r_qos='' r_constraint=''
    r_reservation='' r_name='' r_priority='' r_mail='' r_mail_on='' r_begin=''
    r_exclusive='' r_requeue='' r_default_name='' r_script='' r_options='' r_given=''
    r_module=''
    [ -f "$job/resources" ] || return 0
    while IFS='=' read -r key value; do
        case $key in
            nodes | tasks | tasks_per_node | cpus | gpus | walltime | memory | memory_per_cpu)
                is_number "$value" && [ "$value" != 0 ] || {
                    why="'$value' is not a valid value of the resource '$key'"
                    return 1
                }
                eval "r_$key=\$value"
                ;;
            default_name | name | script | module)
                eval "r_$key=\$value"
                continue
                ;;
            gpu_type | partition | account | qos | constraint | reservation | priority | mail | \
                mail_on | begin | exclusive | requeue)
                eval "r_$key=\$value"
                case $key in gpu_type | mail_on | requeue) continue ;; esac
                ;;
            option) r_options="$r_options$value
" key=scheduler-option ;;
            *) continue ;;
        esac
        r_given="$r_given $key"
    done <"$job/resources" || {
        why="its file 'resources' cannot be read"
        return 1
    }
}

# in_megabytes [BYTES]: set $megabytes to BYTES (default $r_memory) in units of 1048576 bytes,
# rounded up. All numbers stay below 2^31, because mksh has only 32-bit arithmetic. Therefore
# BYTES is split into $millions * 1000000 + $below. One unit has 16384 * 64 bytes.
in_megabytes() {
    set -- "${1:-$r_memory}"
    millions=0 below=$1
    case $1 in
        ???????*)
            millions=${1%??????}
            below=${1#"$millions"}
            while case $below in 0?*) ;; *) false ;; esac do below=${below#0}; done
            ;;
    esac
    below=$(((below + 63) / 64 + millions % 16384 * 15625)) megabytes=$((millions / 16384))
    megabytes=$((megabytes * 15625 + (below + 16383) / 16384))
}

# as_clock: set $clock to $r_walltime in the format H:MM:SS.
as_clock() {
    clock=$(printf '%d:%02d:%02d' $((r_walltime / 3600)) $((r_walltime / 60 % 60)) $((r_walltime % 60)))
}

# set_begin: set $begin to $r_begin in the format YYYYMMDDhhmmss, in the local time of this
# host.
set_begin() {
    begin=$r_begin
    case $begin in
        +*) begin=$(($(date +%s) + ${begin#+})) ;;
        @*) begin=${begin#@} ;;
        *) return 0 ;;
    esac
    # GNU and busybox have `date -d`, and BSD has `date -r`.
    begin=$(date -d "@$begin" +%Y%m%d%H%M%S 2>/dev/null || date -r "$begin" +%Y%m%d%H%M%S)
}

# prepend WORD...: insert arguments at the front of $options, one per line.
prepend() {
    while [ $# -gt 0 ]; do
        prepended="$prepended$1
"
        shift
    done
    options=$prepended$options prepended=''
}

# refuse_resources KEY...: return 1 and set $why if the job requests a resource in KEY...
refuse_resources() {
    for key in "$@"; do
        case $key in
            gpu_type) [ -n "$r_gpu_type" ] || continue ;;
            *) case " $r_given " in *" $key "*) ;; *) continue ;; esac ;;
        esac
        why="$scheduler has no standard option for '$key': use --scheduler-option with the option of your site"
        return 1
    done
}

# note_ignored: write the job's file `ignored`: the requested resources that the default runtime
# ignores. The walltime is not ignored, because the job's wrapper enforces it.
note_ignored() {
    ignored=''
    for key in $r_given; do
        case "$ignored $key" in *" walltime" | *" $key "*) ;; *) ignored="$ignored $key" ;; esac
    done
    [ -z "$ignored" ] || put ignored "$ignored" || {
        why="cannot write to '$job'"
        return 1
    }
}

# describe_ignored: add the ignored resources to $note.
describe_ignored() {
    ignored=''
    read -r ignored <"$job/ignored"
    note="${note:+$note; }runtime $runtime ignores: $ignored"
}

# find_directives: set $directives to the directives in the job's script. Slurm and PBS read
# directives up to the first command, and Grid Engine in the whole script. PBS allows blanks
# before a directive.
find_directives() {
    directives=''
    [ -n "$r_script" ] && [ -f "$job/stage/$r_script" ] || return 0
    directives=$(LC_ALL=C awk -v marks="$directive_marks" '
        BEGIN { count = split(marks, mark, " ") }
        { sub(/\r$/, "") }
        /^[ \t]*$/ { next }
        !/^[ \t]*#/ { if (marks == "#$") next; exit }
        {
            for (i = 1; i <= count; i++) {
                line = $0
                if (mark[i] == "#PBS") sub(/^[ \t]+/, "", line)
                if (index(line, mark[i]) != 1) continue
                line = substr(line, length(mark[i]) + 1)
                if (sub(/^[ \t]+/, " ", line)) print mark[i] line
            }
        }
    ' "$job/stage/$r_script" 2>/dev/null)
}

# For the awk programs below. split_words(LINE, LIST): split a directive into LIST[1], LIST[2],
# ... as the scheduler does, and return their number. Words keep their quotes, and a comment
# ends the directive. If a quote is not closed, quotes have no special meaning.
# shellcheck disable=SC2016 # awk code
split_words='
    function split_words(line, list,    i, c, quote, word, count) {
        count = split("", list)
        quote = word = ""
        for (i = 1; i <= length(line); i++) {
            c = substr(line, i, 1)
            if (quote != "") {
                if (c == quote) quote = ""
            } else if (c == " " || c == "\t") {
                if (word != "") list[++count] = word
                word = ""
                continue
            } else if (c == "#" && word == "" && count > 0) break
            else if (c == "\"" || c == "\047") quote = c
            word = word c
        }
        if (word != "") list[++count] = word
        if (quote == "") return count
        sub(/[ \t]#.*/, "", line)
        return split(line, list, " ")
    }
'

# check_directives: set $requested_options to the options in the script and in $r_options. The
# format is NAME=VALUE, each followed by a space, without quotes and blanks in VALUE. Returns 1
# and sets $why if an option requests a job array, or makes the submission wait for the job.
check_directives() {
    find_directives
    # Each line after the line `//` is one argument in $r_options.
    requested_options=" $(printf '%s\n' "$directives" // "$r_options" | LC_ALL=C awk -v mark="${directive_marks%% *}" "$split_words"'
        # -a, -t and -J request a job array in one scheduler, and have other meanings in
        # another.
        function is_array(word, value) {
            if (words[1] == "#SBATCH") return word ~ /^(-a|--array)$/
            return word ~ /^-[Jt]$/ && value ~ /^[0-9]+[-,]/
        }
        function is_wait(word, value) {
            if (words[1] == "#SBATCH") return word ~ /^(-W|--wait)$/
            if (words[1] == "#$") return word == "-sync" && value ~ /^y/
            return value ~ /(^|,)block=[tT]/
        }
        function check(count,    i, word, value, at) {
            for (i = 2; i <= count; i++) {
                if (words[i] !~ /^-/) continue
                word = words[i]
                value = i == count || words[i + 1] ~ /^-/ ? "" : words[i + 1]
                if (word ~ /^--/ && (at = index(word, "="))) {
                    value = substr(word, at + 1)
                    word = substr(word, 1, at - 1)
                } else if (word ~ /^-[A-Za-z]./ && words[1] != "#$") {
                    value = substr(word, 3)
                    word = substr(word, 1, 2)
                }
                gsub(/["\047 \t]/, "", value)
                # The reason is printed after the options, on a line that begins with `it` (see
                # $why below).
                if (is_array(word, value)) wrong = "requests a job array (" words[i] "): submit the jobs one by one"
                if (is_wait(word, value)) wrong = "makes the submission wait for the job (" words[i] "): use tej wait instead"
                printf "%s=%s ", word, value
            }
        }
        $0 == "//" {
            words[count = 1] = mark
            next
        }
        count {
            if ($0 != "") words[++count] = $0
            next
        }
        { check(split_words($0, words)) }
        END {
            check(count)
            if (wrong != "") print "\nit " wrong
        }')"
    why=''
    case $requested_options in *"${newline}it "*) why=${requested_options##*"$newline"} ;; esac
    [ -z "$why" ]
}

# is_requested NAME...: check whether the script's directives or $r_options contain one of the
# options NAME...
is_requested() {
    for word in "$@"; do
        case $requested_options in *" $word="*) return 0 ;; esac
    done
    return 1
}

# copy_directives: print the directives that the submission does not override. $replaced
# contains the overridden options, and $replaced_list the overridden `#PBS -l` resources.
copy_directives() {
    [ -n "$directives" ] || return 0
    [ -n "$replaced$replaced_list" ] || {
        printf '%s\n' "$directives"
        return
    }
    printf '%s\n' "$directives" | LC_ALL=C awk -v options=" $replaced " -v list=" $replaced_list " "$split_words"'
        # keep(value): return the comma-separated resources in value, except those in `list`.
        function keep(value,    parts, count, i, name, kept) {
            count = split(value, parts, ",")
            kept = ""
            for (i = 1; i <= count; i++) {
                name = parts[i]
                sub(/=.*/, "", name)
                if (!index(list, " " name " ")) kept = kept (kept == "" ? "" : ",") parts[i]
            }
            return kept
        }
        {
            count = split_words($0, words)
            line = words[1]
            for (i = 2; i <= count; i++) {
                name = words[i]
                sub(/=.*/, "", name)
                if (index(options, " " name " ")) {
                    if (words[i] !~ /=/) i++ # the next word is the value of the option
                } else if (words[1] == "#PBS" && words[i] ~ /^-l/) {
                    value = words[i] == "-l" ? words[++i] : substr(words[i], 3)
                    value = keep(value)
                    if (value != "") line = line " -l " value
                } else line = line " " words[i]
            }
            if (line != words[1]) print line
        }'
}
