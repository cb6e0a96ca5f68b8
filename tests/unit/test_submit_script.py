"""Submission and retry on the server, in shell functions that are called without a server."""

from __future__ import annotations

from collections.abc import Callable

from server_functions import functions

from tej.wire import requests

Shell = Callable[..., str]

SUBMIT = (
    functions(
        "refuse_unread refuse_vanished print_existing print_repeated publish print_winner"
        " was_published note_published print_new trash_for_restart"
        " publish_together replace_failed can_start_together undo_submit await_start print_started"
        " start_published start_together receive_upload name_cause for_each"
        " has_space_to_run has_space_for",
        "commands/submit",
    )
    + """
room=$queue/room incoming=$queue/room token=0123456789abcdef together=1 why='' started_together=''
mkdir room
refuse() { refused=$1; echo "refuse $*" | sed "s,$queue/,,"; }
print_job() { echo "record $id $state $*"; }
has_sign_of_life() { return 1; }
start_job() { echo start; }
new() { mkdir -p "$1/stage"; echo "token=${2-$token} end" >"$1/spec"; echo '5 h b s 1 1' >"$1/submitted"; }
ended() { new "jobs/$1" "$2"; echo "9 exit $3 own 0" >"jobs/$1/finished"; }
try() { if "$@"; then echo "$id: yes"; else echo "$id: no"; fi; }
"""
)


def test_only_one_client_publishes_a_job(shell: Shell) -> None:
    lines = f"""{SUBMIT} print_started() {{ echo "started $id"; }}
    new room/$token; try publish; ls room jobs/a; id=b; try publish; ls room jobs/b
    new room/$token; ended c other 0; id=c; try publish; ls room
    mode=submit; try publish; ended c other 1; mode=retry; try publish; echo "$mode"
    mv() {{ command mv "$@"; rm -rf "$2"; }}; id=d; try publish
    mv() {{ :; }}; new room/$token; id=e; try publish"""
    assert shell(lines, "default").split("\n") == [
        *("start", "started a", "a: no", "jobs/a:", "spec", "stage", "", "room:"),
        # `mv` has moved the upload into the existing job, and the upload is moved back.
        "0123456789abcdef",
        *("b: yes", "jobs/b:", "spec", "stage", "submitted", "", "room:"),
        *("record c finished ", "c: no", "0123456789abcdef"),
        *("refuse 4 Job 'c' already exists", "c: no"),
        *("record c finished ", "c: no", "retry"),
        *("refuse 20 Job 'd' was deleted during its submission", "d: no"),
        *("refuse 20 Cannot write to 'jobs'", "e: no", ""),
    ]


def test_jobs_published_together_are_checked_singly(shell: Shell) -> None:
    lines = f"""{SUBMIT} print_started() {{ echo "started $id"; }}; runtime_start_together() {{ :; }}
    start_published() {{ echo "start $id"; }}; mkdir -p attempts/b; ln -s x attempts/b/restarting
    new room/new/a; new room/new/b; received='a b'; publish_together; ls room/new; new room/new/d; received=d; publish_together; ls room/new
    for id in a b c; do try was_published; done; ls attempts/b; together=''; id=b; try was_published
    id=count; try can_start_together 1; try can_start_together 2; : >room/new/a/dependencies
    try can_start_together 2; mkdir room/x; mv room/new/a/dependencies room/x; try can_start_together 2"""
    assert shell(lines, "default").splitlines() == [
        *("a", "a", "start", "started a", "a: no", "b: yes"),
        *("refuse 20 Job 'c' was deleted during its submission", "c: no"),
        *("start b", "b: yes", "count: no", "count: yes", "count: no", "count: no"),
    ]


def test_many_uploads_are_checked_at_once(shell: Shell) -> None:
    lines = f"""{SUBMIT} . "$here/lib/many_uploads.sh"; id=all
    upload() {{ new room/new/$1 $2; printf 'default_name=x\\nscript=y\\n' >room/new/$1/resources; }}
    upload a AA; upload b BB; try are_usual_uploads a AA b BB; try are_usual_uploads a AA b AA
    try are_usual_uploads a AA c CC; try are_usual_uploads; rm room/new/b/resources
    try are_usual_uploads a AA b BB; upload b BB; echo cpus=2 >>room/new/b/resources
    try are_usual_uploads a AA b BB; upload b BB; printf 'token=BB ' >room/new/b/spec
    try are_usual_uploads a AA b BB
    # Another client has replaced the job c after its publication.
    detach_wrappers() {{ echo "detach $*"; }}; runtime_check() {{ echo "check $id"; }}; : >version
    for item in a b c; do new jobs/$item T$item; done; try are_published a Ta b Tb; usual_uploads=1
    runtime_start_together a Ta b Tb c Tc; new jobs/c other; started_together=''
    runtime_start_together a Ta b Tb c Tc; echo "$started_together" """
    assert shell(lines, "default").splitlines() == [
        *("all: yes", *["all: no"] * 6, "all: yes", "detach a b c"),
        *("check a", "check b", "detach a b", " a b"),
    ]


def test_existing_job_decides_the_reply(shell: Shell) -> None:
    lines = f"""{SUBMIT} print_started() {{ echo started; }}
    . "$here/lib/attempts.sh"; id=x; mode=ensure; try print_existing
    ended a other 1; echo '6 h 1 1' >jobs/a/started; id=a; try print_existing
    mode=retry; try print_existing; eval "echo \\"\\$failed_$token\\""
    has_sign_of_life() {{ sign='it runs' advice='kill it first'; }}; try print_existing
    has_sign_of_life() {{ return 1; }}; ended a other 0; try print_existing
    # The first request was interrupted, and the job was marked as lost.
    # The job stays in the queue until it is uploaded again. Otherwise it would be missing during a
    # slow upload, and a client on another host would restore an older attempt.
    interrupted() {{ new jobs/b; echo '5 interrupted' >jobs/b/lost; id=b; try print_existing; ls jobs room; }}
    interrupted; new room/$token; clear_failed; try publish; ls jobs/b; rm -r room/* jobs/b
    interrupted; new room/new/b; replace_failed; ls jobs/b; rm -r room/* jobs/b
    new jobs/b; echo '5 interrupted' >jobs/b/lost; echo "pid h b s 1 1" >jobs/b/native_id
    try print_existing; rm jobs/b/lost jobs/b/native_id; try print_existing"""
    assert shell(lines, "default").splitlines() == [
        *("x: no", "record a finished ", "a: yes", "a: no", "token=other end"),
        "refuse 5 Job 'a' is finished, but it runs: kill it first",
        *("a: yes", "record a finished ", "a: yes"),
        *(
            "b: no",
            "jobs:",
            "a",
            "b",
            "",
            "room:",
            "b: yes",
            "spec",
            "stage",
            "submitted",
        ),
        *("b: no", "jobs:", "a", "b", "", "room:", "spec", "stage", "submitted"),
        *("started", "b: yes", "start", "started", "b: yes"),
    ]


def test_job_that_does_not_start_is_removed(shell: Shell) -> None:
    lines = f"""{SUBMIT} host=here; wait_for() {{ printf "$1 "; return 1; }}; start_job() {{ why=full; return 1; }}
    new jobs/b; id=b; try await_start | tr '\\0' .; ls jobs
    new jobs/b; : >jobs/b/queued; try await_start | tr '\\0' .; rm jobs/b/queued
    : >jobs/b/claim; try await_start | tr '\\0' .; rm jobs/b/claim
    wait_for() {{ printf "$1 "; }}; try await_start | tr '\\0' .; ls jobs
    echo '5 no wrapper' >jobs/b/lost; print_new; ls jobs; print_new
    new jobs/b; echo '5 it recorded no end' >jobs/b/lost; print_new
    new jobs/b; : >version; is_closed() {{ return 1; }}; try start_published; ls jobs
    new jobs/b; rm version; try start_published; ls jobs; started_together=' b'; try start_published
    started_together=''; new jobs/b; : >version; : >jobs/b/claim; try start_published; ls jobs; rm jobs/b/claim version; why=''
    new jobs/b other; undo_submit; ls jobs; rm jobs/b/spec; mkdir jobs/b/spec; undo_submit; rmdir jobs/b/spec
    new jobs/b other; start_job() {{ :; }}; : >version; started_together=''
    try start_published; is_closed() {{ :; }}; try start_published
    runtime_start_together() {{ echo "together $*"; }}; kept=' a 1 b 2'; start_together
    is_closed() {{ return 1; }}; start_together; rm version; start_together
    new jobs/w; mkdir -p jobs/w/after dependents/b; : >jobs/w/after/b; echo 'after b' >jobs/w/dependencies
    : >"dependents/b/$token.w"; new jobs/b; : >version; id=b job=$jobs/b; undo_submit; cut -d' ' -f2- jobs/w/reason"""
    removed = "refuse 20 Job 'b' could not be started and was removed:"
    kept = (
        "refuse 20 Job 'b' could not be started and was not removed, because its files"
        " in 'jobs/b' cannot be read:"
    )
    assert shell(lines, "default").splitlines() == [
        *(
            f"native_id {removed} its wrapper process did not start on here",
            "b: no",
            "a",
        ),
        *(".b: yes", "native_id started .b: yes", "native_id started .b: yes"),
        *("a", "b", f"{removed} no wrapper", "a"),
        "refuse 3 Job 'b' was started, and has been deleted since",
        f"{removed} it recorded no end: can this account start more processes (ulimit -u)?",
        *(f"{removed} full", "b: no", "a"),
        *(f"{removed} the queue is being removed", "b: no", "a", "b: yes"),
        *("b: yes", "a", "b"),  # another process has started the job
        *(f"{removed} its wrapper process did not start on here", "a", "b"),
        f"{kept} its wrapper process did not start on here",
        "b: yes",
        *(f"{removed} the queue is being removed", "b: no", "together a 1 b 2"),
        f"{removed} the queue is being removed",
        "unstarted b could not be started",
    ]


def test_interrupted_removal_of_a_retry_loses_no_attempt(shell: Shell) -> None:
    lines = f"""{SUBMIT} . "$here/lib/attempts.sh"; me; mode=retry id=b why=full; die() {{ (restore_attempt() {{ exit; }}; remove() {{ exit; }}; "$@"); ls jobs attempts/b; }}
    set_up() {{ rm -rf jobs/* room/* attempts; mkdir -p attempts/b/1/job; echo "$1" >attempts/b/last; echo 'token=failed end' >attempts/b/1/job/spec; new jobs/b; job=$jobs/b; }}
    restored() {{ ln -sfn "1 $host $boot $space 1 1" attempts/b/restarting; find_job b; cat jobs/b/spec; ls jobs attempts; }}
    set_up 1; die undo_submit; restored; set_up 1; echo '5 interrupted' >jobs/b/lost; print_existing; die replace_failed; restored; why=full
    set_up 1; undo_submit; ls jobs attempts; mode=submit; set_up 1; undo_submit; ls jobs attempts/b
    # The last attempt was deleted.
    mode=retry; set_up 1; rm -r attempts/b/1; undo_submit; ls attempts/b
    # Another client removes the link that the dead client has left, unless the file system is
    # read-only.
    die() {{ echo "${{1##*/}}"; if find_job b; then echo "exists: $(ls jobs)"; fi; [ ! -h attempts/b/restarting ] || echo link; }}
    dead() {{ set_up 1; rm -r jobs/b; ln -s "1 $host $boot $space 1 1" attempts/b/restarting; }}
    dead; rm -r attempts/b/1; die deleted; dead; rm attempts/b/last; mkdir -p attempts/b/x/job attempts/b/02; die damaged
    dead; mv() {{ return 1; }}; die read-only; unset -f mv
    # The disk is full.
    set_up 2; mv attempts/b/1 attempts/b/2; rm -r jobs/b; (printf() {{ return 1; }}; restore_attempt b); ls jobs attempts/b; cat attempts/b/last
    set_up 1; read_spec; claim_removal() {{ :; }}; end_claim() {{ :; }}; (printf() {{ return 1; }}; archive_attempt); ls -A attempts/b; cat attempts/b/last"""
    assert shell(lines, "default").splitlines() == [
        *("attempts/b:", "1", "last", "restarting", "", "jobs:"),
        *("token=failed end", "attempts:", "", "jobs:", "b"),
        *("attempts/b:", "1", "last", "restarting", "", "jobs:"),
        *("token=failed end", "attempts:", "", "jobs:", "b"),
        *("refuse 20 Job 'b' could not be started again: full", "attempts:", ""),
        *("jobs:", "b", "refuse 20 Job 'b' could not be started and was removed: full"),
        *("attempts/b:", "1", "last", "", "jobs:"),
        *("refuse 20 Job 'b' could not be started and was removed: full", "last"),
        *("deleted", "damaged", "exists: b", "read-only", "exists: ", "link"),
        *(
            "attempts/b:",
            "last",
            "",
            "jobs:",
            "b",
            "2",
            "refuse 20 Cannot write to 'attempts/b'",
            "1",
            "last",
            "1",
        ),
    ]


def test_link_to_a_queue_replaces_no_directory(shell: Shell) -> None:
    lines = f"""{functions("move_link", "setup_command.sh")} path=$queue/path
    new() {{ rm -rf "$path"; mkdir -p "$fresh"; echo new >"$fresh/link"; }}
    try() {{ if move_link; then cat "$path"; else echo no; fi; }}
    new; try; new; echo old >"$path"; try; new; ln -s gone "$path"; try; new; mkdir "$path"; try; ls "$path"
    # The file system has no hard links, or another client creates a file just now.
    ln() {{ echo 'cannot link' >&2; return 1; }}; new; try
    ln() {{ echo other >"$path"; return 1; }}; new; try; cat "$path" """
    assert shell(lines).splitlines() == [
        *("new", "new", "new", "no", "new", "no", "other"),
    ]


def test_existing_jobs_need_no_list_of_the_queue(shell: Shell) -> None:
    """A list would delay each batch in a queue of many jobs."""
    lines = """list_names() { echo listed >>log; command ls -a "$1/"; }; : >log
    words=$(for i in $(seq 12); do echo "j$i" "token$i"; done); mkdir $(echo $words | tr ' ' '\\n' | sed -n 's,^j,jobs/j,p')
    find_absent_ids $words; cat log; echo "$absent_ids/"; rmdir jobs/j*; find_absent_ids $words; cat log; echo "$absent_ids/"
    """
    ids = " ".join(f"j{number}" for number in range(1, 13))
    assert shell(lines).splitlines() == [" /", "listed", f" {ids} /"]


def test_absent_jobs_of_a_batch_are_found_by_one_list(shell: Shell) -> None:
    """One process for each job would delay a batch of many jobs."""
    lines = """print_head() { :; }; quit() { echo "$1"; exit; }; command() { return 1; }; ls() { echo ls >>calls; env ls "$@"; }; : >calls
    (set -- submit $(for i in $(seq 12); do echo "j$i" "token$i"; done); . "$here/commands/submit"); grep -c ls calls"""
    assert shell(lines, "default").splitlines() == ["20", "1"]


def test_failed_request_with_keepalives_ends_its_input(shell: Shell) -> None:
    """Otherwise a forced command such as `tee log | sh` would wait for the input."""
    lines = f"{requests._END_OF_INPUT}start_keepalives; exit 7"
    assert shell(lines, "default") == "ask=nothing\0"
