"""Command line of tej: one module per command, over the Python API."""

from tej.cli.main import main

__all__ = ["main"]
