"""Content store and garbage collection, in shell functions called without a server."""

from __future__ import annotations

from collections.abc import Callable

Shell = Callable[..., str]

STORE = """
room=$queue/room incoming=$queue/incoming; mkdir -p room/held room/objects objects/ab incoming
start_keepalives() { :; }
stop_keepalives() { :; }
quit() { shift; echo "quit $*"; exit; }
fail() { shift; echo "fail $*" | sed "s,$queue,Q,"; exit; }
"""


def test_name_of_an_object_is_checked(shell: Shell) -> None:
    lines = f"""{STORE} for name in abcd 0f.tar ab.r ../x .ab '' abg 'a*'; do
    (locate_object "$name"; echo "${{object#"$store/"}}"); done"""
    assert shell(lines).splitlines() == [
        *("ab/abcd", "0f/0f.tar", "ab/ab.r"),
        *(f"quit '{name}' is not the name of an object" for name in ("../x", ".ab")),
        *(f"quit '{name}' is not the name of an object" for name in ("", "abg", "a*")),
    ]


def test_missing_objects_are_requested(shell: Shell) -> None:
    lines = f"""{STORE} echo 1 >objects/ab/ab01; echo 2 >objects/ab/ab02.r; echo 3 >objects/ab/ab03.r
    TZ=UTC0 touch -t "$share_time" objects/ab/ab02.r
    drop_damaged_objects() {{ :; }}
    ask() {{ printf "$1" | exchange_objects | tr '\\0' '\\n'; }}
    ask 'ab01\\nab00\\n\\nab09\\n'; ls -A room room/held; ask 'ab02.r\\nab03.r\\n\\n'; ls room room/held objects/ab
    rm -r objects room; ask 'ab01\\n\\n'; ls -d objects room/held; rm -r objects room; : >objects; ask 'ab01\\n\\n' 2>&1 | grep fail
    rm objects; make_share_time() {{ return 1; }}; ask 'ab01.r\\n\\n'; ask 'ab01\\n\\n'"""
    assert shell(lines).splitlines() == [
        *("miss=ab00", "ask=missing", "room:", "held", "objects", "", "room/held:"),
        *("ab01", "miss=ab03.r", "ask=missing", "objects/ab:", "ab01", "ab02.r", ""),
        *("room:", "held", "objects", "share_time", "", "room/held:", "ab01"),
        *("ab02.r", "miss=ab01", "ask=missing", "objects", "room/held"),
        *("fail Cannot write to 'Q'", "fail Cannot write to 'Q'"),
        *("miss=ab01", "ask=missing"),
    ]


def test_damaged_objects_are_requested_again(shell: Shell) -> None:
    lines = f"""{STORE} ask() {{ {{ printf '%s\\n' $names ''; }} | exchange_objects | tr '\\0' '\\n'; rm -r room/held; }}
    names=''; for word in whole cut none; do
        echo "$word" >item; name=$(sha256sum item) name=${{name%% *}}.tar; eval "$word=\\$name"; names="$names $name ${{name%.tar}}.r"
        locate_object "$name"; mkdir -p "${{object%/*}}"; cp item "$object"; cp item "${{object%.tar}}.r"
    done; make_share_time time; touch -r time objects/*/*.r; ask
    locate_object "$cut"; echo x >"$object"; locate_object "$none"; printf '' >"$object"; printf '' >"${{object%.tar}}.r"
    touch -r time "${{object%.tar}}.r"; ask | sed "s/$cut/cut/; s/$none/none/; s/${{none%.tar}}/none/"
    echo $(ls objects/*/* | wc -l); ask | wc -l; sha256sum() {{ return 127; }}; ask | wc -l"""
    assert shell(lines).splitlines() == [
        *("ask=missing", "miss=cut", "miss=none", "miss=none.r", "ask=missing"),
        *("3", "4", "4"),
    ]


def test_objects_are_linked_in_batches(shell: Shell) -> None:
    lines = f"""{STORE} names=''; for number in $(seq 100 499); do : >objects/ab/ab$number; names="$names ab$number ab"; done
    hold() {{ echo "$# ${{1##*/}}"; }}; link_objects; names="$names ab100"; link_objects; names=ab; link_objects"""
    assert shell(lines).splitlines() == [
        *("200 ab100", "200 ab300"),
        *("200 ab100", "200 ab300", "1 ab100"),
    ]


def test_job_is_assembled_from_objects(shell: Shell) -> None:
    lines = f"""{STORE} echo new >room/objects/ab1; echo old >room/held/ab1; echo held >room/held/ab2; id() {{ echo "$uid_is"; }}
    make_share_time room/share_time; echo shared >room/objects/ab3.r; seal_objects; ls -l room/objects/ab3.r | cut -c1-10
    (cd room; mkdir d; echo in >d/f; tar -cf held/ab4.tar d; rm -r d); chmod a-x room/*/*
    set_up() {{ rm -rf "$job/stage"; mkdir "$job/stage"; printf '%s\\n' "$@" >"$job/assembly"; }}
    say() {{ assembly_error=''; assemble "$job" || echo "$? $assembly_error" | sed "s,$queue,Q,g" | cut -c1-60; }}
    say; ls "$job"; set_up 'file ab1 ./x' 'program ab2 ./y' 'share ab3.r ./z' 'bundle ab4.tar' 'mode 711 u=rwx,go= y' \\
        'mtime 202001020304.05 x y'; umask 022; uid_is=5; say; cd "$job/stage"; cat x y z d/f; ls -l y z | cut -c1-12; TZ=UTC0 find . -newermt 2020-01-02T03:04:04 ! -newermt 2020-01-02T03:04:06 | sort
    cd ../../..; ls "$job"; uid_is=0; set_up 'file ab2 y' 'mode 711 u=rwx,go= y'; say; ls -l "$job/stage/y" | cut -c1-10
    touch() {{ return 1; }}; set_up 'file ab1 x' 'mtime 1 x' 'file ab2 y'; say; ls "$job/stage"; unset -f touch
    ln() {{ return 1; }}; set_up 'share ab3.r z' ; say; ls -l "$job/stage/z" | cut -c12; unset -f ln
    touch room/objects/ab3.r; set_up 'share ab3.r ./z' 'file ab1 x'; say; ls "$job/stage"
    for line in 'file ab9 x' 'program ab9 x' 'share ab9 x' 'bundle ab9.tar' 'mode 700 u= gone'; do set_up "$line" 'file ab1 x'; say; ls "$job/stage"; done
    rm -r "$job/stage"; say | cut -c1-2; mkdir "$job/stage"; cp() {{ return 1; }}; say; rm room/share_time "$job/share_time"; set_up :; say; ls "$job" """
    done = shell(lines).splitlines()
    assert done[:16] == [
        *("-r--r--r--", "spec", "stage", "new", "held", "shared", "in"),
        *("-rwx------ 1", "-r--r--r-- 2", "./x", "./y"),
        *("assembly", "share_time", "spec", "stage", "-rwx--x--x"),
    ]
    assert done[16:20] == [
        *("x", "y", "1", "1 another job has changed the shared file 'z'"),
    ]
    assert [line[:2] for line in done[20:]] == [
        *(["1 "] * 4),  # `tar` prints a second line
        *("ta", "1 ", "1 ", "1 ", "as", "sp", "st"),
    ]


def test_uploaded_objects_are_stored_after_publication(shell: Shell) -> None:
    lines = f"""{STORE} echo new >room/objects/ab1; echo held >room/held/cd2; echo kept >objects/ab/ab3; echo x >room/held/ab3
    store_objects; ls objects/* room/*; cat objects/*/*; rm -r objects; : >objects; echo y >room/held/ef4; store_objects; echo "$?" """
    assert shell(lines).splitlines() == [
        *("objects/ab:", "ab1", "ab3", "", "objects/cd:", "cd2", ""),
        *("room/held:", "ab3", "", "room/objects:", "new", "kept", "held", "0"),
    ]


def test_only_unlisted_objects_are_removed(shell: Shell) -> None:
    lines = f"""{STORE} collect_unused_objects; for name in ab1 ab2 ab3.r ab4.tar ab5; do : >objects/ab/$name; done
    mkdir -p attempts/b/1/job jobs/c; echo 'file ab2 "x y"' >jobs/a/assembly; echo 'share ab3.r x' >attempts/b/1/job/assembly
    printf 'bundle ab4.tar\\nprogram ab6 ab5\\n' >jobs/c/assembly; collect_unused_objects; ls objects/ab
    rm jobs/*/assembly; collect_unused_objects; ls objects/ab; rm -r objects; collect_unused_objects; echo "$?" """
    assert shell(lines).splitlines() == ["ab2", "ab3.r", "ab4.tar", "ab3.r", "0"]


def test_abandoned_upload_is_removed(shell: Shell) -> None:
    lines = f"""{STORE} me; old='2 days ago'
    try() {{ if is_abandoned room; then echo "$1 abandoned"; else echo "$1 used"; fi; }}
    try new; touch -d "$old" room/* room; try old; : >room/held/x; touch -d "$old" room/held room; try file
    touch -d "$old" room/held/x; try again
    own() {{ rm -rf room; mkdir room; echo "$2" >"room/$1"; [ "$3" != old ] || touch -d "$old" room/"$1" room; }}
    for file in .owner .removal; do
        own $file "$who" old; try mine; own $file "$host $boot $space 1 1"; try dead; own $file 'other b s 1 1'; try other
        own $file 'other b s 1 1' old; try silent; done
    mark() {{ rm -rf room; mkdir room; : >"room/.taken $1"; touch -d "$old" room/.t* room; }}
    mark "$who"; try taker; mark "$host $boot $space 1 1"; touch room; try gone; mark 'x y'; try strange
    mark 'other b s 1 1'; try elsewhere; o_host=''; rm room/.t*; : >room/.owner; touch -d "$old" room/.owner room; try empty
    get_disk_time() {{ disk_time=$((now - 172800)); }}; try behind; get_disk_time() {{ disk_time=''; }}; try unknown"""
    assert shell(lines).splitlines() == [
        *("new used", "old abandoned", "file used", "again abandoned"),
        *["mine used", "dead abandoned", "other used", "silent abandoned"] * 2,
        *("taker used", "gone abandoned", "strange abandoned"),
        *("elsewhere abandoned", "empty abandoned", "behind used", "unknown used"),
    ]


def test_garbage_is_removed_and_rooms_have_owners(shell: Shell) -> None:
    lines = f"""{STORE} mkdir "incoming/up.$$"; make_room up; echo "$?"; rmdir "incoming/up.$$"; [ "$(cat "$room/.owner")" = "$who" ] && echo owned
    ls incoming; try() {{ make_room up 2>/dev/null || echo "no $(ls incoming)"; }}
    rm -r incoming; : >incoming; make_room up 2>/dev/null; echo "$?"; rm incoming; mkdir -p incoming/old/d incoming/used
    mkdir incoming/empty incoming/fresh; : >incoming/used/.x; touch -d '11 minutes ago' incoming/empty incoming/used; touch -d '9 minutes ago' incoming/fresh
    is_abandoned() {{ o_host=''; [ "${{1##*/}}" = old ]; }}; : >incoming/file; collect_garbage; echo "$?"; ls incoming
    mkdir -p room/d; tries=0; rm() {{ tries=$((tries + 1)); [ "$tries" -gt "$failures" ] && command rm "$@"; }}
    find() {{ echo find "$@" | sed "s,$queue,Q,"; }}; unremoved=''
    for failures in 0 1 2; do tries=0; mkdir -p room; remove "$queue/room"; echo "$? $unremoved" | sed "s,$queue,Q,"; ls -d room 2>/dev/null; done
    # The owner is known until all other files are removed.
    rm() {{ shift; for item in "$@"; do echo "rm ${{item##*/}}"; done; }}; mkdir -p room/d; : >room/.owner; remove "$queue/room"
    ln -s room link; remove link"""
    found = "find Q/room -type d -exec chmod u+rwx {} ;"
    assert shell(lines).splitlines() == [
        *("0", "owned", "up.unique", "1", "0", "file", "fresh", "used"),
        *("0 ", found, "0 ", found, "1 Q/room", "room", "rm d", "rm room", "rm link"),
    ]
