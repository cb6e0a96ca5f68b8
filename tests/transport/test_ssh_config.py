"""ssh_config files have the same meaning as for OpenSSH, compared with `ssh -G`."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tej.errors import ConnectionFailed
from tej.transport.ssh_config import HostConfig, look_up
from tej.transport.ssh_config_file import read_aliases


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def read(home: Path, text: str, host: str = "cluster") -> HostConfig:
    path = home / "config"
    path.write_text(text)
    return look_up(host, config_file=path)


def ask_ssh(config: Path, host: str, *arguments: str) -> dict[str, str]:
    """Return the options that `ssh -G` prints; only the first value of an option that
    is printed several times."""
    said = subprocess.run(
        ["ssh", "-G", "-F", config, *arguments, host],
        check=True,
        capture_output=True,
        text=True,
    )
    options: dict[str, str] = {}
    for line in said.stdout.splitlines():
        option, _, value = line.partition(" ")
        options.setdefault(option, value)
    return options


def test_defaults_of_ssh_apply_without_file(home: Path) -> None:
    found = look_up("Server.example.org", config_file=home / "none")
    assert (found.host, found.port) == ("Server.example.org", 22)
    assert found.user == getpass.getuser()
    assert found.known_hosts_files[0] == home / ".ssh/known_hosts"
    assert home / ".ssh/id_ed25519" in found.identity_files
    assert found.where == f"{getpass.getuser()}@Server.example.org:22"
    assert not found.accept_new_host_key
    assert not found.identities_chosen


BLOCKS = """
# comment
Port = 2200
HOST cluster *.cluster !bad.cluster
    HostName   %h.example.org   # the login node
    User "some body"
    Port 23
    IdentityFile ~/.ssh/%r_%h
    IdentityFile "%d/two words"
Host=other
    User=other
Match originalhost third host third user root,nobody
    User never
Match host *.example.org,x originalhost cluster
    ConnectTimeout 3
    HostKeyAlias alias
Match !host cluster.example.org
    HostKeyAlias not-cluster
Host *
    User default
    IdentitiesOnly yes
    UserKnownHostsFile ~/.ssh/a "~/.ssh/b c"
"""


@pytest.mark.parametrize(
    "host", ["cluster", "a.cluster", "bad.cluster", "other", "third", "x"]
)
def test_syntax_is_read_as_by_ssh(host: str, home: Path) -> None:
    found = read(home, BLOCKS, host)
    theirs = ask_ssh(home / "config", host)
    assert found.host == theirs["hostname"]
    assert found.user == theirs["user"]
    assert str(found.port) == theirs["port"]
    assert (found.host_key_alias or "none") == theirs.get("hostkeyalias", "none")
    assert found.identities_only == (theirs["identitiesonly"] == "yes")
    assert [path.name for path in found.known_hosts_files] == ["a", "b c"]


def test_identity_files_accumulate_and_are_expanded(home: Path) -> None:
    found = read(home, BLOCKS)
    first = home / ".ssh/some body_cluster.example.org"
    assert found.identity_files == (first, home / "two words")
    assert found.identities_chosen


def test_files_of_unknown_users_are_absent(home: Path) -> None:
    text = "Include ~no-such-user/config\nIdentityFile ~no-such-user/key\n"
    assert read(home, text).identity_files == (Path("~no-such-user/key"),)


def test_included_files_belong_to_their_block(home: Path) -> None:
    (home / ".ssh/conf.d").mkdir()
    (home / ".ssh/conf.d/2.conf").write_text("Host cluster\n Port 2\n User two\n")
    (home / ".ssh/conf.d/1.conf").write_text("Host cluster\n Port 1\n")
    (home / ".ssh/other").write_text("User other\nHost *\n HostKeyAlias other\n")
    text = (
        "Host elsewhere\n Include ~/.ssh/other\n HostName wrong\n"
        "Host cluster\n Include conf.d/*.conf none/*\n HostName right\n"
    )
    found = read(home, text)
    assert (found.port, found.user, found.host) == (1, "two", "right")
    assert found.host_key_alias is None
    assert read(home, text, "elsewhere").user == "other"


def test_cyclic_include_is_an_error(home: Path) -> None:
    (home / ".ssh/loop").write_text("Include loop\n")
    with pytest.raises(ConnectionFailed, match=r"loop:1: .*Include"):
        read(home, "Include loop\n")


def test_first_of_proxyjump_and_proxycommand_wins(home: Path) -> None:
    found = read(home, "ProxyCommand a %h # b 'c\nProxyJump d\n")
    assert (found.proxy_command, found.proxy_jump) == ("a cluster # b 'c", None)
    found = read(home, "ProxyJump none\nProxyCommand b\nProxyJump c\n")
    assert (found.proxy_command, found.proxy_jump) == (None, None)


@pytest.mark.parametrize("line", ["ProxyJump=j%p", "ProxyCommand=nc %h %p %r %n %%"])
def test_jump_and_command_are_expanded(line: str, home: Path) -> None:
    found = read(home, f"{line}\nPort 5\nUser me\nHostName real\n")
    assert found.proxy_jump in ("j5", None)
    assert found.proxy_command in ("nc real 5 me cluster %", None)


def test_environment_variables_are_expanded(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYS", "/somewhere")
    found = read(home, "IdentityFile ${KEYS}/id_${NOT_THERE}\n")
    assert found.identity_files == (Path("/somewhere/id_${NOT_THERE}"),)


def test_match_exec_runs_a_command(home: Path) -> None:
    text = "Match exec 'test %n = cluster'\n Port 7\nMatch !exec true\n Port 8\n"
    assert read(home, text).port == 7
    assert read(home, text, "other").port == 22


def test_match_exec_needs_no_sh_on_windows(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/absent/sh")
    text = "Match exec true\n Port 7\n"
    assert read(home, text).port == 22
    monkeypatch.setattr("tej.transport.ssh_config_file.sys.platform", "win32")
    assert read(home, text).port == 7


def test_match_final_is_read_last(home: Path) -> None:
    text = "Match final host real\n Port 9\nHost cluster\n HostName real\n User me\n"
    found = read(home, text)
    assert (found.port, found.user) == (9, "me")
    assert ask_ssh(home / "config", "cluster")["port"] == "9"


def test_arguments_override_the_file(home: Path) -> None:
    path = home / "config"
    path.write_text("User file\nPort 1\nMatch user caller\n HostName matched\n")
    found = look_up("cluster", "caller", 2, config_file=path)
    assert (found.user, found.port, found.host) == ("caller", 2, "matched")


@pytest.mark.parametrize(
    ("text", "words"),
    [("Port many\n", "config:1: 'many'"), ('\nUser "open\n', "config:2: .*quotes")],
)
def test_syntax_error_names_its_line(text: str, words: str, home: Path) -> None:
    with pytest.raises(ConnectionFailed, match=words):
        read(home, text)


def test_unknown_options_are_ignored(home: Path) -> None:
    found = read(
        home, "Bogus a b\nMatch bogus x\n Port 1\nMatch\n Port 2\n=\nUser me\n"
    )
    assert found.user == getpass.getuser()
    assert found.port == 22


HOSTS = ["a", "ab", "b", "B"]
PATTERNS = st.lists(
    st.sampled_from(["a", "b", "?", "a*", "*", "!a", "!*b", "B"]),
    min_size=1,
    max_size=3,
)
OPTIONS = st.sampled_from(
    ["User u1", "User u2", "Port 1", "Port 2", "HostName h1", "HostName b", "User u3"]
)
HEADS = st.one_of(
    PATTERNS.map(lambda patterns: "Host " + " ".join(patterns)),
    PATTERNS.map(lambda patterns: "Match host " + ",".join(patterns)),
    PATTERNS.map(lambda patterns: "Match !originalhost " + ",".join(patterns)),
    PATTERNS.map(lambda patterns: "Match user u1,root originalhost " + patterns[0]),
    st.just("Match all"),
    st.just("Match final all"),
)
CONFIGS = st.lists(
    st.tuples(HEADS, st.lists(OPTIONS, min_size=1, max_size=3)), max_size=5
).map(lambda blocks: "\n".join("\n  ".join([head, *rest]) for head, rest in blocks))


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=CONFIGS, host=st.sampled_from(HOSTS))
def test_generated_blocks_are_read_as_by_ssh(text: str, host: str, home: Path) -> None:
    found = read(home, text, host)
    theirs = ask_ssh(home / "config", host)
    ours = (found.host.lower(), found.user, str(found.port))
    assert ours == (theirs["hostname"], theirs["user"], theirs["port"])


def test_aliases_are_read_with_included_files(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        'Include more absent\nHost lab "two words" *.example !not\n'
        'Host=equals # comment\nUser "unbalanced\n'
    )
    # A cycle of files ends.
    (tmp_path / "more").write_text("Host inner\nInclude config\n")
    files = [(tmp_path / name, tmp_path) for name in ("config", "absent")]
    found = read_aliases(files)
    assert found == {"inner", "lab", "two words", "equals"}
