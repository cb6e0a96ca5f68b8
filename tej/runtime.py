"""The scripts that run on the server: which files, and what identifies them.

They are data files in `tej/runtimes/`: `common/` has every command once, and a folder
beside it for each runtime.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("runtimes")

BUILT_IN = ("default",)

# These are sent with a program; the others are installed.
_SENT = frozenset({"bootstrap.sh", "install.sh", "setup.sh"})


@dataclass(frozen=True)
class Scripts:
    """What setup installs on a server, by the path below the scripts' directory."""

    files: dict[str, str]
    digest: str
    """Names this set of files; the queue's `version` says which set it uses."""


@lru_cache(maxsize=1)
def built_in() -> Scripts:
    """The common scripts and the runtimes that come with tej."""
    files = {
        path: text
        for path, text in _read_all(_FOLDER / "common").items()
        if path not in _SENT
    }
    for name in BUILT_IN:
        for path, text in _read_all(_FOLDER / name).items():
            files[f"runtimes/{name}/{path}"] = text
    content = hashlib.sha256()
    for path, text in sorted(files.items()):
        content.update(f"{len(path)} {path} {len(text)} {text}".encode())
    return Scripts(files, content.hexdigest()[:16])


def sent_script(name: str) -> str:
    """One that goes with the program, without its comments and blank lines."""
    lines = (line.strip() for line in _read(_FOLDER / "common" / name).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def _read_all(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _read(path: Path) -> str:
    return path.read_text("utf-8")
