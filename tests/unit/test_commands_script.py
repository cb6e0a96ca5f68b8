"""Commands that read jobs, run as whole scripts without a server."""

from __future__ import annotations

from collections.abc import Callable

Shell = Callable[..., str]

COMMAND = """
TJ=0123456789abcdef
quit() { tej_status=$1; shift; echo "quit $tej_status $*" | sed "s,$queue,Q,g"; exit "$tej_status"; }
print_head() { echo head; }
start_keepalives() { echo keep; }
stop_keepalives() { echo stop; }
tend_queue() { echo tend; }
run() { (name=$1; shift; . "$here/commands/$name") | tr '\\0' '\\n' | sed "s,$queue,Q,g"; }
add() { mkdir -p "jobs/$1/stage"; echo "token=$TJ signature=s$1 end" >"jobs/$1/spec"; echo '5 h b s 1 1' >"jobs/$1/submitted"; }
ended() { add "$1"; echo '6 h 1 1' >"jobs/$1/started"; echo "9 exit 0 own 0" >"jobs/$1/finished"; }
"""


def test_sizes_are_counted_once(shell: Shell) -> None:
    lines = f"""{COMMAND} add 'b c'; : >jobs/file; mkdir objects incoming scripts; echo x >objects/x; echo y >jobs/a/y
    du() {{ [ "$1" = -sk ] && command du --apparent-size -B1 -d0 "$2" >/dev/null && case $2 in */objects) echo "10	$2" ;; *) echo "3	$2" ;; esac; }}
    xargs() {{ echo "$*" >args; while read -r name; do echo "100	$name"; done; }}
    run sizes; cat jobs/args; rm -r objects; run sizes | sed -n 4,6p; rm -r jobs; : >jobs; run sizes 2>/dev/null"""
    assert shell(lines).splitlines() == [
        *("has_end=1", "head", "keep", "store=10", "attempts=0", "stop", "total=216"),
        *("id=a", "size=100", "id=b c", "size=100", "end=1", "-E  du -sk --"),
        *("store=0", "attempts=0", "stop", "quit 20 'Q/jobs' cannot be entered"),
    ]


def test_short_commands_write_only_their_facts(shell: Shell) -> None:
    lines = f"""{COMMAND} now=7; ended b; add lost; echo x >jobs/lost/lost; : >jobs/a/finished
    run note_downloaded me a b /other; ls jobs/b | sed -n '/^d/p'; run note_downloaded me a b /$TJ gone /x lost; for id in a b lost; do cat "jobs/$id/downloaded" 2>/dev/null || echo none; done
    run note_parameters b sb x=1 lost sb x=2 gone sgone x=3 lost slost x=4 b sb; cat jobs/b/parameters jobs/lost/parameters; ls jobs
    run note_parameters b s x=5 b b x=6; cat jobs/b/parameters; run on_end_log gone; run on_end_log a; : >jobs/a/on_end; run on_end_log a
    echo out >jobs/a/on_end_log; run on_end_log a; run limit 3 2>/dev/null; mkdir incoming; run limit 3; run queue; run limit 0; run queue; read_limit() {{ return 1; }}; run queue"""
    assert shell(lines, "default").splitlines() == [
        *("none", "7 me", "7 me", "x=1", "x=4", "a", "b", "lost", "x=1"),
        *("quit 3 No job 'gone'", "quit 22 Job 'a' was submitted without --on-end"),
        *(
            "out",
            "quit 20 Cannot write to 'Q/max_running'",
            "tend",
            "head",
            "head",
            "max_running=3",
        ),
        *("tend", "head", "head", "max_running=0"),
        "quit 20 The job limit of the queue cannot be read: check 'Q/max_running' on the server",
    ]


def test_facts_are_not_written_into_a_later_job(shell: Shell) -> None:
    """A client replaces the job for a retry just before the fact is written."""
    lines = f"""{COMMAND} eval "$(sed -n '/^put() {{/,/^}}/p' "$here/lib/facts.sh" | sed 's/^put/really_put/')"
    put() {{ mv "$queue/jobs/b" "$queue/jobs/old"; (cd "$queue"; add b); really_put "$@"; }}
    now=7; for verb in 'note_downloaded me b' 'note_parameters b sb x=1'; do ended b; run $verb; ls jobs/b; ls jobs/old | sed -n '/^[dp]/p'; rm -r jobs/b jobs/old; done"""
    later = ["spec", "stage", "submitted"]
    assert shell(lines, "default").splitlines() == [
        *(*later, "downloaded", *later, "parameters")
    ]


def test_scheduler_log_has_the_messages_of_the_scheduler(shell: Shell) -> None:
    lines = f"""{COMMAND} find_log() {{ log=$job/x.log; [ -s "$log" ]; }}; scheduler_report() {{ echo "report $1"; print_report failed false; print_report empty true; print_report both echo in; }}
    run scheduler_log a; echo 'slurm 5' >jobs/a/native_id; seq 200000 >jobs/a/x.log; run scheduler_log a >log
    head -n 3 log; wc -c <log; tail -n 5 log; run scheduler_log gone; unset -f scheduler_report; run scheduler_log a"""
    assert shell(lines).splitlines() == [
        *("keep", "stop", "keep", "==> x.log <==", "0001", "1000049", "200000"),
        *("report 5", "==> both <==", "in", "stop", "quit 3 No job 'gone'"),
        "quit 12 The runtime 'slurm' has no scheduler",
    ]


def test_status_selects_jobs(shell: Shell) -> None:
    lines = f"""{COMMAND} check_jobs() {{ echo check; }}; print_job() {{ echo "job $id $state"; }}; recount() {{ printf 're'; }}
    runtime_ask() {{ echo "ask $*"; }}; find_absent() {{ echo "absent $*"; }}
    run status; rm -r jobs/a; run status; ended b; ended c; touch -d '1 hour ago' jobs/b; run status; run status '#1'; run status b gone
    await_replacements() {{ replaced_ids=' r'; }}; run status '#1'; run status '#2'; await_replacements() {{ replaced_ids=' b'; }}; run status '#2'; await_replacements() {{ :; }}
    mkdir -p attempts/b/1/job attempts/b/x attempts/b/20/job; run status 'b#'; run status 'gone#'
    add d; add e; echo 'slurm 5' >jobs/d/native_id; echo 'slurm 7' >jobs/e/native_id; run status d c e
    chmod 0 jobs; [ -r jobs ] || run status b | head -n 1; chmod 700 jobs; read_job() {{ mark_lost; id=$1 state=lost; }}
    mark_lost() {{ found_lost=1; }}; run status b"""
    # The first word announces the last word, so that no cut reply seems complete.
    begin = ("has_end=1", "head", "tend")
    assert shell(lines).splitlines() == [
        *("check", *begin, "rejob a lost", "end=1", "check", *begin, "end=1"),
        *("check", *begin, "rejob b finished", "rejob c finished", "end=1"),
        *("check", *begin, "recent=1", "rejob c finished", "end=1"),
        *(*begin, "absent b gone", "rejob b finished", "id=gone", "end=1"),
        # A job that is being replaced is not in `jobs`.
        *("check", *begin, "recent=1", "id=r", "end=1"),
        *("check", *begin, "recent=2", "id=r", "rejob c finished", "end=1"),
        # The new job was published after await_replacements.
        *("check", *begin, "recent=2", "rejob c finished", "rejob b finished", "end=1"),
        *("check", *begin, "rejob b#1 lost", "rejob b#20 lost", "end=1"),
        *("check", *begin, "end=1", *begin, "absent d c e"),
        # The scheduler is asked once for both jobs. Later queries use its answer.
        *("rejob c finished", "ask  slurm 5 slurm 7", "ask slurm 5", "rejob d queued"),
        *("ask slurm 7", "rejob e queued", "end=1"),
        *(*begin, "absent b", "rejob b lost", "end=1", "tend"),
    ]


def test_many_ended_jobs_are_read_by_awk(shell: Shell) -> None:
    lines = f"""{COMMAND} print_job() {{ echo "job $id"; }}; mkdir lib; for n in $(seq 49); do ended $n; done
    run() {{ (. "$here_was/commands/status") | tr '\\0' '\\n' | sed '/^end=1/d; s/[a0-9]*$/N/' | uniq -c | awk '{{ print $1, $2, $3 }}'; }}
    here_was=$here here=$queue; fails=''; echo 'print_ended() {{ echo "ended $#"; others="7${{newline}}8"; [ -z "$fails" ]; }}' >lib/ended_jobs.sh
    run | tail -n 2; fails=1; run | tail -n 1; rm -r jobs/a; run | tail -n 1"""
    assert shell(lines).splitlines() == ["1 ended N", "2 job N", "50 job N", "49 job N"]


FETCH = "fetch() { run download M \"$@\" | sed '/^M - /d; /^token=/d; /^$/d'; }"


def test_files_are_sent_as_archives(shell: Shell) -> None:
    lines = f"""{COMMAND} {FETCH}; cd jobs/a/stage; mkdir -p d e; echo 1 >d/f; echo 2 >g; echo 3 >'a b'; ln -s g l; ln -s d m; ln -s ../../../version out; ln -s gone broken; cd "$queue"; ended b; echo 4 >jobs/b/stage/g
    tar() {{ shift; printf '<'; printf '%s ' "$@"; printf '>'; }}
    fetch a 1 g b 1 g; fetch a 3 d/f 'a *' '[de]' a 2 l m a 1 out a 1 broken a 0; fetch a 3 gone g 'x*' gone 1 g
    # The site has removed the files of the job.
    echo 1 >jobs/a/started; fetch a 1 gone; : >jobs/a/stage/_stdout; fetch a 1 gone; rm jobs/a/started
    # A job that is being archived gets its spec back.
    nap() {{ echo nap >&4; [ -z "$back" ] || echo x >"$job/spec"; }}; tar() {{ rm -f "$job/spec"; }}; back=1; fetch a 1 g; back=''; fetch a 1 g; fetch a 1 g
    rm -r jobs/a/stage; fetch a 1 g; mkdir jobs/a/stage; chmod 0 jobs/a/stage; : >jobs/b/stage/x; ls() {{ return 2; }}; fetch b 1 y*"""
    assert shell(lines).splitlines() == [
        *("<- ./g >M 0 a", "<- ./g >M 0 b", "<- ./d/f ./a b ./d ./e >M 0 a"),
        "<- ./l ><- ./m/. >M 0 a",
        "quit 22 'out' points outside the directory of job 'a', to 'Q/version'",
        *("M 22 a", "quit 22 'broken' in job 'a' is a broken link", "M 22 a", "M 0 a"),
        *("quit 22 There is no 'gone' in job 'a'", "There is no 'x*' in job 'a'"),
        *("M 22 a", "quit 3 No job 'gone'", "M 3 gone"),
        "quit 22 There is no 'gone' in job 'a'",
        "Its output file '_stdout' is missing, too: were the files of the job removed on the server?",
        *("M 22 a", "quit 22 There is no 'gone' in job 'a'", "M 22 a"),
        *("nap", "M 0 a", "nap"),
        *("quit 20 Job 'a' was deleted while it was read", "M 20 a", "M 0 a"),
        "quit 22 Job 'a' has removed its directory, and all files in it",
        *("M 22 a", "quit 20 'y*' in job 'b' cannot be read", "M 20 b"),
    ]


def test_reply_of_tar_decides_whether_files_were_read(shell: Shell) -> None:
    lines = f"""{COMMAND} {FETCH}; : >jobs/a/stage/f; : >'jobs/a/stage/b\\c'; tar() {{ [ "$1" != --version ] || {{ echo "$program"; return; }}; printf '%s\\n' "$*"; printf "$said" >&2; return "$status"; }}
    program='x GNU tar 1'; for status in 0 1 2; do for said in '' 'tar: f: file changed as we read it\n' 'tar: f: file changed as we read it\ntar: g: error\n'; do echo "$status:"; fetch a 1 f; done; done
    status=0 said=''; fetch a 1 'b*'; program=bsdtar; fetch a 1 'b*'"""
    changed = "tar: f: file changed as we read it"
    error = "quit 20 Some files of job 'a' could not be read: "
    assert shell(lines).splitlines() == [
        *("0:", "-cf - ./f", "M 0 a") * 3,
        *("1:", "-cf - ./f", error, "M 20 a", "1:", "-cf - ./f", "M 0 a"),
        *("1:", "-cf - ./f", f"{error}{changed}", "tar: g: error", "M 20 a"),
        *("2:", "-cf - ./f", error, "M 20 a"),
        *("2:", "-cf - ./f", f"{error}{changed}", "M 20 a"),
        *("2:", "-cf - ./f", f"{error}{changed}", "tar: g: error", "M 20 a"),
        *("--no-unquote -cf - ./b\\c", "M 0 a", "-cf - ./b\\c", "M 0 a"),
    ]


def test_directory_is_listed(shell: Shell) -> None:
    lines = f"""{COMMAND} cd jobs/a/stage; mkdir -m 751 -p d/.e d/...f; echo 12 >d/g; chmod 640 d/g; ln -s 'g -> x' d/l; : >'d/a -> b'; ln -s d m; ln -s /etc out; : >"n
x"; cd "$queue"; run ls a d | sed '/^mode=d/{{n;d;}}'; run ls a m/g; run ls a . | grep id; run ls a gone; run ls a out; run ls gone .
    mkdir jobs/a/stage/empty; run ls a empty; run ls a d/l; is_absent() {{ return 1; }}; run ls a gone"""
    begin = ("has_end=1", "head")
    assert shell(lines).splitlines() == [
        *(*begin, "id=...f", "mode=drwxr-x--x", "id=.e", "mode=drwxr-x--x"),
        *("id=a -> b", "mode=-rw-r--r--", "size=0", "id=g", "mode=-rw-r-----"),
        *("size=3", "id=l", "mode=lrwxrwxrwx", "size=6", "target=g -> x", "end=1"),
        *(*begin, "id=g", "mode=-rw-r-----", "size=3", "end=1"),
        *("id=d", "id=m", "id=n", "id=out", "quit 22 There is no 'gone' in job 'a'"),
        "quit 22 'out' points outside the directory of job 'a', to '/etc'",
        *(
            "quit 3 No job 'gone'",
            *begin,
            "end=1",
            "quit 22 'd/l' in job 'a' is a broken link",
        ),
        "quit 20 'gone' in job 'a' cannot be read",
    ]


def test_paths_of_the_stage_are_resolved(shell: Shell) -> None:
    lines = f"""{COMMAND} . "$here/lib/stage_path.sh"; enter_stage; mkdir -p d/e; echo 1 >d/f; ln -s ../f d/e/up; ln -s e d/l; ln -s "$resolved_stage/d/f" abs; ln -s nothing b; mkdir 'd/x
'
    say() {{ if real_path "$1"; then echo "${{real#"$resolved_stage"}}|"; else echo no; fi; }}; for path in f d/f d d/e/up d/l d/l/up abs b gone/x ./d/../d/f . 'd/x
'; do say "$path"; done
    : >c0; for n in $(seq 42); do ln -s "c$((n - 1))" "c$n"; done; say c40; say c41; (command() {{ return 1; }}; say d/l/up; say c40)
    count() {{ echo "$# $1 ${{400-}}"; }}; in_groups count $(seq 400); in_groups count $(seq 801); in_groups count; fails() {{ echo "$#"; return 3; }}; in_groups fails $(seq 801); echo "$?"
    (check d/f; echo ok); (check ../../b); ln -s ../stage-2 ../stage/away; mkdir ../stage-2; (check away); rm -r ../stage; id=a; (enter_stage)"""
    assert shell(lines).splitlines() == [
        *("no", "/d/f|", "/d|", "/d/f|", "/d/e|", "/d/f|", "/d/f|", "no", "no"),
        *("/d/f|", "|", "/d/x", "|", "/c0|", "no", "/d/f|", "/c0|", "400 1 400"),
        *("400 1 400", "400 401 800", "1 801 ", "400", "3", "ok"),
        "quit 22 '../../b' in job 'a' is a broken link",
        "quit 22 'away' points outside the directory of job 'a', to 'Q/jobs/a/stage-2'",
        "quit 22 Job 'a' has removed its directory, and all files in it",
    ]
