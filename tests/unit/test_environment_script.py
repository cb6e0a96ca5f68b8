"""Environment of a job, and of the command that runs at its end."""

from __future__ import annotations

from collections.abc import Callable

from server_functions import in_all_shells

Shell = Callable[..., str]


@in_all_shells
def test_variables_of_the_user_are_hidden_and_restored(shell: Shell) -> None:
    lines = """. "$here/lib/user_environment.sh"; export tej=x queue2=q http_proxy=h POSIXLY_CORRECT=1 SQUEUE_FORMAT=f SBATCH_WAIT=1 PBS_QSTAT_EXECONLY=1 SLURM_CLUSTERS=c SLURM_CONF=keep GREP_OPTIONS=-v TMOUT=5 BLOCK_SIZE=1 a='1
export fake=2' Upper=3 tej_other=4; PATH=$PATH:.:rel; path=$PATH; was="queue2 http_proxy POSIXLY_CORRECT SQUEUE_FORMAT SBATCH_WAIT PBS_QSTAT_EXECONLY SLURM_CLUSTERS SLURM_CONF GREP_OPTIONS TMOUT BLOCK_SIZE a Upper tej_other"
    show() { for name in tej $was fake; do eval "printf '%s ' \\"$name=\\${$name-unset}\\""; done; echo; [ "$PATH" = "$path" ] && echo 'whole path'; }; hide_environment; show; case :$PATH: in *:.:* | *:rel:* | *::*) echo relative ;; esac
    env | grep -c '^tej_kept_'; restore_environment; show; env | grep tej_k; env | grep -c '^queue2=q$'; PATH=:/usr/bin:/bin; hide_environment; echo "$PATH"; PATH=/bin:; hide_environment; echo "$PATH/$tej_kept_PATH"; PATH=/usr/bin:/bin tej_kept=''; hide_environment; echo "$PATH/$tej_kept" """
    assert shell(lines).splitlines() == [
        "tej=unset queue2=unset http_proxy=h POSIXLY_CORRECT=unset SQUEUE_FORMAT=unset SBATCH_WAIT=unset PBS_QSTAT_EXECONLY=unset SLURM_CLUSTERS=unset SLURM_CONF=keep GREP_OPTIONS=unset TMOUT=unset BLOCK_SIZE=unset a=unset Upper=3 tej_other=4 fake=unset ",
        "11",
        "tej=unset queue2=q http_proxy=h POSIXLY_CORRECT=1 SQUEUE_FORMAT=f SBATCH_WAIT=1 PBS_QSTAT_EXECONLY=1 SLURM_CLUSTERS=c SLURM_CONF=keep GREP_OPTIONS=-v TMOUT=5 BLOCK_SIZE=1 a=1",
        *("export fake=2 Upper=3 tej_other=4 fake=unset ", "whole path", "1"),
        *("/usr/bin:/bin", "/bin/:/usr/bin:/bin", "/usr/bin:/bin/"),
    ]


@in_all_shells
def test_readonly_variables_do_not_end_a_login(shell: Shell) -> None:
    """Many sites make TMOUT read-only in /etc/profile, and users export UID."""
    lines = r"""mkdir home; echo "export TMOUT=5 UID B='b b'" >home/.bash_profile; SHELL=$(command -v bash) HOME=$queue/home; export SHELL HOME
    echo 'module() { echo "module $1"; }; TMOUT=5; readonly TMOUT; export TMOUT' >site; [ -n "${YASH_VERSION-}" ] || echo TMOUT=6 >>site
    sed "s,/etc/profile,$queue/site,g" "$here/lib/job_environment.sh" >environment; echo 'token=0123 login=1 end' >"$job/spec"
    tej_queue=$queue tej_id=a tej_here=$here tej_read_spec=''; cd "$job/stage"; { . "$queue/environment"; } 2>/dev/null; module load; echo "$TMOUT ${B-}"; ls -A ..; env | grep '^tej_'; alias | grep -c export"""
    assert shell(lines, "default").splitlines() == [
        *("module load", "5 b b", "spec", "stage", "0"),
    ]


def test_command_of_the_end_runs_with_the_facts_of_the_job(shell: Shell) -> None:
    lines = r"""cd "$job"; : >on_end_environment; echo 'pwd; echo "$TEJ_JOB_ID $TEJ_JOB_STATE $TEJ_JOB_EXIT_CODE $TEJ_JOB_SIGNAL $TEJ_QUEUE $TEJ_JOB_DIR ${TEJ_JOB_TOKEN-none} ${tej_here-none} $x"; exit "$code"' >on_end
    echo 'x=set code=0' >on_end_environment; say() { sh "$here/run_on_end.sh" "$queue" a "$here" default "$@"; sed "s,$queue,Q,g" on_end_log; }; say finished 3 ''; echo 'x=y code=4' >on_end_environment; say killed '' 9; rmdir stage; say lost '' ''"""
    assert shell(lines, "default").splitlines() == [
        *("Q/jobs/a/stage", "a finished 3  Q Q/jobs/a/stage none none set"),
        *("Q/jobs/a/stage", "a killed  9 Q Q/jobs/a/stage none none y"),
        "tej: the command of --on-end ended with exit code 4",
        # The empty directory protects other files from a command such as `rm -f *`.
        "Q/jobs/a/on_end_stage",
        "a lost   Q Q/jobs/a/stage none none y",
        "tej: the command of --on-end ended with exit code 4",
    ]


def test_command_of_the_end_is_stopped_after_a_minute(shell: Shell) -> None:
    lines = r"""cd "$job"; mkdir lib; : >on_end_environment; echo 'echo begun; kill -0 $$; exec sleep 50' >on_end; sed 's/^\. "$here\/lib\/run_script.sh"/&; . ".\/double"/' "$here/run_on_end.sh" >run
    echo 'nap() { up=$((up + 1)); echo nap >>log; until [ -s on_end_log ]; do command sleep 0.02; done; }; sleep() { up=$((up + 20)); echo "sleep $1" >>log; }; up=0; get_uptime() { uptime=$up; }; stop_processes() { echo "stop $1 $j_pid" | sed "s/ [0-9]*$/ PID/" >>log; command kill -s KILL "$j_pid"; }; find_job() { job=$queue/jobs/$1; cd "$job"; }' >double
    sh ./run "$queue" a "$here" default finished 0 '' 2>/dev/null; cat on_end_log log"""
    assert shell(lines, "default").splitlines() == [
        *("begun", "tej: the command of --on-end was stopped after 60 seconds"),
        *("nap", "nap", "sleep 2", "sleep 2", "sleep 2", "stop 5 PID"),
    ]
