"""The command line: options in, one call on the queue, words and an exit status out."""

from tej.cli.main import main

__all__ = ["main"]
