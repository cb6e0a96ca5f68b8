"""Deletion of jobs and queues, in shell functions that are called without a server."""

from __future__ import annotations

import os
from collections.abc import Callable

from server_functions import functions

Shell = Callable[..., str]

QUEUE = """
incoming=$queue/incoming live_tokens=x; mkdir -p incoming attempts; me; unset remover
quit() { echo "quit $*" | sed "s,$queue/,,g; s,$queue,Q,"; exit; }
add() { mkdir -p "jobs/$1/stage"; echo "token=t$1 end" >"jobs/$1/spec"; echo '5 h b s 1 1' >"jobs/$1/submitted"; }
ended() { add "$1"; echo "9 exit 0 own ${2-0}" >"jobs/$1/finished"; }
use() { id=$1 job=$jobs/$1; read_spec; }
try() { if "$@"; then echo "$id: yes"; else echo "$id: no"; fi; }
lines() { tr '\\0' '\\n'; }
has_sign_of_life() { return 1; }
"""
BATCH = f'{QUEUE} . "$here/lib/bulk_removal.sh"\n'


def test_claimed_jobs_are_removed_together(shell: Shell) -> None:
    lines = f"""{BATCH} remove_claimed; ls incoming; for id in b c d; do ended $id; done; claimed=' b c d'; rm -r jobs/c
    mv() {{ echo moved; command mv "$@"; }}; remove_claimed >out; lines <out; echo "$claimed$batches"; ls incoming jobs
    ended b; ended c; claimed=' b c gone'; make_room() {{ return 1; }}; remove_claimed >out; lines <out; echo "$claimed"; ls incoming jobs
    mv() {{ return 1; }}; ended b; claimed=' gone b'; remove_singly >out; lines <out; unset -f make_room
    . "$here/lib/garbage_collection.sh"; (remove_claimed | lines); ls incoming jobs"""
    assert shell(lines, "default").splitlines() == [
        *("moved", "id=b", "deleted=1", "id=c", "id=d", "deleted=1", "1"),
        *("incoming:", "", "jobs:", "a", "moved", "id=b", "deleted=1"),
        *("moved", "id=c", "deleted=1", "moved", "id=gone", ""),
        *("incoming:", "", "jobs:", "a"),
    ]


def test_claim_for_a_batch_has_one_owner(shell: Shell) -> None:
    lines = f"""{BATCH} ended b; use b; try claim_for_batch; [ "$(cat jobs/b/.removal)" = "$who" ] && echo owned
    try claim_for_batch; rm jobs/b/.removal jobs/b/spec; try claim_for_batch; ls -A jobs/b
    say() {{ try has_ended_cleanly "$1"; }}; ended b; use b; say 5; say -; say 6; say /tb; say /t; rm jobs/b/submitted; say 5; say -
    unset live_tokens; find_live_tokens() {{ live_tokens=''; }}; spec=''; mv jobs/b/spec jobs/b/taken; say -; live_tokens=x; say -
    mv jobs/b/taken jobs/b/spec; unset live_tokens; find_live_tokens() {{ live_tokens=x; }}; say -; has_sign_of_life() {{ :; }}; say -
    has_sign_of_life() {{ return 1; }}; claimed='' unused=''; claim_if_simple b -; echo "$claimed$unused"; rm jobs/b/.removal
    : >jobs/b/assembly; claim_if_simple b -; echo "$claimed$unused"; ended c 1; try claim_if_simple c -; ls -A jobs/c"""
    assert shell(lines, "default").splitlines() == [
        *("b: yes", "owned", "b: no", "b: no", "finished", "stage", "submitted"),
        *("b: yes", "b: yes", "b: no", "b: yes", "b: no", "b: no", "b: yes"),
        *("b: yes", "b: no", "b: yes", "b: no", " b", " b b1", "c: no"),
        *("finished", "spec", "stage", "submitted"),
    ]


def test_unreadable_environments_hide_no_token(shell: Shell) -> None:
    # The exit status of the `cat` of uutils is the number of unreadable files.
    lines = f"""{QUEUE} unset live_tokens; search_failed() {{ echo failed; }}; use a
    cat() {{ command cat "$@"; return 70; }}; try has_live_token; spec='token=none end'; try has_live_token
    cat() {{ command cat /proc/self/environ; }}; find_live_tokens; try has_live_token"""
    environment = {**os.environ, "TEJ_JOB_TOKEN": "0123456789abcdef"}
    assert shell(lines, "default", env=environment).splitlines() == [
        *("a: yes", "a: no", "failed", "a: yes")
    ]


def test_only_one_client_moves_a_job_away(shell: Shell) -> None:
    lines = f"""{QUEUE} ended b; use b; try claim_removal; LC_ALL=C ls -A jobs/b | sed "s/$who/me/"; try claim_removal; ls jobs/b/.t* | wc -l
    # The claim of a dead client is taken over.
    mv jobs/b/.t* "jobs/b/.taken $host $boot $space 1 1"; try claim_removal
    get_start "$PPID"; mv jobs/b/.t* "jobs/b/.taken $host $boot $space $PPID $start"; try claim_removal; rm jobs/b/.t*
    # Another job has the id now, or another client removes the job in a batch.
    ended b; spec='token=old end'; try claim_removal; ls jobs/b; use b; get_start "$PPID"; echo "$host $boot $space $PPID $start" >jobs/b/.removal
    try claim_removal; ls jobs/b; echo "$host $boot $space 1 1" >jobs/b/.removal; try trash_job; LC_ALL=C ls -A jobs incoming/* | sed "s/$who/me/; s/$$/PID/"; cat incoming/*/.owner | sed "s/$who/me/"
    use gone; try trash_job; ended 'c'; use c; rm -r incoming; mv() {{ [ "${{2##*/}}" != spec ] && [ "$1" != "$job" ] && command mv "$@"; }}; (try trash_job)
    mv() {{ [ "$1" = "$job" ] || {{ command mv "$@"; return; }}; rm -r "$job"; return 1; }}; rm jobs/c/.t*; ended c; use c; try trash_job
    mv() {{ return 1; }}; ended c; use c; (try claim_removal); spec='token=old end'; (try claim_removal)"""
    assert shell(lines, "default").splitlines() == [
        *("b: yes", ".taken me", "finished", "stage", "submitted", "b: no", "1"),
        *("b: yes", "b: no", "b: no", "finished", "spec", "stage", "submitted"),
        *("b: no", "finished", "spec", "stage", "submitted", "b: yes"),
        *("incoming/away.unique.b:", ".owner", ".taken me", "finished", "stage"),
        *("submitted", "", "jobs:", "a", "me", "gone: no"),
        *("quit 20 Cannot write to 'incoming'", "c: no"),
        *("quit 20 Cannot write to 'jobs/c'", "c: no"),
    ]


def test_removed_job_is_not_replaced_by_an_older_attempt(shell: Shell) -> None:
    # The link belongs to a dead client, which has published the job.
    lines = f"""{QUEUE} mkdir -p attempts/b/1/job; echo 1 >attempts/b/last; ln -s "1 $host $boot $space 1 1" attempts/b/restarting
    add b; use b; try trash_job; try find_job b; ls jobs attempts/b"""
    assert shell(lines, "default").splitlines() == [
        *("b: yes", "b: no", "attempts/b:", "1", "last", "", "jobs:", "a")
    ]


def test_deletion_takes_attempts_and_unused_objects(shell: Shell) -> None:
    names = "take_attempts has_objects delete_job delete_batch find_living_attempt"
    lines = f"""{BATCH}{functions(names, "commands/delete")} unused=''
    find_obstacle() {{ obstacle=''; [ "$id" != held ] || obstacle=1 note="since $1"; elsewhere=$far; }}; far=''
    print_job() {{ printf '%s\\n' "job $id $note$*"; note=''; }}; print_missing() {{ echo "missing $1"; }}
    add b; mkdir -p attempts/b/1/job dependents/b; delete_job b -; ls jobs attempts dependents incoming; echo "unused $unused"
    add b; : >jobs/b/assembly; far=other; delete_job b -; echo "unused $unused"; unused=''; add held; delete_job held 6; delete_job gone -
    add b; mkdir -p attempts/b/1/job; : >attempts/b/1/job/assembly; far=''; delete_job b -; echo "unused $unused"
    mkdir -p attempts/b/2/job; echo 'token=t2 end' >attempts/b/2/job/spec; delete_job b#2 -; ls attempts/b incoming
    add b; trash_job() {{ return 1; }}; delete_job b -; trash_job() {{ rm -r "$job"; return 1; }}; delete_job b -; note=''
    . "$here/lib/job_removal.sh"; ended c; ended d; batch='c 5 d - gone 1 c 6'; delete_batch | lines"""
    assert shell(lines, "default").splitlines() == [
        *("job b deleted=1", "attempts:", "", "dependents:", "", "incoming:", ""),
        *("jobs:", "a", "unused ", "job b deleted=1 elsewhere=other", "unused 1"),
        *("job held since 6", "missing gone", "job b deleted=1", "unused 1"),
        *("job b#2 deleted=1", "attempts/b:", "", "incoming:"),
        *("job b another client is archiving or deleting it", "missing b"),
        *("missing gone", "job c another client is archiving or deleting it"),
        *("id=c", "deleted=1", "id=d", "deleted=1"),
    ]


def test_attempt_with_processes_prevents_a_deletion(shell: Shell) -> None:
    lines = f"""{QUEUE}{functions("find_living_attempt", "commands/delete")}
    say() {{ find_living_attempt b; echo "$1: $living"; }}; recount() {{ [ "$id" != "$unlisted" ] || exit 20; left=$count; }}
    unlisted='' count=''; say none; for n in 1 2; do mkdir -p attempts/b/$n/job; echo "token=t$n end" >attempts/b/$n/job/spec; done
    : >attempts/b/file; say ended; count=2; say processes; count=''; has_sign_of_life() {{ [ "$id" = 'b#1' ]; }}; say alive
    recount() {{ return 1; }}; say uncounted; recount() {{ exit 20; }}; (say unlisted)"""
    assert shell(lines, "default").splitlines() == [
        *("none: ", "ended: ", "processes: b#2", "alive: b#1", "uncounted: "),
        "quit 20 The attempt 'b#1' cannot be checked",
    ]


def test_queue_is_removed_only_without_running_jobs(shell: Shell) -> None:
    names = "wait_for_removal kill_unended discard remove_queue remove_links"
    lines = f"""{QUEUE}{functions(names, "commands/cleanup")} grace_period=7 requester=me kill_them=0 unended=''
    keep_queue() {{ quit "$@"; }}; naps=0; nap() {{ naps=$((naps + 1)); [ "$naps" != 3 ] || unlock; }}
    is_closed() {{ [ -n "$closed" ]; }}; close_queue() {{ return 1; }}; unlock() {{ :; }}; closed=''
    rm version; (wait_for_removal); : >version; (wait_for_removal); closed=1; unlock() {{ close_queue() {{ echo closed; }}; }}; wait_for_removal; echo "$naps"
    closed='' naps=9 swaps=''; unlock() {{ :; }}; close_queue() {{ swaps=x$swaps; case $swaps in xxx) closed=1 ;; xxxx) closed='' ;; xxxxxxxx) return 0 ;; esac; return 1; }}; (wait_for_removal; echo held); closed=''
    kill_unended; echo "none $?"; unended=' b c'; (kill_unended); kill_them=1 here_was=$here here=$queue; mkdir commands
    echo 'echo "$*" >killed' >commands/kill; find_unended() {{ unended=$rest; }}; rest=''; kill_unended; cat killed; rest=' c d' unended=' b c d'; (kill_unended)
    here=$here_was; rm -r commands killed; for part in jobs attempts claims dependents waiting running scheduler objects incoming scripts; do mkdir -p $part/x; done
    for file in .version.1 profile max_running lock lock.1 closing mine; do : >$file; done; link_count=2 link_1=$queue/l1 link_2=$queue/l2; : >l1; : >l2
    remove() {{ case ${{1##*/}} in removed.*) return 1 ;; esac; }}; (remove_queue); ls; rm -r incoming/removed.*
    make_room() {{ return 1; }}; remove() {{ [ "${{1##*/}}" != scripts ] && rm -r "$1"; }}; mkdir jobs; (remove_queue); ls -d [jcs]*s
    . "$here/lib/garbage_collection.sh"; remove_queue | lines | sed "s,$queue,Q,"; ls
    remove_links; ls; rm mine; remove_queue | lines; [ -d "$queue" ] || echo gone"""
    assert shell(lines, "default").splitlines() == [
        *("quit 10 There is no queue at 'Q'", "quit 20 Cannot write to 'Q'"),
        *("closed", "3", "held", "none 0"),
        "quit 5 Can't cleanup, some jobs are still running: b c",
        *("7 me b c", "quit 5 Job 'c' could not be killed: nothing was removed"),
        *("quit 20 'incoming/removed.unique' cannot be removed", "closing", "incoming"),
        *("l1", "l2", "lock", "lock.1", "max_running", "mine", "profile", "scripts"),
        *("version", "quit 20 'scripts' cannot be removed", "scripts"),
        *("kept=Q", "l1", "l2", "mine", "mine", "gone"),
    ]


def test_queue_with_unreadable_parts_is_kept(shell: Shell) -> None:
    lines = f"""{QUEUE} keep_queue() {{ quit "$@"; }}; query_runtime() {{ echo "query $*" | sed "s,$queue/,,g"; }}
    is_final() {{ [ -e "$job/finished" ]; }}; recount() {{ left=''; [ ! -e "$job/strays" ] || left=2; }}
    say() {{ find_unended; echo "$jobs_there:$unended:${{live_tokens-unset}}"; }}; rm -r jobs/a; say; ended b; add c; ended d; : >jobs/d/strays; say
    for n in 1 2; do mkdir -p attempts/b/$n/job; echo "token=t$n end" >attempts/b/$n/job/spec; done; : >attempts/b/2/job/finished; say
    has_sign_of_life() {{ [ "$id" = b ]; }}; say; can_list() {{ [ "$1" != "$queue/$unlisted" ]; }}; is_absent() {{ return 1; }}
    unlisted=attempts; (say); unlisted=jobs; (say)"""
    unread = "cannot be read, so it is unknown whether jobs are running: check the"
    unread += " directory on the server"
    assert shell(lines, "default").splitlines() == [
        *("query ", "0::unset", "query jobs/b jobs/c jobs/d", "3: c d:unset"),
        *("query jobs/b jobs/c jobs/d", "3: c d b#1:unset"),
        *("query jobs/b jobs/c jobs/d", "3: b c d b#1:unset"),
        *(f"quit 20 '{part}' {unread}" for part in ("attempts", "jobs")),
    ]
