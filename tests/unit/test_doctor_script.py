"""Diagnosis of the server, and the plan of a job that is not submitted."""

from __future__ import annotations

from collections.abc import Callable

Shell = Callable[..., str]

DOCTOR = r"""
exists=' tar awk sed ps mkdir mv date timeout setsid '
command() { case "$1 $exists" in "-v "*" $2 "*) return 0 ;; *) return 1 ;; esac; }
timeout() { [ "$1" = 10 ] && shift && "$@"; }
id() { echo me; }
df() { echo head; echo "disk 9 9 $((free * 1024)) 9% /mnt"; }
stat() { echo "$kind"; }
report_all() { wanted=$1; (set -- "$target"; . "$here/doctor.sh") | tr '\t' ' ' | grep -E "^($wanted) " | sed "s,$queue,Q,g; s/[0-9]* MB, [0-9]* un/N MB, &/; s/MB, [0-9]* MB/MB/"; }
HOME=$queue free=100 kind=ext4 target=$queue
"""


def test_diagnosis_names_each_problem(shell: Shell) -> None:
    lines = f"""{DOCTOR} report_all 'host|tar|setsid|/proc|home|logout|scheduler|slurm|qsub|quota|sed' | sed '/^host/s/ok.* as/ok as/; /^host/s/on.*/on/; /^tar/s/ok.*/ok/'
    exists=' tar awk ps mkdir mv date loginctl sbatch qsub quota '; free=99 kind=nfs4; id() {{ echo me; }}; quota() {{ [ "$1" = -q ] && printf 'a\\n over\\tquota\\n'; }}; sinfo() {{ printf 'debug*\\nlong\\n'; }}; sacctmgr() {{ echo acc; }}; qstat() {{ return 1; }}; loginctl() {{ echo Linger=$linger; }}; linger=no
    timeout() {{ echo timed; }}; sed() {{ case $* in *KillUser*) echo "$kills" ;; *) env sed "$@" ;; esac; }}; kills=''
    report_all 'sed|setsid|home|quota|logout|slurm|qsub|scheduler'; kills=yes; report_all logout; linger=yes; report_all logout; sinfo() {{ return 1; }}; sacctmgr() {{ :; }}; qstat() {{ :; }}; report_all 'slurm|qsub'
    HOME=/nonexistent/x; report_all home"""
    assert shell(lines).splitlines() == [
        *("host ok as me on", "tar ok", "setsid ok available", "/proc ok readable"),
        "home ok Q, 100 MB free, ext4",
        "scheduler ok none found: jobs start immediately",
        "sed trouble not found: tej needs it on the server",
        "setsid warning not found: jobs run in a process group, not in a session",
        "home warning Q, 99 MB free, nfs4, almost full, network file system",
        *("quota warning a  over quota ", "logout ok processes survive the logout"),
        "slurm ok partitions: debug* long; default account: acc",
        "qsub trouble qsub exists, but qstat does not answer",
        "logout trouble the server kills processes at logout: loginctl enable-linger",
        "logout ok jobs survive the logout: lingering is enabled",
        "slurm trouble sbatch exists, but sinfo does not answer",
        "qsub ok qstat answers",
        "home trouble the home directory '/nonexistent/x' cannot be entered: is it mounted?",
    ]


def test_diagnosis_describes_the_queue(shell: Shell) -> None:
    lines = f"""{DOCTOR} say() {{ target=$1; report_all queue | sed 's/of [a-z0-9_-]*,/of OWNER,/; s/[0-9]* MB/N MB/'; }}; printf 'tej 1\\nruntime slurm\\n' >version; mkdir -p incoming/u jobs/b; : >incoming/f; : >jobs/f
    say "$queue"; say '~'; say .; mkdir other; say '~/other'; say other; say gone; echo 'tejdir: x' >link; say link; report_all clock | sed 's/[0-9][0-9]*$/N/' """
    assert shell(lines).splitlines() == [
        "queue ok Q of OWNER, tej 1 runtime slurm, 2 jobs, NN MB, 1 unfinished uploads",
        "queue ok Q of OWNER, tej 1 runtime slurm, 2 jobs, NN MB, 1 unfinished uploads",
        "queue ok Q/. of OWNER, tej 1 runtime slurm, 2 jobs, NN MB, 1 unfinished uploads",
        "queue warning Q/other exists and is not a queue of tej",
        "queue warning Q/other exists and is not a queue of tej",
        "queue ok Q/gone does not exist yet; the first submission creates it",
        *("queue ok Q/link is a link: tejdir: x", "clock ok N"),
    ]


def test_plan_shows_what_would_be_submitted(shell: Shell) -> None:
    lines = r"""quit() { echo "quit $*"; exit 9; }; TMPDIR=$queue/tmp; mkdir tmp; umask 077; say() { (. "$here/plan_job.sh" 2>/dev/null) | tr '\0' '\n' | sed "s,$queue,Q,g; s/tej-plan-[0-9]*/PLAN/g; s/umask 0*/umask /"; ls tmp 2>&1 | grep tej; }
    say 'cpus=2
script=script' '#SBATCH --time=5' job | sed 's,/[^ ]*/tej/server,H,g'; say 'option=-a' '' job; say 'nodes=x' '' job
    rmdir tmp; say '' '' job; unset -f scheduler_options; say '' '' job"""
    assert shell(lines).splitlines() == [
        *("runtime=slurm", "directives=#SBATCH --time=5", "options=--no-requeue"),
        *("-c", "2", "", "batch=#!/bin/sh", "#SBATCH --time=5", "umask 77"),
        "exec /bin/sh 'H/run_in_scheduler.sh' 'Q' 'job' 'H' slurm TOKEN ''",
        "runtime=slurm",
        "why=it requests a job array (-a): submit the jobs one by one",
        "runtime=slurm",
        "why='x' is not a valid value of the resource 'nodes'",
        "runtime=slurm",
        *("quit 20 Cannot write to 'Q/tmp'", "runtime=slurm"),
    ]
