"""Directory for the temporary files of one test process, and of the programs it starts.

The path is short, because the path of a socket may have about 100 characters, and all
users can enter the directory.  Both are not true of pytest's directories.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path

import pytest

PARENT = Path("/tmp" if os.name == "posix" else tempfile.gettempdir())
PREFIX = "tej-run-"


@contextlib.contextmanager
def process_directory() -> Iterator[Path]:
    """Yield the directory, which is removed when this process exits.

    TMPDIR is a subdirectory of it, so that no program leaves a file elsewhere, not even
    if the test kills the program.
    """
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=PARENT))
    # multiprocessing removes its own directory in TMPDIR at exit, with priority -100.
    Finalize(None, shutil.rmtree, [folder, True], exitpriority=-200)
    folder.chmod(0o755)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder / "tmp"))
        # Python has read TMPDIR when pytest made its own directories.
        patch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        yield folder


def _remove_abandoned() -> None:
    """Remove the directories of processes that were killed before they could do so."""
    for path in PARENT.glob(f"{PREFIX}*-*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        # Two test processes may remove the same directory.
        with contextlib.suppress(OSError):
            found = path.lstat()
            is_old = time.time() - found.st_mtime > 3600
            if (
                is_old
                and found.st_uid == os.getuid()
                and not Path("/proc", pid).exists()
            ):
                shutil.rmtree(path, ignore_errors=True)
