"""First process of a job, and the wrappers of several jobs, without a server."""

from __future__ import annotations

from collections.abc import Callable

from server_functions import functions, in_all_shells

Shell = Callable[..., str]

EXEC = """
chmod +x "$job/stage/run" 2>/dev/null
begin() {
    (cd "$job" && tej_host='h b s' tej_clock="$clock" tej_together=$together tej_here=$here tej_queue=$queue tej_id=a tej_read_spec='' /bin/sh "$here/exec_job.sh"; echo "status $(($? % 128))") 2>/dev/null
    for item in started lost kill; do [ ! -e "$job/$item" ] || echo "$item $(cut -d' ' -f2 "$job/$item")"; rm -f "$job/$item"; done
    for item in _stdout _stderr; do sed "s/^/$item: /; s,$queue,Q,g" "$job/stage/$item" 2>/dev/null; done
}
together='' clock='7 0'
"""


def test_first_process_records_the_start_before_the_command(shell: Shell) -> None:
    lines = f"""{EXEC} set_up() {{ echo "$1" >jobs/a/command; }}; set_up 'pwd; cat ../started | cut -d" " -f2; exit 3'; begin
    set_up 'echo ran'; : >jobs/a/kill; begin; : >jobs/a/lost; begin; mkdir target; rm jobs/a/stage/_stdout; echo kept >target/f; ln -s "$queue/target/f" jobs/a/stage/_stdout; begin; cat target/f
    mkdir jobs/a/stage/_stderrs; rm jobs/a/stage/_stderr; ln -s gone jobs/a/stage/_stderr; begin; ls jobs/a/stage
    printf '#!/bin/sh -u\\ncase $- in *u*) echo "run u $*" ;; esac\\n' >jobs/a/stage/run; set_up 'tej_run ./run "a b"'; begin; ls -l jobs/a/stage/run | cut -c4
    set_up 'for name in tej_read_start tej_login hide_environment; do command -v $name; done; echo "${{tej_id-unset}} $TEJ_JOB_ID $TEJ_JOB_TOKEN ${{TEJ_JOB_DIR##*/}} $PYTHONUNBUFFERED"'; begin
    mv jobs/a/stage x; begin"""
    assert shell(lines, "default").splitlines() == [
        *("status 3", "started h", "_stdout: Q/jobs/a/stage", "_stdout: h"),
        *("status 15", "started h", "kill ", "status 125", "lost "),
        *("status 0", "started h", "_stdout: ran", "kept", "status 0", "started h"),
        *("_stdout: ran", "_stderr", "_stderrs", "_stdout", "status 0"),
        *("started h", "_stdout: run u a b", "x", "status 0", "started h"),
        *("_stdout: unset a 0123456789abcdef stage 1", "status 125"),
    ]


@in_all_shells
def test_script_on_a_noexec_disk_is_interpreted(shell: Shell) -> None:
    lines = f"""{functions("tej_run", "exec_job.sh")} TEJ_JOB_DIR=/d; chmod() {{ :; }}; try() {{ (tej_run "$@") 2>&1; echo "status $?"; }}
    echo '#!/bin/echo *' >r; try ./r a; printf '#!/bin/sh -u\\ncase $- in *u*) echo "run u $*" ;; esac\\n' >r; try ./r a 'b c'; printf '\\177ELFx' >r; try ./r; echo 'echo "ran $1"' >r; try ./r a
    unset -f chmod; try ./r a; ls -l r | cut -c1-4; echo '#!/absent/x *' >r; chmod -x r; chmod() {{ :; }}; try ./r 2>&1 | tail -n 1"""
    assert shell(lines, "default").splitlines() == [
        *("* ./r a", "status 0", "run u a b c", "status 0"),
        "tej: './r' cannot be run: '/d' is on a file system mounted noexec",
        *("status 126", "ran a", "status 0", "ran a", "status 0", "-rwx"),
        "status 127",
    ]


@in_all_shells
def test_start_time_is_added_to_the_last_date(shell: Shell) -> None:
    lines = f"""{functions("tej_read_start", "exec_job.sh")} read -r up _ </proc/uptime; hundredths=$((${{up%.*}} * 100 + 1${{up#*.}} - 100))
    read -r stat </proc/$$/stat; set -- ${{stat##*') '}}; shift 19; mine=$1
    say() {{ tej_clock=$1; if tej_read_start; then [ "$tej_start" = "$mine" ]; echo "$? $((tej_now >= 110 && tej_now < 130))"; else echo no; fi; }}
    say "100 $((hundredths - 1000))"; say "100 $((hundredths - 3000))"; say "100 $((hundredths + 90000))"; say ' '"""
    assert shell(lines, "default").splitlines() == [
        *("0 1", "no", "no", "no"),
    ]


WRAPPERS = functions(
    "report_failure report_unstarted run_wrappers before_heartbeat", "run_detached.sh"
)


def test_each_job_has_its_own_wrapper(shell: Shell) -> None:
    # The traps of a background process of zsh include the ignored signals INT and QUIT.
    lines = f"""{WRAPPERS} for id in b c; do mkdir -p jobs/$id; done; no_wrapper='no wrapper'; note_orphans() {{ echo orphans; }}; prepare_wrappers() {{ echo "prepare ${{job##*/}}"; }}
    keep_heartbeats() {{ echo "beats $*"; }}; stop_heartbeat() {{ wait "$heart"; echo "stop $?"; }}; enter_subshell() {{ :; }}; run_wrapper() {{ [ -z "$heart" ]; echo "run $id $?" >>runs; trap 2>&1 | sed "/^trap -- '' [IQ]/d; s/^/trap /"; }}
    run_wrappers a b c; sort runs; echo "unstarted $unstarted/"; trap - EXIT; unstarted='b c d'; now=5; : >jobs/b/claim; report_unstarted; cat jobs/*/lost; ls jobs/c
    r_walltime=''; heartbeat_interval=10; get_uptime() {{ uptime=20; }}; say() {{ r_walltime=$1; began=15; before_heartbeat; echo "$span"; }}; say ''; say 100; say 15; say 14; say 6; say 5; say 1"""
    assert shell(lines, "default").splitlines() == [
        *("prepare a", "orphans", "beats a b c", "stop 0", "run a 0", "run b 0"),
        *("run c 0", "unstarted /", "5 no wrapper", "claim", "lost", "10", "10"),
        *("10", "9", "1", "1", "1"),
    ]
