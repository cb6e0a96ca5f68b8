"""Processes of the `tej` command for tests, forked from a process that has imported tej.

A new Python process needs longer to import tej than most commands need to run.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import reduction
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

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
STANDARD_STREAMS = ("stdin", *STREAMS)
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
    outputs = [os.open(path, os.O_WRONLY | os.O_APPEND) for path in paths]
    _become([os.open(os.devnull, os.O_RDONLY), *outputs], environment)
    os.chdir(folder)
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


def _become(streams: list[int], environment: dict[str, str]) -> None:
    """Use these descriptors as the standard streams, and set all environment variables."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", encoding="utf-8", errors=errors, closefd=False)
        for number, errors in ((1, "strict"), (2, "backslashreplace"))
    )
    os.environ.clear()
    os.environ.update(environment)


class ForkedPython:
    """Python code in a forked process, with a part of the interface of `Popen`."""

    def __init__(self, code: str, environment: Mapping[str, str]) -> None:
        (their_in, our_in), (our_out, their_out), (our_err, their_err) = (
            os.pipe() for _ in STANDARD_STREAMS
        )
        theirs = (their_in, their_out, their_err)
        self._process = _fork_server().Process(
            target=_execute, args=(code, dict(environment), [*map(_Passed, theirs)])
        )
        self._process.start()
        for number in theirs:
            os.close(number)
        self.stdin = os.fdopen(our_in, "w")
        self.stdout = os.fdopen(our_out)
        self.stderr = os.fdopen(our_err)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self._process.ident, number)

    def wait(self, timeout: float | None = None) -> None:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("forked Python", timeout or 0)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Close stdin, wait for the end of the process, and return its outputs."""
        self.stdin.close()
        with ThreadPoolExecutor() as pool:
            outputs = [pool.submit(one.read) for one in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        out, err = (one.result() for one in outputs)
        return out, err


class _Passed:
    """A descriptor that the process has under another number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[object, ...]:
        return _received, (reduction.DupFd(self._number),)


def _received(passed: Any) -> int:
    return int(passed.detach())


def _execute(code: str, environment: dict[str, str], streams: list[int]) -> None:
    _become(streams, environment)
    try:
        exec(compile(code, "<client>", "exec"), {"__name__": "__main__"})
    finally:
        sys.stdout.flush()
