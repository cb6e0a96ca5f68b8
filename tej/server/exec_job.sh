# leader: the first process of a job, in the job's own session: becomes its command.
# Gets tej_queue, tej_id, tej_here and tej_host from the wrapper's environment; begins in
# the job's directory, which may have been moved, and its place taken by another.
#
# The command, and what users have in files that are read before it, shares this shell: it
# finds nothing of ours but what begins with tej_.

cd stage || exit 125
# Away with what was uploaded under these names: it could be a link to elsewhere.
rm -rf _stdout _stderr
exec </dev/null >_stdout 2>_stderr || exit 125
(
    job=..
    . "$tej_here/lib/facts.sh"
    . "$tej_here/lib/process.sh"
    read_host "$tej_host"
    me
    put started "$(date +%s) ${who%% *} $$ ${start:--}" || exit 125
    # Whoever asked for the end before we were `started` could not see us: see to it here.
    [ ! -e "$job/kill" ] || kill -s TERM $$
    # Nobody expects it any more.
    [ ! -e "$job/lost" ] || exit 125
) || exit 125

IFS= read -r tej_spec <../spec
TEJ_JOB_TOKEN=${tej_spec#*token=} TEJ_JOB_TOKEN=${TEJ_JOB_TOKEN%% *}
TEJ_JOB_ID=$tej_id TEJ_QUEUE=$tej_queue TEJ_JOB_DIR=$tej_queue/jobs/$tej_id/stage
export TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_QUEUE TEJ_JOB_DIR
. "$tej_here/lib/environment.sh"
restore_environment
unset -f hide_environment restore_environment
unset tej_queue tej_id tej_here tej_host tej_run tej_session

# tej_run FILE ARGUMENTS...: become that program; where nothing may be executed (a file
# system mounted noexec), its interpreter can be, with it to read.
tej_run() {
    [ -x "$1" ] || chmod +x "$1" 2>/dev/null
    [ ! -x "$1" ] || exec "$@"
    IFS= read -r tej_line <"$1"
    case $tej_line in
        '#!'*)
            tej_line=${tej_line#??}
            # shellcheck disable=SC2086 # the interpreter, and what it is given
            exec $tej_line "$@"
            ;;
        *ELF*)
            printf "tej: '%s' cannot be run: '%s' is on a file system mounted noexec\n" "$1" "$TEJ_JOB_DIR" >&2
            exit 126
            ;;
    esac
    exec /bin/sh "$@"
}

# What a login shell of this kind reads (on some sites `module` is there),
# and the queue's profile.
tej_stage=$PWD
case $tej_spec in
    *' login=1 '*)
        # shellcheck source=/dev/null
        [ ! -r /etc/profile ] || . /etc/profile
        # shellcheck source=/dev/null
        [ ! -r "$HOME/.profile" ] || . "$HOME/.profile"
        ;;
esac
# shellcheck source=/dev/null
[ ! -f "$TEJ_QUEUE/profile" ] || . "$TEJ_QUEUE/profile"
[ "$PWD" = "$tej_stage" ] || cd "$tej_stage" || exit 125
# shellcheck source=/dev/null
. ../command
