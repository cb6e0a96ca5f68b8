"""Server scripts: which files are sent or installed, and the digest that names a set.

The scripts are data files beside this module: the shell of every command, and a folder
in `runtimes/` for each runtime.  Third-party runtimes are folders given by their path,
or by an entry point in the group `tej.runtimes`; docs/runtimes.md describes them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).parent

BUILT_IN = ("default", "pbs", "sge", "slurm")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\Z")

# Sent with a program; all other scripts are installed.
_SENT = frozenset({"bootstrap.sh", "trust.sh", "install.sh", "setup.sh", "doctor.sh"})


@dataclass(frozen=True)
class Scripts:
    """A set of scripts to install on a server, by their path in its directory."""

    files: dict[str, str]
    digest: str
    """The name of this set; a queue's `version` says which set it uses."""


@lru_cache(maxsize=1)
def built_in() -> Scripts:
    """All scripts that tej installs, with its own runtimes."""
    files = {
        path: text for path, text in _read_all(_FOLDER).items() if path not in _SENT
    }
    return Scripts(files, _digest(files))


def find_runtime(wanted: str) -> tuple[str, Scripts]:
    """The name of a runtime on the server, and the scripts with it among them.

    `wanted` is one that comes with tej, `auto`, a folder, or an entry point's name.
    Raises ValueError if it is none of these.
    """
    if wanted in ("auto", *BUILT_IN):
        return wanted, built_in()
    folder = _find_folder(wanted)
    name = folder.name
    if not _NAME.match(name) or name in ("auto", "common", *BUILT_IN):
        raise ValueError(f"A runtime cannot be called {name!r}: rename its folder")
    own = {f"runtimes/{name}/{path}": text for path, text in _read_all(folder).items()}
    core = built_in()
    # The server takes what is before the dot for the scripts that all clients bring.
    return name, Scripts({**core.files, **own}, f"{core.digest}.{_digest(own)}")


def _find_folder(wanted: str) -> Path:
    folder = Path(wanted).expanduser()
    if not (folder / "runtime.sh").is_file():
        found = [p for p in entry_points(group="tej.runtimes") if p.name == wanted]
        if not found:
            known = ", ".join(BUILT_IN)
            raise ValueError(
                f"Selected runtime {wanted!r} is unknown; there are: {known}, and "
                "folders with a `runtime.sh` in them"
            )
        place = found[0].load()
        if isinstance(place, ModuleType):
            place = next(iter(place.__path__))
        folder = Path(place)
    return folder.resolve()


def _digest(files: dict[str, str]) -> str:
    content = hashlib.sha256()
    for path, text in sorted(files.items()):
        content.update(f"{len(path)} {path} {len(text)} {text}".encode())
    return content.hexdigest()[:16]


def sent_script(name: str) -> str:
    """A script that is sent with a program, without its comments and blank lines."""
    lines = (line.strip() for line in _read(_FOLDER / name).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def _read_all(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".py", ".pyc", ".md")
    }


def _read(path: Path) -> str:
    return path.read_text("utf-8")
