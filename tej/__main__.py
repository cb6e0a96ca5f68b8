"""Entry point of the `tej` command and of `python -m tej`."""

import gc
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

COLLECTION_THRESHOLD = 50_000
"""Number of new objects after which Python searches them for reference cycles.

With Python's default of 700, the searches during the imports take up to a tenth of the
CPU time of a short command, and find no garbage."""
TEJ_FAILED = 125
"""Exit status of `run` and `wait` if tej itself failed, and not the job.

This module repeats constants of `cli/exit_status.py`, because the import of `tej.cli`
may be what failed."""
SIGPIPE = 128 + 13
"""Exit status of a program that SIGPIPE has ended, as a shell reports it."""


def main() -> None:
    """Run the command line.

    After Ctrl-C, no traceback is printed, and the exit status is 130.
    """
    if sys.argv[1:] in (["-h"], ["--help"]) and sys.stdout is not None:
        # `--help` is handled before the command line is imported, because the command
        # line imports click, which is slow.
        print_help()
        return
    if hasattr(gc, "set_threshold"):  # PyPy has no gc.set_threshold
        gc.set_threshold(COLLECTION_THRESHOLD)
    # Reset SIGCHLD, which the parent process may have set to be ignored. The exit
    # statuses of child processes, such as the program on `local:`, would then be lost.
    if sys.platform != "win32" and signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        from tej.cli import main as run

        run()
    except SystemExit:
        raise
    except BaseException as error:
        if not is_interrupt(error):
            report_failure(error)
        print("Interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        # Work around a behaviour of `python -m`: if Ctrl-C interrupts `exec` of a
        # string (dataclasses use `exec`), Python later ends by SIGINT, even if the
        # KeyboardInterrupt was caught.  Another `exec` of a string resets this, so that
        # the exit status of `run` is kept.
        exec("")
        # At exit, Python searches all objects for reference cycles. The search takes
        # longer than many requests, so gc.freeze excludes the existing objects.
        if hasattr(gc, "freeze"):  # PyPy has no gc.freeze
            gc.freeze()


def report_failure(error: BaseException) -> "NoReturn":
    """Print an unexpected exception, and exit.

    `run` and `wait` have the exit status of the job.  With the status 1, which Python
    sets for an exception, they would report that the job has failed.
    """
    if isinstance(error, MemoryError):
        print("Error on this machine: there is not enough memory", file=sys.stderr)
    else:
        sys.excepthook(type(error), error, error.__traceback__)
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    sys.exit(TEJ_FAILED if command in ("run", "wait") else 1)


def is_interrupt(error: BaseException | None) -> bool:
    """Return whether an exception is a KeyboardInterrupt, or was raised from one.

    Until Python 3.11, a KeyboardInterrupt in a method `__set_name__` becomes a
    RuntimeError.  The fields of a dataclass have this method, so Ctrl-C during an
    import may have this effect.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__
    return False


def print_help() -> None:
    """Print the output of `tej --help`; exit if writing to stdout fails."""
    from tej.command_list import help_page

    try:
        print(help_page(), flush=True)
    except OSError as error:
        # Redirect stdout to /dev/null. Otherwise, Python would report the error a
        # second time when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        is_pipe = isinstance(error, BrokenPipeError)
        sys.exit(SIGPIPE if is_pipe else f"Error on this machine: {error}")


def leave_current_directory() -> None:
    """Remove the current directory from the module search path.

    `python -m` inserts the current directory at the start of the module search path.  A
    file such as `click.py` or `queue.py` in the current directory would then replace
    the module that tej needs.
    """
    if getattr(sys.flags, "safe_path", False) or not sys.path:
        return
    try:
        current = os.getcwd()  # noqa: PTH109 (pathlib would be imported from there)
    except FileNotFoundError:
        current = ""
    if sys.path[0] in ("", current):
        del sys.path[0]


if __name__ == "__main__":
    leave_current_directory()
    main()
