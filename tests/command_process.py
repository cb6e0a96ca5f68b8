"""Processes of the `tej` command for tests, forked from a process that has imported tej.

A new Python process needs longer to import tej than most commands need to run.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import warnings
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from installer import copy_scripts

from tej.command_list import COMMANDS

PRELOADED = [
    "command_process",
    *(
        f"tej.cli.{name.replace('-', '_')}"
        for group in COMMANDS.values()
        for name in group
    ),
    "tej.queue.remote",
    "tej.transport.local",
    "paramiko",
]
STREAMS = ("stdout", "stderr")
_IMPORTED_BY = os.getpid()


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
        process = _fork_server().Process(
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


@functools.cache
def _fork_server() -> ForkServerContext:
    """Start the process that imports tej once and is forked for each command."""
    from multiprocessing.forkserver import ensure_running

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # Python 3.11 does not pass `sys.path` to the process, and ignores a module that the
    # process does not find.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        ensure_running()
    return context


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
    assert os.getpid() != _IMPORTED_BY, "each command imports tej again"
    from tej.__main__ import main

    if "TEST_SCRIPTS" in environment:
        copy_scripts(Path(environment["TEST_SCRIPTS"]), pytest.MonkeyPatch())
    try:
        sys.argv = ["tej", *words]
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
