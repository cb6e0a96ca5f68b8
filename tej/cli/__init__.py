"""The command line: options in, one call on the queue, text and an exit status out."""

from tej.cli.main import main

__all__ = ["main"]
