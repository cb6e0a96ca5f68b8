"""Bootstrap on the server: how the queue is found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).parents[2] / "tej/server/bootstrap.sh"


def run(lines: str, folder: Path) -> tuple[int, str]:
    """Run lines of shell with the bootstrap; return the exit status and the output."""
    setup = '. "$1"; cd "$2"; tej_home=$PWD; check_queue_trust() { :; }\n'
    done = subprocess.run(
        ["/bin/sh", "-c", setup + lines, "sh", BOOTSTRAP, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("path", ["file/queue", "n" * 300])
def test_path_that_cannot_be_checked_is_not_absent(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, words = run(f"find_queue {path} || echo 'absent'", tmp_path)
    assert (status, words.partition(" cannot be")[0]) == (20, f"'{tmp_path}/{path}'")
    assert run("find_queue none || echo absent", tmp_path) == (0, "absent\n")


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (2, "Input/output error", "'{}/version' cannot be read on the server: {error}"),
        (127, "No such file or directory", "The program 'ls' is not found on the "),
    ],
)
def test_queue_is_not_set_up_again_after_an_error(
    tmp_path: Path, status: int, error: str, message: str
) -> None:
    """Otherwise, the queue could get another runtime while its jobs run."""
    lines = f"queue=$PWD; ls() {{ echo 'ls: x: {error}' >&2; return {status}; }}; "
    lines += "read_version || echo 'not set up'"
    code, words = run(lines, tmp_path)
    assert (code, words.count("\n")) == (20, 1)
    assert words.startswith(message.format(tmp_path, error=error))
    assert run("queue=$PWD; read_version || echo 'not set up'", tmp_path)[0] == 0


def lines_of(folder: Path, lines: str) -> list[str]:
    """Return the output lines of shell with the bootstrap, with Q for the folder."""
    quits = 'quit() { echo "quit $*"; exit 9; }; try() { if ("$@"); then echo yes; else echo no; fi; };'
    _, words = run(quits + lines, folder)
    return words.replace(str(folder), "Q").splitlines()


def test_paths_of_users_are_expanded(tmp_path: Path) -> None:
    lines = """base=/b; say() { (expand "$1"; echo "$path/$base"); }; for path in '~' '~/x' '~root/x' '~root' /x x '~no-user/x' '~a;b/x' '~x y'; do say "$path"; done
    tej_home='' base=''; HOME=/h; say '~/x'; say x; say /x; say '~root'"""
    assert lines_of(tmp_path, lines) == [
        *("Q/Q", "Q/x/Q", "/root/x//b", "/root//b", "/x//b", "/b/x//b"),
        "quit 12 There is no user 'no-user' on the server",
        "quit 12 '~a;b/x' does not begin with a user's name",
        "quit 12 '~x y' does not begin with a user's name",
        "quit 20 The home directory '/h' cannot be entered on the server: is it mounted?",
        "quit 20 The home directory '/h' cannot be entered on the server: is it mounted?",
        *("/x/", "/root/"),
    ]


def test_links_lead_to_the_queue(tmp_path: Path) -> None:
    lines = """mkdir queue dir; printf 'tejdir: %s\\n' "$PWD/queue" >l1; echo 'tejdir: ../l1' >dir/l2; echo 'tejdir: gone' >l3; echo other >l4; echo 'tejdir: l5' >l5; echo 'tejdir: ' >l6
    check_link_trust() { echo "trust $1"; }; say() { (find_queue "$1"; echo "$? $queue $link_count ${link_1-} ${link_2-}"); }; say queue; say l1; say dir/l2; say gone; say l3; say l4; say l5 | tail -n 1; say l6; say /
    mkfifo fifo; say fifo; ln -s queue s; say s; printf 'tejdir: a\\nb\\n\\n' >l7; read_link l7; echo "$target/"; printf 'tejdir: a' >l8; read_link l8; echo "$target/"; try read_link queue; cd() { [ "$1" != -P ] && command cd "$@"; }; say queue"""
    assert lines_of(tmp_path, lines) == [
        *("0 Q/queue 0  ", "trust Q/l1", "0 Q/queue 1 Q/l1 ", "trust Q/dir/l2"),
        *("trust Q/dir/../l1", "0 Q/queue 2 Q/dir/l2 Q/dir/../l1", "1 Q/gone 0  "),
        "trust Q/l3",
        "quit 11 The link 'Q/l3' points to 'Q/gone', which does not exist",
        "quit 12 'Q/l4' is a file, and not a link to a queue",
        "quit 11 The links from 'l5' form a cycle",
        "quit 12 'Q/l6' is a file, and not a link to a queue",
        "quit 12 '/' cannot be a queue",
        "quit 12 'Q/fifo' is neither a directory nor a link that can be read",
        *("0 Q/queue 0  ", "a", "b", "/", "a/", "no"),
        "quit 20 The queue 'Q/queue' cannot be entered",
    ]


def test_version_decides_whether_a_directory_is_a_queue(tmp_path: Path) -> None:
    lines = """queue=$PWD; check_queue_trust() { echo trust; }; say() { printf "$1" >version; (read_version; echo "$? $protocol $runtime $scripts $scripts_version"); rm version; }
    say 'tej 1\\nruntime slurm\\nscripts d1 3\\n'; say 'tej 2\\nruntime slurm\\nscripts d1 3\\n'; say '0.6\\n'; say 'x\\n'; say ''; for item in 'a b' ../x .x x/.y x/y/z; do say "tej 1\\nruntime $item\\nscripts d 1\\n"; done
    say 'tej 1\\nruntime r\\nscripts x 1\\nentries x\\n'; say 'tej 1\\nruntime r\\nscripts x/y 1\\n'; try read_version; for item in jobs incoming scripts attempts dependents waiting running scheduler objects closing .version.x; do mkdir $item; done; try read_version
    ln -s gone link; try read_version; rm link; mkdir .other; try read_version; : >version; (check_unused; echo $?); rm -r .other; ls() { return 2; }; try check_unused; rm version"""
    assert lines_of(tmp_path, lines) == [
        *("trust", "0 1 slurm d1 3"),
        "quit 12 'Q' was set up by a newer tej (protocol 2): use the newer tej, or choose another --queue",
        "quit 12 'Q' is a queue of tej 0.6, which this tej cannot use: choose another --queue, or rename this queue on the server: mv 'Q' 'Q.old'",
        "quit 12 'Q' contains a file 'version' that is not from tej",
        "quit 12 'Q' contains a file 'version' that is not from tej",
        *("quit 12 'Q/version' is damaged", "quit 12 'Q/version' is damaged"),
        *("quit 12 'Q/version' is damaged", "quit 12 'Q/version' is damaged"),
        *("quit 12 'Q/version' is damaged", "quit 12 'Q/version' is damaged"),
        *("quit 12 'Q/version' is damaged", "no"),
        *("no", "quit 12 'Q' is not a queue of tej: it contains 'link'", "no"),
        *("quit 12 'Q' is not a queue of tej: it contains '.other'", "no", "1"),
        *("quit 20 The queue 'Q' cannot be read", "no"),
    ]


def test_scripts_of_the_requested_digest_are_loaded(tmp_path: Path) -> None:
    lines = """queue=$PWD scripts=d1.x; set_up() { rm -rf scripts; mkdir -p scripts/d1.x/lib scripts/d1.x/commands; echo 'echo loaded' >scripts/d1.x/lib/load.sh; }
    set_up; for digest in any d1.x d1 d2 d1.y ''; do try load_queue "$digest"; done; rmdir scripts/d1.x/commands; try load_queue any; set_up; rm scripts/d1.x/lib/load.sh; try load_queue any; set_up; count_entries scripts/d1.x; echo "$count"; entry_count=$count; try load_queue any; echo >scripts/d1.x/lib/x; try load_queue any; entry_count=7; try load_queue any; entry_count=''; rm -r scripts; try load_queue any
    check_queue_trust() { :; }; check_mounted() { echo mounted; }; set_up; printf 'tej 1\\nruntime r\\nscripts d1.x 3\\n' >version; try open_queue . any; try open_queue . d2; try open_queue none any
    say() { (printf 'queue=$PWD scripts=d1.x; echo installed\\n' | { open_or_install "$@"; echo "status $?"; }) | tr '\\0' '\\n'; }; say . any; say . d2; mkdir jobs; say . d2; say none d2; rm version; say . d2
    (open_or_install . d2 </dev/null) | tr '\\0' '\\n'; rm -r scripts; say . d2; runtime=pbs; try need; try need slurm pbs; try need slurm default"""
    assert lines_of(tmp_path, lines) == [
        *("loaded", "yes", "loaded", "yes", "loaded", "yes", "no", "no", "no"),
        *("no", "no", "5", "loaded", "yes", "loaded", "yes", "no", "no"),
        *("loaded", "yes", "d1.x 3", "quit 14", "no", "mounted"),
        *("quit 10 There is no queue at 'Q/none'", "no", "loaded", "status 0"),
        *("have=d1.x 3", "ask=install", "installed", "loaded", "status 0"),
        *("has_jobs=1", "have=d1.x 3", "ask=install", "installed", "loaded"),
        *("status 0", "mounted", "have=none 0", "ask=install", "installed"),
        *("loaded", "status 0", "mounted", "has_jobs=1", "have=none 0"),
        *("ask=install", "installed", "loaded", "status 0", "mounted"),
        *("has_jobs=1", "have=none 0", "ask=install"),
        *("quit 20 The connection was lost before the queue was set up", "mounted"),
        *("has_jobs=1", "have=none 0", "ask=install", "installed", "quit 14"),
        *("yes", "yes"),
        "quit 12 The queue 'Q' uses the runtime 'pbs', but only these runtimes are allowed: slurm default",
        "no",
    ]


def test_reply_begins_with_the_marker(tmp_path: Path) -> None:
    lines = """hide_environment() { echo hide; }; HOME=$PWD; export CDPATH=/; exec 5>f 4<f; begin M1 0 2>err; echo "$marker $trusted $tej_home ${CDPATH-none}/$unclosed"; cat err; ls f /proc/$$/fd >fds; grep -c '^[45]$' fds
    kill -s PIPE $$; echo alive; HOME=/nonexistent/x; (begin M 0 2>&1; echo "$PWD/$tej_home"); cd() { return 1; }; try begin M 0"""
    assert lines_of(tmp_path, lines) == [
        *("hide", "", "M1", "M1 0 Q none/", "", "M1", "0", "alive", "hide", ""),
        *("M", "", "M", "//", "hide", "", "M", "", "M"),
        *("quit 20 The server cannot enter '/'", "no"),
    ]
