# The environment that a program finds is its user's.  What of it would be taken for our own
# variables, or bends the tools that we ask, is kept aside, and is the job's again when that
# begins.
# shellcheck shell=sh
#
#   tej_kept        names of variables
#   tej_kept_NAME   the value of each

# hide_environment: before anything else is done.
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
            SACCT_* | SBATCH_WAIT | SCANCEL_* | SQUEUE_*) ;;
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

# restore_environment: the last thing that is done before the job's own.
restore_environment() {
    for tej_name in ${tej_kept-}; do
        eval "$tej_name=\$tej_kept_$tej_name"
        export "${tej_name?}"
        unset "tej_kept_$tej_name"
    done
    unset tej_kept tej_name
}
