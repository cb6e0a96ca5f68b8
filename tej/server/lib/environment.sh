# Environment of the user: variables and functions that would change what tej's own scripts
# do are set aside, and restored for the job.
# shellcheck shell=sh
#
#   tej_kept             names of variables
#   tej_kept_NAME        the value of each
#   tej_kept_functions   definitions of functions

# hide_functions: bash finds functions in its environment.  One called `mv` or `cd` would
# take the place of what these scripts call.  What is used here cannot be replaced so: a
# POSIX shell looks for its special builtins first.
hide_functions() {
    [ -n "${BASH_VERSION-}" ] || return 0
    unset -f typeset
    # shellcheck disable=SC3045 # bash alone comes here
    tej_names=$(export -f)
    set -f
    for tej_name in $tej_names; do
        case $tej_name in *[!A-Za-z0-9_]* | [0-9]*) continue ;; esac
        # shellcheck disable=SC3044
        tej_text=$(typeset -f "$tej_name") || continue
        tej_kept_functions="${tej_kept_functions-}$tej_text
export -f $tej_name
"
        unset -f "$tej_name"
        export tej_kept_functions
    done
    set +f
    unset tej_names tej_name tej_text
}

# At once: what is defined from here on may have the name of such a function.
hide_functions
unset -f hide_functions

# hide_environment: set variables aside, before anything else is done.
hide_environment() {
    # If one of that name was exported, each tool would be handed the text of the program.
    unset tej
    set -f
    IFS='
'
    # shellcheck disable=SC2046 # a line each
    set -- $(export -p)
    unset IFS
    set +f
    for tej_name in "$@"; do
        tej_name=${tej_name#declare -x } tej_name=${tej_name#export }
        tej_name=${tej_name%%=*}
        case $tej_name in
            '' | *[!A-Za-z0-9_]* | tej_* | *_proxy) continue ;;
            # One by one: in some locales `a-z` has capitals in it.
            [abcdefghijklmnopqrstuvwxyz]*) ;;
            GREP_OPTIONS | POSIXLY_CORRECT | QUOTING_STYLE | TAR_OPTIONS) ;;
            # bash: what its `*` leaves out, and how long its `read` waits.
            GLOBIGNORE | TMOUT) ;;
            SACCT_* | SBATCH_ARRAY_INX | SBATCH_WAIT | SCANCEL_* | SQUEUE_*) ;;
            *) continue ;;
        esac
        # A line of a value may look like the name of another.
        eval "tej_value=\${$tej_name-} tej_is_set=\${$tej_name+1}"
        [ -z "$tej_is_set" ] || {
            eval "tej_kept_$tej_name=\$tej_value"
            tej_kept="${tej_kept-} $tej_name"
            export tej_kept "tej_kept_$tej_name"
            unset "$tej_name"
        }
    done
    unset tej_name tej_value tej_is_set
}

# restore_environment: the last step before the job's own commands.
restore_environment() {
    for tej_name in ${tej_kept-}; do
        eval "$tej_name=\$tej_kept_$tej_name"
        export "${tej_name?}"
        unset "tej_kept_$tej_name"
    done
    eval "${tej_kept_functions-}"
    unset tej_kept tej_name tej_kept_functions
}
