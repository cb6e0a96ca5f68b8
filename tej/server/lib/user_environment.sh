# Environment of the user: hide the exported variables and functions that would change
# the behaviour of tej's own scripts, and restore the variables and functions for the
# job.
# shellcheck shell=sh
#
#   tej_kept             names of the variables
#   tej_kept_NAME        value of the variable NAME
#   tej_functions        names of the functions
#   tej_function_NAME    definition of the function NAME; one variable for all functions could
#                        exceed 128 KiB, the limit of Linux for a variable
#   tej_kept_functions   definitions of all functions, if the client has an older tej

# reset_options: reset the shell options that bash imports from SHELLOPTS and BASHOPTS, and
# stop the export of both variables, so that every shell of tej and of the job has the
# default options. SHELLOPTS and BASHOPTS are read-only, and cannot be unset.
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
# environment, and an imported function `mv` or `cd` would replace the command of that
# name. hide_functions uses special builtins such as `unset` and `export`, which take
# precedence over functions in POSIX mode.
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
        eval "tej_function_$tej_name=\$tej_text"
        tej_functions="${tej_functions-} $tej_name"
        export tej_functions "tej_function_$tej_name"
        unset -f "$tej_name"
    done
    set +f
    unset tej_names tej_name tej_text
}

# hide_functions is called here, because a function that is defined below may have the
# same name as an imported function.
hide_functions
unset -f hide_functions

# hide_environment: save and unset the variables that would change the behaviour of tej's
# scripts. Must be called before any other command.
hide_environment() {
    # The client's command (COMMAND in tej/transport/program_start.py) has read the text of the
    # program into the variable `tej`. If the user exports a variable of this name, every
    # child process would inherit the whole text.
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
            '' | *[!A-Za-z0-9_]* | tej_* | *_proxy) continue ;;
            # The letters are listed one by one, because the range `a-z` includes
            # capital letters in some locales.
            [abcdefghijklmnopqrstuvwxyz]*) ;;
            FUNCNEST | GREP_OPTIONS | POSIXLY_CORRECT | QUOTING_STYLE | TAR_OPTIONS) ;;
            # These variables change the unit of the sizes that `ls` prints.
            BLOCK_SIZE | LS_BLOCK_SIZE) ;;
            # In bash, GLOBIGNORE hides files from `*`, and TMOUT sets a timeout for
            # `read`.
            GLOBIGNORE | TMOUT) ;;
            SACCT_* | SBATCH_ARRAY_INX | SBATCH_WAIT | SCANCEL_* | SINFO_* | SQUEUE_*) ;;
            # SLURM_CLUSTERS selects the cluster of all commands of Slurm, but tej applies
            # the user's value only to submissions. PBS_DPREFIX would replace the prefix
            # `#PBS`, and PBS_QSTAT_EXECONLY and PBS_QSTAT_NO_COMPLETE hide jobs from qstat.
            PBS_DPREFIX | PBS_QSTAT_* | SBATCH_CLUSTERS | SLURM_CLUSTERS) ;;
            *) continue ;;
        esac
        # The output of `export -p` contains values of several lines, and a line of a
        # value may look like a variable. Therefore skip names that are not set.
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

# hide_relative_path: save PATH, and remove the relative entries, such as `.`, from PATH.
# tej's scripts enter the directories of jobs, where a file may have the name of a program
# that the scripts call.
hide_relative_path() {
    [ -n "${tej_kept_PATH-}" ] || tej_kept="${tej_kept-} PATH" tej_kept_PATH=$PATH
    export tej_kept tej_kept_PATH
    # PATH must not become empty meanwhile: yash finds `[` only in a directory of PATH.
    tej_rest=$PATH: tej_path=''
    while [ -n "$tej_rest" ]; do
        case $tej_rest in /*) tej_path=$tej_path${tej_path:+:}${tej_rest%%:*} ;; esac
        tej_rest=${tej_rest#*:}
    done
    PATH=$tej_path
    unset tej_rest tej_path
}

# restore_environment: restore the hidden variables and functions. Called just before
# the job's command runs.
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
