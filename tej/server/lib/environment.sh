# Environment of the user: set aside the variables and functions that would change the
# behavior of tej's own scripts, and restore them for the job.
# shellcheck shell=sh
#
#   tej_kept             names of the variables
#   tej_kept_NAME        value of the variable NAME
#   tej_kept_functions   definitions of the functions

# hide_functions: set exported functions aside. bash imports functions from the
# environment, and a function called `mv` or `cd` would replace the command. This code
# itself is safe in POSIX mode, where special builtins take precedence over functions.
hide_functions() {
    [ -n "${BASH_VERSION-}" ] || return 0
    unset -f typeset
    # shellcheck disable=SC3045 # only bash gets here
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

# Called at once: a function defined below may have the name of an imported function.
hide_functions
unset -f hide_functions

# hide_environment: set the variables aside, before any other command runs.
hide_environment() {
    # An exported variable `tej` would pass the text of the program to every child
    # process.
    unset tej
    set -f
    IFS='
'
    # shellcheck disable=SC2046 # one variable per line
    set -- $(export -p)
    unset IFS
    set +f
    for tej_name in "$@"; do
        tej_name=${tej_name#declare -x } tej_name=${tej_name#export }
        tej_name=${tej_name%%=*}
        case $tej_name in
            '' | *[!A-Za-z0-9_]* | tej_* | *_proxy) continue ;;
            # Listed one by one, because `a-z` includes capitals in some locales.
            [abcdefghijklmnopqrstuvwxyz]*) ;;
            GREP_OPTIONS | POSIXLY_CORRECT | QUOTING_STYLE | TAR_OPTIONS) ;;
            # bash: GLOBIGNORE hides files from `*`, TMOUT sets a timeout for `read`.
            GLOBIGNORE | TMOUT) ;;
            SACCT_* | SBATCH_ARRAY_INX | SBATCH_WAIT | SCANCEL_* | SQUEUE_*) ;;
            *) continue ;;
        esac
        # A continuation line of a multi-line value may look like a variable: skip names
        # that are not set.
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

# restore_environment: restore the variables and functions, just before the job's command.
restore_environment() {
    for tej_name in ${tej_kept-}; do
        eval "$tej_name=\$tej_kept_$tej_name"
        export "${tej_name?}"
        unset "tej_kept_$tej_name"
    done
    eval "${tej_kept_functions-}"
    unset tej_kept tej_name tej_kept_functions
}
