"""Installation of the server's scripts in tests: as a copy, and with changed lines.

tej sends all scripts to a new queue as one program, and a shell reads a program byte by
byte.  Such an installation takes longer than the rest of most tests.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import tempfile
from pathlib import Path

import pytest

from tej.server import scripts as server_scripts
from tej.server.scripts import Scripts, sent_script
from tej.wire import requests

_SEND_ALL = {
    "test_incomplete_queue_is_completed_by_next_request",
    "test_installation",
    "test_job_runs_from_submit_to_delete",  # in each shell
    "test_modes",
    "test_output_of_start_up_files_is_ignored",
    "test_planted_files",
    "test_process_limit",
    "test_queue_creation_fails_until_disk_has_space",
    "test_queue_may_have_any_name",
    "test_queue_name_need_not_be_utf8",
    "test_server_death_during_setup_is_repaired_by_client",
    "unit",
}
"""Folders, files and names of tests in which tej sends all scripts, as for a user."""


def sends_all(path: Path, test: str) -> bool:
    """Return whether tej is to send all scripts in the function `test` of a file."""
    return bool(_SEND_ALL & {path.parent.name, path.stem, test})


def copy_scripts(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """From now on, install scripts as copies of files in `folder`.

    Only the function `unpack`, which writes the scripts, is replaced in the installer.
    """

    def installer_functions(scripts: Scripts) -> str:
        source = _written(scripts, folder)
        unpack = f'unpack() {{ cp -R {shlex.quote(str(source))}/. "$1"; }}'
        return f"{unpack}\n{sent_script('install_queue.sh')}"

    patch.setattr(requests, "_installer_functions", installer_functions)


def change_scripts(
    patch: pytest.MonkeyPatch, path: str, *changes: tuple[str, str]
) -> None:
    """Replace the first by the second text of each change in the script at `path`.

    Call this function before the `RemoteQueue` is made, because the queue takes its
    scripts when it is made.
    """
    scripts = server_scripts.built_in()
    text = scripts.files[path]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    digest = hashlib.sha256(f"{scripts.digest}{path}{text}".encode()).hexdigest()[:16]
    changed = Scripts({**scripts.files, path: text}, digest)
    patch.setattr("tej.server.scripts.built_in", lambda: changed)


def _written(scripts: Scripts, folder: Path) -> Path:
    """Return a directory that contains the scripts; it is written on first use."""
    # Tests change scripts, and not all of them change the digest.
    content = "\0".join(f"{path}\0{text}" for path, text in scripts.files.items())
    source = folder / hashlib.sha256(content.encode()).hexdigest()[:16]
    if source.exists():
        return source
    fresh = Path(tempfile.mkdtemp(dir=folder))
    for path, text in scripts.files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8", newline="")
    # `cp` subtracts the server's umask from these modes.
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    try:
        fresh.rename(source)
    except OSError:
        # Another thread or process has written the directory in the meantime.
        shutil.rmtree(fresh)
    return source
