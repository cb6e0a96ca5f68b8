"""Setup of a queue and the checks of its owner, in shell functions without a server."""

from __future__ import annotations

import subprocess
from pathlib import Path

SERVER = Path(__file__).parents[2] / "tej/server"
SETUP = r"""
here=$1 tej_newline='
' trusted=0 shared='' marker=m1 link_count=0 scripts='' runtime=''
cd "$2"; tej_home=$PWD queue=$PWD/queue; umask 022
for part in bootstrap trust setup_command install_queue; do . "$here/$part.sh"; done
quit() { echo "quit $*"; exit "$1"; }
try() { if ("$@"); then echo yes; else echo no; fi; }
"""


def lines_of(lines: str, folder: Path) -> list[str]:
    """Return the output lines of shell functions, with Q for the path of the queue."""
    done = subprocess.run(
        ["/bin/sh", "-c", SETUP + lines, "sh", SERVER, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    words = done.stdout.replace("\0", "\n")
    return words.replace(f"{folder}/queue", "Q").replace(str(folder), "T").splitlines()


def test_queue_that_others_can_write_is_refused(tmp_path: Path) -> None:
    lines = r"""quit() { echo "quit $1 $2" | head -n 1 | sed 's/ (owner.*)//; s/ could run.*//'; exit 9; }; get_private_group() { private=$group; }; group=''
    new() { chmod -R u+rwx queue 2>/dev/null; rm -rf queue; mkdir -p queue/jobs queue/scripts/d/lib; : >queue/version; : >queue/scripts/d/lib/x; : >queue/jobs/file; chmod 755 queue; }
    say() { echo "$1:"; shift; [ $# = 0 ] || chmod "$@"; (check_queue_trust && echo "trusted $shared"); new; }
    new; say usual; say world o+w queue; say group g+w queue; group=$(id -g); say own-group g+w queue; say world o+w queue; group=''
    say entry o+w queue/version; chmod 700 queue; say private-entry o+w queue/version; chmod 700 queue; say private o+w queue; chmod 710 queue; say entered o+w queue/version
    say job o+w queue/jobs/file; say script o+w queue/scripts/d; scripts=d; say deep o+w queue/scripts/d/lib/x; ln -s gone queue/lock; say lock; ln -s "$PWD/other" queue/to; : >other; say target o+w other
    trusted=1; say yes o+w queue; say shared g+w queue; (chmod g+w queue; check_queue_trust; umask | sed "s/^0*/0/"); trusted=0; find() { return 2; }; say failed; unset -f find
    find() { echo vanished; }; check_queue_trust; echo "$untrusted"
    """
    assert lines_of(lines, tmp_path) == [
        *("usual:", "trusted ", "world:"),
        *("quit 15 'Q' can be changed by other users, who", "group:"),
        *("quit 15 'Q' can be changed by other users, who", "own-group:"),
        *("trusted ", "world:", "quit 15 'Q' can be changed by other users, who"),
        *("entry:", "quit 15 'Q/version' can be changed by other users, who"),
        *("private-entry:", "trusted ", "private:"),
        *("quit 15 'Q' can be changed by other users, who", "entered:"),
        *("quit 15 'Q/version' can be changed by other users, who", "job:"),
        *("trusted ", "script:", "trusted ", "deep:"),
        "quit 15 'Q/scripts/d/lib/x' can be changed by other users, who",
        *("lock:", "trusted ", "target:"),
        *("quit 15 'Q/to' can be changed by other users, who", "yes:", "trusted "),
        *("shared:", "trusted 1", "07", "failed:"),
        "quit 20 'find' failed on the server, so it is unknown who can write to 'Q'",
        "quit 15 'Q/vanished' can be changed by other users, who",
    ]


def test_refusal_names_owner_and_mode(tmp_path: Path) -> None:
    lines = r"""mkdir -p queue a/b/c; chmod 740 queue; say() { (refuse_untrusted "$1" use) 2>&1 | sed "s/owner $(id -un), group $(id -gn)/owner me/"; }; say "$PWD/queue"; say "$queue/./x"; say "$queue/."
    # A path vanishes while another client uses the queue.
    find() { [ -e "$tej_home/seen" ] || { : >"$tej_home/seen"; echo vanished; echo noise >&2; }; }; find_untrusted; echo "/$untrusted"; rm seen; mkdir queue/vanished; find_untrusted; echo "/$untrusted"; find() { command find "$@"; }
    chmod 777 a a/b; queue=$PWD/a/b/c; find_replaceable; echo "$replaceable"; id() { echo 7; }; unset account; get_account; [ "$account" = "$(command id -u)" ] && echo account; account=x; get_account; echo "$account"; account='' tej_name=''; read() { return 1; }; get_account; echo "$account" """
    assert lines_of(lines, tmp_path) == [
        "quit 15 'Q' (owner me, mode drwxr-----) can be changed by other users, who could run commands as you through use.",
        "Trust them with --trust-queue (trust_queue=True), or make it yours alone: chmod go-w",
        "quit 15 'Q/x' (owner unknown, group unknown, mode unknown) can be changed by other users, who could run commands as you through use.",
        "Trust them with --trust-queue (trust_queue=True), or make it yours alone: chmod go-w",
        "quit 15 'Q' (owner me, mode drwxr-----) can be changed by other users, who could run commands as you through use.",
        "Trust them with --trust-queue (trust_queue=True), or make it yours alone: chmod go-w",
        *("/", "/vanished", "T/a/b", "account", "x", "7"),
    ]


def test_link_that_others_can_replace_is_refused(tmp_path: Path) -> None:
    lines = r"""quit() { echo "quit $1 $2" | head -n 1 | sed 's/ (owner.*)//; s/ who.*through/ through/'; exit 9; }; get_private_group() { private=''; }; mkdir d; echo 'tejdir: q' >d/l
    say() { chmod "$1" d; chmod "$2" d/l; try check_link_trust "$PWD/d/l"; }; say 755 644; say 777 644; say 1777 644; say 775 644; say 755 646; say 755 664; trusted=1; say 777 666; try check_directory_trust d x; trusted=0; try check_directory_trust d x
    chmod 755 d; rm d/l; try check_link_trust "$PWD/d/l"; try check_directory_trust gone/ x; private=1; unset account; get_account; [ "$account" = "$(id -u)" ] && echo account
    . "$here/trust.sh"; id() { case $1 in -gn) echo "$g" ;; -un) echo me ;; -g) echo 7 ;; esac; }; getent() { echo "$line"; }; for g in me other; do for line in '' x:me: me:x:7: me:x:7:me me:x:7:me,you; do get_private_group; echo "/$private"; done; done
    mkdir -p a/b/c; queue=$PWD/a/b/c; find_replaceable; chmod 777 a; [ -n "$replaceable" ] || echo none; find_replaceable; echo "$replaceable"; chmod 1777 a; find_replaceable; echo "/$replaceable"; chmod 777 a/b/c; find_replaceable; echo "/$replaceable" """
    assert lines_of(lines, tmp_path) == [
        "yes",
        "quit 15 'T/d/' can be changed by other users, through the link 'T/d/l'.",
        *("no", "yes"),
        "quit 15 'T/d/' can be changed by other users, through the link 'T/d/l'.",
        "no",
        "quit 15 'T/d/l' can be changed by other users, through the link 'T/d/l'.",
        "no",
        "quit 15 'T/d/l' can be changed by other users, through the link 'T/d/l'.",
        *("no", "yes", "yes"),
        *("quit 15 'd' can be changed by other users, through x.", "no"),
        "quit 15 'T/d/l' can be changed by other users, through the link 'T/d/l'.",
        *("no", "quit 15 'gone/' can be changed by other users, through x.", "no"),
        *("account", "/7", "/7", "/7", "/7", "/", "/", "/", "/", "/", "/", "none"),
        *("T/a", "/", "/"),
    ]


def test_installation_replaces_only_scripts(tmp_path: Path) -> None:
    lines = r"""check_queue_trust() { echo trust; }; find_replaceable() { replaceable=$risk; }; unpack() { mkdir -p "$1/runtimes/default" "$1/lib"; echo 'runtime_here() { :; }' >"$1/runtimes/default/runtime.sh"; echo new >"$1/lib/load.sh"; : >"$1/lib/x"; }; risk=''
    install auto d1 3; cat queue/version; ls -A queue queue/incoming queue/scripts; ls -ld queue queue/jobs | cut -c1-10
    echo old >queue/scripts/d1/lib/load.sh; runtime=default; (install auto d1 3); cat queue/scripts/d1/lib/load.sh; scripts=''; echo mine >queue/scripts/d1/lib/load.sh; (umask 002; install auto d1 3; umask | sed "s/^0*/0/"); cat queue/scripts/d1/lib/load.sh; ls queue/incoming
    rm queue/scripts/d1/lib/x; (install auto d1 3); cat queue/scripts/d1/lib/load.sh; ls queue/incoming
    scripts=d1; mkdir queue/scripts/d1/runtimes/own; echo own >queue/scripts/d1/runtimes/own/runtime.sh; runtime=own; risk=/; (install auto d2 4); cat queue/version; ls queue/scripts/d2/runtimes; runtime=other; (install auto d2 4); runtime=''
    (mkdir() { case $1 in -p) ;; *) echo 'mkdir: x: Read-only file system' >&2; return 1 ;; esac; }; queue=$PWD/none; install auto d1 3) | sed 's/.*(//'
    unpack() { return 1; }; (install auto d3 5 | cut -c1-60); ls queue/scripts queue/incoming; shared=1; mkdir() { return 0; }; (install auto d3 5) | cut -c1-60; shared=''; queue=$PWD/$(printf '%04000d' 0); (check_path_length) | cut -c 1-4"""
    assert lines_of(lines, tmp_path) == [
        *("trust", "tej 1", "runtime default", "scripts d1 3", "entries 6", "queue:"),
        *("attempts", "incoming", "jobs", "objects", "scripts", "version", ""),
        *("queue/incoming:", "", "queue/scripts:", "d1", "drwx------"),
        *("drwx------", "trust", "new", "trust", "trust", "02", "mine", "trust"),
        *("trust", "new", "trust"),
        "warning=every user can replace the queue: '/' is writable by all and has no sticky bit",
        *("tej 1", "runtime own", "scripts d2 4", "entries 6", "default", "own"),
        "trust",
        "warning=every user can replace the queue: '/' is writable by all and has no sticky bit",
        "quit 12 The queue 'Q' needs the runtime 'other', which this tej does not have",
        "Read-only file system): choose another directory with --queue",
        *("trust", "warning=every user can replace the queue: '/' is writable by"),
        *("queue/incoming:", "", "queue/scripts:", "d1", "d2", "trust"),
        *("warning=every user can replace the queue: '/' is writable by", "quit"),
    ]


def test_runtime_follows_the_server(tmp_path: Path) -> None:
    lines = r"""for name in default pbs sge slurm own; do mkdir -p "queue/scripts/d/runtimes/$name"; eval "here_$name=1"; echo 'runtime_here() { echo "$1"; eval "return \$here_$runtime"; }' | sed 's/echo "$1"/echo "$say"/' >"queue/scripts/d/runtimes/$name/runtime.sh"; done; mkdir queue/scripts/d/lib; : >queue/scripts/d/lib/facts.sh
    say=''; choose() { (select_runtime "$1" d; echo "= $runtime"); }; choose auto; here_slurm=0; choose auto; here_sge=0; choose auto; here_pbs=0; choose auto; here_own=0; choose auto; choose default; choose gone; choose slurm; here_slurm=1; choose slurm; say='it is silent'; choose slurm; here_own=1 here_pbs=1 here_sge=1; choose auto
    printf 'tej 1\nruntime r\nscripts d 1\n' >queue/version; check_queue_trust() { :; }; runtime=pbs; write_version pbs d 1; echo "$runtime"; ls -A queue; scripts=d0 runtime=pbs entry_count=7; write_version pbs d2 2; cat queue/version; rm queue/version; scripts=''; ln() { return 1; }; write_version pbs d3 2; cat queue/version"""
    assert lines_of(lines, tmp_path) == [
        *("= default", "notice=using Slurm; --runtime default runs without it"),
        *("= slurm", "notice=using Grid Engine; --runtime default runs without it"),
        *("= sge", "notice=using PBS; --runtime default runs without it", "= pbs"),
        "notice=using the runtime 'own'; --runtime default runs without it",
        "= own",
        "quit 12 The runtime 'default' cannot be used on this server: its programs are not installed",
        *("= gone", "= slurm"),
        "quit 12 The runtime 'slurm' cannot be used on this server: its programs are not installed",
        *("warning=it is silent", "= slurm"),
        "warning=it is silent; it is silent; it is silent; it is silent: the jobs of this queue will run without a scheduler (runtime 'default'); to use the scheduler later, create another queue (--queue PATH)",
        *("= default", "r", "scripts", "version", "tej 1", "runtime pbs"),
        *("scripts d2 2", "entries 7", "tej 1", "runtime pbs", "scripts d3 2"),
        "entries 7",
    ]


def test_setup_replaces_a_queue_only_by_force(tmp_path: Path) -> None:
    lines = r"""check_link_trust() { :; }; check_queue_trust() { :; }; install() { echo "install $*"; mkdir -p queue; }; load_queue() { [ -n "$loads" ]; }; loads=1; close_queue() { [ -z "$busy" ]; }; find_unended() { unended=$running jobs_there=$there; }; busy='' running='' there=0
    keep_queue() { quit "$@"; }; make() { rm -rf queue queue.old* link; mkdir queue; printf 'tej 1\nruntime default\nscripts d 3\n' >queue/version; }; say() { (setup "$1" auto d 3 "$2"); ls; }
    say queue 0; make; say queue 0; say queue 1; there=2; make; say queue 1; say queue 2; running=' a'; make; say queue 2; busy=1; say queue 2; loads=''; say queue 2; loads=1 busy='' running='' there=0
    echo 'tejdir: queue' >link; say link 0; say link 1; echo 'tejdir: gone' >link; say link 0; quit() { shift; echo "$*" >&2; exit 11; }; say link 1"""
    assert lines_of(lines, tmp_path) == [
        *("install auto d 3", "queue", "quit 13 Queue already exists"),
        "The queue 'Q' can be used as it is; --force replaces a queue without jobs",
        *("queue", "install auto d 3", "queue"),
        "quit 13 The queue 'Q' holds 2 jobs",
        *(
            "Use --force twice to delete the queue with its jobs",
            "queue",
            "install auto d 3",
        ),
        "queue",
        "quit 5 The queue 'Q' is not replaced, because some jobs are still running: a",
        *("queue", "quit 20 The queue 'Q' is being removed by another client"),
        "queue",
        "quit 12 The scripts of the queue 'Q' are missing, so it is unknown whether jobs are running: run 'tej list' to reinstall the scripts",
        *("queue", "quit 13 Queue already exists (links to Q)"),
        *("Use --force to replace the link", "link", "queue", "install auto d 3"),
        *("queue", "quit 13 Broken link exists at 'link'"),
        *("Use --force to replace it", "link", "queue", "install auto d 3"),
        "queue",
    ]


def test_link_to_the_queue_is_written_safely(tmp_path: Path) -> None:
    lines = r"""check_directory_trust() { echo "directory $1"; }; check_link_trust() { echo "trust $1"; }; mkdir queue; say() { try link "$1"; cat "${1#'~/'}" 2>/dev/null; ls -A | grep '^\.'; }
    say l; say '~/l'; say new/l; ls -ld new new/l | cut -c1-10; echo other >o; say o; say queue; umask 000; say l2; ls -l l2 | cut -c1-10; locate q; echo "$queue"; move_link() { return 1; }; say x2; mkdir() { return 1; }; say x"""
    assert lines_of(lines, tmp_path) == [
        *("directory T/", "yes", "tejdir: Q", "directory T/", "trust T/l", "yes"),
        *("tejdir: Q", "yes", "tejdir: Q", "drwxr-xr-x", "-rw-r--r--"),
        "directory T/",
        "quit 13 'T/o' exists and is not a link to a queue: it is not replaced",
        *("no", "other", "directory T/", "quit 13 'Q' is the queue itself", "no"),
        *("directory T/", "yes", "tejdir: Q", "-rw-r--r--", "T/q", "directory T/"),
        *(
            "quit 20 The link 'T/x2' cannot be written",
            "no",
            "directory T/",
            "quit 20 The link 'T/x' cannot be created: 'T/' is not writable",
            "no",
        ),
    ]
