"""Options and commands that each scheduler gets for a job; no scheduler runs."""

from __future__ import annotations

from collections.abc import Callable

from server_functions import in_all_shells

Shell = Callable[..., str]

OPTIONS = r"""
log=/x/log replaced='' replaced_list='' prepended='' lookup_name=tej_n
set_begin() { begin=20250102030405; }
ask() {
    rm -f "$job/resources" "$job/stage/s"; for word; do case $word in '#'*) printf '%s\n' "$word" >>"$job/stage/s" ;; *) echo "$word" >>"$job/resources" ;; esac; done; echo script=s >>"$job/resources"
    replaced='' replaced_list='' prepended='' options='' why=''
    if read_resources && check_directives && scheduler_options; then printf '%s' "$options" | tr '\n' ' '; echo "/${default_name-}/$replaced$replaced_list"; else echo "no: $why"; fi
}
"""


def test_options_of_sbatch_follow_the_resources(shell: Shell) -> None:
    lines = rf"""{OPTIONS} ask account=a partition=p qos=q constraint=c reservation=r exclusive=1 priority=5 mail=me mail_on=begin,fail begin=@1 walltime=93784 gpus=2 gpu_type=x memory=1048577 cpus=3 tasks_per_node=4 tasks=8 nodes=2 requeue=1 name=n option=--x; ask memory_per_cpu=1048576 requeue=0 default_name=d; ask '#SBATCH --requeue' '#SBATCH -J me'; ask '#SBATCH --no-requeue'; ask gpus=1
    squeue() {{ echo "squeue $*"; }}; scancel() {{ echo "scancel $*"; }}; scheduler_term 5; scheduler_cancel 5; SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=''; scheduler_own_id; echo "$own_id"; scontrol() {{ echo 'MaxArraySize            = 1001'; }}; scheduler_array_limit; echo "$? $array_limit"; scontrol() {{ :; }}; scheduler_array_limit; echo "$?" """
    assert shell(lines).splitlines() == [
        "-J n --requeue -N 2 -n 8 --ntasks-per-node=4 -c 3 --mem=2M --gpus-per-node=x:2 -t 26:03:04 --begin=2025-01-02T03:04:05 --mail-user=me --mail-type=BEGIN,FAIL --nice=-5 --exclusive --reservation=r -C c --qos=q -p p -A a --x //--mem-per-cpu --mem-per-gpu",
        *("--no-requeue --mem-per-cpu=1M /d/--mem --mem-per-gpu", "//", "/tej_n/"),
        *("--no-requeue --gpus-per-node=1 /tej_n/", "scancel --full -s TERM 5"),
        *("scancel 5", "7", "0 1001", "1"),
    ]


def test_options_of_openpbs_follow_the_resources(shell: Shell) -> None:
    lines = rf"""{OPTIONS} dialect=openpbs; ask account=a partition=p priority=5 begin=@1 walltime=61 nodes=2 cpus=3 memory=1048577 gpus=1 mail=me mail_on=begin,end,fail requeue=1 name=9n option=-x; ask tasks=7 nodes=3; ask tasks=6 nodes=3 cpus=2 memory_per_cpu=1048576; ask tasks=2 nodes=3; ask tasks=5; ask tasks=5 memory=1; ask tasks=5 gpus=1; ask tasks_per_node=2 tasks=5 ; ask tasks_per_node=2 nodes=4 gpus=2; ask gpu_type=x; ask qos=x; ask constraint=x; ask reservation=x
    ask exclusive=1; ask exclusive=1 cpus=2; ask exclusive=1 '#PBS -l select=2'; ask exclusive=1 '#PBS -l nodes=2'; ask exclusive=1 '#PBS -l walltime=2,mem=2gb'; ask mail=me mail_on=end requeue=0; ask '#PBS -m a' '#PBS -r y'; ask '#PBS -N x'; ask default_name=d; log=/dev/null; ask default_name=d; ask name=d"""
    assert shell(lines, "pbs").splitlines() == [
        "-N 9n -r y -M me -m bea -l select=2:ncpus=3:mem=2mb:ngpus=1,walltime=0:01:01 -a 202501020304.05 -p 5 -q p -A a -x //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "-N tej_n -r n -m n -l select=1:ncpus=3:mpiprocs=3+2:ncpus=2:mpiprocs=2 //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "-N tej_n -r n -m n -l select=3:ncpus=4:mpiprocs=2:ompthreads=2:mem=4mb //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "-N tej_n -r n -m n -l select=2:ncpus=1:mpiprocs=1 //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "-N tej_n -r n -m n -l select=5:ncpus=1:mpiprocs=1 //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "no: with --tasks, PBS can assign memory or GPUs only if the number of nodes is known: add --nodes, or use --memory-per-cpu",
        "no: with --tasks, PBS can assign memory or GPUs only if the number of nodes is known: add --nodes, or use --memory-per-cpu",
        "-N tej_n -r n -m n -l select=3:ncpus=2:mpiprocs=2 //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "-N tej_n -r n -m n -l select=4:ncpus=2:mpiprocs=2:ngpus=2 //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "no: PBS has no standard option for 'gpu_type': use --scheduler-option with the option of your site",
        "no: PBS has no standard option for 'qos': use --scheduler-option with the option of your site",
        "no: PBS has no standard option for 'constraint': use --scheduler-option with the option of your site",
        "no: PBS has no standard option for 'reservation': use --scheduler-option with the option of your site",
        "-N tej_n -r n -m n -l select=1:ncpus=1,place=excl // place",
        "-N tej_n -r n -m n -l select=1:ncpus=2,place=excl //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads place",
        "-N tej_n -r n -m n -l place=excl // place",
        "no: PBS accepts --exclusive only with select=..., and the script's -l line has another form: add --nodes or --cpus, which replace the script's request",
        "no: PBS accepts --exclusive only with select=..., and the script's -l line has another form: add --nodes or --cpus, which replace the script's request",
        *("-N tej_n -r n -M me -m e //", "-N tej_n //", "-r n -m n //"),
        *("-N d -r n -m n //", "-N tej_n -r n -m n //", "-N d -r n -m n //"),
    ]


@in_all_shells
def test_large_sizes_need_no_64_bits(shell: Shell) -> None:
    """mksh has only 32-bit arithmetic."""
    sizes = [0, 999999, 1048576, 1048577, 2**31, 2**32 + 1, 2**40 + 1, 10**15 - 1]
    lines = f"""for size in {" ".join(map(str, sizes))}; do in_megabytes "$size"; echo "$megabytes"; done"""
    assert shell(lines).split() == [f"{-(-size // 2**20)}" for size in sizes]


def test_options_of_torque_follow_the_resources(shell: Shell) -> None:
    lines = rf"""{OPTIONS} dialect=torque; ask nodes=2 cpus=3 memory=1048577 gpus=1; ask memory_per_cpu=1048577 tasks=3; ask exclusive=1; ask name=9name-of-20-characters; ask default_name=x; ask tasks=7 nodes=3
    dialect=wrapper; ask nodes=2 cpus=3 memory=1048577; ask memory_per_cpu=1048577 cpus=2 tasks_per_node=3; ask exclusive=1; ask 'option=a b'; ask 'option=a/b-c' account='a;b'; ask name=9x"""
    assert shell(lines, "pbs").splitlines() == [
        "-N tej_n -r n -m n -l nodes=2:ppn=3:gpus=1,mem=4mb //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "-N tej_n -r n -m n -l nodes=3:ppn=1,pmem=2mb //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        *("-N tej_n -r n -m n -n //", "-N j9name-of-20-ch -r n -m n //"),
        "-N x -r n -m n //",
        "-N tej_n -r n -m n -l nodes=1:ppn=3+2:ppn=2 //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "-N tej_n -r n -m n -l nodes=2:ppn=3,mem=2mb //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "-N tej_n -r n -m n -l nodes=1:ppn=6,mem=12mb //select nodes ncpus ppn procs mem pmem vmem ngpus gpus mpiprocs ompthreads",
        "no: Slurm's qsub cannot request nodes for one job alone: use --runtime slurm",
        "no: tej passes scheduler options to Slurm's qsub only if they consist of letters, digits and _.,:=@%+/-",
        "no: tej passes scheduler options to Slurm's qsub only if they consist of letters, digits and _.,:=@%+/-",
        "-N j9x -r n -m n //",
    ]


def test_options_of_grid_engine_follow_the_resources(shell: Shell) -> None:
    lines = rf"""{OPTIONS} ask account=a partition=p reservation=7 priority=5 begin=@1 walltime=3600 memory=1048577 mail=me mail_on=fail name=9x option=-y; ask memory_per_cpu=1; ask nodes=1 tasks=1 cpus=1; ask nodes=2; ask tasks=2; ask tasks_per_node=2; ask cpus=2; ask gpus=1; ask qos=x; ask constraint=x; ask exclusive=1; ask default_name=x requeue=1
    ask '#$ -N x'; scheduler_fits_array || echo unfit; ask name=x; scheduler_fits_array || echo unfit; ask default_name=x; scheduler_fits_array && echo fits; qconf() {{ printf 'a 1\nmax_aj_tasks %s\n' "$limit"; }}; for limit in 0 75 x; do scheduler_array_limit; echo "$? $array_limit"; done; JOB_ID=5 SGE_TASK_ID=3; scheduler_own_id; echo "$own_id"; array=x; scheduler_own_id; echo "$own_id"
    qsub() {{ echo "qsub $*" | sed "s,$queue,Q,g" >&3; echo "$reply"; [ -z "$fails" ]; }}; exec 3>&1; say() {{ (scheduler_submit nick; echo "$?"); }}; fails='' reply=7; array_tasks=''; ask option=-y; say; ask name=x; say; array_tasks=1-2 reply=7.1-2:1; say; fails=1; say; array_tasks=''; say
    date() {{ echo 1000; }}; began=100; say() {{ ask "$1"; warning=''; for signal in USR1 USR2 XCPU TERM; do scheduler_warning "$signal" && printf '%s, ' "$warning"; done; echo; }}; say cpus=1; say '#$ -notify'; say '#$ -l s_rt=900'; say '#$ -l s_rt=0:15:01,h_rt=9'; say '#$ -l s_rt=00:15:00'; say '#$ -l h_rt=900'"""
    assert shell(lines, "sge").splitlines() == [
        "-N j9x -r n -M me -m a -l h_vmem=2M -l h_rt=1:00:00 -a 202501020304.05 -p 5 -ar 7 -q p -A a -y //",
        *("-r n -m n -l h_vmem=1M //", "-r n -m n //"),
        "no: Grid Engine requests 'nodes' through a parallel environment, whose name depends on the site: use --scheduler-option '-pe NAME 2'",
        "no: Grid Engine requests 'tasks' through a parallel environment, whose name depends on the site: use --scheduler-option '-pe NAME 2'",
        "no: Grid Engine requests 'tasks_per_node' through a parallel environment, whose name depends on the site: use --scheduler-option '-pe NAME 2'",
        "no: Grid Engine requests 'cpus' through a parallel environment, whose name depends on the site: use --scheduler-option '-pe NAME 2'",
        "no: Grid Engine requests GPUs by a name that depends on the site: use --scheduler-option '-l NAME=1'",
        "no: Grid Engine has no standard option for 'qos': use --scheduler-option with the option of your site",
        "no: Grid Engine has no standard option for 'constraint': use --scheduler-option with the option of your site",
        "no: Grid Engine has no standard option for 'exclusive': use --scheduler-option with the option of your site",
        *("-r y -m n //", "-r n -m n //", "unfit", "-N x -r n -m n //", "unfit"),
        *("-r n -m n //", "fits", "0 75000", "0 75", "1 x", "5", "5.3"),
        "-r n -m n -y //",
        "qsub -r n -m n -y -terse -S /bin/sh -j y -o /x/log -b n -sync n -N nick Q/jobs/a/batch",
        *("7", "0", "-N x -r n -m n //"),
        "qsub -N x -r n -m n -terse -S /bin/sh -j y -o /x/log -b n -sync n Q/jobs/a/batch",
        *("7", "0"),
        "qsub -N x -r n -m n -terse -S /bin/sh -j y -o /x/log -b n -sync n -t 1-2 Q/jobs/a/batch",
        *("7", "0"),
        "qsub -N x -r n -m n -terse -S /bin/sh -j y -o /x/log -b n -sync n -t 1-2 Q/jobs/a/batch",
        "1",
        "qsub -N x -r n -m n -terse -S /bin/sh -j y -o /x/log -b n -sync n Q/jobs/a/batch",
        *("7.1-2:1", "1", "-r n -m n //"),
        *("limit a soft limit was exceeded (SIGXCPU), ", "-r n -m n //"),
        "cut SIGUSR2 announced SIGKILL (-notify), limit a soft limit was exceeded (SIGXCPU), ",
        "-r n -m n //",
        "limit the soft time limit was exceeded (s_rt), limit a soft limit was exceeded (SIGXCPU), ",
        *("-r n -m n //", "limit a soft limit was exceeded (SIGXCPU), "),
        "-r n -m n //",
        "limit the soft time limit was exceeded (s_rt), limit a soft limit was exceeded (SIGXCPU), ",
        *("-r n -m n //", "limit a soft limit was exceeded (SIGXCPU), "),
    ]


def test_shell_of_pbs_jobs_is_made_executable(shell: Shell) -> None:
    """The scripts are sent without their modes."""
    lines = """say() { mkdir -p "$here/runtimes/pbs"; : >"$here/runtimes/pbs/exec_script.sh"; find_shell; echo "${shell#"$queue"}"; }
    here=$queue/h; say; [ -x "$shell" ] && echo executable; here="$queue/h h"; say
    here=$queue/i; chmod() { echo refused >&2; return 1; }; say"""
    assert shell(lines, "pbs").splitlines() == [
        *("/h/runtimes/pbs/exec_script.sh", "executable", "", ""),
    ]


def test_commands_of_pbs_depend_on_the_dialect(shell: Shell) -> None:
    lines = rf"""{OPTIONS} qsub() {{ echo "qsub $*" | sed "s,$queue,Q,g; s,$here,H,g"; }}; : >"$job/batch"; array_tasks=''; directives='#PBS -l a=1 -N "x y" # c'; options='-l
n=1
'; for dialect in openpbs torque wrapper; do (scheduler_submit nick); done; find_shell() {{ shell=''; }}; for dialect in openpbs torque; do (scheduler_submit nick); done; rm "$job/batch"; (dialect=wrapper; scheduler_submit nick 2>/dev/null; echo "$?")
    command() {{ case $* in '-v qsig') [ -n "$has" ] ;; '-v tracejob') [ -n "$has" ] ;; *) return 1 ;; esac; }}; for one in qsig qdel scancel; do eval "$one() {{ echo $one \$*; }}"; done; for has in '' 1; do for dialect in openpbs torque wrapper; do scheduler_term 5 || echo no; scheduler_cancel 5; done; done; unset PBS_JOBID; SLURM_JOB_ID=8; scheduler_own_id; echo "$own_id"; PBS_JOBID=9.s; scheduler_own_id; echo "$own_id"
    print_report() {{ shift; echo "report $*"; [ "$*" != "$missing" ]; }}; missing='patiently qstat -x -f 5.s'; slurm_report() {{ echo "slurm $1"; }}; for dialect in openpbs torque wrapper; do scheduler_report 5.s; done; missing=''; dialect=openpbs has=''; scheduler_report 5.s"""
    assert shell(lines, "pbs").splitlines() == [
        "qsub -l n=1 -j oe -o /x/log -k n -S H/runtimes/pbs/exec_script.sh batch",
        "qsub -l n=1 -j oe -o /x/log -k n -S H/runtimes/pbs/exec_script.sh batch",
        "qsub -l n=1 -j oe -o /x/log nick",
        "qsub -l a=1 -N x y -l n=1 -j oe -o /x/log -k n -- /bin/sh Q/jobs/a/batch",
        *("qsub -l n=1 -j oe -o /x/log -k n -S /bin/sh batch", "1", "no", "qdel 5"),
        *("no", "qdel 5", "scancel --full -s TERM 5", "scancel 5"),
        *("qsig -s SIGTERM 5", "qdel 5", "qsig -s SIGTERM 5", "qdel 5"),
        *("scancel --full -s TERM 5", "scancel 5", "8", "9.s"),
        *("report patiently qstat -x -f 5.s", "report patiently qstat -f 5.s"),
        *("report patiently tracejob -n 7 5", "report patiently qstat -f 5.s"),
        *("report patiently tracejob -n 7 5", "slurm 5.s"),
        "report patiently qstat -x -f 5.s",
    ]
