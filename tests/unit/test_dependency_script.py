"""Waiting for other jobs, in shell functions that are called without a server."""

from __future__ import annotations

from collections.abc import Callable

Shell = Callable[..., str]

TOKEN = "0123456789abcdef"

QUEUE = """
mkdir incoming; me; now=7
add() { mkdir -p "jobs/$1/stage"; echo "token=t$1 end" >"jobs/$1/spec"; echo '5 h b s 1 1' >"jobs/$1/submitted"; }
ended() { add "$1"; echo "9 exit $2 own 0" >"jobs/$1/finished"; }
waits() {
    add "$1"; mkdir -p "jobs/$1/after"; echo 7 >"jobs/$1/queued"; waiter=$1; shift
    for other; do
        echo "after $other" >>"jobs/$waiter/dependencies"; : >"jobs/$waiter/after/$other"
        mkdir -p "dependents/$other"; : >"dependents/$other/t$waiter.$waiter"
    done
}
try() { if "$@"; then echo "$id: yes"; else echo "$id: no"; fi; }
use() { id=$1 job=$jobs/$1; }
"""


def test_needs_are_read_from_the_file(shell: Shell) -> None:
    lines = """printf '%s\\n' 'after b' 'after b2' 'from c/x y/z' 'to after d' 'from b/q' 'to p' \\
        >"$job/dependencies"; dep_needs=' old'; read_dependencies; echo "$dep_needs|$dep_entry" """
    assert shell(lines) == f" b b2 c|{TOKEN}.a\n"


def test_job_waits_only_for_existing_jobs(shell: Shell) -> None:
    lines = f"""{QUEUE} newline=' / '; add b; add c
    say() {{ why=''; rm -rf jobs/a/after jobs/a/queued; if prepare_wait; then echo "waits $why"; else echo "$why $dep_status"; fi | sed "s,$queue,Q,"; }}
    try prepare_wait; ls jobs/a; printf 'after b\\nafter c\\n' >jobs/a/dependencies; say
    ls jobs/a/after dependents/*; cat jobs/a/queued; rm -r jobs/c; say
    # Another client replaces c by a new attempt.
    mkdir -p attempts/c; ln -s "7 $who" attempts/c/restarting; say
    rm attempts/c/restarting; ln -s "7 $host $boot $space 1 1" attempts/c/restarting; say
    echo 'after a' >jobs/a/dependencies; say; echo 'after b' >jobs/a/dependencies
    waits b a; say; rm -r dependents jobs/b/after; add_to_dependents() {{ return 1; }}; why=''; say
    add_to_dependents() {{ why=''; : >jobs/a/after/b; chmod 0 jobs/a/after/b; }}
    printf() {{ [ "$1" ] && command printf "$@"; }}; say"""
    missing = "it needs job 'c' / Job 'c' is not in queue Q 3"
    assert shell(lines, "default").splitlines() == [
        *("a: yes", "spec", "stage", "waits "),
        *("dependents/b:", f"{TOKEN}.a", "", "dependents/c:", f"{TOKEN}.a"),
        *("", "jobs/a/after:", "b", "c", "7", missing, "waits ", missing),
        "it needs job 'a' / Job 'a' is not in queue Q 3",
        "job 'a' and the jobs that it needs would wait for each other 20",
        *("cannot write to 'Q/incoming' 20", " 20"),
    ]


def test_dependents_are_listed_until_they_have_their_inputs(shell: Shell) -> None:
    lines = f"""{QUEUE} printf 'after b\\nfrom c/x\\nto y\\n' >jobs/a/dependencies
    add_to_dependents; echo "why $why"; : >dependents/b/other.d; leave_dependents; ls -R dependents
    rm -r dependents; : >dependents; try add_to_dependents; echo "$why" | sed "s,$queue,Q,"
    rm dependents; mkdir dependents; : >dependents/b; try add_to_dependents 2>/dev/null
    # Each needed job gets its own attempts to create its directory.
    rm dependents/b; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "after $n"; done >jobs/a/dependencies
    try add_to_dependents; rm -r dependents/[0-9]*; echo 'after b' >jobs/a/dependencies; mkdir -p "dependents/b/{TOKEN}.a"; try add_to_dependents; rm jobs/a/dependencies
    leave_dependents; echo "$?"; ls dependents"""
    assert shell(lines, "default").splitlines() == [
        *("why ", "dependents:", "b", "", "dependents/b:", "other.d"),
        *(
            "a: no",
            "cannot write to 'Q/dependents'",
            "a: no",
            "a: yes",
            "a: no",
            "0",
            "b",
        ),
    ]


def test_note_names_three_needs(shell: Shell) -> None:
    lines = f"""{QUEUE} waits w b c d; use w; note=''; note_waits; echo "$note"
    : >jobs/w/after/e; note_waits; echo "$note"; : >jobs/w/after/f; note_waits; echo "$note"
    rm jobs/w/after/*; note=old; note_waits; echo "$note" """
    assert shell(lines, "default").splitlines() == [
        *("waits for b, c, d", "waits for b, c, d and 1 more"),
        *("waits for b, c, d and 2 more", "old"),
    ]


def test_missing_entry_of_a_waiting_job_is_created_again(shell: Shell) -> None:
    lines = f"""{QUEUE} ended b 0; waits w b; launch() {{ echo "start $1"; }}
    rm -r dependents; use w; read_facts; echo "$state $note"; ls dependents/b
    # The wrapper copies the inputs meanwhile.
    rm -r dependents; mkdir() {{ unset -f mkdir; : >"$job/.inputs"; mkdir "$@"; }}; note_waits; ls dependents; unset -f mkdir
    rm jobs/w/.inputs; note_waits; start_waiting_jobs
    rm jobs/w/queued; read_facts; echo "$state"; echo 7 >jobs/w/queued
    rm -r jobs/w/after; read_facts; echo "$state $note" """
    assert shell(lines, "default").splitlines() == [
        *("queued waits for b", "tw.w", "start w", "queued"),
        "queued it cannot start, because its directory 'after' is missing: "
        "kill it, then retry it",
    ]


def test_end_of_a_job_resolves_its_dependents(shell: Shell) -> None:
    lines = f"""{QUEUE} launch() {{ echo "start $1"; }}; query_runtime() {{ echo "query $*"; }}
    ended b 0; ended c 1; add r; waits w b; waits x c; waits y x; waits z r
    resolve_dependents ''; cat jobs/[xy]/reason | cut -d' ' -f2-; ls dependents jobs/*/after
    cut -d" " -f2- jobs/[xy]/finished; resolve_dependents ''
    # Another submission has the id of a dependent.
    echo 'token=other end' >jobs/w/spec; rm -rf jobs/w/after/*; resolve_dependents b
    # The dependents of a job that ends without a start end, too.
    for id in x y; do rm jobs/$id/claim jobs/$id/finished jobs/$id/reason; done
    mkdir -p dependents/c dependents/x; : >dependents/c/tx.x; : >dependents/x/ty.y; resolve_dependents c; ls jobs/y
    # Only the needs of the job that has ended are checked.
    rm jobs/x/claim jobs/x/finished; echo 5 >jobs/x/queued; ended r 1; resolve_dependents r; ls jobs/z"""
    assert shell(lines, "default").splitlines() == [
        *("query b c r x", "start w", "unstarted c failed", "unstarted x was killed"),
        *("dependents:", "b", "r", "", "jobs/w/after:", "", "jobs/x/after:", "c", ""),
        *("jobs/y/after:", "x", "", "jobs/z/after:", "r"),
        *["none 0 killed 0"] * 2,
        *("query b r", "start w", "after", "claim", "dependencies", "finished"),
        *("queued", "reason", "spec", "stage", "submitted"),
        *("after", "claim", "dependencies", "finished", "queued", "reason", "spec"),
        *("stage", "submitted"),
    ]


def test_only_waiting_dependents_are_unresolved(shell: Shell) -> None:
    lines = f"""{QUEUE} say() {{ if has_unresolved dependents/b; then echo "$1: yes"; else echo "$1: no"; fi; }}
    mkdir -p dependents/b; say none; waits w b c; say waits; : >jobs/w/claim; say claimed; rm jobs/w/claim
    : >jobs/w/native_id; say starting; echo pid >jobs/w/native_id; say started; : >jobs/w/native_id
    rm jobs/w/after/b; say other; rm jobs/w/after/c; say ready; rmdir jobs/w/after; say direct
    : >jobs/w/finished; say empty; echo 9 >jobs/w/finished; say ended; rm jobs/w/finished; : >jobs/w/lost; say lost"""
    assert shell(lines, "default").splitlines() == [
        *("none: no", "waits: yes", "claimed: no", "starting: yes", "started: no"),
        *("other: no", "ready: yes", "direct: no", "empty: no", "ended: yes"),
        "lost: yes",
    ]


def test_lost_dependency_is_named(shell: Shell) -> None:
    lines = f"""{QUEUE} add b; echo '9 gone' >jobs/b/lost; check_dependency b; echo "$dep_outcome $dep_words" """
    assert shell(lines, "default") == "failed b is lost\n"


def test_ready_job_is_started_by_one_process(shell: Shell) -> None:
    lines = f"""{QUEUE} waits w b; use w; launch() {{ echo "start $1"; ls -d "$job/.starting" | grep -c . ; return 1; }}
    start_ready_job; echo "$?"; ls -A jobs/w; ln -s "7 $who" jobs/w/.starting; start_ready_job; rm jobs/w/.starting
    echo 2 >max_running; start_ready_job; cd waiting; ls; start_ready_job; ls; ls -d "$job/".s* 2>/dev/null || echo none"""
    assert shell(lines, "default").splitlines() == [
        *("start w", "1", "0", "after", "dependencies", "queued", "spec", "stage"),
        *("submitted", "7.000001.w", "7.000001.w", "none"),
    ]


def test_job_is_ended_before_its_start_only_once(shell: Shell) -> None:
    lines = f"""{QUEUE} run_on_end_once() {{ echo "on end $state $how"; }}; ended b 1; waits w b; use w; state=''
    date() {{ echo 8; }}; is_final() {{ :; }}; try end_unstarted b failed; cat jobs/w/reason jobs/w/finished
    ls dependents; try end_unstarted b failed; cat jobs/w/reason; waits v b; use v; : >jobs/v/claim
    try end_unstarted c; ls jobs/v; rm jobs/v/claim
    put() {{ [ "$1" != finished ]; }}; try end_unstarted d; ls jobs/v dependents; put() {{ return 1; }}
    try end_unstarted d; ls -d jobs/v/claim dependents/b 2>&1 | grep -c ' '"""
    assert shell(lines, "default").splitlines() == [
        *("on end killed none", "w: yes", "8 unstarted b failed", "8 none 0 killed 0"),
        *("w: no", "8 unstarted b failed", "v: no", "after", "claim"),
        *("dependencies", "queued", "spec", "stage", "submitted"),
        *("v: no", "dependents:", "b", "", "jobs/v:", "after", "dependencies"),
        *("queued", "spec", "stage", "submitted", "v: no", "1"),
    ]


def test_inputs_are_copied_once_and_completely(shell: Shell) -> None:
    lines = f"""{QUEUE} ended b 0; waits w b; use w; changed=''; find_changed_input() {{ :; }}
    mkdir -p jobs/b/stage/d; echo one >jobs/b/stage/d/f; ln -s d/f jobs/b/stage/l; echo two >jobs/b/stage/g
    printf 'from b/d\\nto in/d\\nfrom b/l\\nto l\\nfrom b/g\\nto g\\n' >>jobs/w/dependencies
    say() {{ why=''; if take_inputs; then echo "taken $why"; else echo "$why"; fi; LC_ALL=C ls -A dependents jobs/w; }}
    cp() {{ [ "$1" != --reflink=auto ] || {{ echo part >"$4"; return 1; }}; [ -z "$fails" ] && echo "$TEJ_JOB_TOKEN" >>tokens && command cp "$@"; }}
    fails=''; say; cat jobs/w/stage/in/d/f jobs/w/stage/g; [ -h jobs/w/stage/l ] || sort -u tokens
    echo three >jobs/b/stage/g; rm jobs/w/stage/g; say; rm jobs/w/.inputs; waits w b; say; again=1; say; cat jobs/w/stage/g
    again='' fails=1; rm jobs/w/.inputs jobs/w/stage/l; rm -r jobs/w/stage/in; waits w b; say
    fails='' changed=x; waits w b; say; changed=''; rm -r jobs/b/stage/d jobs/w/stage/*; waits w b; say
    ln -s d jobs/b/stage/d; waits w b; say | sed 's/:.*//'
    rm jobs/w/dependencies; say | sed "s,$queue/,,;3,\\$d" """
    facts = ["after", "dependencies", "queued", "spec", "stage", "submitted"]
    taken = ["dependents:", "", "jobs/w:", ".inputs", *facts]
    kept = ["dependents:", "", "jobs/w:", *facts]
    assert shell(lines, "default").splitlines() == [
        *("taken ", *taken, "one", "two", "tw", "taken ", *taken),
        *("its own files contain 'in/d', which is also an input from b", *kept),
        *("taken ", *taken, "three", "'d' of b cannot be copied: ", *kept),
        "another job has changed the shared file 'x'; a retry sends it again",
        *(*kept, "b has no file 'd'", *kept),
        *("'d' of b cannot be copied", "dependents", "", "jobs/w", *facts),
        *("its file 'jobs/w/dependencies' cannot be read", "dependents:"),
    ]


def test_job_without_its_inputs_protects_its_source(shell: Shell) -> None:
    lines = f"""{QUEUE} use b; say() {{ find_pending_dependent; echo "$1:$dependent"; }}
    ended b 0; say none; waits w b; say waits; : >jobs/w/started; say empty
    echo '8 h 1 1' >jobs/w/started; say started; rm jobs/w/started
    echo 'token=other end' >jobs/w/spec; say other; waits w b; echo '9 none 0 killed 0' >jobs/w/finished; say over"""
    assert shell(lines, "default").splitlines() == [
        *("none:", "waits:w", "empty:", "started:", "other:", "over:"),
    ]


def test_dependents_of_a_job_without_a_start_name_the_cause(shell: Shell) -> None:
    lines = f"""{QUEUE} waits b a; waits c b; add d; waits e d; add a; use a
    say() {{ (end_dependents); echo "$id"; for one in b c e; do [ ! -e "jobs/$one/reason" ] || cut -d' ' -f2- "jobs/$one/reason"; done; }}
    say; rm -r jobs/a; say; ls dependents"""
    assert shell(lines, "default").splitlines() == [
        *("a", "a", "unstarted a could not be started", "unstarted b was killed", "d")
    ]
