"""Ages of files and signs of life, in shell functions that are called without a server."""

from __future__ import annotations

from collections.abc import Callable

Shell = Callable[..., str]

TRY = 'try() { if "$@"; then echo yes; else echo no; fi; }; me\n'


def test_fact_is_stale_only_after_two_checks(shell: Shell) -> None:
    lines = f"""{TRY} get_age() {{ age=$the_age; }}; get_uptime() {{ uptime=$up; }}; file_time=70 the_age=899 up=100; try is_stale heartbeat 900; ls -A "$job" | grep look | sed "s/$host/H/"; the_age=900; try is_stale heartbeat 900; sed "s/ $boot/ B/" "$job/.look.heartbeat.$host"
    up=179; try is_stale heartbeat 900; up=180; try is_stale heartbeat 900; file_time=71; try is_stale heartbeat 900; up=259; try is_stale heartbeat 900; up=260; try is_stale heartbeat 900; up=5; try is_stale heartbeat 900; up=85; try is_stale heartbeat 900; rm "$job"/.look*
    for the_age in '' -7; do up=100; try is_stale started 30; up=129; try is_stale started 30; echo "$age"; up=130; try is_stale started 30; rm "$job"/.look*; done; the_age='' file_time='' up=100; for beat in 4 4 5; do echo "$beat" >"$job/heartbeat"; try is_stale heartbeat 30; up=130; done
    rm "$job"/.look*; mkfifo "$job/.look.heartbeat.$host"; try is_stale heartbeat 30; up=160; try is_stale heartbeat 30; : >"$job/.look.heartbeat.$host"; try is_stale heartbeat 0; echo "x 70 $boot" >"$job/.look.heartbeat.$host"; try is_stale heartbeat 0"""
    assert shell(lines, "default").splitlines() == [
        *("no", "no", "100 70 B", "no", "yes", "no", "no", "yes", "no", "yes"),
        *("no", "no", "", "yes", "no", "no", "0", "yes", "no", "yes", "no", "no"),
        *("yes", "no", "no"),
    ]


def test_age_uses_the_clock_of_the_disk(shell: Shell) -> None:
    lines = f"""{TRY} now=1000; touch -d @400 f; touch -d @700 jobs/.clock; printf() {{ :; }}; get_age f; echo "$age $file_time $disk_time"; touch -d @900 jobs/.clock; get_age f; echo "$age"; now=1001; get_age f; echo "$age"; try get_age gone; echo "$age/"; touch -d @950 f; get_age f; echo "$age"
    now=9002; touch -d @5403 jobs/.clock; try agrees_with_disk; now=9003; touch -d @12602 jobs/.clock; try agrees_with_disk; now=9004; touch -d @12604 jobs/.clock; try agrees_with_disk; now=9005; touch -d @5405 jobs/.clock; try agrees_with_disk
    rm jobs/.clock; mkdir jobs/.clock; now=1006; try agrees_with_disk; try get_age f; stat() {{ [ "$1" != -f ] || echo 5; }}; file_clock=''; get_file_time f; echo "$file_time $file_clock"; stat() {{ :; }}; date() {{ [ "$1" = -r ] && echo 6; }}; file_clock=''; get_file_time f; echo "$file_time $file_clock"; date() {{ :; }}; perl() {{ echo 7; }}; file_clock=''; get_file_time f; echo "$file_time $file_clock"; perl() {{ echo x; }}; try get_file_time f; echo "$file_time $file_clock/" """
    assert shell(lines, "default").splitlines() == [
        *("300 400 700", "300", "500", "no", "/", "-50", "yes", "yes", "no", "no"),
        *("no", "no", "5 bsd", "6 date", "7 perl", "no", " /"),
    ]


def test_job_with_a_sign_of_life_is_named(shell: Shell) -> None:
    lines = f"""{TRY} has_processes() {{ [ -n "$left_here" ]; }}; is_beating() {{ seen=9; [ -n "$beats" ]; }}; check_process() {{ life=$l; }}; sees_processes() {{ [ -n "$sees" ]; }}; was_restarted() {{ [ -n "$rebooted" ]; }}; left_here='' beats='' where='' l=gone sees=1 rebooted='' state=running advice='kill it first'; say() {{ if shows_life; then echo "$sign" | sed "s/$host/H/g"; else echo none; fi; }}
    native="pid $host $boot $space 1 1"; left_here=1; say; left_here=''; say; l=alive; say; l=unsure; say; beats=1; say; state=lost; say; state=running l=gone; say; sees=''; say; native='slurm 5'; say; where=node; say; echo "$advice"; state=lost; say; state=running beats=''; say; beats=1; echo 1 >"$job/finished"; say; rm "$job/finished"
    native="pid $host b $space 1 1"; say; rebooted=1; say; native='pid other b s 1 1' l=alive; say; where=''; started=6 native="pid $host $boot $space 1 1"; try is_seen_here; l=gone; has_live_token() {{ [ -n "$token_here" ]; }}; token_here=''; try is_seen_here; token_here=1; try is_seen_here; started=''; try is_seen_here; started=6 native='slurm 5'; try is_seen_here
    unset -f was_restarted; . "$here/lib/signs_of_life.sh"; get_uptime() {{ uptime=$up; }}; get_age() {{ age=$a; [ -n "$a" ]; }}; for up in 89 90; do for a in '' 90 91; do try was_restarted; done; done; started=6 submitted=5 now=70; get_last_sign; echo "$last_sign"; started=''; get_last_sign; echo "$last_sign"; submitted=''; get_last_sign; echo "$last_sign"; echo 40 >"$job/heartbeat"; get_last_sign; echo "$last_sign"; echo x >"$job/heartbeat"; get_last_sign; echo "$last_sign" """
    assert shell(lines, "default").splitlines() == [
        *("some of its processes run on H", "none", "its wrapper runs on H"),
        *("none", "it was seen on H 9 seconds ago", "none", "none"),
        *("it was seen on H 9 seconds ago", "it was seen 9 seconds ago"),
        *("it was seen on node 9 seconds ago", "kill it first"),
        *("it was seen on node 9 seconds ago", "none", "none"),
        *("it was seen on node 9 seconds ago", "none"),
        *("it was seen on node 9 seconds ago", "yes", "no", "yes", "no", "no"),
        *("no", "no", "no", "no", "no", "yes", "6", "5", "70", "40", "70"),
    ]


def test_changed_shared_file_is_found(shell: Shell) -> None:
    lines = f"""{TRY} say() {{ find_changed_input; echo "/$changed"; }}; say; room=$queue/room; mkdir -p room/held room/objects objects/ab; make_share_time "$job/share_time"; say; for name in x y z; do make_share_time objects/ab/$name.r; ln objects/ab/$name.r "$job/stage/$name"; done; printf 'file f ./f\\nmode 7 u= x\\nmtime 1 x\\nprogram p ./p\\nbundle b\\nshare abx ./x\\nshare aby ./y\\nshare abz ./z\\nshare gone ./gone\\n' >"$job/assembly"; say
    touch "$job/stage/y"; touch -d @5 "$job/stage/z"; say; note_changed_input; cat "$job/changed"; rm "$job/stage/y"; : >"$job/stage/y"; say; rm "$job/share_time" "$job/changed"; note_changed_input; say; ls "$job" | grep changed
    make_share_time room/share_time; for name in ab1 ab2; do make_share_time room/held/$name.r; ln room/held/$name.r objects/ab/; done; touch room/held/ab1.r; : >room/held/ab3; drop_changed_objects; ls room/held objects/ab; : >room/objects/ab5.r; : >room/objects/ab6; seal_objects; ls -l room/objects | grep ab | cut -c1-10; is_changed room/objects/ab5.r room/share_time || echo same; is_changed room/objects/ab6 room/share_time && echo changed"""
    assert shell(lines, "default").splitlines() == [
        *("/", "/", "/", "/y", "y", "/z", "/", "objects/ab:", "ab2.r", "x.r"),
        *("y.r", "z.r", "", "room/held:", "ab2.r", "ab3", "-r--r--r--"),
        *("-rw-r--r--", "same", "changed"),
    ]
