"""Entry point of the `tej` command and of `python -m tej`."""

import gc
import os
import sys


def main() -> None:
    """Run the command line.

    After Ctrl-C, no traceback is printed, and the exit status is 130.
    """
    if sys.argv[1:] in (["-h"], ["--help"]) and sys.stdout is not None:
        # Answered here, because the command line below imports click.
        from tej.command_list import help_page

        print(help_page())
        return
    try:
        from tej.cli import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        # At exit, Python searches all objects for reference cycles, which takes longer
        # than many requests.  The objects that exist now are left out of that search.
        if hasattr(gc, "freeze"):  # PyPy has no such function
            gc.freeze()


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
