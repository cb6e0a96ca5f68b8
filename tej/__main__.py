"""Entry point of the `tej` command and of `python -m tej`."""

import os
import sys


def main() -> None:
    """Run the command line.

    After Ctrl-C, no traceback is printed, and the exit status is 130.
    """
    try:
        from tej.cli import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        sys.exit(130)


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
