"""Server scripts: read the shell scripts to send or install, and find runtimes.

The scripts are data files beside this module: one for each command, and a folder in
`runtimes/` for each runtime.  A third-party runtime is a folder, which is given by its
path or by an entry point in the group `tej.runtimes`; see docs/runtimes.md.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

_FOLDER = Path(__file__).parent

BUILT_IN = ("default", "pbs", "sge", "slurm")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\Z")

# Scripts that tej sends as part of a request. All other scripts are installed in the
# queue.
_SENT = frozenset(
    {
        "bootstrap.sh",
        "doctor.sh",
        "install_queue.sh",
        "plan_job.sh",
        "setup_command.sh",
        "trust.sh",
    }
)


class Scripts(NamedTuple):
    """A set of scripts to install on a server: their contents, by relative path."""

    files: dict[str, str]
    digest: str
    """Hash of all scripts; the file `version` of a queue contains the same hash."""


@lru_cache(maxsize=1)
def built_in() -> Scripts:
    """Return all scripts that tej installs, including the built-in runtimes."""
    files = {
        path: text for path, text in _read_all(_FOLDER).items() if path not in _SENT
    }
    return Scripts(files, _digest(files))


def find_runtime(wanted: str) -> tuple[str, Scripts]:
    """Return the name of a runtime on the server, and the scripts to install for it.

    `wanted` is the name of a built-in runtime, `auto`, the path of a folder, or the
    name of an entry point.  Raises ValueError if there is no such runtime, or if its
    folder has a name that is not allowed.
    """
    if wanted in ("auto", *BUILT_IN):
        return wanted, built_in()
    folder = _find_folder(wanted)
    name = folder.name
    if not _NAME.match(name) or name in ("auto", "common", *BUILT_IN):
        raise ValueError(f"A runtime cannot be called {name!r}: rename its folder")
    own = {f"runtimes/{name}/{path}": text for path, text in _read_all(folder).items()}
    core = built_in()
    # A client that lacks the third-party runtime sends only the part of the digest
    # before the dot. The server also accepts this part, because the core scripts are
    # the same.
    return name, Scripts({**core.files, **own}, f"{core.digest}.{_digest(own)}")


def _find_folder(wanted: str) -> Path:
    folder = Path(wanted).expanduser()
    if not (folder / "runtime.sh").is_file():
        # importlib.metadata is imported here, because the import is slow and most
        # queues use a built-in runtime.
        from importlib.metadata import entry_points

        found = [p for p in entry_points(group="tej.runtimes") if p.name == wanted]
        if not found:
            known = ", ".join(BUILT_IN)
            raise ValueError(
                f"Runtime {wanted!r} is unknown: use auto, {known}, or the path of a "
                "folder that contains `runtime.sh`"
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
    """Return a script to send in a request, without comments and blank lines."""
    lines = (line.strip() for line in _read(_FOLDER / name).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def _read_all(folder: Path) -> dict[str, str]:
    # Every command of tej reads the scripts to compute their digest. os.walk is used,
    # because `Path.rglob` takes three times as long.
    paths = (
        f"{parent}/{name}"
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.endswith((".py", ".pyc", ".md"))
    )
    start = len(f"{folder}/")
    files = {
        path[start:].replace(os.sep, "/"): _read(path)
        for path in paths
        if os.path.isfile(path)  # noqa: PTH113
    }
    return dict(sorted(files.items()))


def _read(path: str | Path) -> str:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 (see _read_all)
        return file.read()
