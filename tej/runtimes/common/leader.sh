# leader: the first process of a job, in the job's own session: becomes its command.
# Gets tej_queue, tej_id and tej_here from the wrapper's environment.

queue=$tej_queue id=$tej_id here=$tej_here
job=$queue/jobs/$id
. "$here/lib/facts.sh"
. "$here/lib/process.sh"
unset tej_queue tej_id tej_here tej_run tej_session

cd "$job/stage" || exit 125
# Away with what was uploaded under these names: it could be a link to elsewhere.
rm -rf _stdout _stderr
exec </dev/null >_stdout 2>_stderr || exit 125
me
put started "$(date +%s) ${who%% *} $$ ${start:--}" || exit 125
# Whoever asked for the end before we were `started` could not see us: see to it here.
[ ! -e "$job/kill" ] || kill -s TERM $$

IFS= read -r spec <"$job/spec"
TEJ_JOB_TOKEN=${spec#*token=} TEJ_JOB_TOKEN=${TEJ_JOB_TOKEN%% *}
TEJ_JOB_ID=$id TEJ_QUEUE=$queue TEJ_JOB_DIR=$job/stage
export TEJ_JOB_TOKEN TEJ_JOB_ID TEJ_QUEUE TEJ_JOB_DIR
# read_login_files: what a login shell of this kind reads; on some sites `module` is there.
read_login_files() {
    for file in /etc/profile "$HOME/.profile"; do
        # shellcheck source=/dev/null
        [ ! -r "$file" ] || . "$file"
    done
    cd "$job/stage" || exit 125
}
case $spec in *' login=1 '*) read_login_files ;; esac
# shellcheck source=/dev/null
[ ! -f "$queue/profile" ] || . "$queue/profile"

# tej_run FILE ARGUMENTS...: become that program; where nothing may be executed (a file
# system mounted noexec), its interpreter can be, with it to read.
tej_run() {
    [ -x "$1" ] || chmod +x "$1" 2>/dev/null
    [ ! -x "$1" ] || exec "$@"
    IFS= read -r line <"$1"
    case $line in
        '#!'*)
            line=${line#??}
            # shellcheck disable=SC2086 # the interpreter, and what it is given
            exec $line "$@"
            ;;
        *ELF*)
            printf "tej: '%s' cannot be run: '%s' is on a file system mounted noexec\n" "$1" "$job" >&2
            exit 126
            ;;
    esac
    exec /bin/sh "$@"
}
# shellcheck source=/dev/null
. "$job/command"
