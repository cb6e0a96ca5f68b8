# Hides the user's exported variables and functions that would change the behaviour of tej's
# scripts, and restores them for the job.
# shellcheck shell=sh
#
# The hidden variables and functions are saved in these variables:
#
#   tej_kept             names of the variables
#   tej_kept_NAME        value of the variable NAME
#   tej_functions        names of the functions
#   tej_function_NAME    definition of the function NAME; one variable for all functions could
#                        exceed 128 KiB, the limit of Linux for a variable
#   tej_kept_functions   definitions of all functions, if the client has an older tej

# reset_options: reset the shell options that bash imports from SHELLOPTS and BASHOPTS. These
# variables are read-only and cannot be unset, so they are no longer exported.
reset_options() {
    [ -n "${BASH_VERSION-}" ] || return 0
    # shellcheck disable=SC3040,SC3041,SC3044 # only bash gets here
    set +aefkmuvxCEPT -hB +o pipefail
    # shellcheck disable=SC3044
    shopt -u dotglob extglob failglob nocaseglob nocasematch nullglob
    # shellcheck disable=SC3045
    export -n SHELLOPTS BASHOPTS
}

reset_options
unset -f reset_options

# hide_functions: save and unset all exported functions. bash imports functions from the
# environment, and an imported function `mv` or `cd` would replace the command. In POSIX mode,
# special builtins such as `unset` take precedence over functions.
hide_functions() {
    [ -n "${BASH_VERSION-}" ] || return 0
    unset -f typeset
    # shellcheck disable=SC3045 # only bash gets here
    tej_names=$(export -f)
    set -f
    for tej_name in $tej_names; do
        case $tej_name in *[!A-Za-zIi0-9_]* | [0-9]*) continue ;; esac
        # shellcheck disable=SC3044
        tej_text=$(typeset -f "$tej_name") || continue
        eval "tej_function_$tej_name=\$tej_text"
        tej_functions="${tej_functions-} $tej_name"
        export tej_functions "tej_function_$tej_name"
        unset -f "$tej_name"
    done
    set +f
    unset tej_names tej_name tej_text
}

# Hide the functions now, because a function below may have the name of an imported function.
hide_functions
unset -f hide_functions

# hide_environment: save and unset the variables that would change the behaviour of tej's
# scripts. Must be called before any other command.
hide_environment() {
    # The variable `tej` contains the text of this program (COMMAND in
    # tej/transport/program_start.py). If the user exports `tej`, every child would inherit the
    # text.
    unset tej
    set -f
    IFS='
'
    # shellcheck disable=SC2046 # split into names
    set -- $(export -p)
    unset IFS
    set +f
    for tej_name in "$@"; do
        tej_name=${tej_name#declare -x } tej_name=${tej_name#export }
        tej_name=${tej_name%%=*}
        case $tej_name in
            '' | *[!A-Za-zIi0-9_]* | tej_* | *_proxy) continue ;;
            # In some locales, the range `a-z` includes capital letters.
            [abcdefghijklmnopqrstuvwxyz]*) ;;
            FUNCNEST | GREP_OPTIONS | POSIXLY_CORRECT | QUOTING_STYLE | TAR_OPTIONS) ;;
            # These variables change the unit of the sizes that `ls` prints.
            BLOCK_SIZE | LS_BLOCK_SIZE) ;;
            # In bash, GLOBIGNORE hides files from `*`, and TMOUT sets a timeout for `read`.
            GLOBIGNORE | TMOUT) ;;
            SACCT_* | SBATCH_ARRAY_INX | SBATCH_WAIT | SCANCEL_* | SINFO_* | SQUEUE_*) ;;
            # SLURM_CLUSTERS selects the cluster of all commands of Slurm, but tej applies it
            # only to submissions. PBS_DPREFIX replaces the prefix `#PBS`. PBS_QSTAT_... hide
            # jobs from qstat.
            PBS_DPREFIX | PBS_QSTAT_* | SBATCH_CLUSTERS | SLURM_CLUSTERS) ;;
            *) continue ;;
        esac
        # `export -p` prints values of several lines, and a line may look like a variable. Skip
        # names that are not set.
        eval "tej_value=\${$tej_name-} tej_is_set=\${$tej_name+1}"
        [ -z "$tej_is_set" ] || {
            eval "tej_kept_$tej_name=\$tej_value"
            tej_kept="${tej_kept-} $tej_name"
            export tej_kept "tej_kept_$tej_name"
            unset "$tej_name"
        }
    done
    unset tej_name tej_value tej_is_set
    case ":${PATH-}" in
        :) ;;
        *:[!/]* | *:) hide_relative_path ;;
    esac
}

# hide_relative_path: save PATH, and remove relative entries such as `.`. tej's scripts enter
# the directories of jobs, which may contain files with the names of programs.
hide_relative_path() {
    [ -n "${tej_kept_PATH-}" ] || tej_kept="${tej_kept-} PATH" tej_kept_PATH=$PATH
    export tej_kept tej_kept_PATH
    # PATH must never become empty: yash finds `[` only in a directory of PATH.
    tej_rest=$PATH: tej_path=''
    while [ -n "$tej_rest" ]; do
        case $tej_rest in /*) tej_path=$tej_path${tej_path:+:}${tej_rest%%:*} ;; esac
        tej_rest=${tej_rest#*:}
    done
    PATH=$tej_path
    unset tej_rest tej_path
}

# restore_environment: restore the hidden variables and functions, just before the job's command
# runs.
restore_environment() {
    for tej_name in ${tej_kept-}; do
        eval "$tej_name=\$tej_kept_$tej_name"
        export "${tej_name?}"
        unset "tej_kept_$tej_name"
    done
    eval "${tej_kept_functions-}"
    for tej_name in ${tej_functions-}; do
        eval "eval \"\$tej_function_$tej_name\""
        # shellcheck disable=SC3045 # only bash gets here
        export -f "${tej_name?}"
        unset "tej_function_$tej_name"
    done
    unset tej_kept tej_name tej_functions tej_kept_functions
}
