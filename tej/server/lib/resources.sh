# What a job asks for, and what its script says to the scheduler itself.
# shellcheck shell=sh
#
# The file `resources` of a job, which the client writes: lines KEY=VALUE, numbers where
# they are numbers: nodes, cpus (of each node), memory (of each node, in bytes), gpus (of
# each node), walltime (in seconds), partition, account, script (the file that is run,
# below stage/), and any number of `option`, each a word for the scheduler's command.

# read_resources: r_KEY=VALUE of each, empty if not asked for, r_given=those that were, and
# r_options=the options, one a line.
read_resources() {
    r_nodes='' r_cpus='' r_memory='' r_gpus='' r_walltime='' r_partition='' r_account=''
    r_script='' r_options='' r_given=''
    [ -f "$job/resources" ] || return 0
    while IFS='=' read -r key value; do
        case $key in
            nodes | cpus | memory | gpus | walltime)
                is_number "$value" && [ "$value" != 0 ] || {
                    why="'$value' cannot be the $key of a job"
                    return 1
                }
                eval "r_$key=\$value"
                ;;
            partition | account | script) eval "r_$key=\$value" ;;
            option) r_options="$r_options$value
" key=scheduler-option ;;
            *) continue ;;
        esac
        [ "$key" = script ] || r_given="$r_given $key"
    done <"$job/resources"
}

# in_megabytes: megabytes=r_memory, rounded up.
in_megabytes() {
    megabytes=$(((r_memory + 1048575) / 1048576))
}

# as_clock: clock=r_walltime as H:MM:SS.
as_clock() {
    clock=$(printf '%d:%02d:%02d' $((r_walltime / 3600)) $((r_walltime / 60 % 60)) $((r_walltime % 60)))
}

# find_directives: directives=the lines at the top of the job's script that are for the
# scheduler, those that begin with one of $directive_marks.
find_directives() {
    directives=''
    [ -n "$r_script" ] && [ -f "$job/stage/$r_script" ] || return 0
    directives=$(LC_ALL=C awk -v marks="$directive_marks" '
        BEGIN { count = split(marks, mark, " ") }
        { sub(/\r$/, "") }
        /^[ \t]*$/ { next }
        !/^#/ { exit }
        { for (i = 1; i <= count; i++) if (index($0, mark[i] " ") == 1) print }
    ' "$job/stage/$r_script" 2>/dev/null)
}

# check_directives: 1, and why, if these or the options would make something else than one
# job of it.
check_directives() {
    find_directives
    set -f
    # shellcheck disable=SC2086 # words
    set -- $r_options
    set +f
    why=$(printf '%s\n' "$directives" "${directive_marks%% *} $*" | LC_ALL=C awk '
        # The letter of an array to one of them is a name or a time to the other.
        function is_array(word, value) {
            if ($1 == "#SBATCH") return word ~ /^(-a|--array(=|$))/
            return word ~ /^-[Jt]/ && (length(word) > 2 ? substr(word, 3) : value) ~ /^[0-9]+[-,]/
        }
        function is_wait(word, value) {
            if ($1 == "#SBATCH") return word ~ /^(-W$|--wait$)/
            if ($1 == "#$") return word == "-sync" && value ~ /^y/
            return value ~ /(^|,)block=[tT]/
        }
        { sub(/[ \t]#.*/, "") }
        {
            for (i = 2; i <= NF; i++) {
                if (is_array($i, $(i + 1))) wrong = "asks for an array of jobs (" $i "): submit them one by one"
                if (is_wait($i, $(i + 1))) wrong = "asks to be waited for (" $i "), which is left to tej"
            }
        }
        END { if (wrong != "") print "it " wrong }')
    [ -z "$why" ]
}

# copy_directives: print them.
copy_directives() {
    [ -z "$directives" ] || printf '%s\n' "$directives"
}
