"""Reader of ssh configuration files: Host, Match and Include, quotes and tokens.

paramiko's own reader is not used, because it ignores `Include` and assigns the lines
after an `Include` to the wrong `Host` block.  paramiko's reader also does not support
`%%`, comments at the end of a line, and environment variables.  The tests compare the
reader in this module with `ssh -G`.
"""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tej.destination import expand_home, home_directory, local_user
from tej.errors import ConnectionFailed

logger = logging.getLogger("tej")

MAX_DEPTH = 16
# Options whose value is a command.  It is not split into words, because it may contain
# spaces, quotes and '#'.
RAW = {"proxycommand"}
LINE = re.compile(r"""\s*"?(\w+)"?(?:\s*=\s*|\s+|$)(.*)""")
# One part of a word: text in double quotes, text in single quotes, or unquoted text.
PIECE = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|((?:[^\s"'\\]|\\.)+)""")


@dataclass
class Lookup:
    """Options found so far while the configuration files are read for one host.

    If an option occurs several times, its first value applies.
    """

    given: str
    user: str | None
    port: int | None
    options: dict[str, list[str]] = field(default_factory=dict)
    identities: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    """Options that are set in the user's own files, and not only in the system's."""
    subject: str = ""
    """Host name that the patterns in Host lines are compared with."""
    final: bool = False
    wants_final: bool = False

    def first(self, option: str) -> str | None:
        values = self.options.get(option)
        return values[0] if values else None

    @property
    def host(self) -> str:
        name = self.first("hostname")
        tokens = {"h": self.given}
        return self.given if name is None else expand(name, tokens)

    @property
    def login(self) -> str:
        return self.user or self.first("user") or local_user()

    @property
    def number(self) -> str:
        return str(self.port or self.first("port") or 22)

    def tokens(self) -> dict[str, str]:
        """Return the values of the tokens: the key `h` maps to the value of `%h`."""
        local = socket.gethostname()
        return {
            "h": self.host,
            "n": self.given,
            "p": self.number,
            "r": self.login,
            "u": local_user(),
            "d": str(home_directory()),
            "l": local,
            "L": local.partition(".")[0],
            "k": self.first("hostkeyalias") or self.given,
            "i": str(os.getuid()) if hasattr(os, "getuid") else "",
        }


def read_file(
    path: Path, folder: Path, lookup: Lookup, *, active: bool, depth: int
) -> None:
    """Read one configuration file and add its options to `lookup`.

    Relative paths in Include lines start at `folder`.  If `active` is false, no option
    of the file applies, because the file is included in a Host block for other hosts.
    Raises ConnectionFailed if a line is invalid.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        logger.debug("%s is not read: %s", path, error.strerror)
        return
    outer = active
    for number, line in enumerate(text.splitlines(), 1):
        try:
            option, values = _split(line)
        except ValueError as error:
            raise ConnectionFailed(f"{path}:{number}: {error}") from error
        if not option or not values:
            continue
        if option == "host":
            active = outer and _matches(lookup.subject, values)
        elif option == "match":
            active = outer and _match(values, lookup)
        elif option == "include":
            if depth >= MAX_DEPTH:
                raise ConnectionFailed(
                    f"{path}:{number}: Include directives are nested more than "
                    f"{MAX_DEPTH} levels deep"
                )
            for included in _included(values, folder):
                read_file(included, folder, lookup, active=active, depth=depth + 1)
        elif active:
            _set(option, values, lookup, f"{path}:{number}")


def read_aliases(files: Iterable[tuple[Path, Path]]) -> set[str]:
    """Return the host names without wildcards in the `Host` lines of `files`.

    Each file is paired with the directory at which relative paths in `Include` lines
    start.  Files that cannot be read and lines that cannot be parsed are skipped.
    """
    pending = list(files)
    aliases: set[str] = set()
    seen: set[Path] = set()
    while pending:
        path, folder = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        try:
            lines = path.read_text("utf-8", "surrogateescape").splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                option, values = _split(line)
                if option == "include":
                    pending += [(one, folder) for one in _included(values, folder)]
            except (ValueError, ConnectionFailed):
                continue
            if option == "host":
                aliases.update(one for one in values if not set(one) & set("*?!"))
    return aliases


def _split(line: str) -> tuple[str, list[str]]:
    found = LINE.match(line)
    if not found or line.lstrip().startswith("#"):
        return "", []
    option, rest = found[1].lower(), found[2].strip()
    if option in RAW:
        return option, [rest] if rest else []
    return option, _words(rest)


def _words(text: str) -> list[str]:
    """Split a line into words; removes quotes, and a comment at the end of the line."""
    words: list[str] = []
    position, open_word = 0, False
    while position < len(text):
        if text[position].isspace():
            position, open_word = position + 1, False
            continue
        if text[position] == "#" and not open_word:
            break
        found = PIECE.match(text, position)
        if not found:
            raise ValueError(f"unbalanced quotes in {text!r}")
        inside = next(group for group in found.groups() if group is not None)
        piece = re.sub(r"\\([\"'\\])", r"\1", inside)
        if open_word:
            words[-1] += piece
        else:
            words.append(piece)
        position, open_word = found.end(), True
    return words


def _set(option: str, values: list[str], lookup: Lookup, where: str) -> None:
    if option in ("identityfile", "certificatefile"):
        files = lookup.identities if option[0] == "i" else lookup.certificates
        if values[0] not in files:
            files.append(values[0])
        return
    if option == "port" and not re.fullmatch(r"[0-9]{1,5}", values[0]):
        raise ConnectionFailed(f"{where}: {values[0]!r} is not a port number")
    if option in ("proxyjump", "proxycommand") and (
        "proxyjump" in lookup.options or "proxycommand" in lookup.options
    ):
        # If both ProxyJump and ProxyCommand are set, only the first one applies.
        return
    if option not in lookup.options and not where.startswith("/etc/"):
        lookup.chosen.append(option)
    lookup.options.setdefault(option, values)


def _included(patterns: Sequence[str], folder: Path) -> Iterator[Path]:
    for pattern in patterns:
        path = expand_home(expand(pattern, {}))
        # Path.glob does not accept an absolute pattern.
        for name in sorted(glob.glob(str(folder / path))):  # noqa: PTH207
            yield Path(name)


def _matches(text: str, patterns: Sequence[str]) -> bool:
    """Return whether a pattern matches the text, and no negated pattern matches it."""
    positive = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if wildcard(pattern.removeprefix("!"), text):
            if negated:
                return False
            positive = True
    return positive


def wildcard(pattern: str, text: str) -> bool:
    """Return whether `text` matches a pattern of ssh: `*` and `?` are wildcards."""
    expression = fnmatch.translate(pattern.replace("[", "[[]"))
    return re.match(expression, text) is not None


def _match(words: Sequence[str], lookup: Lookup) -> bool:
    """Return whether all criteria of a Match line are met.

    A criterion that this reader does not know is treated as not met.
    """
    rest = list(words)
    while rest:
        criterion, _, argument = rest.pop(0).partition("=")
        negated, name = criterion.startswith("!"), criterion.lower().removeprefix("!")
        if name == "all":
            met = True
        elif name in ("final", "canonical"):
            lookup.wants_final |= name == "final"
            met = lookup.final
        elif not argument and not rest:
            return False
        else:
            met = _criterion(name, argument or rest.pop(0), lookup)
        if met == negated:
            return False
    return True


def _criterion(name: str, argument: str, lookup: Lookup) -> bool:
    subjects = {
        # The criteria `host` and `originalhost` ignore case, unlike a Host line.
        "host": lambda: lookup.host.lower(),
        "originalhost": lambda: lookup.given.lower(),
        "user": lambda: lookup.login,
        "localuser": local_user,
    }
    if name in subjects:
        patterns = argument.lower() if "host" in name else argument
        return _matches(subjects[name](), patterns.split(","))
    if name == "exec":
        return _succeeds(expand(argument, lookup.tokens()))
    logger.debug("ssh configuration: Match %s is not supported", name)
    return False


def _succeeds(command: str) -> bool:
    """Run the command of a `Match exec` line; return whether its exit status is 0.

    Like ssh, use the user's shell, and on Windows the command processor in `COMSPEC`.
    """
    words: list[str] | str = [os.environ.get("SHELL", "/bin/sh"), "-c", command]
    windows = sys.platform == "win32"
    try:
        done = subprocess.run(
            command if windows else words,
            shell=windows,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
        )
    except OSError as error:
        logger.warning("ssh configuration: Match exec %s: %s", command, error)
        return False
    return done.returncode == 0


def expand(text: str, tokens: Mapping[str, str]) -> str:
    """Replace `%h`, other tokens and `${VARIABLE}` with their values.

    Unknown tokens and variables are not changed.
    """
    text = re.sub(
        r"%(.)", lambda m: "%" if m[1] == "%" else tokens.get(m[1], m[0]), text
    )
    return re.sub(r"\$\{(\w+)\}", lambda m: os.environ.get(m[1], m[0]), text)
