"""Processes of the `tej` command for tests, forked from a process that has imported tej.

A new Python process needs longer to import tej than most commands need to run.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
from installer import copy_scripts

PRELOADED = ["command_process", "tej.cli.main", "tej.queue.remote", "paramiko"]
STREAMS = ("stdout", "stderr")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


def can_fork(environment: Mapping[str, str]) -> bool:
    """Return whether `environment` has an effect only after the start of Python."""
    names = ("LC_", "LANG", "PYTHON", "TZ")
    return not any(name.startswith(names) for name in environment)


def run_command(
    words: list[str], folder: Path, environment: Mapping[str, str], limit: float
) -> tuple[int, bytes, bytes]:
    """Run `tej WORDS...` in `folder`; return its exit status, stdout and stderr."""
    pipes = {name: os.memfd_create(name) for name in STREAMS}
    paths = [f"/proc/{os.getpid()}/fd/{pipe}" for pipe in pipes.values()]
    try:
        process = _context.Process(
            target=_run, args=(words, str(folder), dict(environment), paths)
        )
        process.start()
        process.join(limit)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"tej {words} runs for more than {limit} seconds")
        out, err = (Path(path).read_bytes() for path in paths)
        return process.exitcode, out, err
    finally:
        for pipe in pipes.values():
            os.close(pipe)


def _run(
    words: list[str], folder: str, environment: dict[str, str], paths: list[str]
) -> None:
    streams = [os.open(path, os.O_WRONLY | os.O_APPEND) for path in paths]
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate([nothing, *streams]):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", encoding="utf-8", errors=errors, closefd=False)
        for number, errors in ((1, "strict"), (2, "backslashreplace"))
    )
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    warnings.simplefilter("error")
    from tej.__main__ import main

    if "TEST_SCRIPTS" in environment:
        copy_scripts(Path(environment["TEST_SCRIPTS"]), pytest.MonkeyPatch())
    try:
        sys.argv = ["tej", *words]
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
