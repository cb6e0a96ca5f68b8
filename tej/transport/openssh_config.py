"""ssh configuration for the openssh transport: run `ssh -G`, and check jump hosts."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tej.destination import Destination, home_directory
from tej.errors import ConnectionFailed
from tej.transport.runtime_directory import runtime_directory
from tej.transport.settings import Settings

if sys.platform != "win32":
    import pwd

WORDS_SHOWN = 400
"""Maximum number of characters of ssh's stderr in an error message."""
QUERY_TIMEOUT = 120.0
"""Time limit of `ssh -G` in seconds; the command of a `Match exec` may hang."""
YES = ("yes", "true", "auto", "ask", "autoask")


class SshConfig(NamedTuple):
    """The configuration of one host as `ssh -G` prints it."""

    command: tuple[str, ...]
    """The command line of `ssh` for this host, with its options, but without `-G`."""
    values: dict[str, list[str]]
    """The values of each option, by the option's name in lower case."""

    def first(self, option: str) -> str:
        return self.values.get(option, [""])[0]

    @property
    def where(self) -> str:
        """The server as user@host:port, for messages."""
        host = self.first("hostname")
        host = f"[{host}]" if ":" in host else host
        return f"{self.first('user')}@{host}:{self.first('port')}"

    @property
    def connect_timeout(self) -> float | None:
        value = self.first("connecttimeout")
        return float(value) if value.isdigit() and int(value) else None

    @property
    def user_socket(self) -> Path | None:
        """The ControlPath of the user's own configuration."""
        path = self.first("controlpath")
        return Path(path) if path not in ("", "none") else None

    @property
    def makes_master(self) -> bool:
        """Whether the option ControlMaster makes `ssh` start a ControlMaster."""
        return self.first("controlmaster") in YES

    def environment(self) -> list[str]:
        """Return the environment variables that match SendEnv, as NAME=VALUE.

        The ControlMaster itself adds the variables of SetEnv.
        """
        patterns = [
            word for value in self.values.get("sendenv", []) for word in value.split()
        ]
        return [
            f"{name}={value}"
            for name, value in os.environ.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        ]


class ConfigQuery:
    """A run of `ssh -G`, which prints the options that apply to a destination.

    `ssh -G` runs while the caller does other work, until the caller calls `result`.
    """

    def __init__(self, destination: Destination, settings: Settings) -> None:
        """Start `ssh -G`; raise ConnectionFailed if `ssh` cannot be run."""
        command = ["ssh", *_files(settings.config_file)]
        if destination.port is not None:
            command += ["-p", str(destination.port)]
        if destination.user is not None:
            command += ["-l", destination.user]
        self._where = str(destination)
        self._words = (*command, "--", destination.host)
        self._process = _start_query(self._words)

    def result(self) -> SshConfig:
        """Return the options; raise ConnectionFailed if `ssh -G` fails or hangs."""
        return SshConfig(self._words, _read_query(self._process, self._where))

    def cancel(self) -> None:
        """End `ssh -G`, and ignore its output."""
        _end_query(self._process)


def read_config(destination: Destination, settings: Settings) -> SshConfig:
    """Run `ssh -G` and return the options that apply to a destination.

    Raises ConnectionFailed if `ssh` cannot be run or rejects its configuration.
    """
    return ConfigQuery(destination, settings).result()


def _start_query(words: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [words[0], "-G", *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise ConnectionFailed(f"Cannot run ssh: {error.strerror}") from error


def _read_query(process: subprocess.Popen[bytes], where: str) -> dict[str, list[str]]:
    try:
        stdout, stderr = process.communicate(timeout=QUERY_TIMEOUT)
    except BaseException as error:
        _end_query(process)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        failed = ConnectionFailed(
            f"{where}: `ssh -G` did not end within {QUERY_TIMEOUT:g} s; does the "
            "command of a `Match exec` in ~/.ssh/config hang?"
        )
        # Do not retry: each attempt would probably take as long as this one.
        failed.permanent = True
        raise failed from error
    if process.returncode != 0:
        words = ssh_words(stderr)
        unknown = re.search(r"Bad configuration option: (\S+)", words)
        if unknown is not None:
            # The file may have an option that only another version of ssh knows, such
            # as UseKeychain of macOS.
            words += (
                f". If {unknown[1]} belongs to another version of ssh, write "
                f"`IgnoreUnknown {unknown[1]}` above it"
            )
        failed = ConnectionFailed(f"{where}: ssh rejects its configuration: {words}")
        failed.permanent = True
        raise failed
    values: dict[str, list[str]] = {}
    for line in stdout.decode("utf-8", "surrogateescape").splitlines():
        name, _, value = line.partition(" ")
        values.setdefault(name, []).append(value)
    return values


def _end_query(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    # The pipes are not read to their end, because the command of a `Match exec` may
    # keep its copy of stderr open indefinitely.
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    process.wait()


def check_jumps(config: SshConfig) -> None:
    """Raise ConnectionFailed if the jump hosts of ProxyJump form a cycle.

    `ssh` does not detect a cycle of several hosts, and starts processes without end.
    """
    chain = [config.command[-1]]
    files = config.command[1 : config.command.index("--")]
    files = files[:2] if files[:1] == ("-F",) else ()
    jump = config.first("proxyjump")
    while jump not in ("", "none"):
        # ssh reads the ProxyJump option of the first jump host only. Each further jump
        # host is reached through the jump host before it.
        host = jump.partition(",")[0].removeprefix("ssh://").rpartition("@")[2]
        if host.startswith("["):
            host = host[1:].partition("]")[0]
        elif host.count(":") == 1:
            host = host.partition(":")[0]
        if host in chain:
            cycle = " -> ".join([*chain, host])
            raise ConnectionFailed(
                f"{config.where}: the jump hosts form a cycle: {cycle}. Correct "
                "ProxyJump in ~/.ssh/config."
            )
        chain.append(host)
        query = _start_query(("ssh", *files, "--", host))
        jump = _read_query(query, host).get("proxyjump", [""])[0]


def _files(config_file: Path | None) -> list[str]:
    """Return the option -F with a file, or [] if ssh itself finds the right files."""
    if config_file is not None:
        return ["-F", str(config_file)]
    home = home_directory()
    try:
        account = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        # ssh itself reports that this uid has no account.
        return []
    if home == account or not (home / ".ssh").is_dir():
        return []
    # ssh ignores $HOME and reads the home directory of the account.  If $HOME is
    # another directory, as in a sandbox, tej passes ssh a file that includes the
    # configuration in $HOME.
    folder = home / ".ssh"
    names = [f"{folder}/known_hosts", f"{folder}/known_hosts2"]
    lines = [
        f'Include "{folder}/config"',
        "Match all",
        f"    UserKnownHostsFile {' '.join(_quoted(name) for name in names)}",
    ]
    for name in ("id_rsa", "id_ecdsa", "id_ed25519"):
        if (folder / name).exists():
            lines.append(f"    IdentityFile {_quoted(f'{folder}/{name}')}")
    lines.append("Include /etc/ssh/ssh_config")
    text = "\n".join([*lines, ""])
    path = runtime_directory() / f"config-{digest(text)}"
    if not path.exists():
        # Other processes and threads may write the same file now, so each of them
        # writes a file with a name of its own and then renames that file.
        fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        fresh.write_text(text, encoding="utf-8", errors="surrogateescape")
        fresh.replace(path)
    return ["-F", str(path)]


def _quoted(word: str) -> str:
    return f'"{word}"'


def digest(text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()[:16]


def ssh_words(stderr: bytes) -> str:
    """Return the last lines of ssh's stderr without debug output, as one line.

    The prefix "ssh: " is removed from each line, because tej's messages already put
    "ssh: " before the quoted text.
    """
    lines = [
        "".join(letter if letter.isprintable() else " " for letter in line)
        .strip()
        .removeprefix("ssh: ")
        for line in stderr.decode("utf-8", "replace").splitlines()
        if not re.match(r"debug\d: ", line) and not line.startswith("OpenSSH_")
    ]
    kept = [line for line in lines if line.strip("@ ")]
    return " / ".join(kept)[-WORDS_SHOWN:]
