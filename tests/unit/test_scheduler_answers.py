"""Output of schedulers, parsed by the server's shell functions; no scheduler runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from server_functions import function

Shell = Callable[..., str]


# Slurm


def test_parts_of_heterogeneous_job_are_one(shell: Shell) -> None:
    listing = r"""squeue() { printf '%s\n' '5+0|RUNNING|None|x|/q/tej_abc0123' \
        '5+1|PENDING|None|x|/q/tej_abc0123' '119_[1-2]|PENDING|Priority|renamed|(null)' \
        '119_0|COMPLETED|None|renamed|(null)' '7|STOPPED|None|y|(null)' '8|EXPEDITING|None|z|(null)' \
        '9|FAILED|RaisedSignal:53(Real-time_signal_19)|w|(null)'; }
    slurm_list"""
    assert shell(listing).splitlines() == [
        "5|running|tej_abc0123|RUNNING",
        "119|queued|renamed|Priority",
        "7|stopped|y|STOPPED",
        "8|queued|z|",
        "9|ended|w|FAILED (RaisedSignal:53(Real-time_signal_19): the node cannot write "
        "the log of the job; are the files of the queue mounted there?)",
    ]


def test_job_in_a_hidden_partition_is_listed(shell: Shell) -> None:
    """Without -a, squeue hides the job even from its own user."""
    listing = """squeue() { case " $* " in *' -a '*) echo '7|RUNNING|None|x|y' ;; esac; }
    scheduler_list 7"""
    assert shell(listing) == "7|running|x|RUNNING\n"


def test_job_of_another_cluster_is_queried_there(shell: Shell) -> None:
    listing = r"""squeue() { case "$*" in *'-M gpu2'*) echo '7|RUNNING|None|x|y' ;;
        *'-M down'*) return 1 ;; esac; }
    scheduler_list '7;gpu2' '8;gpu2' '9;down'"""
    assert shell(listing).splitlines() == [
        "7;gpu2|running|x|RUNNING",
        "8;gpu2|unknown||",
        "9;down|silent||",
    ]
    cancel = """scancel() { echo "$*"; }; scheduler_cancel '7;gpu2'; scheduler_term 8"""
    assert shell(cancel) == "-M gpu2 7\n--full -s TERM 8\n"


def test_ids_belong_to_the_cluster_of_the_queue(shell: Shell) -> None:
    """Without this rule, `tej kill` cancels a job with the same number elsewhere."""
    lines = r"""own_cluster=home lookup_name=tej_abc; read_resources; check_directives; scheduler_options; : >jobs/a/batch
    scontrol() { echo "ClusterName             = $here_now"; }; sbatch() { echo "$*" | cut -d' ' -f1,2; }
    squeue() { case "$*" in *'-M home'*) echo '7|PENDING|None|x|y' ;; *'-M '*) return 1 ;; esac; }
    scancel() { echo "$*"; }; sacct() { echo "$*" >&2; }; sinfo() { :; }
    for here_now in home gpu ''; do
        local_cluster=''; scheduler_list '8;gpu' || echo silent; scheduler_cancel 7; scheduler_cancel '7;gpu'
        (scheduler_submit tej_abc) 2>&1
        # The user selects the cluster, also if another program starts the waiting job.
        (tej_kept_SLURM_CLUSTERS=gpu; runtime_defer; scheduler_submit tej_abc)
        (tej_kept_SLURM_CLUSTERS=x has_waited=1; scheduler_submit tej_abc; rm jobs/a/clusters; scheduler_submit tej_abc) 2>&1
    done"""
    plain = "--no-requeue --parsable"
    assert shell(lines).splitlines() == [
        *("8;gpu|silent||", "7", "-M gpu 7", plain, *["-M gpu"] * 2, plain),
        *("7|queued|x|", "8;gpu|unknown||", "-M home 7", "7", "-M home"),
        *("-M gpu", "-M gpu", "-M home", "silent"),
        *("Slurm's controller does not answer", "-M gpu", "-M gpu"),
        "Slurm's controller does not answer",
    ]


def test_cluster_of_a_waiting_job_must_be_recorded(shell: Shell) -> None:
    lines = """read_resources; check_directives; scheduler_options; why=''
    tej_kept_SLURM_CLUSTERS=gpu has_waited=1; for text in gpu '' gpu; do
        echo "$text" >"$job/clusters"; why=''; scheduler_options; echo "$?$why"
    done; can_read_facts && echo readable; cat() { return 1; }; can_read_facts || echo unreadable
    mv() { return 1; }; has_waited=''; runtime_defer || echo "${why%%/*}" """
    assert shell(lines).splitlines() == [
        "0",
        "1its file 'clusters' is damaged or cannot be read",
        *("0", "readable", "unreadable", "cannot write to '"),
    ]


def test_listing_for_other_jobs_ends_no_job_of_another_cluster(shell: Shell) -> None:
    lines = """squeue() { case "$*" in *'-M gpu2'*) echo '7|PENDING|None|x|y' ;; esac; }
    runtime_ask 'slurm 5'; runtime_ask 'slurm 5 slurm 7;gpu2'
    for nid in 5 '7;gpu2'; do look_up "$nid" ''; echo "$listed_state"; done"""
    assert shell(lines) == "unknown\nqueued\n"


def test_ids_beyond_the_argument_limit_are_queried(shell: Shell) -> None:
    """The kernel limits one argument of a program to 128 KB."""
    lines = """squeue() { echo '7|RUNNING|None|x|y'; }
    scheduler_list $(seq 30000)"""
    assert shell(lines) == "7|running|x|RUNNING\n"


def test_listing_without_header_is_no_answer(shell: Shell) -> None:
    """A site's own squeue may fail with exit status 0, and print nothing."""
    lines = """patiently() { "$@"; }; squeue() { printf "$said"; }
    for said in '' '7|RUNNING|None|x|y\\n' 'JOBID|STATE|REASON|NAME|COMMAND\\n'; do
        query_again; look_up 8 ''; echo "$listed_state"
    done"""
    assert shell(lines) == "silent\nsilent\nunknown\n"


def test_old_accounting_entry_is_ignored(shell: Shell) -> None:
    history = r"""printf '100000 x\n' >"$job/submitting"; me=$(id -un)
    sacct() { printf '%s\n' "CANCELLED by 0|$me|1000|7" "FAILED|stranger|100001|7"; }
    slurm_history 7 || echo none
    sacct() { printf '%s\n' "CANCELLED by 0|$me|1000|7" "TIMEOUT|$me|100001|7" \
        "CANCELLED by 0|$me|200000|7"; }
    slurm_history 7
    : >"$job/requeue"; slurm_history 7"""
    assert shell(history) == (
        "none\nlimit|TIMEOUT (time limit)\ncancelled|CANCELLED by 0\n"
    )


@pytest.mark.parametrize(("runtime", "command"), [("slurm", "sacct"), ("sge", "qacct")])
def test_hanging_accounting_is_queried_only_once(
    shell: Shell, runtime: str, command: str
) -> None:
    lines = f"""{command}() {{ echo queried >>calls; return 124; }}; nid=7; cd "$queue"
    listed_state=unknown; find_cause; find_cause; echo "$listed_state"; cat calls"""
    assert shell(lines, runtime) == "unknown\nqueried\n"


def test_memory_of_500k_is_not_zero_megabytes(shell: Shell) -> None:
    lines = """printf 'memory=512000\\ncpus=2\\ngpus=2\\ngpu_type=a100\\n' >"$job/resources"
    read_resources && check_directives && replaced='' prepended='' lookup_name=x &&
        scheduler_options && printf '%s' "$options" | tr '\\n' ' '"""
    words = shell(lines)
    assert "--mem=1M" in words
    assert "-c 2" in words
    assert "--gpus-per-node=a100:2" in words
    assert "--ntasks-per-node" not in words


def test_directives_apply_and_keep_users_name(shell: Shell) -> None:
    lines = """printf '%s\\n' '#!/bin/sh' '#SBATCH\t--time=7' '  # indented' \
        '#SBATCH --requeue -J mine --mem-per-cpu=1G' true '#SBATCH --late' \
        >"$job/stage/start.sh"
    printf 'script=start.sh\\ndefault_name=dir\\nmemory=2097152\\n' >"$job/resources"
    read_resources && check_directives && replaced='' replaced_list='' prepended='' &&
        scheduler_options && copy_directives && printf '%s' "$options" | tr '\\n' ' '"""
    assert shell(lines).splitlines() == [
        "#SBATCH --time=7",
        "#SBATCH --requeue -J mine",
        "--mem=2M ",
    ]


def test_option_without_value_takes_no_word_of_another_line(shell: Shell) -> None:
    lines = """directives='#PBS -N a -l mem=3gb
#PBS -l' replaced=-N replaced_list=ncpus; copy_directives"""
    assert shell(lines, "pbs") == "#PBS -l mem=3gb\n"


def test_quoted_text_of_a_directive_is_no_option(shell: Shell) -> None:
    lines = r"""printf '%s\n' '#SBATCH --comment="run -a 3 -W --mem-per-cpu=1G"' \
        "#SBATCH -J 'a # --wait' -n 2 # --array=1" "#SBATCH --comment=it's --late" \
        >"$job/stage/start.sh"
    printf 'script=start.sh\nmemory=1\noption=--comment=x --requeue y\n' >"$job/resources"
    read_resources && check_directives && replaced='' replaced_list='' prepended='' &&
        scheduler_options && copy_directives && printf '%s\n' "$options" | grep requeue
    printf 'option=-a\noption=1-3\n' >"$job/resources"
    read_resources; check_directives || printf '%s\n' "$why" """
    assert shell(lines).splitlines() == [
        '#SBATCH --comment="run -a 3 -W --mem-per-cpu=1G"',
        "#SBATCH -J 'a # --wait' -n 2",
        "#SBATCH --comment=it's --late",
        "--no-requeue",
        "--comment=x --requeue y",
        "it requests a job array (-a): submit the jobs one by one",
    ]


# PBS


def test_qstat_parser_finds_cause_in_wrapped_lines(shell: Shell) -> None:
    lines = r"""dialect=openpbs
    printf '%s\n' 'Job Id: 1.s' '    Job_Name = mine' '    job_state = F' \
        '    Output_Path = h:/q/jobs/a/tej_a' '	bc0123.log' '    Exit_status = -29' \
        'Job Id: 2.s' '    Job_Name = x' '    job_state = F' '    Exit_status = 265' \
        'Job Id: 3.s' '    job_state = Q' '    comment = Not Running: too few' '	 nodes' \
        'Job Id: 4.s' '    job_state = F' '    Exit_status = 254' \
        'Job Id: 5.s' '    job_state = H' '    Hold_Types = s' '    comment = job held, too many' \
        'Job Id: 6.s' '    job_state = F' '    Exit_status = -3' '    substate = 91' \
        'Job Id: 7.s' '    job_state = F' '    Exit_status = -1' '    substate = 93' \
        'Job Id: 8.s' '    job_state = F' '    exec_host = n/0' '    substate = 91' \
        'Job Id: 9.s' '    job_state = F' '    substate = 92' \
        'Job Id: 10.s' '    job_state = F' '    substate = 92' '    depend = afterok:9.s@s' \
        'Job Id: 11.s' '    job_state = F' '    Exit_status = -14' \
        'Job Id: 12.s' '    job_state = F' '    Exit_status = -25' \
        'Job Id: 13.s' '    job_state = F' '    Exit_status = -17' \
        'Job Id: 14.s' '    job_state = F' '    Exit_status = 265' '    substate = 91' '    exec_host = n/0' \
        'Job Id: 15.s' '    job_state = F' '    Exit_status = 265' '    substate = 91' '    exec_host = n/0' \
        '    Stageout_status = 1' >said
    read_qstat said"""
    assert shell(lines, "pbs").splitlines() == [
        "1.s|limit|tej_abc0123|time limit",
        "2.s|cut||exit status 265: its shell was killed by SIGKILL",
        "3.s|queued||Not Running: too few nodes",
        "4.s|over||exit status 254: its shell could not be started",
        "5.s|queued||held (Hold_Types = s): job held, too many",
        "6.s|cancelled||deleted",
        "7.s|over||exit status -1: the job could not be started",
        "8.s|cancelled||deleted by force",
        "9.s|cancelled||deleted by PBS before it ran: "
        "rejected by all destinations of its queue, or by a hook",
        "10.s|cancelled||deleted by PBS before it ran: depend = afterok:9.s@s",
        "11.s|cut||node failure",
        "12.s|limit||limit of CPUs",
        "13.s|over||exit status -17: rejected by a hook of the site",
        *("14.s|cancelled||deleted by force", "15.s|cancelled||deleted"),
    ]


@pytest.mark.parametrize(
    ("dialect", "state"), [("openpbs", "ended"), ("torque", "over")]
)
def test_exit_status_of_torque_names_no_cause(
    shell: Shell, dialect: str, state: str
) -> None:
    # As strings, the exit statuses 3 and 99 are greater than 256.
    lines = rf"""dialect={dialect}
    for i in 3 99 143; do
        printf '%s\n' "Job Id: $i.s" '    job_state = C' "    exit_status = $i"
    done >said
    read_qstat said"""
    assert shell(lines, "pbs").splitlines() == [
        f"{i}.s|{state}||exit status {i}" for i in (3, 99, 143)
    ]


def test_id_missing_in_qstat_is_unknown(shell: Shell) -> None:
    lines = r"""dialect=torque
    qstat() { printf 'Job Id: 1.s\n    job_state = R\n'
        echo 'qstat: Unknown Job Id 3.s' >&2; return 153; }
    qstat_list 1.s 2.s 3.s"""
    assert shell(lines, "pbs").splitlines() == [
        "1.s|running||",
        "2.s|silent||",
        "3.s|unknown||",
    ]


def test_unreachable_server_silences_only_its_jobs(shell: Shell) -> None:
    lines = r"""dialect=openpbs
    qstat() {
        [ "$1" != -x ] || shift; shift
        case $* in
            *.gone*) printf 'qstat: illegally formed job identifier: %s\n' "$@" >&2; return 1 ;;
            *.hangs*) return 124 ;;
            *) printf 'Job Id: %s\n    job_state = R\n' "$@" ;;
        esac
    }
    qstat_list 1.s 2.gone 3 4.s.org 5.hangs 6.s; qstat_list 7.gone
    qstat_list 5.hangs 2>words || cat words"""
    unknown = "qstat: illegally formed job identifier:"
    assert shell(lines, "pbs").splitlines() == [
        *("3|running||", "1.s|running||", "6.s|running||", "4.s.org|running||"),
        *(f"2.gone|silent||{unknown} 2.gone", "5.hangs|silent||"),
        f"7.gone|silent||{unknown} 7.gone",
        "no reply within 60 seconds",
    ]


def test_hanging_pbs_server_is_queried_once(shell: Shell) -> None:
    lines = """dialect=openpbs; cd "$queue"
    qstat() { echo queried >>calls; return 124; }
    qstat_list 1.s 2>words || cat calls words"""
    assert shell(lines, "pbs") == "queried\nno reply within 60 seconds\n"


def test_list_of_pbs_that_cannot_be_stored_fails(shell: Shell) -> None:
    lines = "qstat() { :; }; fresh=absent/x; qstat_list 1.s 2>/dev/null || echo failed"
    assert shell(lines, "pbs") == "failed\n"


def test_cpus_replace_nodes_of_the_script(shell: Shell) -> None:
    lines = """dialect=openpbs log=x lookup_name=n
    printf '%s\\n' '#PBS -l nodes=1:ppn=2,walltime=5' '#PBS -m abe -N mine' >"$job/stage/s"
    printf 'script=s\\ncpus=4\\ntasks=5\\nnodes=2\\n' >"$job/resources"
    read_resources && check_directives && replaced='' replaced_list='' prepended='' &&
        scheduler_options && copy_directives && printf '%s' "$options" | tr '\\n' ' '"""
    assert shell(lines, "pbs").splitlines() == [
        "#PBS -l walltime=5",
        "#PBS -m abe -N mine",
        "-r n -l select=1:ncpus=12:mpiprocs=3:ompthreads=4"
        "+1:ncpus=8:mpiprocs=2:ompthreads=4 ",
    ]


def test_directives_become_words_without_quotes(shell: Shell) -> None:
    lines = r"""printf '%s\n' "#PBS -N 'a b'  -l select=1 # why" '#PBS -v "X=c d",Y=#1' |
        split_directives"""
    assert shell(lines, "pbs").splitlines() == [
        *("-N", "a b", "-l", "select=1"),
        *("-v", "X=c d,Y=#1"),
    ]


@pytest.mark.parametrize(
    ("dialect", "per_node", "per_cpu"),
    [
        (
            "openpbs",
            "select=2:ncpus=1:mem=1024mb",
            "select=2:ncpus=6:mpiprocs=3:ompthreads=2:mem=6144mb",
        ),
        ("torque", "nodes=2:ppn=1,mem=2048mb", "nodes=2:ppn=6,pmem=1024mb"),
        ("wrapper", "nodes=2:ppn=1,mem=1024mb", "nodes=2:ppn=6,mem=6144mb"),
    ],
)
def test_memory_has_the_form_of_each_dialect(
    shell: Shell, dialect: str, per_node: str, per_cpu: str
) -> None:
    lines = f"""dialect={dialect} lookup_name=n
    for wanted in memory=1073741824 'memory_per_cpu=1073741824\ncpus=2\ntasks_per_node=3'; do
        printf "nodes=2\n$wanted\n" >"$job/resources"
        read_resources && check_directives && replaced='' prepended='' &&
            scheduler_options && printf '%s' "$options" | sed -n '/^-l$/{{n;p;}}'
    done"""
    assert shell(lines, "pbs").splitlines() == [per_node, per_cpu]


def test_memory_of_scattered_tasks_needs_the_number_of_nodes(shell: Shell) -> None:
    lines = """dialect=openpbs
    for wanted in '' r_memory=1 r_gpus=1 'r_memory=1 r_nodes=2'; do
        (r_tasks=4 r_tasks_per_node='' r_cpus='' r_memory='' r_gpus='' r_nodes=''
        why=''; eval "$wanted"; list_chunks; echo "$? $wanted: ${why%%:*}")
    done"""
    refused = "with --tasks, PBS can assign memory or GPUs only if the number of nodes is known"
    assert shell(lines, "pbs").splitlines() == [
        "0 : ",
        f"1 r_memory=1: {refused}",
        f"1 r_gpus=1: {refused}",
        "0 r_memory=1 r_nodes=2: ",
    ]


def test_kind_of_qsub_is_found_by_its_version(shell: Shell) -> None:
    lines = """qsub() { echo "$answer" >&2; }
    for answer in 'pbs_version = 23' 'Version: 6.1' 'Unknown option: version' \
        'invalid option argument "--version"' 'other'; do
        dialect=''; find_dialect; echo "$? $dialect"
    done"""
    assert shell(lines, "pbs").splitlines() == [
        *("0 openpbs", "0 torque", "0 wrapper", "1 "),
        "The qsub on this server belongs to an unknown scheduler, which tej cannot use",
        "2 ",
    ]


def test_silent_grid_engine_is_not_used(shell: Shell) -> None:
    lines = """find_program() { [ "$1" != "$absent" ]; }; find_variables() { :; }
    qstat() { return "$silent"; }; patiently() { "$@"; }
    for facts in silent=1 silent=0 absent=qsub; do
        silent=1 absent=''; eval "$facts"; scheduler_here; echo "$?"
    done"""
    assert shell(lines, "sge").splitlines() == [
        *("Grid Engine is installed, but its master does not answer", "2", "0", "1"),
    ]


def test_id_is_the_only_line_that_can_be_one(shell: Shell) -> None:
    lines = r"""for reply in 7 "$(printf 'Welcome to 9 nodes\n7\nBye')" \
        "$(printf '7\n8')" 'no id' ''; do
        find_id "$reply"; echo "$? $nid"
    done"""
    lines = 'is_id() { is_number "$1"; }; ' + lines
    assert shell(lines).splitlines() == ["0 7", "0 7", "1 7 8", "1 ", "1 "]


# Missing jobs and repeated kills


def test_job_is_unknown_only_in_a_complete_listing(shell: Shell) -> None:
    lines = """listing_number=2 q_5='2|running||RUNNING' q_6='1|running||RUNNING'
    for listing_result in silent answer; do
        for nid in 5 6; do look_up "$nid" ''; echo "$listing_result $nid $listed_state"; done
    done
    scheduler_listed_all() { return 1; }; look_up 6 ''; echo "$listed_state" """
    assert shell(lines).splitlines() == [
        "silent 5 silent",
        "silent 6 silent",
        "answer 5 running",
        "answer 6 unknown",
        "",
    ]


def test_missing_job_counts_as_ended_after_30_seconds(shell: Shell) -> None:
    lines = """listed_state=unknown native='slurm 5' started=1; get_time; listed_at=$now
    is_confirmed it || echo first
    # The clock of the host that looked first was an hour fast.
    echo "$((now + 3600)) unknown" >"$job/missed"
    touch -d "@$((now - 20))" "$job/missed"; is_confirmed it || echo soon
    touch -d "@$((now - 31))" "$job/missed"; is_confirmed it && echo gone
    clear_missed; is_confirmed it || echo seen between"""
    assert shell(lines) == "first\nsoon\ngone\nseen between\n"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("cancelled - CANCELLED", "killed: not by tej: slurm: CANCELLED"),
        (
            "cut - NODE_FAIL (node failure)",
            "lost: slurm says NODE_FAIL (node failure),",
        ),
        ("unknown ", "lost: slurm no longer lists the job,"),
    ],
)
def test_first_answer_is_kept_until_the_second(
    shell: Shell, answer: str, state: str
) -> None:
    """Slurm forgets the silent job between the two queries, and has no accounting."""
    lines = f"""echo 1 >"$job/claim"; native='slurm 5' started=1 submitted=1 nid=5
    get_time; listed_at=$now; echo "1 {answer}" >"$job/missed"
    touch -d "@$((now - 99))" "$job/missed"; sacct() {{ return 1; }}; is_silent() {{ :; }}
    listed_state=unknown reason=''; derive_gone_state; echo "$state: $note$evidence" """
    assert shell(lines).startswith(state)


def test_job_with_heartbeat_is_running(shell: Shell) -> None:
    lines = """listed_state=unknown native='slurm 5' started=1 submitted=1; get_time
    listed_at=$now; echo 1 >"$job/heartbeat"; derive_gone_state
    echo 2 >"$job/heartbeat"; touch -d "@$((now - 99))" "$job/missed"
    # Each request derives the state anew.
    state='?'; derive_gone_state
    echo "$state: $note"; [ -e "$job/lost" ] || echo kept"""
    assert shell(lines).splitlines() == [
        "running: slurm no longer lists the job as active, but the job gives signs of life",
        "kept",
    ]


def test_listed_job_restarts_the_count(shell: Shell) -> None:
    lines = """echo '1 unknown' >"$job/missed"; native='slurm 5' started=1 listing_result=answer
    listing_number=1 q_5='1|running||RUNNING'; runtime_derive_state
    echo "$state"; [ -e "$job/missed" ] || echo forgotten"""
    assert shell(lines) == "running\nforgotten\n"


def test_suspended_job_is_cancelled_without_sigterm(shell: Shell) -> None:
    """The job was suspended after the last listing. SIGTERM would wait for its resume."""
    lines = """native='slurm 5' state=running started=1; : >"$job/claim"
    squeue() { echo '5|SUSPENDED|None|x|y'; }; scancel() { echo "scancel $*" >&3; }
    exec 3>&1; get_time; listing_result=answer listing_number=1 listed_at=$now q_5='1|running||'
    runtime_tell || echo "$sigterm_sent" """
    assert shell(lines) == "scancel 5\n0\n"


def test_refused_kill_stays_recorded(shell: Shell) -> None:
    lines = """native='slurm 5' state=queued; echo '1 10 me' >"$job/kill"
    scancel() { return 1; }; squeue() { return 1; }
    runtime_tell || echo not told
    [ -e "$job/finished" ] || [ -e "$job/claim" ] || echo on file
    scancel() { echo "cancelled $*" >&3; }
    listing_result=answer listing_number=1 q_5='1|queued||Priority'
    exec 3>&1; kill_time=1 grace=10 by=me; runtime_derive_state
    echo "$note"; runtime_derive_state"""
    assert shell(lines).splitlines() == [
        "not told",
        "on file",
        "cancelled 5",
        "kill requested by me, but the job has not ended yet; slurm 5: Priority",
    ]


def test_refused_kill_is_the_note_of_the_job(shell: Shell) -> None:
    lines = """echo 'slurm 5' >"$job/native_id"; echo '1 h 1 1 1 1' >"$job/submitted"
    start_keepalives() { :; }; stop_keepalives() { :; }
    squeue() { echo '5|RUNNING|None|x|y'; }
    scancel() { echo 'scancel: error: refused' >&2; return 1; }
    set -- 0 me a; . "$here/commands/kill" """
    reply = shell(lines).split("\0")
    notes = [word for word in reply if word.startswith("note=")]
    note = "kill requested by me, but the job has not ended yet; slurm 5: RUNNING"
    assert notes == [f"note={note}"]


def test_late_reply_for_killed_job_is_cancelled(shell: Shell) -> None:
    lines = """scancel() { echo "cancelled $*" >&3; }; exec 3>&1
    job_token=0123456789abcdef nid=5; echo '9 none 0 killed 0' >"$job/finished"; adopt_reply && cat "$job/native_id"
    rm "$job/finished" "$job/native_id"; job_token=another; adopt_reply || echo "$why"
    # The job cannot be read for a moment.
    read_spec() { spec=''; }; adopt_reply && cat "$job/native_id" """
    assert shell(lines).splitlines() == [
        "cancelled 5",
        "slurm 5",
        "cancelled 5",
        "it was removed during its submission to slurm",
        "slurm 5",
    ]


@pytest.mark.parametrize(
    ("facts", "answer", "state"),
    [
        ("", "limit|x|TIMEOUT", "finished limit slurm: TIMEOUT"),
        ("", "cut|x|PREEMPTED", "finished other slurm: PREEMPTED"),
        ("", "ended|x|COMPLETED", "finished - "),
        ("term", "ended|x|COMPLETED", "finished - "),
        (
            "term",
            "over|x|exit status 0",
            "finished other it received SIGTERM, and slurm reports no reason",
        ),
        ("", "cancelled|x|CANCELLED", "killed other not by tej: slurm: CANCELLED"),
        ("term", "queued|x|BeginTime", "finished other slurm has requeued the job"),
        ("", "queued|x|BeginTime", "finished - slurm has requeued the job"),
    ],
)
def test_cause_of_exit_0_comes_from_scheduler(
    shell: Shell, facts: str, answer: str, state: str
) -> None:
    lines = f"""get_time; ended=$((now + 3600)) listed_at=$((now + 1)) nid=5
    # The clock of the compute node was an hour fast.
    echo "$ended exit 0 ask 0" >"$job/finished"; native='slurm 5'
    for f in {facts}; do echo 1 >"$job/$f"; done
    slurm_history() {{ return 1; }}
    listing_result=answer listing_number=1 lookup_name='' q_5='1|{answer}'; look_up 5 ''
    derive_ended_state; echo "$state ${{cut_off:--}} $note" """
    assert shell(lines) == f"{state}\n"


def test_log_of_pbs_names_the_limit(shell: Shell) -> None:
    lines = """echo '=>> PBS: job killed: walltime 10 exceeded limit 4' >"$job/tej_x.log"
    cause_in_log"""
    assert shell(lines, "pbs") == "limit|walltime 10 exceeded limit 4\n"


SGE_LIST = """<job_info>
    <job_list state="pending">
      <JB_job_number>4</JB_job_number>
      <JB_name>tej_a</JB_name>
      <state>Eqw</state>
    </job_list>
    <job_list state="running">
      <JB_job_number>5</JB_job_number>
      <JB_name>tej_b</JB_name>
      <state>s</state>
    </job_list>
    <job_list state="pending">
      <JB_job_number>6</JB_job_number>
      <JB_name>tej_abc0123_a</JB_name>
      <state>qw</state>
      <tasks>1-3:2,5</tasks>
    </job_list>
    <job_list state="pending">
      <JB_job_number>8</JB_job_number>
      <JB_name>tej_c</JB_name>
      <state>hRq</state>
    </job_list>
    <job_list state="pending">
      <JB_job_number>7</JB_job_number>
      <JB_name>users</JB_name>
      <state>qw</state>
      <tasks>1-75000:1</tasks>
    </job_list>
</job_info>"""
SGE_ERROR = """job_number:                 4
error reason          1:      11/26/2026 10:47:48 [0:16589]: error: can't chdir to /x
scheduling info:            Job is in error state"""


def test_sge_reports_error_and_suspension(shell: Shell) -> None:
    lines = f"""qstat() {{ case $1 in -xml) echo '{SGE_LIST}' ;;
        -j) [ "$2" = 4 ] && cat <<'END'
{SGE_ERROR}
END
        esac; }}
    fresh=$queue/fresh; scheduler_list"""
    assert shell(lines, "sge").splitlines() == [
        "4|queued|tej_a|in error (can't chdir to /x): "
        "does not start before `qmod -cj 4`",
        "5|stopped|tej_b|",
        *(f"6.{index}|queued|tej_abc0123_a|" for index in (1, 3, 5)),
        "8|queued|tej_c|held",
        "7|queued|users|",
    ]


def test_sge_soft_time_limit_is_recognized(shell: Shell) -> None:
    """With -notify, SIGUSR1 before the limit announces a suspension."""
    lines = """printf 'option=-notify\noption=-l\noption=h_rt=90,s_rt=0:1:08\n' \
        >"$job/resources"
    read_resources; now=$(date +%s)
    began=$((now - 60)); scheduler_warning USR1 || echo early
    began=$((now - 68)); scheduler_warning USR1 && echo "$warning"
    scheduler_warning USR2 && echo "$warning"; scheduler_warning CONT || echo none"""
    assert shell(lines, "sge").splitlines() == [
        "early",
        "limit the soft time limit was exceeded (s_rt)",
        "cut SIGUSR2 announced SIGKILL (-notify)",
        "none",
    ]


def test_variables_of_outer_job_are_not_passed_on(shell: Shell) -> None:
    lines = """export SLURM_CPU_BIND=1 PMI_RANK=2 SLURM_CONF=kept
    unset SLURM_JOB_ID PBS_JOBID; unset_job_variables; echo "$SLURM_CPU_BIND $PMI_RANK"
    export SLURM_JOB_ID=7; unset_job_variables
    echo "${SLURM_CPU_BIND-}${PMI_RANK-}${SLURM_JOB_ID-} $SLURM_CONF" """
    assert shell(lines) == "1 2\n kept\n"


@pytest.mark.parametrize(
    ("runtime", "id_", "commands"),
    [
        ("slurm", "7;gpu2", "sacct -M gpu2 7|scontrol -M gpu2 7"),
        ("pbs", "7.host", "qstat -f 7.host|tracejob -n 7"),
        ("sge", "7", "qacct -j 7"),
        ("sge", "7.3", "qacct -j 7 -t 3"),
    ],
)
def test_scheduler_log_contains_messages_and_accounting(
    shell: Shell, runtime: str, id_: str, commands: str
) -> None:
    """The id of the job is the last argument of each command."""
    lines = f"""printf '{runtime} {id_}\n' >"$job/native_id"
    printf 'exceeded walltime\n' >"$job/tej_a.log"
    start_keepalives() {{ :; }}; stop_keepalives() {{ :; }}
    sacct() {{ echo "sacct $1 $2 $(for word; do :; done; echo "$word")"; }}
    scontrol() {{ echo "scontrol $1 $2 $(for word; do :; done; echo "$word")"; }}
    tracejob() {{ echo "tracejob $1 $2"; }}
    qacct() {{ echo "qacct $*"; }}
    qstat() {{ case $1 in -x | -j) return 1 ;; esac; echo "qstat $*"; }}
    dialect=openpbs
    set -- a
    . "$here/commands/scheduler_log"
    """
    said = [line for line in shell(lines, runtime).splitlines() if "==>" not in line]
    assert said == ["exceeded walltime", *commands.split("|")]


def test_each_task_of_own_array_is_listed(shell: Shell) -> None:
    listing = r"""squeue() { printf '%s\n' '5_0|RUNNING|None|x|/q/tej_abc0123_a' \
        '5_1|PENDING|Priority|x|/q/tej_abc0123_a' '6_1|RUNNING|None|x|/q/users'; }
    slurm_list"""
    assert shell(listing).splitlines() == [
        "5|running|tej_abc0123_a|RUNNING",
        "5_0|running|tej_abc0123_a|RUNNING",
        "5_1|queued|tej_abc0123_a|Priority",
        "6|running|x|RUNNING",
    ]
    lines = """listing_result=answer listing_number=1; q_5e1='1|queued||Priority'
    look_up 5_1 ''; echo "$listed_state $reason"; look_up 5_2 ''; echo "$listed_state"
    """
    assert shell(lines) == "queued Priority\nunknown\n"


def test_arrays_obey_the_limit_of_the_site(shell: Shell) -> None:
    lines = r"""scontrol() { echo 'MaxArraySize = 2'; }
    sbatch() { echo "$*" >>calls; wc -l <calls | tr -d ' '; }
    set --
    for id in a b c d e; do
        mkdir -p "jobs/$id/stage"
        echo "token=000000000000000000$id end" >"jobs/$id/spec"
        set -- "$@" "$id" "000000000000000000$id"
    done
    runtime_start_together "$@"
    for id in a b c d e; do job=$queue/jobs/$id spec=''; runtime_start; done
    sed -n 's/.*\(--array=[^ ]*\).*/\1/p' calls
    cat jobs/[a-e]/native_id"""
    assert shell(lines).splitlines() == [
        *("--array=0-1", "--array=0-1"),
        *("slurm 1_0", "slurm 1_1", "slurm 2_0", "slurm 2_1", "slurm 3"),
    ]


@pytest.mark.parametrize(
    ("message", "is_retried"),
    [
        ("qsub: Maximum number of jobs already in queue", True),
        ("qsub: Maximum number of jobs for user me already in complex", True),
        ("qsub: Maximum number of jobs in 'Q' state already in queue a", True),
        ("qsub: Server connection table full", True),
        ("qsub: Invalid credential", True),
        ("Batch job submission failed: MaxJobCount limit reached", True),
        ("Slurm job queue full, sleeping and retrying", True),
        ("Rate limit exceeded, please retry later", True),
        ("qsub: would exceed complex's per-user limit", True),
        ("job rejected: only 9 jobs are allowed per user (current", True),
        ("qsub: Queue is not enabled", False),
        ("qsub: Array job exceeds server or queue size limit", False),
    ],
)
def test_only_temporary_refusals_are_retried(
    shell: Shell, message: str, is_retried: bool
) -> None:
    lines = f"""why="pbs: {message}"; if is_busy; then echo retry; fi"""
    assert shell(lines, "pbs") == "retry\n" * is_retried


def test_waiting_job_is_kept_if_the_controller_was_silent(shell: Shell) -> None:
    """The controller may answer the query that follows the failed submission."""
    lines = """own_cluster=home; squeue() { :; }; has_waited=1
    scontrol() { [ -e scheduler/listing ] && echo 'ClusterName = home'; }
    sbatch() { echo "$said" >&2; return 1; }
    say() { if runtime_start; then echo started; elif runtime_may_retry; then echo kept; else echo refused; fi
        local_cluster=''; echo "$listing_result"; rm -f scheduler/listing; }
    query_again() { local_cluster=home; ids='' max_age=0 now=''; renew_listing; }
    say; local_cluster=home said='Unable to contact slurm controller (connect failure)'; say
    local_cluster=home said='invalid partition'; say
    for why in 'qsub: cannot connect to server s (errno=15010)' \
        'unable to send message to qmaster using port 6444 on host "h"' \
        'Socket timed out on send/recv operation'; do
        runtime_may_retry && echo kept
    done"""
    kept = ["kept", "answer"]
    refused = ["refused", "answer"]
    assert shell(lines).splitlines() == [*kept, *kept, *refused, *["kept"] * 3]


@pytest.mark.parametrize(
    ("message", "is_in_doubt"),
    [
        ("sbatch: error: Socket timed out on send/recv operation", True),
        ("Unable to contact slurm controller (receive failure)", True),
        ("Unable to contact slurm controller (connect failure)", False),
        ("qsub: Premature end of message", True),
        ("qsub: Failed to recv data from background qsub", True),
        ("Connection timed out; qsub: cannot connect to server s", False),
        ("from background qsub; qsub: cannot connect to server s", True),
        ("error: failed receiving gdi request response for mid=1", True),
        ("qsub: Unknown queue", False),
    ],
)
def test_job_may_have_been_accepted_if_the_reply_was_lost(
    shell: Shell, message: str, is_in_doubt: bool
) -> None:
    lines = f"""status=1 why='pbs: {message}'; if is_in_doubt; then echo doubt; fi"""
    assert shell(lines, "pbs") == "doubt\n" * is_in_doubt


def test_busy_controller_is_queried_again_later(shell: Shell) -> None:
    busy = "Slurm temporarily unable to accept job, sleeping and retrying"
    lines = f"""sleep() {{ echo "pause $1" >>log; }}
    start_keepalives() {{ :; }}
    sbatch() {{
        case $(cat log) in *"pause 2"*"pause 4"*) echo 7 ;; *)
            echo "sbatch: error: {busy}" >&2; return 1 ;; esac
    }}
    squeue() {{ :; }}
    : >log; busy_awaited=60
    runtime_start && cat "$job/native_id" log
    rm "$job/native_id" "$job/submitting"; : >log; retry_until=0
    runtime_start || echo "$why"; cat log"""
    assert shell(lines).splitlines() == [
        *("slurm 7", "pause 2", "pause 4"),
        f"slurm: sbatch: error: {busy}",
    ]


@pytest.mark.parametrize(
    ("runtime", "variable", "command"),
    [
        ("slurm", "SLURM_CONF", 'scontrol() { echo "Slurmctld is $SLURM_CONF"; }'),
        ("pbs", "PBS_SERVER", 'qstat() { [ "${PBS_SERVER-}" = UP ]; }'),
    ],
)
def test_variables_of_login_shells_are_recorded(
    shell: Shell, runtime: str, variable: str, command: str
) -> None:
    lines = f"""unset SLURM_CONF PBS_SERVER PBS_DEFAULT PBS_CONF_FILE; HOME=$queue
    echo 'export {variable}=UP' >.profile; find_program() {{ [ "$1" != sbatch ]; }}
    qsub() {{ echo pbs_version; }}; make_queue_directory() {{ :; }}
    {command}
    case $runtime in slurm) slurm_here ;; *) scheduler_here ;; esac && echo found
    unset {variable}; . "$here/runtimes/$runtime/runtime.sh"; echo "${variable}" """
    assert shell(lines, runtime) == "found\nUP\n"


def test_job_that_ended_before_the_reply_is_not_cancelled(shell: Shell) -> None:
    lines = """job_token=abc nid=7
    printf '%s\n' 'token=abc name=d end' >"$job/spec"
    scheduler_cancel() { echo cancelled >"$job/cancelled"; }
    echo '9 exit 143 ask 0' >"$job/finished"; adopt_reply
    [ ! -e "$job/cancelled" ] && cat "$job/native_id"
    rm "$job/native_id"
    echo '9 none 0 killed 0' >"$job/finished"; adopt_reply; cat "$job/cancelled"
    """
    assert shell(lines) == "slurm 7\ncancelled\n"


def test_job_is_queued_until_its_script_starts(shell: Shell) -> None:
    lines = """native='slurm 5' listing_result=answer listing_number=1
    say() { note=''; runtime_derive_state; echo "$state $note"; }
    q_5='1|running||CONFIGURING' started=''; say; started=1; say
    q_5='1|stopped||SUSPENDED'; say; listing_result=silent; say"""
    assert shell(lines).splitlines() == [
        *("queued slurm 5: CONFIGURING", "running ", "running suspended by slurm"),
        "running slurm does not answer; last known: running",
    ]


def test_waiting_job_is_not_submitted_patiently(shell: Shell) -> None:
    """A busy scheduler may accept the job later, at the request of another client."""
    lines = """squeue() { :; }; sleep() { echo waits; }; start_keepalives() { sleep; }
    sbatch() { echo 'sbatch: error: Socket temporarily unavailable' >&2; return 1; }
    is_wrapper=1 retry_until=$(($(date +%s) + 60)); launch a; echo "$?" """
    assert shell(lines) == "1\n"


@pytest.mark.parametrize(
    ("silent", "answering", "selected"),
    [
        ("", "slurm", "slurm"),
        ("pbs", "slurm", "slurm"),
        ("slurm", "pbs", "pbs"),
        (
            "pbs",
            "",
            "warning: pbs is down: the jobs of this queue will run without a scheduler",
        ),
        ("", "", "default"),
    ],
)
def test_warning_names_the_scheduler_that_is_not_used(
    shell: Shell, silent: str, answering: str, selected: str
) -> None:
    lines = f"""{function("select_runtime", "install_queue.sh")}
    warn() {{ echo "warning: $*"; }}
    notify_of_scheduler() {{ :; }}
    try_runtime() {{
        why=''
        [ "$runtime" != "{silent}" ] || why="$runtime is down"
        [ "$runtime" = "{answering}" ]
    }}
    mkdir scripts; ln -s "$here" scripts/new
    select_runtime auto new; echo "$runtime" """
    assert shell(lines).startswith(selected)
