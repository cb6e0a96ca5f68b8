"""The `tej` command; also `python -m tej`, where it is not on the path."""

import sys


def main() -> None:
    """Run it.  Ctrl-C is no error, also while there is nobody yet to say so."""
    try:
        from tej.cli import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
