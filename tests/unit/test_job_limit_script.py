"""Job limit and waiting list, in shell functions that are called without a server."""

from __future__ import annotations

from collections.abc import Callable

Shell = Callable[..., str]

QUEUE = """
mkdir incoming waiting running; me; fresh=''; date() { echo 7; }; umask 022
add() { mkdir -p "jobs/$1"; echo 'token=t end' >"jobs/$1/spec"; : >"jobs/$1/submitted"; }
runs() { add "$1"; echo 'pid h b s 1 1' >"jobs/$1/native_id"; }
ended() { runs "$1"; echo '9 exit 0 own 0' >"jobs/$1/finished"; }
waits() { add "$1"; : >"waiting/5.00000$2.$1"; }
show() { echo "$1:" $(cd waiting && ls) / $(cd running && ls); }
"""


def test_start_depends_on_needs_and_limit(shell: Shell) -> None:
    lines = """runtime_check() { printf 'check '; }; runtime_start() { echo start; }
    add_to_dependents() { echo depend; }; enqueue() { [ -z "$full" ] && echo enqueue; }
    full=''; start_job; echo 2 >max_running; start_job; full=1; start_job || echo "$why"
    : >"$job/dependencies"; start_job; runtime_check() { return 1; }; start_job || echo refused
    rm "$job/dependencies"; start_job || echo refused"""
    assert shell(lines, "default").splitlines() == [
        *("start", "check enqueue", "check it cannot be put on the waiting list"),
        *("check depend", "refused", "refused"),
    ]


def test_waiting_jobs_are_started_in_a_subshell(shell: Shell) -> None:
    lines = """resolve_dependents() { printf "resolve '%s' " "$1"; id=changed; }
    start_below_limit() { printf 'limit '; }; await_on_end() { echo await; }
    runtime_tend() { printf 'tend '; }
    start_jobs_after b; mkdir waiting; start_jobs_after b; rmdir waiting
    mkdir dependents; tend_queue; echo "$id"
    # The request that has started the subshell succeeds, even if the subshell is killed.
    await_on_end() { /bin/sh -c 'kill -s KILL $PPID'; exit 1; }; start_waiting_jobs 2>/dev/null; echo "$?" """
    assert shell(lines, "default").splitlines() == [
        "resolve 'b' limit await",
        "tend resolve '' limit await",
        "a",
        "resolve '' limit 0",
    ]


def test_limit_is_written_only_by_its_owner(shell: Shell) -> None:
    lines = f"""{QUEUE} tend_queue() {{ echo tend; }}; count_running_jobs() {{ echo count; }}
    say() {{ set_limit "$1" || echo failed; cat max_running; ls -l max_running | cut -c1-10; ls incoming; }}
    umask 0; say 3; rmdir running; say 4; shared=1; say 5; set_limit 0; ls; shared=''
    chmod() {{ return 1; }}; set_limit 6 || [ -e max_running ] || echo none; set_limit 0
    unset -f chmod; mkdir max_running; set_limit 7 || echo failed; ls max_running incoming"""
    assert shell(lines, "default").splitlines() == [
        *("count", "tend", "3", "-rw-r--r--", "tend", "4", "-rw-r--r--"),
        *("tend", "5", "-rw-rw-rw-", "tend", "incoming", "jobs", "scheduler"),
        *("version", "waiting", "none", "tend"),
        *("failed", "incoming:", "", "max_running:"),
    ]


def test_job_waits_in_one_entry(shell: Shell) -> None:
    lines = f"""{QUEUE} add a; runs b; ended c; add d; : >jobs/a/native_id; : >running/a; rm -r waiting
    say() {{ enqueue || printf 'failed '; show "$1"; }}
    say first; cat jobs/a/queued; say again; rmdir running; mv waiting running; mkdir waiting
    mv running/7* running/a; say running; rm running/*; : >waiting/7.000009.b.a; say other
    rm -r running waiting/*; say counted; rm waiting/*; mkdir jobs/a/queued.d
    put() {{ return 1; }}; say full; make_queue_directory() {{ [ "$1" != "$no" ]; }}
    rm waiting/*; no=waiting; say list; no=running; say slots"""
    assert shell(lines, "default").splitlines() == [
        *("first: 7.000001.a /", "7", "again: 7.000001.a /", "running: / a"),
        *("other: 7.000002.a 7.000009.b.a /", "counted: 7.000003.a / b"),
        *("failed full: 7.000004.a / b", "failed list: / b", "failed slots: / b"),
    ]


def test_ended_jobs_free_their_slots(shell: Shell) -> None:
    lines = f"""{QUEUE} runs r; ended e; ended q; : >jobs/q/requeue; runs f; runs x
    load_job() {{ [ "$1" != x ] || exit 20; id=$1 job=$jobs/$1; [ -d "$job" ]; }}
    is_final() {{ [ "$id" = f ]; }}; query_runtime() {{ echo "query $*" | sed "s,$queue/,,g"; }}
    for job in r e q f x gone; do : >running/$job; done; remove_ended_entries; show left
    for limit in 0 2 3 x 08; do
        echo "$limit" >max_running; waits w 1; has_free_slot && printf "$limit "
        rm waiting/*; ! has_free_slot || echo none; done
    rm max_running running/*; waits w 1; has_free_slot && echo free; rm waiting/*; echo 1 >max_running
    count_running_jobs; show counted
    # The limit cannot be opened.
    rm running/*; waits w 1; has_free_slot && echo one; cat() {{ [ "$1" != "$queue/max_running" ]; }}
    read() {{ [ "$2" != max ] || return 1; command read "$@"; }}; has_free_slot && echo unlimited
    rm max_running; has_free_slot && echo removed
    rm -r waiting; mkdir max_running; read_limit || echo unread; has_free_slot || echo kept"""
    assert shell(lines, "default").splitlines() == [
        "query running/e running/f running/gone running/q running/r running/x",
        "left: / q r x",
        "0 x 08 free",
        "counted: / f r x",
        *("one", "removed", "unread", "kept"),
    ]


FILL = f"""{QUEUE} remove_ended_entries() {{ :; }}
launch() {{ printf 'launch %s ' "$1"; [ "$1" != "$stuck" ] || return 1; [ "$1" = "$dead" ] || runs "$1"; [ "$1" != "$late" ] || waits z 9; }}
stuck='' dead='' late=''
"""


def test_waiting_jobs_fill_the_free_slots(shell: Shell) -> None:
    lines = f"""{FILL} echo 3 >max_running; runs r; : >running/r; ended e
    for id in b e c d; do waits $id $((count = count + 1)); done; : >waiting/5.000000.gone; ended e
    start_below_limit; show three; [ ! -h lock ] || echo locked; start_below_limit; show same
    rm running/r; ln -s "7 $who" lock; start_below_limit; show held; rm lock; start_below_limit; show free
    rm -r running/*; waits f 6; waits g 7; stuck=f; start_below_limit; show stuck
    stuck='' late=g; start_below_limit; show later; rm running/*; waits h 8; waits i 9
    mv() {{ return 1; }}; start_below_limit; show full
    unset -f mv; launch() {{ printf 'launch %s ' "$1"; runs "$1"; rm lock; ln -s 'other' lock; }}
    start_below_limit; show stolen; ls -l lock | sed 's/.*->//'; rm lock
    mkdir other; mv waiting other; start_below_limit; echo none"""
    assert shell(lines, "default").splitlines() == [
        *("launch b launch c three: 5.000004.d / b c r", "same: 5.000004.d / b c r"),
        *("held: 5.000004.d / b c", "launch d free: / b c d"),
        "launch f stuck: 5.000007.g / f",
        "launch f launch g launch z later: / f g z",
        "full: 5.000008.h 5.000009.i /",
        *("launch h stolen: 5.000009.i / h", " other", "none"),
    ]


def test_stranded_job_is_started_once(shell: Shell) -> None:
    lines = f"""{FILL} echo 1 >max_running; runs r; : >running/r; start_below_limit; show none
    add s; : >jobs/s/claim; : >running/s; start_below_limit; show claimed; rm jobs/s/claim
    dead=s; start_below_limit; show dead; dead=''; start_below_limit; show started
    rm running/*; : >running/s; rm jobs/s/native_id; waits t 1; start_below_limit; show first"""
    assert shell(lines, "default").splitlines() == [
        *("none: / r", "claimed: / r s", "launch s dead: / r s"),
        *("launch s started: / r s", "launch s first: 5.000001.t / s"),
    ]


def test_launched_job_starts_ends_or_waits(shell: Shell) -> None:
    lines = f"""{QUEUE} is_wrapper=1 refused='' retry='' listing_result=old
    runtime_prepare() {{ :; }}; runtime_may_retry() {{ [ -n "$retry" ]; }}; await_on_end() {{ echo await; }}
    runtime_start() {{ echo "start $id $busy_awaited$retry_until$listing_result"; [ -z "$refused" ] || {{ why=full; return 1; }}; }}
    end_unstarted() {{ echo "end $*"; }}; say() {{ launch "$1"; echo "$?"; }}
    add b; ended e; runs r; say gone; say b; say r; rm jobs/e/native_id; say e; refused=1; say b; retry=1; say b
    : >jobs/b/spec; say b
    is_wrapper=''; launch gone | tr '\\0' .; is_in_scheduler=1; launch gone; echo "$id $listing_result" """
    assert shell(lines, "default").splitlines() == [
        *("0", "start b 0", "0", "0", "0"),
        *("start b 0", "end full", "await", "0", "start b 0", "1", "0", ".a old"),
    ]
